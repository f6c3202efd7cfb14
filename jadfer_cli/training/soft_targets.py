"""A file of soft targets: label distributions that replace the labels of a set's images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import atomic_write
from jadfer_cli.errors import TrainingError
from jadfer_cli.labels import LABELS
from jadfer_cli.training.faceset import Counted, FaceSet

_HINT = "Write it with `jadfer_cli.training.soft_targets.write`."


def write(path: Path, names: list[str], targets: npt.NDArray[np.floating]) -> None:
    """Writes targets (n, K) of n images by name; a row of zeros leaves its image out.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file, names=np.array(names), labels=np.array(LABELS), targets=targets.astype(np.float32)
        )


def read(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Targets (K,) by name of the image.

    Raises:
        TrainingError: It is not a file of `write`.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            labels, names = tuple(stored["labels"].tolist()), stored["names"].tolist()
            targets = np.array(stored["targets"], np.float32)
    except FileNotFoundError as error:
        raise TrainingError(f"There is no file {path} of soft targets.", _HINT) from error
    except Exception as error:  # a damaged zip raises all kinds
        raise TrainingError(f"{path} is not a file of soft targets ({error}).", _HINT) from error
    if labels != LABELS or targets.shape != (len(names), len(LABELS)):
        raise TrainingError(f"{path} has other labels than {', '.join(LABELS)}.", _HINT)
    if not (np.isfinite(targets).all() and (targets >= 0).all()):
        raise TrainingError(f"{path} holds targets that are not shares.", _HINT)
    return dict(zip(names, targets, strict=True))


def apply(faces: FaceSet, path: Path) -> FaceSet:
    """The set with the file's targets; images with zeros, or that it lacks, count no longer.

    Raises:
        TrainingError: It is not a file of soft targets, or has none for this set.
    """
    stored = read(path)
    none = np.zeros(len(LABELS), np.float32)
    targets = np.stack([stored.get(name, none) for name in faces.image_names])
    targets = targets * np.isin(np.arange(len(LABELS)), faces.expressions)
    totals = targets.sum(1)
    if not totals.any():
        raise TrainingError(f"{path} has no soft targets for {faces.name}.", _HINT)
    targets = (targets / np.maximum(totals, 1e-12)[:, None]).astype(np.float32)
    which = np.flatnonzero(totals > 0)
    counted = Counted(which, targets[which].argmax(1))
    return dataclasses.replace(faces, targets=targets, protocols={"soft targets": counted})
