"""Fine-tuning of a model to the codes of a study: the coded faces are cut out and trained on.

The pictures become a data set of the layout `csv`, with the coders as votes, and the training is
that of `jadfer train`. People are kept apart in every split.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import atomic_write, explain_os_errors
from jadfer_cli.errors import TrainingError
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.scores import choose
from jadfer_cli.labels import LABELS
from jadfer_cli.records import VideoInfo
from jadfer_cli.runtime import Runtime
from jadfer_cli.text import count_text
from jadfer_cli.training import session
from jadfer_cli.training.data import AlignedData, DataOptions
from jadfer_cli.training.micro.folds import subject_folds
from jadfer_cli.training.reporting import Reporter
from jadfer_cli.training.run_config import data_of, inputs_of
from jadfer_cli.training.scoring import logits_of
from jadfer_cli.training.twins import ONLY_EQUAL
from jadfer_cli.video.reader import VideoReader

N_FOLDS = 5  # each trains a model
MIN_PEOPLE = 3  # to learn from, to choose the epoch on, and to test on
_MARGIN = 0.4  # of a box's longer side, on each side: detectors want some surroundings
Classes = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Pictures:
    """Coded faces in videos.

    Attributes:
        videos: The video of each clip, turned as it was annotated.
        clip: (n,), number of the clip of each face.
        frame: (n,), index of its frame.
        boxes_px: (n, 4), where it is.
        votes: (n, K), how many coders chose each label.
        people: n names.
    """

    videos: Sequence[VideoInfo]
    clip: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    boxes_px: npt.NDArray[np.float64]
    votes: npt.NDArray[np.float64]
    people: Sequence[str]


def check(people: Sequence[str]) -> None:
    """Check that people can be kept apart.

    Raises:
        TrainingError: There are too few.
    """
    n = len(set(people))
    if n < MIN_PEOPLE:
        raise TrainingError(
            f"Fine-tuning needs codes of {MIN_PEOPLE} people at least; there are {n}.",
            "Code clips of more people, or recalibrate: `method` recalibrate.",
        )


def cut(pictures: Pictures, folder: Path, runtime: Runtime, report: Reporter) -> list[Path]:
    """Cut the faces out of their videos, into PNG files.

    Raises:
        VideoError: A video cannot be read.
        TrainingError: A frame is damaged.
        OutputError: A file cannot be written.
    """
    import cv2

    files = [folder / f"{i:06}.png" for i in range(len(pictures.people))]
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with report.counting("cutting out faces", len(files)) as progress:
        done = 0
        for number, video in enumerate(pictures.videos):
            own = np.flatnonzero(pictures.clip == number)
            if not len(own):
                continue
            indices = np.unique(pictures.frame[own])
            with VideoReader(video, indices, runtime.threads) as frames:
                for frame in frames:
                    for i in own[pictures.frame[own] == frame.index]:
                        if frame.image_rgb is None:
                            raise TrainingError(f"{video.path}: frame {frame.index} is damaged.")
                        part = _part(frame.image_rgb, pictures.boxes_px[i])
                        with atomic_write(files[i]) as target:
                            _, data = cv2.imencode(".png", np.ascontiguousarray(part[:, :, ::-1]))
                            target.write_bytes(data.tobytes())
                        done += 1
                        progress(done)
    return files


def _part(image: npt.NDArray[np.uint8], box: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """A square around a box, with a margin, as far as it lies in the picture."""
    height, width = image.shape[:2]
    half = max(box[2] - box[0], box[3] - box[1]) * (0.5 + _MARGIN)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left, top = max(int(x - half), 0), max(int(y - half), 0)
    return image[top : min(int(y + half) + 1, height), left : min(int(x + half) + 1, width)]


@dataclass(frozen=True)
class Tuning:
    """How models are fine-tuned.

    Attributes:
        base: The model to start from.
        start: Its name or file.
        folder: Where pictures, runs and models go.
        detector: Finds the landmarks that the pictures are aligned by.
        epochs: Of each training.
        settings: Further entries of the training's config.
        runtime: Device and threads.
        report: Receives notes and progress.
    """

    base: Checkpoint
    start: str
    folder: Path
    detector: str
    epochs: int
    settings: dict[str, Any]
    runtime: Runtime
    report: Reporter

    def config(self, data: Path) -> dict[str, Any]:
        """The config of a training, as `jadfer train` has it."""
        return {
            "dataset": "csv", "data": str(data), "start": self.start, "epochs": self.epochs,
            "detectors": [self.detector], "twin_threshold": float(ONLY_EQUAL), **self.settings,
        }  # fmt: skip


def held_out(pictures: Pictures, files: Sequence[Path], tuning: Tuning) -> tuple[Classes, Classes]:
    """Score each face by the present model, and by one fine-tuned without the person seen.

    Returns:
        The labels that both choose, (n,) each, from the same crops.

    Raises: as of `jadfer train`.
    """
    people = np.asarray(pictures.people)
    n_folds = min(N_FOLDS, len(set(pictures.people)))
    before, after = (np.zeros(len(people), np.intp) for _ in range(2))
    for number, test in enumerate(subject_folds(pictures.people, n_folds), 1):
        name = f"fold{number}"
        tuning.report.say(
            f"fold {number} of {n_folds}: without {count_text(len(set(people[test])), 'person')}"
        )
        model, data = _train(pictures, files, test, name, tuning)
        faces = AlignedData(data, tuning.runtime.threads, tuning.report).load(
            "test", first_only=True
        )
        for chosen, scorer in ((before, tuning.base), (after, model)):
            network = scorer.build().to(tuning.runtime.device)
            logits = logits_of(network, faces).numpy()
            used = choose("auto", scorer.scores, scorer.entry.name)  # as `annotate` does
            chosen[test] = scorer.scores[used].probabilities(logits).argmax(1)
    return before, after


def final(pictures: Pictures, files: Sequence[Path], tuning: Tuning) -> Checkpoint:
    """Fine-tune on all people, but for those who choose the epoch.

    Raises: as of `jadfer train`.
    """
    return _train(pictures, files, np.empty(0, np.intp), "final", tuning)[0]


def _train(
    pictures: Pictures, files: Sequence[Path], test: Classes, name: str, tuning: Tuning
) -> tuple[Checkpoint, DataOptions]:
    """One training: a fifth of the other people choose the epoch."""
    rest = np.setdiff1d(np.arange(len(pictures.people)), test)
    others = [pictures.people[i] for i in rest]
    folds = subject_folds(others, min(N_FOLDS, len(set(others))), seed=1)
    split = np.full(len(pictures.people), "train", "<U5")
    split[test] = "test"
    split[rest[folds[0]]] = "valid"
    table = tuning.folder / f"{name}.csv"
    with atomic_write(table) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *LABELS, "split"])
        for path, votes, of in zip(files, pictures.votes.tolist(), split.tolist(), strict=True):
            writer.writerow([path.relative_to(tuning.folder).as_posix(), *votes, of])
    config = tuning.config(table)
    cache = tuning.folder / "cache"
    out = tuning.folder / name
    run = session.prepare(out, config, tuning.runtime, cache=cache, report=tuning.report)
    train_set, valid_set = run.load_images()
    network = run.train(train_set, valid_set, session.Progress())
    path, _ = run.finish(network, train_set, valid_set)
    return checkpoint.load(str(path)), data_of(inputs_of(config), cache)


def write(out: Path, model: Checkpoint, facts: dict[str, Any]) -> None:
    """Write a fine-tuned model with what it gained.

    Args:
        out: The file.
        model: From `final`.
        facts: For the model's record, JSON-ready.

    Raises:
        OutputError: It cannot be written.
    """
    training = {**model.metrics["training"], "dataset": "codes", "how": "fine-tuning", **facts}
    checkpoint.save(
        out, model.build(), labels=model.labels, temperature=model.temperature,
        metrics={**model.metrics, "training": training}, scores=model.scores,
        terms=model.entry.terms,
    )  # fmt: skip
