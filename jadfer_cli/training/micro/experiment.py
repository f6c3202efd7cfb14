"""Training and testing on folds without shared subjects.

clips = manifest.read(Path("casme2.csv"), "casme2")
found = experiment.cross_validate(clips, experiment.MicroOptions(network="gru"))
print(found.uf1, found.uar)
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jadfer_cli.common import atomic_write
from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.faces import align
from jadfer_cli.faces.detector import Detector
from jadfer_cli.text import encodable, json_text, spreadsheet_safe
from jadfer_cli.training.micro.folds import subject_folds, unweighted_f1, unweighted_recall
from jadfer_cli.training.micro.manifest import MicroClip
from jadfer_cli.training.micro.networks import NETWORKS
from jadfer_cli.training.micro.samplers import Sampler, frames_at, uniform

BALANCES = ("none", "weights", "sampling", "focal")
_FOCAL_GAMMA = 2.0  # Lin et al. 2017, arXiv 1708.02002


@dataclass(frozen=True)
class MicroOptions:
    """Options of a training on micro-expressions.

    Attributes:
        network: One of `networks.NETWORKS`.
        balance: Against unequal classes. none; weights: the loss of a clip is weighted by
            1 / (size of its class); sampling: clips are drawn with that weight; focal: the loss
            is multiplied by (1 - p) ** 2, so that clips that are learned count little.
        size_px: Side of the pictures.
        folds: Number of folds; None for one per subject.
        epochs: Of each fold.
        batch_size: Clips per step.
        lr: Peak learning rate, of AdamW with a cosine schedule.
        seed: Of folds, weights and order.

    Raises:
        OptionError: A value is out of range or unknown.
    """

    network: str = "gru"
    balance: str = "weights"
    size_px: int = 64
    folds: int | None = None
    epochs: int = 30
    batch_size: int = 16
    lr: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("network", tuple(NETWORKS)), ("balance", BALANCES)):
            if getattr(self, name) not in allowed:
                raise OptionError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)}."
                )
        for name, least in (("size_px", 16), ("epochs", 1), ("batch_size", 2)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} must be at least {least}, not {getattr(self, name)}.")


@dataclass(frozen=True)
class MicroResult:
    """Predictions of a cross-validation: each clip by the network that did not see its subject.

    Attributes:
        emotions: K names.
        classes: (n,), true, indices into `emotions`.
        guesses: (n,), predicted.
        folds: (n,), the fold in which each clip was tested.
        uf1: Unweighted F1, over the clips of all folds together.
        uar: Unweighted average recall, likewise.
    """

    emotions: tuple[str, ...]
    classes: npt.NDArray[np.intp]
    guesses: npt.NDArray[np.intp]
    folds: npt.NDArray[np.intp]
    uf1: float
    uar: float


def load(
    clips: Sequence[MicroClip],
    sampler: Sampler,
    size_px: int,
    detector: Detector | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> torch.Tensor:
    """Reads the sampled frames of all clips, uint8 (n, T, 3, S, S).

    Args:
        clips: n clips.
        sampler: Chooses T moments of each.
        size_px: S.
        detector: Finds the face in the first sampled frame; all frames of the clip are cropped
            alike, so that its movement remains. None: the clips show a cropped face.
        progress: Called with the number of clips read.

    Raises:
        VideoError: A frame cannot be read.
    """
    made = []
    for done, clip in enumerate(clips, 1):
        frames = frames_at(clip, sampler(clip))
        height, width = frames[0].shape[:2]
        matrix = align.mean_placement(width, height, size_px)
        if detector is not None:
            found = detector.detect(frames[0])
            if len(found.landmarks_px):
                matrix = align.similarity(found.landmarks_px[:1], size_px)[0]
        crops = [align.warp(frame, matrix[None], size_px)[0] for frame in frames]
        made.append(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2))  # (T, 3, S, S)
        progress(done)
    return torch.stack(made)


def cross_validate(
    clips: Sequence[MicroClip],
    options: MicroOptions,
    *,
    sampler: Sampler | None = None,
    detector: Detector | None = None,
    images: torch.Tensor | None = None,
    report: Callable[[str], None] = lambda line: None,
    device: str = "cpu",
) -> MicroResult:
    """Trains on all subjects but those of a fold, and tests on theirs, for each fold.

    No fold chooses its epoch or its options: there are too few clips for a validation set.

    Args:
        clips: As of `manifest.read`.
        options: The network and how it is trained.
        sampler: As of `samplers`; None for eight moments from onset to offset.
        detector: As of `load`.
        images: What `load` gave for these clips; None to read them now.
        report: Called with a line for each finished fold.
        device: "cpu" or "cuda:N".

    Raises:
        TrainingError: All clips have one emotion, or there are too few subjects.
        VideoError: A frame cannot be read.
    """
    emotions = tuple(sorted({clip.emotion for clip in clips}))
    if len(emotions) < 2:
        raise TrainingError(f"The clips have one emotion only: {', '.join(emotions)}.")
    folds = subject_folds([clip.subject for clip in clips], options.folds, options.seed)
    if images is None:
        images = load(clips, sampler or uniform(8), options.size_px, detector)
    classes = np.array([emotions.index(clip.emotion) for clip in clips], np.intp)
    guesses, fold_of = np.full(len(clips), -1), np.full(len(clips), -1)
    for number, test in enumerate(folds):
        rest = np.setdiff1d(np.arange(len(clips)), test)
        own = dataclasses.replace(options, seed=options.seed * 1000 + number)
        network = fit(images[rest], classes[rest], len(emotions), own, device)
        guesses[test] = predict(network, images[test], device).argmax(1)
        fold_of[test] = number
        right = int((guesses[test] == classes[test]).sum())
        report(f"fold {number + 1} of {len(folds)}: {right} of {len(test)} clips right")
    k = len(emotions)
    return MicroResult(
        emotions, classes, guesses, fold_of,
        unweighted_f1(classes, guesses, k), unweighted_recall(classes, guesses, k),
    )  # fmt: skip


def fit(
    images: torch.Tensor,
    classes: npt.NDArray[np.intp],
    n_classes: int,
    options: MicroOptions,
    device: str = "cpu",
) -> torch.nn.Module:
    """Trains one network; each clip is mirrored in half of the epochs.

    Args:
        images: uint8 (n, T, 3, S, S).
        classes: (n,).
        n_classes: K.
        options: The network and how it is trained.
        device: "cpu" or "cuda:N".
    """
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        network = NETWORKS[options.network](n_classes).to(device).train()
        optimiser = torch.optim.AdamW(network.parameters(), options.lr, weight_decay=0.01)
        steps = options.epochs * max(len(images) // options.batch_size, 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        targets = torch.from_numpy(classes)
        weights = clip_weights(classes)
        rng = np.random.default_rng(options.seed)
        drawn = weights / weights.sum() if options.balance == "sampling" else None
        for _ in range(options.epochs):
            order = rng.choice(len(images), len(images), replace=drawn is not None, p=drawn)
            for batch in np.array_split(order, max(len(images) // options.batch_size, 1)):
                views = images[batch]
                flipped = torch.from_numpy(rng.random(len(batch)) < 0.5)
                views = torch.where(flipped[:, None, None, None, None], views.flip(-1), views)
                logits = network(views.to(device).float() / 255)
                loss = clip_losses(logits, targets[batch].to(device), options.balance)
                if options.balance == "weights":
                    loss = loss * torch.from_numpy(weights[batch]).to(loss)
                optimiser.zero_grad(set_to_none=True)
                loss.mean().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
    return network.eval()


def clip_weights(classes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """1 / (size of its class) for each clip, with mean 1."""
    sizes = np.bincount(classes)[classes]
    return np.asarray(len(classes) / (len(np.unique(classes)) * sizes), np.float64)


def clip_losses(logits: torch.Tensor, targets: torch.Tensor, balance: str) -> torch.Tensor:
    """Cross-entropy (B,) of each clip; of "focal", times (1 - p) ** 2."""
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return losses * (1 - torch.exp(-losses)) ** _FOCAL_GAMMA if balance == "focal" else losses


@torch.no_grad()
def predict(
    network: torch.nn.Module, images: torch.Tensor, device: str = "cpu", batch_size: int = 32
) -> npt.NDArray[np.float64]:
    """Probabilities (n, K) of clips, uint8 (n, T, 3, S, S)."""
    parts = []
    for first in range(0, len(images), batch_size):
        part = images[first : first + batch_size].to(device).float() / 255
        parts.append(network(part).softmax(1).cpu())
    found: npt.NDArray[np.float64] = torch.cat(parts).double().numpy()
    return found


def write(
    found: MicroResult,
    clips: Sequence[MicroClip],
    options: MicroOptions,
    folder: Path,
    sampling: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes result.json (measures, options) and predictions.csv (one line per clip).

    Args:
        found: As of `cross_validate`.
        clips: The clips.
        options: As of `cross_validate`.
        folder: Where the files go.
        sampling: How frames were sampled, for the record.

    Raises:
        OutputError: One cannot be written.
    """
    facts = {
        "uf1": found.uf1, "uar": found.uar, "clips": len(clips),
        "subjects": len({clip.subject for clip in clips}), "folds": int(found.folds.max()) + 1,
        "emotions": {e: int((found.classes == k).sum()) for k, e in enumerate(found.emotions)},
        "sampling": dict(sampling or {}), "options": dataclasses.asdict(options),
    }  # fmt: skip
    result, table = folder / "result.json", folder / "predictions.csv"
    with atomic_write(table) as part, part.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["clip", "subject", "fold", "emotion", "predicted"])
        for clip, fold, guess in zip(clips, found.folds, found.guesses, strict=True):
            names = (str(clip.path), clip.subject)
            own = [spreadsheet_safe(encodable(name)) for name in names]
            out.writerow([*own, fold + 1, clip.emotion, found.emotions[guess]])
    with atomic_write(result) as part:
        part.write_text(json_text(facts, indent=1) + "\n", "utf-8", newline="\n")
    return [result, table]
