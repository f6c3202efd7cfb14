"""Faces of a labelled clip, as `annotate` crops them, and what it takes to confuse a network.

A perturbation changes a crop but not the expression: mirroring, a shift, light, compression, a
lower resolution. A label that it changes was not about the face.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jadfer_cli.faces import align
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.follow import Detections, follow
from jadfer_cli.faces.follower import load_follower
from jadfer_cli.faces.motion import MotionTracker
from jadfer_cli.options import FaceOptions
from jadfer_cli.records import Frame, ImageArray
from jadfer_cli.video.encode import encode
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

_SHIFT_PX = 2  # of crops of 112 px
_JPEG = 40


@dataclass(frozen=True)
class ClipFaces:
    """The face with the highest detection score in each frame of a clip.

    Attributes:
        n_frames: Of the clip.
        frames: int (n,), the frames with a face, ascending.
        time_s: float64 (n_frames,), times of all frames.
        crops: uint8 (n, S, S, 3), RGB, by name: "unchanged" and those of perturbations that change
            the frame; others are made by `perturbed`.
    """

    n_frames: int
    frames: npt.NDArray[np.intp]
    time_s: npt.NDArray[np.float64]
    crops: Mapping[str, ImageArray]


class Finder:
    """Finds and follows faces as `annotate` does.

    Args:
        threads: CPU threads of the detector.
        options: The detector and the follower; by default those of `annotate`.

    Raises:
        ModelError: A network is missing or damaged.
    """

    def __init__(self, threads: int, options: FaceOptions | None = None) -> None:
        self._options = options or FaceOptions()
        self._detector = load_detector(self._options, threads)
        self._follower = load_follower(self._options.follower)

    def faces(self, frames: Iterable[Frame]) -> Iterator[Detections]:
        """The faces in all frames of one clip, in order."""
        options = self._options
        motion = None
        if self._follower is not None:
            motion = MotionTracker(self._follower, options.min_face_px)
        return follow(frames, self._detector, options.redetect_s, motion=motion)


def read(clip: Path, finder: Finder, crop_px: int) -> ClipFaces:
    """Decodes a clip and crops its faces.

    Raises:
        VideoError: The clip cannot be read.
    """
    info = probe(str(clip))
    frames: list[int] = []
    crops: dict[str, list[ImageArray]] = {"unchanged": [], "shifted": [], "JPEG 40": []}
    with VideoReader(info, np.arange(info.n_frames)) as reader:
        for found in finder.faces(reader):
            image = found.frame.image_rgb
            if image is None or not len(found.faces):
                continue
            best = int(found.faces.scores.argmax())
            matrix = align.similarity(found.faces.landmarks_px[best : best + 1], crop_px)
            frames.append(found.frame.index)
            crops["unchanged"].append(align.warp(image, matrix, crop_px)[0])
            for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                moved = matrix.copy()
                moved[:, :, 2] += np.array([x, y]) * _SHIFT_PX * crop_px / 112
                crops["shifted"].append(align.warp(image, moved, crop_px)[0])
            crops["JPEG 40"].append(align.warp(_jpeg(image), matrix, crop_px)[0])
    stacked = {name: np.stack(each) for name, each in crops.items() if each}
    return ClipFaces(info.n_frames, np.array(frames, int), np.asarray(info.time_s), stacked)


def perturbed(faces: ClipFaces) -> Iterator[tuple[str, ImageArray]]:
    """Each perturbation with its crops (m n, S, S, 3): m of each face, one after another."""
    if not len(faces.frames):
        return
    plain = faces.crops["unchanged"]
    yield "mirrored", np.ascontiguousarray(plain[:, :, ::-1])
    yield "shifted by 2 px", faces.crops["shifted"]
    yield "brightness x 0.7", np.clip(plain * 0.7, 0, 255).astype(np.uint8)
    yield "brightness x 1.3", np.clip(plain * 1.3, 0, 255).astype(np.uint8)
    yield "JPEG 40", faces.crops["JPEG 40"]
    yield "half size", np.stack([_half(crop) for crop in plain])


def compressed(clip: Path, finder: Finder, crop_px: int, crf: int) -> ClipFaces:
    """The same clip after H.264 at a constant rate factor, decoded and cropped anew.

    Raises:
        VideoError: The clip cannot be read.
    """
    info = probe(str(clip))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compressed.mp4"
        with VideoReader(info, np.arange(info.n_frames)) as reader:
            encode(
                path,
                _pictures(reader, info.height_px, info.width_px),
                fps=info.nominal_fps,
                crf=crf,
            )
        return read(path, finder, crop_px)


def _pictures(frames: Iterable[Frame], height: int, width: int) -> Iterator[ImageArray]:
    """A picture for every frame: that of the frame before where one is missing."""
    last: ImageArray = np.zeros((height, width, 3), np.uint8)
    for frame in frames:
        last = last if frame.image_rgb is None else frame.image_rgb
        yield last


def labels_per_frame(faces: ClipFaces, labels: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Labels (n_frames,) of labels (n,) of the faces; -1 where there is no face."""
    found = np.full(faces.n_frames, -1)
    found[faces.frames] = labels
    return found


def changes_per_second(
    labels: npt.NDArray[np.intp], time_s: npt.NDArray[np.float64]
) -> tuple[int, float]:
    """The number of label changes between consecutive frames with a face, and the seconds."""
    seen = labels >= 0
    own, at = labels[seen], time_s[seen]
    if len(own) < 2:
        return 0, 0.0
    return int((own[1:] != own[:-1]).sum()), float(at[-1] - at[0])


def flips(
    predict: Callable[[ImageArray], npt.NDArray[np.floating]], faces: ClipFaces
) -> dict[str, tuple[int, int]]:
    """Labels that each perturbation changes, and labels compared, by perturbation.

    Args:
        predict: Probabilities (n, K) of crops (n, S, S, 3).
        faces: Of a clip.
    """
    if not len(faces.frames):
        return {}
    plain = predict(faces.crops["unchanged"]).argmax(1)
    found = {}
    for name, crops in perturbed(faces):
        labels = predict(crops).argmax(1)
        expected = np.repeat(plain, len(labels) // len(plain))
        found[name] = (int((labels != expected).sum()), len(labels))
    return found


def _jpeg(image_rgb: ImageArray) -> ImageArray:
    import cv2

    encoded = cv2.imencode(".jpg", image_rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG])[1]
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[:, :, ::-1])


def _half(crop_rgb: ImageArray) -> ImageArray:
    import cv2

    side = crop_rgb.shape[0]
    small = cv2.resize(crop_rgb, (side // 2, side // 2), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.uint8)
