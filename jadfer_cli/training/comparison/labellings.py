"""Labellings: which images of a data set count, and who labelled them.

FER+ majority, FER+ plurality and the labels of the original FER2013 are three labellings of one
set of images. Each trains, validates and tests on the images of its own protocol.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.labels import BY_NAME, LABELS
from jadfer_cli.training import datasets
from jadfer_cli.training.data import AlignedData
from jadfer_cli.training.faceset import Counted, FaceSet
from jadfer_cli.training.ferplus import PROTOCOLS, locate
from jadfer_cli.training.layouts import SPLITS

FER2013 = "fer2013"
_FER2013_NAMES = ("fer2013_labels.csv", "fer2013.csv")
# the original challenge's numbers (Goodfellow et al. 2013, arXiv 1307.0414)
_FER2013_CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


@dataclass(frozen=True)
class Labelling:
    """The images of a labelling.

    Attributes:
        name: As of `parse`.
        sets: The labelled images by split; one protocol each, under which all of them count.
        positions: By split, where those images are in the data set's split, for stored maps.
        clean: bool (n,), test images without a twin in the training split.
        draws: (n,), a number for each test image; twins and pictures of one person share it.
    """

    name: str
    sets: Mapping[str, FaceSet]
    positions: Mapping[str, npt.NDArray[np.intp]]
    clean: npt.NDArray[np.bool_]
    draws: npt.NDArray[np.intp]

    @property
    def dataset(self) -> str:
        """The data set of its images."""
        return parse(self.name)[0]

    def digests(self) -> dict[str, str]:
        """A hash of the pictures and labels of each split; only rows with equal ones are ranked."""
        return {split: _digest(faces) for split, faces in self.sets.items()}


class Source:
    """The three splits of a data set, read and aligned once for all of its labellings.

    Training images with a twin in validation or test are dropped.

    Args:
        data: The data set.
        fer2013: File of the original labels of FER2013; None to search beside the data.
        device: Where pictures are compared.

    Raises:
        TrainingError: A split is missing or unreadable.
    """

    def __init__(self, data: AlignedData, fer2013: Path | None, device: str) -> None:
        self.data, self.fer2013 = data, fer2013
        read = {split: data.read(split) for split in SPLITS}
        twins = data.twins(read, device)
        kept = ~twins.having("train", ("valid", "test"))
        self.clean, self.draws = ~twins.having("test", ("train",)), twins.draws("test")
        self.splits = {split: data.load(split, first_only=True) for split in SPLITS}
        self.splits["train"] = self.splits["train"].take(kept)
        self._meshes_found = False

    def find_meshes(self) -> None:
        """Adds face meshes to the training images, for recipes that need them.

        Raises:
            ModelError: The face landmarker's model file or LiteRT is missing.
        """
        if not self._meshes_found:
            self.splits["train"] = self.data.with_meshes(self.splits["train"])
            self._meshes_found = True

    def labelling(self, name: str) -> Labelling:
        """One labelling of this data set.

        Raises:
            OptionError: The data set has no such protocol.
            TrainingError: The labels of FER2013 cannot be read.
        """
        _, protocol = parse(name)
        whole: Mapping[str, FaceSet] = self.splits
        if name == FER2013:
            labels = _fer2013_labels(self._fer2013_file())
            whole = {split: relabelled(faces, labels) for split, faces in self.splits.items()}
        sets, positions = {}, {}
        for split, faces in whole.items():
            wanted = protocol or faces.main_protocol
            if wanted not in faces.protocols:
                raise OptionError(
                    f"`labelling` {name}: there is no protocol {wanted}.",
                    f"Protocols: {', '.join(faces.protocols)}.",
                )
            counted = faces.protocols[wanted]
            positions[split] = np.sort(counted.which)
            only = dataclasses.replace(faces, protocols={wanted: counted})
            sets[split] = only.take(positions[split])
        tested = positions["test"]
        return Labelling(name, sets, positions, self.clean[tested], self.draws[tested])

    def _fer2013_file(self) -> Path:
        if self.fer2013 is not None:
            return self.fer2013
        place, _ = locate(self.data.options.data)
        near = (place, place.resolve().parent, self.data.options.data)
        for path in (folder / name for folder in near for name in _FER2013_NAMES):
            if path.is_file():
                return path
        raise TrainingError(
            f"There are no labels of the original FER2013 beside {self.data.options.data}.",
            "Give its fer2013.csv, or a CSV with image_name and fer2013_label, as `fer2013`.",
        )


def parse(name: str) -> tuple[str, str | None]:
    """Splits "ferplus:majority" into data set and protocol; None is the data set's main protocol.

    `fer2013` means the images of FER+ with their first labels.

    Raises:
        OptionError: There is no such data set.
    """
    if name == FER2013:
        return "ferplus", None
    dataset, _, protocol = name.partition(":")
    if dataset not in datasets.DATASETS or (dataset == "ferplus" and protocol not in PROTOCOLS):
        known = [f"ferplus:{protocol}" for protocol in PROTOCOLS]
        known += [FER2013, *(name for name in datasets.DATASETS if name != "ferplus")]
        raise OptionError(f"There is no `labelling` {name}.", f"Labellings: {', '.join(known)}.")
    return dataset, protocol or None


def relabelled(faces: FaceSet, labels: Mapping[str, int]) -> FaceSet:
    """FER+ with other labels; images without one do not count.

    Args:
        faces: A split of FER+.
        labels: Index of the expression by image name.

    Raises:
        TrainingError: No image has a label.
    """
    which = np.array([i for i, name in enumerate(faces.image_names) if name in labels], np.intp)
    if not len(which):
        raise TrainingError(f"{faces.name}: the labels of FER2013 name none of its images.")
    classes = np.array([labels[faces.image_names[i]] for i in which], np.intp)
    targets = np.zeros_like(faces.targets)
    targets[which, classes] = 1
    return dataclasses.replace(
        faces, name=faces.name.replace("ferplus", FER2013), targets=targets, votes=None,
        protocols={FER2013: Counted(which, classes)},
        expressions=tuple(sorted(LABELS.index(name) for name in _FER2013_CLASSES)),
    )  # fmt: skip


def _fer2013_labels(file: Path) -> dict[str, int]:
    """Labels by image name, of the challenge's fer2013.csv or of a CSV that names the images.

    FER+ names each image by its row in fer2013.csv. Duplicates whose labels disagree, where a
    column `ambiguous_duplicate` marks them, are left out.

    Raises:
        TrainingError: The file has other columns.
    """
    found = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            for row, line in enumerate(csv.DictReader(opened)):
                if "emotion" in line:
                    found[f"fer{row:07d}.png"] = LABELS.index(
                        _FER2013_CLASSES[int(line["emotion"])]
                    )
                elif line.get("ambiguous_duplicate", "0") in ("", "0"):
                    label = BY_NAME[line["fer2013_label"].strip().lower()]
                    found[line["image_name"]] = LABELS.index(label)
    except OSError as error:
        raise TrainingError(f"{file} cannot be read ({error.strerror}).") from error
    except (KeyError, ValueError, IndexError, csv.Error) as error:
        raise TrainingError(
            f"{file} holds no labels of FER2013 ({error}).",
            "It needs the column emotion (0 to 6), or image_name and fer2013_label.",
        ) from error
    return found


def _digest(faces: FaceSet) -> str:
    digest = hashlib.sha256(faces.targets.tobytes())
    for index, name in enumerate(faces.image_names):
        digest.update(name.encode() + faces.digest(index))
    return digest.hexdigest()[:16]
