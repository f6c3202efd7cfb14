"""Distillation: labels mixed with a trained network's probabilities, averaged over views.

Hinton et al. 2015 (arXiv 1503.02531); a teacher of the student's own shape: Furlanello et al.
2018 (arXiv 1805.04770). Ten votes are a rough estimate of how people see an image; a network's
mean over several views is another, and teaches the student to score the views alike.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from jadfer_cli.common import atomic_write
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.scoring import logits_of

_DIGEST_BYTES = 32
_ZOOMS = (0.93, 1.0, 1.07)  # of the crops in `six_looks`


def n_views(faces: FaceSet) -> int:
    """Views per image: aligned by every detector, each also mirrored."""
    return 2 * (1 if faces.landmarks_px is None else faces.landmarks_px.shape[1])


def mixed_targets(faces: FaceSet, p: npt.NDArray[np.float32], weight: float) -> FaceSet:
    """Returns the set with targets (1 - weight) x labels + weight x `p`.

    Args:
        faces: With label distributions.
        p: float32 (n, K), the teacher's probabilities, or the mean of several teachers'.
        weight: From 0 to 1.
    """
    targets = (1 - weight) * faces.targets + weight * p
    return dataclasses.replace(faces, targets=targets.astype(np.float32))


def six_looks(
    faces: FaceSet,
    teacher: Checkpoint,
    *,
    device: str = "cpu",
    precision: str = "fp32",
    keep_in: Path | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> npt.NDArray[np.float32]:
    """A network's probabilities by the mean logits of six views: three zooms, each also mirrored.

    Args: as of `teacher_probabilities`; faces aligned by one detector.

    Returns:
        float32 (n, K).
    """
    logs = []
    for i, zoom in enumerate(_ZOOMS):
        done = 2 * i * len(faces)
        marks = faces.landmarks_px
        view = faces
        if marks is not None:  # landmarks further apart give a wider crop
            centre = marks.mean(2, keepdims=True)
            view = dataclasses.replace(faces, landmarks_px=centre + (marks - centre) / zoom)
        p = teacher_probabilities(
            view, teacher, device=device, precision=precision, keep_in=keep_in,
            progress=lambda n, done=done: progress(done + n),  # type: ignore[misc]
        )  # fmt: skip
        logs.append(np.log(np.maximum(p, 1e-12)))
    mean = np.exp(np.mean(logs, 0))
    found: npt.NDArray[np.float32] = (mean / mean.sum(1, keepdims=True)).astype(np.float32)
    return found


def teacher_probabilities(
    faces: FaceSet,
    teacher: Checkpoint,
    *,
    device: str = "cpu",
    precision: str = "fp32",
    keep_in: Path | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> npt.NDArray[np.float32]:
    """Computes a teacher's probabilities: softmax(mean of its views' logits / its temperature).

    Args:
        faces: Aligned faces.
        teacher: A checkpoint with the labels in the same order; its crops may have another size.
        device: "cpu" or "cuda:N".
        precision: "fp32" or "bf16".
        keep_in: Folder that caches the probabilities for a resumed run.
        progress: Called with the number of views scored so far.

    Returns:
        float32 (n, K).

    Raises:
        OutputError: The cache cannot be written.
    """
    file = None if keep_in is None else keep_in / f"teacher-{_key(faces, teacher)}.npy"
    p: npt.NDArray[np.float32] | None = None
    if file is not None:
        with contextlib.suppress(OSError, ValueError, EOFError):  # missing or damaged
            p = _read(file)
    if p is None or p.shape != faces.targets.shape:
        p = _probabilities(faces, teacher, device, precision, progress)
        if file is not None:
            with atomic_write(file) as part:
                part.write_bytes(_bytes_of(p))
    return p


def _bytes_of(p: npt.NDArray[np.float32]) -> bytes:
    """An array as NumPy saves it, with its SHA-256 at the end."""
    buffer = io.BytesIO()
    np.save(buffer, p)
    return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()


def _read(file: Path) -> npt.NDArray[np.float32]:
    """The array of `_bytes_of`.

    Raises:
        ValueError: The file is damaged.
        OSError: It cannot be read.
    """
    data = file.read_bytes()
    saved, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(saved).digest() != digest:
        raise ValueError(f"{file} is damaged")
    p: npt.NDArray[np.float32] = np.load(io.BytesIO(saved), allow_pickle=False)
    return p


def _probabilities(
    faces: FaceSet,
    teacher: Checkpoint,
    device: str,
    precision: str,
    progress: Callable[[int], None],
) -> npt.NDArray[np.float32]:
    network = teacher.build().to(device)
    views, valid = [faces], np.ones((1, len(faces)), bool)
    if faces.landmarks_px is not None:
        marks = faces.landmarks_px  # (n, m, 5, 2)
        views = [
            dataclasses.replace(faces, landmarks_px=marks[:, k : k + 1])
            for k in range(marks.shape[1])
        ]
        # a face that one detector missed is aligned by the others, as in training
        found = np.isfinite(marks).all((2, 3)).T
        valid = np.where(found.any(0), found, True)  # (m, n)
    scored = 0

    def count(n: int) -> None:
        nonlocal scored
        scored += n
        progress(scored)

    logits = torch.stack(
        [
            logits_of(network, view, precision=precision, mirrored=mirrored, progress=count)
            for view in views
            for mirrored in (False, True)
        ]
    )  # (2 m, n, K)
    weights = torch.from_numpy(valid).repeat_interleave(2, 0)[..., None].float()  # (2 m, n, 1)
    mean = (logits * weights).sum(0) / weights.sum(0)
    p: npt.NDArray[np.float32] = (mean / teacher.temperature).softmax(-1).numpy()
    return p


def _key(faces: FaceSet, teacher: Checkpoint) -> str:
    digest = hashlib.sha256(teacher.sha256.encode())
    digest.update("\n".join(faces.image_names).encode())
    if faces.landmarks_px is not None:
        digest.update(faces.landmarks_px.tobytes())
    return digest.hexdigest()[:16]
