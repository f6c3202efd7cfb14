"""Sample data for the self-test and the benchmark, made from what is installed."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np

from jadfer_cli.errors import JadferError
from jadfer_cli.records import ImageArray
from jadfer_cli.video.encode import encode

PICTURE = "data/images/t1.jpg"  # in the package insightface
N_FACES = 6  # on this picture

_CLIP_FRAMES, _CLIP_WIDTH_PX, _CLIP_HEIGHT_PX = 250, 640, 360


class SampleMissing(JadferError):
    """The sample data is not installed."""


def face_picture() -> ImageArray:
    """InsightFace's test picture: uint8 RGB (886, 1280, 3) with six faces.

    Raises:
        SampleMissing: The picture is not installed.
    """
    import cv2

    spec = importlib.util.find_spec("insightface")  # without importing it, which is slow
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / PICTURE
        if not path.is_file():
            continue
        # cv2.imread cannot open paths with all letters on Windows
        image_bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        if image_bgr is not None:
            return np.ascontiguousarray(image_bgr[:, :, ::-1])
    raise SampleMissing(
        "The package insightface lacks its test picture.",
        "Install it again: pip install --force-reinstall insightface",
    )


def sample_clip(folder: Path) -> Path:
    """Writes a clip of ten seconds, 640x360 px, in which one face moves slowly.

    Raises:
        SampleMissing: The picture that it is made from is not installed.
    """
    import cv2

    picture_rgb = face_picture()
    height_px, width_px = picture_rgb.shape[:2]
    frames = []
    for i in range(_CLIP_FRAMES):
        # centre of the view, as a share of the picture, and its magnification
        x = 0.30 + 0.04 * math.sin(i / 20)
        y = 0.36 + 0.03 * math.sin(i / 13)
        zoom = 1.5 + 0.1 * math.sin(i / 31)
        shift_x = _CLIP_WIDTH_PX / 2 - zoom * x * width_px
        shift_y = _CLIP_HEIGHT_PX / 2 - zoom * y * height_px
        matrix = np.array([[zoom, 0, shift_x], [0, zoom, shift_y]])
        frame = cv2.warpAffine(picture_rgb, matrix, (_CLIP_WIDTH_PX, _CLIP_HEIGHT_PX))
        frames.append(np.asarray(frame, np.uint8))
    path = folder / "sample.mp4"
    encode(path, frames)
    return path
