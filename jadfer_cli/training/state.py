"""The saved state of a training run: how far it is, and whether it may be resumed."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.training import tensor_file
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipe_options import flat
from jadfer_cli.training.start import Start

STATE, BEST = "state.pt", "best.pt"
DAMAGED_RUN = "This run cannot be resumed. Train again into another folder."


@dataclass
class EpochRecord:
    """Results of one epoch."""

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float  # of the augmented images, as they were drawn
    lr: float  # of the new modules, at the end of the epoch
    seconds: float
    best: bool  # the best on validation so far
    figures: dict[str, float] = field(default_factory=dict)  # of the averaged weights


@dataclass(frozen=True)
class StepRecord:
    """Position and results of a run after a step."""

    epoch: int  # from 1
    step: int  # of the epoch, from 1
    steps: int  # per epoch
    loss: float  # mean of this epoch so far
    accuracy: float


@dataclass
class State:
    """What a resumed run needs beside its tensors."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the next one
    loss: float = 0.0  # sums over those steps
    hits: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)

    def count(self, loss: float, hits: int, seconds: float) -> None:
        """Adds one step."""
        self.step += 1
        self.loss += loss
        self.hits += hits
        self.seconds += seconds


def fingerprint(train_set: FaceSet, valid_set: FaceSet, start: Start) -> str:
    """A hash of what decides a run beside its options: images, labels, alignment, meshes, start."""
    digest = hashlib.sha256(start.name.encode())
    for tensor in (*start.whole.values(), *start.stem.values()):
        digest.update(tensor.detach().cpu().numpy().tobytes())
    for faces in (train_set, valid_set):
        digest.update("\n".join(faces.image_names).encode())
        digest.update(faces.targets.tobytes())
        if faces.landmarks_px is not None:
            digest.update(faces.landmarks_px.tobytes())
        if faces.mixture is not None:
            digest.update(faces.mixture.tobytes())
        if faces.meshes is not None:
            digest.update(faces.meshes.points_px.tobytes())
            digest.update(faces.meshes.blendshapes.tobytes())
    return digest.hexdigest()[:16]


def saved_run(out: Path, options: TrainOptions) -> dict[str, Any] | None:
    """What a run in `out` saved; None if there is none.

    Raises:
        OptionError: It has other options.
        TrainingError: It cannot be read.
    """
    file = out / STATE
    if not file.exists():
        return None
    try:
        # on the CPU: AdamW keeps its step counts there; load_state_dict moves the rest
        saved = tensor_file.read(file)
    except tensor_file.Unreadable as error:
        raise TrainingError(f"{file} cannot be read ({error}).", DAMAGED_RUN) from error
    if not isinstance(saved, dict) or not {"run", "options", "network"} <= saved.keys():
        raise TrainingError(f"{file} holds no saved run of jadfer.", DAMAGED_RUN)
    if saved.get("options") != identity(options):
        raise OptionError(
            f"{file} belongs to a run with other options.",
            "Give another `out`, or resume it with the same options as before.",
        )
    return saved


def identity(options: TrainOptions) -> dict[str, Any]:
    """The options that a resumed run must share; the length of a trapezoid may change."""
    length = 1 if options.schedule == "trapezoid" else options.epochs
    return flat(options) | {"workers": 0, "epochs": length}
