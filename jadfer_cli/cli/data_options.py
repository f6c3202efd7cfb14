"""What `train` and `evaluate` share: options that name a data set, and its alignment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jadfer_cli.common import cache_folder
from jadfer_cli.errors import OptionError
from jadfer_cli.labels import LABELS
from jadfer_cli.stopping import raise_if_stopped

if TYPE_CHECKING:
    from jadfer_cli.training.faceset import FaceSet

DATA_PANEL = "Data"
NAMES = "ferplus, rafdb, affectnet7, affectnet8, folder or csv"
# looser than for video: every picture is known to show a face
DETECTION_THRESHOLD = 0.3

DatasetOption = Annotated[
    str | None,
    typer.Option(help=f"{NAMES}.", rich_help_panel=DATA_PANEL, show_default=False),
]
PlaceOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the data set in its own layout; also FER+ as a zip, or the CSV file.",
        rich_help_panel=DATA_PANEL,
        show_default=False,
    ),
]
VotesOption = Annotated[
    Path | None,
    typer.Option(
        help="FER+: its fer2013new.csv; by default looked for in and beside --data.",
        rich_help_panel=DATA_PANEL,
        show_default=False,
    ),
]
ClassOption = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="NAME=EXPRESSION",
        help="What a class name of folder or csv means; may be repeated.",
        rich_help_panel=DATA_PANEL,
        show_default=False,
    ),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        help="Finds the landmarks that faces are aligned by: auto, centerface, an InsightFace "
        "pack, or an SCRFD .onnx file.",
        rich_help_panel=DATA_PANEL,
        show_default="auto",
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder that keeps the landmarks found; by default one of this user.",
        rich_help_panel=DATA_PANEL,
        show_default=False,
    ),
]


@dataclass(frozen=True)
class DataOptions:
    """Which data set, where, and how its faces are aligned."""

    dataset: str
    data: Path
    votes: Path | None = None
    classes: tuple[str, ...] = ()  # NAME=EXPRESSION
    detectors: tuple[str, ...] = ("auto",)  # several: training crops are aligned by any of them
    cache: Path | None = None


def parse_classes(pairs: tuple[str, ...]) -> dict[str, str]:
    """{"NAME": "EXPRESSION"} of NAME=EXPRESSION texts.

    Raises:
        OptionError: One is of another form.
    """
    result = {}
    for pair in pairs:
        name, sep, expression = pair.rpartition("=")
        if not sep or not name or not expression:
            raise OptionError(f"--class {pair} is not NAME=EXPRESSION.", "E.g. --class 1=surprise")
        if expression not in LABELS:
            raise OptionError(f"--class {pair}: {expression} is none of {', '.join(LABELS)}.")
        result[name] = expression
    return result


class Aligner:
    """The detectors that find the landmarks of face pictures.

    Args:
        options: The data set and the detectors' names.
        threads: CPU threads of a detector.
        console: For progress and counts.
        quiet: Say nothing.
    """

    def __init__(
        self, options: DataOptions, threads: int, console: Console, *, quiet: bool
    ) -> None:
        from jadfer_cli.faces import detect
        from jadfer_cli.options import FaceOptions

        self.options, self.console, self.quiet = options, console, quiet
        self.detectors = [
            detect.load_detector(
                FaceOptions(detector=name, detection_threshold=DETECTION_THRESHOLD), threads
            )
            for name in options.detectors
        ]

    def read(self, split: str) -> FaceSet:
        """One split, without landmarks."""
        from jadfer_cli.training import datasets

        o = self.options
        return datasets.load(
            o.dataset, o.data, split, votes=o.votes, classes=parse_classes(o.classes)
        )

    def load(self, split: str, *, first_only: bool = False) -> FaceSet:
        """One split, with landmarks; kept ones are read back. Counts are printed.

        Args:
            split: "train", "valid" or "test".
            first_only: Only by the first detector, as for evaluation.
        """
        import numpy as np

        from jadfer_cli.training.align import find_landmarks

        faces = self.read(split)
        self._say(f"{faces.name}: {len(faces):,} images")
        for note in faces.notes:
            self._say(f"{faces.name}: {note}")
        found = []
        for detector in self.detectors[:1] if first_only else self.detectors:
            info = detector.info
            what = f"aligning {faces.name} by {info.name}"
            with counting(self.console, what, len(faces), quiet=self.quiet) as step:
                landmarks = find_landmarks(
                    faces,
                    detector.detect,
                    info.sha256,
                    self.options.cache or default_cache(),
                    step,
                )
            found.append(landmarks)
            missing = int(np.isnan(landmarks[:, 0, 0]).sum())
            self._say(
                f"{faces.name}: {info.name} found no face in {missing:,}, which are taken whole"
            )
        return dataclasses.replace(faces, landmarks_px=np.stack(found, 1))

    def _say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(escape(text))


def default_cache() -> Path:
    """Where landmarks are kept: the user's cache folder."""
    return cache_folder() / "landmarks"


@contextmanager
def counting(
    console: Console, what: str, total: int, *, quiet: bool
) -> Iterator[Callable[[int], None]]:
    """A transient bar on a terminal, a line in a log; yields a function of the number done."""
    if quiet or not console.is_terminal:
        if not quiet:
            console.print(f"{escape(what)} ...")
        yield lambda done: raise_if_stopped()
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TimeRemainingColumn(compact=True), TextColumn("left"), console=console, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(escape(what), total=total)

        def count(done: int) -> None:
            raise_if_stopped()
            bar.update(task, completed=done)

        yield count
