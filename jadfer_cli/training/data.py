"""The data set of a command: which one, where, and its faces with their landmarks."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jadfer_cli.common import cache_folder
from jadfer_cli.errors import OptionError, SplitMissing
from jadfer_cli.faces import detect
from jadfer_cli.faces.detector import Detector
from jadfer_cli.faces.landmarker import PRESENT, Landmarker
from jadfer_cli.labels import LABELS
from jadfer_cli.options import FaceOptions
from jadfer_cli.text import count_text
from jadfer_cli.training import datasets
from jadfer_cli.training.align import find_landmarks
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.layouts import SPLITS
from jadfer_cli.training.meshes import find_meshes
from jadfer_cli.training.near_duplicates import LOWEST, SAME_PHOTOGRAPH
from jadfer_cli.training.reporting import Reporter
from jadfer_cli.training.twins import ONLY_EQUAL, Twins, find

# lower than for video: every picture is known to show a face
DETECTION_THRESHOLD = 0.3


@dataclass(frozen=True)
class DataOptions:
    """Which data set, where, and how its faces are aligned.

    Attributes:
        dataset: One of `datasets.DATASETS`.
        data: Its folder or file.
        votes: FER+'s own votes, if they are not beside the data.
        classes: NAME=EXPRESSION for each class name of the set's own.
        detectors: Names of the detectors; training crops are aligned by any of them.
        cache: Folder for landmarks and twins; None for the user's cache folder.
        twin_threshold: Correlation above which two pictures count as the same photograph;
            1 for equal pictures only.
        landmarker: The model file of the face landmarker, for recipes that need it; None to find
            it as `faces.landmarker.find_model` does.
    """

    dataset: str
    data: Path
    votes: Path | None = None
    classes: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ("auto",)
    cache: Path | None = None
    twin_threshold: float = SAME_PHOTOGRAPH
    landmarker: Path | None = None

    def __post_init__(self) -> None:
        if not LOWEST <= self.twin_threshold <= ONLY_EQUAL:
            raise OptionError(
                f"`twin_threshold` must lie between {LOWEST} and {ONLY_EQUAL}, not "
                f"{self.twin_threshold}."
            )


def parse_classes(pairs: tuple[str, ...]) -> dict[str, str]:
    """Splits NAME=EXPRESSION texts into {"NAME": "EXPRESSION"}.

    Raises:
        OptionError: One has another form.
    """
    result = {}
    for pair in pairs:
        name, sep, expression = pair.rpartition("=")
        if not sep or not name or not expression:
            raise OptionError(
                f"`classes` {pair} is not NAME=EXPRESSION.", "E.g. `classes` 1=surprise"
            )
        if expression not in LABELS:
            raise OptionError(
                f"`classes` {pair}: {expression} is not an expression.",
                f"Expressions: {', '.join(LABELS)}.",
            )
        result[name] = expression
    return result


class AlignedData:
    """Splits of a data set, with the landmarks that their faces are aligned by.

    Args:
        options: The data set and the names of the detectors.
        threads: CPU threads of a detector.
        report: Receives counts and progress.
        detectors: Loaded already; None to load them.

    Attributes:
        detectors: The loaded detectors, in the order of the options.

    Raises:
        ModelError: A detector cannot be loaded.
    """

    def __init__(
        self,
        options: DataOptions,
        threads: int,
        report: Reporter,
        detectors: list[Detector] | None = None,
    ) -> None:
        self.options, self.threads, self.report = options, threads, report
        self.detectors = detectors or [
            detect.load_detector(
                FaceOptions(detector=name, detection_threshold=DETECTION_THRESHOLD), threads
            )
            for name in options.detectors
        ]

    def read(self, split: str) -> FaceSet:
        """One split, "train", "valid" or "test", without landmarks.

        Raises:
            OptionError: An option does not fit the data set.
            TrainingError: The data set is missing or unreadable.
        """
        o = self.options
        return datasets.load(
            o.dataset, o.data, split, votes=o.votes, classes=parse_classes(o.classes)
        )

    def load(self, split: str, *, first_only: bool = False) -> FaceSet:
        """One split with landmarks, read from the cache or found now.

        Args:
            split: "train", "valid" or "test".
            first_only: Use the first detector only, as for evaluation.

        Raises:
            OptionError: An option does not fit the data set.
            TrainingError: The data set is missing or unreadable.
        """
        faces = self.read(split)
        self.report.say(f"{faces.name}: {count_text(len(faces), 'image')}")
        for note in faces.notes:
            self.report.say(f"{faces.name}: {note}")
        cache = self.options.cache or default_cache()
        found = []
        for detector in self.detectors[:1] if first_only else self.detectors:
            info = detector.info
            task = f"aligning {faces.name} with {info.name}"
            with self.report.counting(task, len(faces)) as progress:
                found.append(find_landmarks(faces, detector.detect, info.sha256, cache, progress))
            missing = int(np.isnan(found[-1][:, 0, 0]).sum())
            self.report.say(
                f"{faces.name}: {info.name} found no face in {count_text(missing, 'image')}, "
                "used uncropped"
            )
        return dataclasses.replace(faces, landmarks_px=np.stack(found, 1))

    def twins(self, loaded: Mapping[str, FaceSet], device: str) -> Twins:
        """The twins among all splits of the data set, read from the cache or found now.

        Args:
            loaded: Splits that have been read; the others are read now if they exist.
            device: Where pictures are compared.

        Raises:
            TrainingError: A split is damaged, or a picture cannot be read.
        """
        sets = dict(loaded)
        for split in SPLITS:
            if split not in sets:
                with contextlib.suppress(SplitMissing):
                    sets[split] = self.read(split)
        return find(
            sets, self.options.twin_threshold, device=device,
            cache=self.options.cache or default_cache(), report=self.report,
        )  # fmt: skip

    def with_meshes(self, faces: FaceSet) -> FaceSet:
        """Aligned faces with their meshes, read from the cache or found now.

        Raises:
            ModelError: The face landmarker's model file or LiteRT is missing.
            TrainingError: A picture cannot be read.
        """
        landmarker = Landmarker(self.options.landmarker, self.threads)
        cache = self.options.cache or default_cache()
        with self.report.counting(f"face meshes of {faces.name}", len(faces)) as progress:
            meshes = find_meshes(faces, landmarker, cache, progress)
        missing = int((meshes.presence < PRESENT).sum())
        self.report.say(f"{faces.name}: no face mesh in {count_text(missing, 'image')}")
        return dataclasses.replace(faces, meshes=meshes)


def default_cache() -> Path:
    """Folder for landmarks in the user's cache."""
    return cache_folder() / "landmarks"
