"""The two ways of `jadfer tune`: both give scores for held-out people, and write a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jadfer_cli.analysis.agreement.coded_faces import CodedFaces
    from jadfer_cli.expression.checkpoint import Checkpoint
    from jadfer_cli.options import ModelOptions
    from jadfer_cli.training.fine_tune import Pictures, Tuning

    Classes = npt.NDArray[np.int64]

RECALIBRATE, FINE_TUNE, AUTO = "recalibrate", "fine-tune", "auto"
METHODS = (AUTO, RECALIBRATE, FINE_TUNE)
# Fewer tell little about a network of a million weights.
MANY_PEOPLE, MANY_FACES = 10, 1000


class Way(Protocol):
    """One way of tuning."""

    base: Checkpoint

    def held_out(self) -> tuple[Classes, Classes]:
        """The labels (n,) of the present model, and of one not fitted to the person seen."""

    def write(self, out: Path, facts: dict[str, Any]) -> None:
        """Fit to everybody, and write the model."""


def chosen_method(method: str, faces: CodedFaces) -> str:
    """Return RECALIBRATE or FINE_TUNE; AUTO chooses by the number of people and faces."""
    if method != AUTO:
        return method
    many = len(faces.people) >= MANY_PEOPLE and len(faces) >= MANY_FACES
    return FINE_TUNE if many else RECALIBRATE


def prepared(
    method: str, faces: CodedFaces, model: str | None, folder: Path, epochs: int,
    machine: ModelOptions, *, quiet: bool,
) -> Way:  # fmt: skip
    """Return one way of tuning, after checks that need no time.

    Args:
        method: RECALIBRATE or FINE_TUNE.
        faces: The coded faces.
        model: The model that made the results; None to find it among the shipped ones.
        folder: Where fine-tuning keeps pictures and runs.
        epochs: Of each fine-tuning.
        machine: Device and threads.
        quiet: Show no progress.

    Raises:
        JadferError: Models, people or videos do not fit.
    """
    from jadfer_cli.training import recalibrate

    hashes = {str(result.metadata["model"]["sha256"]) for result in faces.results}
    base = recalibrate.model_of(hashes, model)
    if method == RECALIBRATE:
        scores = recalibrate.scores_of(result.metadata for result in faces.results)
        return _Recalibration(base, faces, scores)
    from jadfer_cli.analysis.agreement import coded_faces
    from jadfer_cli.cli.console import stderr_console
    from jadfer_cli.cli.training_progress import ConsoleReporter
    from jadfer_cli.runtime import settle_for_training
    from jadfer_cli.training import fine_tune

    names = faces.person.tolist()
    fine_tune.check(names)
    pictures = fine_tune.Pictures(
        coded_faces.videos(faces), faces.clip, faces.frame, coded_faces.boxes(faces), faces.votes,
        names,
    )  # fmt: skip
    tuning = fine_tune.Tuning(
        base, str(base.entry.path), folder, "auto", epochs, {"recipe": base.architecture},
        settle_for_training(machine), ConsoleReporter(stderr_console(), quiet=quiet),
    )  # fmt: skip
    return _FineTuning(base, pictures, tuning)


@dataclass
class _Recalibration:
    base: Checkpoint
    faces: CodedFaces
    scores: str

    def held_out(self) -> tuple[Classes, Classes]:
        from jadfer_cli.training import recalibrate

        p, votes, names = self.faces.p, self.faces.votes, self.faces.person.tolist()
        return p.argmax(1), recalibrate.held_out(p, votes, names).argmax(1)

    def write(self, out: Path, facts: dict[str, Any]) -> None:
        from jadfer_cli.training import recalibrate

        p, votes, names = self.faces.p, self.faces.votes, self.faces.person.tolist()
        recalibrate.save(out, self.base, self.scores, recalibrate.fit(p, votes, names), facts)


@dataclass
class _FineTuning:
    base: Checkpoint
    pictures: Pictures
    tuning: Tuning

    def __post_init__(self) -> None:
        self._files: list[Path] = []

    def held_out(self) -> tuple[Classes, Classes]:
        from jadfer_cli.training import fine_tune

        tuning = self.tuning
        self._files = fine_tune.cut(
            self.pictures, tuning.folder / "faces", tuning.runtime, tuning.report
        )
        return fine_tune.held_out(self.pictures, self._files, tuning)

    def write(self, out: Path, facts: dict[str, Any]) -> None:
        from jadfer_cli.training import fine_tune

        fine_tune.write(out, fine_tune.final(self.pictures, self._files, self.tuning), facts)
