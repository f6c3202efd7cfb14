"""One training of the follower, from pictures and videos to the exported network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jadfer_cli.common import atomic_write, explain_os_errors
from jadfer_cli.errors import TrainingError
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.follower import FILE
from jadfer_cli.options import FaceOptions
from jadfer_cli.training import ferplus
from jadfer_cli.training import follower_loop as loop
from jadfer_cli.training.align import find_landmarks
from jadfer_cli.training.follower_faces import FaceBank, collect, held_out
from jadfer_cli.training.follower_network import FollowerNetwork, export
from jadfer_cli.training.follower_views import ViewOptions
from jadfer_cli.training.reporting import Reporter

REPORT = "report.json"
# Shares of the training views. FER+ has most faces, but 48 px of each, and nothing around it.
_SHARES = {"pictures": 0.55, "ferplus": 0.30, "videos": 0.15}
_PICTURE_PX, _VIDEO_PX = 224, 640  # detection sizes: pictures show one large face
_PLAIN = ViewOptions(
    negative=0, large_jitter=0, cover=0, edge=0, blur=0, motion=0, coarse=0, jpeg=0, dark=0
)
# Conditions of the report: what differs from small movements of a visible face.
_CONDITIONS: dict[str, dict[str, float]] = {
    "small movements": {},
    "large movements, turns and scales": {"large_jitter": 1},
    "partly covered": {"cover": 1},
    "cut by the edge": {"edge": 1},
    "out of focus": {"blur": 1},
    "motion blur": {"motion": 1},
    "few pixels": {"coarse": 1},
    "dark": {"dark": 1},
}


@dataclass(frozen=True)
class FollowerData:
    """Where the faces come from.

    Attributes:
        pictures: Folders or zip files of pictures.
        videos: Video files.
        ferplus: FER+, as `ferplus.load` takes it.
        every: Use every nth picture, and every (3n)th frame of videos.
    """

    pictures: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()
    ferplus: Path | None = None
    every: int = 1


def run(
    data: FollowerData,
    out: Path,
    options: loop.FollowerOptions,
    cache: Path,
    report: Reporter,
) -> dict[str, Any]:
    """Trains a follower into a folder, which gets the network and `report.json`.

    Args:
        data: Where the faces come from.
        out: The run's folder; a run that was stopped there continues.
        options: How the network is trained.
        cache: Folder that caches landmarks of FER+.
        report: Takes notes.

    Returns:
        The figures on faces held out, by condition.

    Raises:
        TrainingError: There are no faces, or the folder holds another run.
        OutputError: The folder cannot be written.
    """
    with explain_os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    banks = _banks(data, out, cache, report)
    shares = [_SHARES[name] for name in banks]

    def progress(step: int, figures: dict[str, float]) -> None:
        words = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        report.say(f"step {step}/{options.steps}: {words}")

    network = loop.train(list(banks.values()), shares, out, options, progress)
    export(network, out / FILE)
    figures = figures_by_condition(network, list(banks.values()), shares)
    with atomic_write(out / REPORT) as part:
        part.write_text(json.dumps(figures, indent=1) + "\n", "utf-8", newline="\n")
    return figures


def figures_by_condition(
    network: FollowerNetwork, banks: list[FaceBank], shares: list[float]
) -> dict[str, dict[str, float]]:
    """Figures on faces held out, in views of one kind each, and on all kinds of training."""
    valid = [bank.take(bank.held_out) for bank in banks]
    found = {}
    for name, changes in _CONDITIONS.items():
        views = ViewOptions(**{**vars(_PLAIN), **changes})
        found[name] = loop.measure(network, valid, shares, views)
    found["as in training"] = loop.measure(network, valid, shares)
    return found


def _banks(data: FollowerData, out: Path, cache: Path, report: Reporter) -> dict[str, FaceBank]:
    """The faces of each kind of source, kept in the run's folder."""
    banks = {}
    for name, sources, size in (
        ("pictures", data.pictures, _PICTURE_PX), ("videos", data.videos, _VIDEO_PX)
    ):  # fmt: skip
        file = out / f"{name}.npz"
        if sources and not file.is_file():
            faces = FaceOptions(detector="centerface", detection_size=size)
            detect = load_detector(faces, 1).detect
            collect(list(sources), detect, report.say, data.every).save(file)
        if sources:
            banks[name] = FaceBank.open(file)
    if data.ferplus is not None:
        banks["ferplus"] = _of_ferplus(data.ferplus, cache, report)
    if not any(bank.held_out.any() for bank in banks.values()):
        raise TrainingError(
            "There are no faces to hold out for validation.",
            "Give pictures of more people with `pictures`, or `ferplus`.",
        )
    return banks


def _of_ferplus(data: Path, cache: Path, report: Reporter) -> FaceBank:
    faces = ferplus.load(data, "train")
    detector = load_detector(FaceOptions(detector="centerface"), 1)
    with report.counting("finding landmarks", len(faces)) as progress:
        landmarks = find_landmarks(faces, detector.detect, detector.info.sha256, cache, progress)
    known = np.isfinite(landmarks).all((1, 2))
    pictures = np.stack([image for image in faces.images if not isinstance(image, Path)])
    out = np.array([held_out(name) for name in faces.image_names], np.bool_)
    return FaceBank(pictures[known], landmarks[known], out[known])
