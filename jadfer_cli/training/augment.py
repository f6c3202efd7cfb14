"""Augmentation that makes small grey pictures look like faces in videos.

Geometry (flip, rotation, scale, shift) is composed with the alignment, so that a face is
resampled only once. Light, colour, motion, resolution, the compression of videos, blur, JPEG and an
erased rectangle follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jadfer_cli.video import still


@dataclass(frozen=True)
class AugmentOptions:
    """Strength of each step: a probability unless a unit is given."""

    flip: float = 0.5
    rotation_deg: float = 12.0  # uniform, both ways
    scale: float = 0.15  # log-uniform factor, both ways
    shift: float = 0.05  # of the side, both ways
    light: float = 0.8  # brightness, contrast, gamma
    tint: float = 0.5  # colour cast on a grey face
    motion: float = 0.1  # smeared along a line of up to a tenth of the side
    resample: float = 0.3  # down to 24-80 px and up again
    h264: float = 0.15  # encoded as in a video, at the size that it was resampled to
    blur: float = 0.2
    jpeg: float = 0.2
    erase: float = 0.25

    def __post_init__(self) -> None:
        chances = ("flip", "light", "tint", "motion", "resample", "h264", "blur", "jpeg", "erase")
        for name in (*chances, "shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if not (0 <= self.rotation_deg <= 180 and 0 <= self.scale <= 2):
            raise ValueError("rotation_deg must lie between 0 and 180, scale between 0 and 2")


def jitter(
    matrix: npt.NDArray[np.float32], size_px: int, options: AugmentOptions, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A (2, 3) source-to-crop map followed by a random flip, rotation, scale and shift."""
    angle = math.radians(rng.uniform(-options.rotation_deg, options.rotation_deg))
    zoom = math.exp(rng.uniform(-options.scale, options.scale))
    flip = -1.0 if rng.random() < options.flip else 1.0
    cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
    turn = np.array([[flip * cos, -sin], [flip * sin, cos]])
    centre = np.full(2, size_px / 2)
    shift = rng.uniform(-options.shift, options.shift, 2) * size_px
    linear = turn @ matrix[:, :2]
    offset = turn @ (matrix[:, 2] - centre) + centre + shift
    return np.concatenate([linear, offset[:, None]], 1).astype(np.float32)


def degrade(
    crop_rgb: npt.NDArray[np.uint8], options: AugmentOptions, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Applies light, colour, motion, resolution, H.264, blur, JPEG and erasing to one crop.

    Args:
        crop_rgb: (S, S, 3).
        options: How often, and how much.
        rng: Draws them.

    Returns:
        (S, S, 3).
    """
    import cv2

    side = crop_rgb.shape[0]
    image: npt.NDArray[np.floating] = crop_rgb.astype(np.float32)
    if rng.random() < options.light:
        gain, offset = rng.uniform(0.6, 1.4), rng.uniform(-30, 30)
        gamma = math.exp(rng.uniform(-0.4, 0.4))
        image = 255 * np.clip(((image - 127) * gain + 127 + offset) / 255, 0, 1) ** gamma
    if rng.random() < options.tint:
        image = image * rng.uniform(0.7, 1.2, 3) + rng.uniform(-15, 15, 3)
    image = np.clip(image, 0, 255).astype(np.float32)
    if rng.random() < options.motion:
        image = _smeared(image, rng.uniform(0.02, 0.1) * side, rng.uniform(0, math.pi))
    small = int(rng.integers(24, 80)) if rng.random() < options.resample else side
    if small < side:
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    if rng.random() < options.h264:
        image = _as_in_a_video(image, int(rng.integers(20, 38)))
    if small < side:
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
    if rng.random() < options.blur:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 2.0)))
    result: npt.NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < options.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        encoded = cv2.imencode(".jpg", result, quality)[1]
        result = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    if rng.random() < options.erase:
        h, w = rng.integers(side // 8, side // 3, 2)
        y, x = rng.integers(0, side - h), rng.integers(0, side - w)
        result = result.copy()
        result[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return result


def _smeared(
    image: npt.NDArray[np.floating], length_px: float, angle_rad: float
) -> npt.NDArray[np.floating]:
    """The picture as a camera sees it that moves by `length_px` while the shutter is open."""
    import cv2

    n = 2 * math.ceil(length_px / 2) + 1  # side of the kernel, odd
    centre, half = n // 2, length_px / 2
    dx, dy = half * math.cos(angle_rad), half * math.sin(angle_rad)
    kernel = np.zeros((n, n), np.float32)
    for part in np.linspace(-1, 1, 2 * n + 1):
        kernel[round(centre + part * dy), round(centre + part * dx)] += 1
    smeared: npt.NDArray[np.floating] = cv2.filter2D(
        image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE
    )
    return smeared


def _as_in_a_video(image: npt.NDArray[np.floating], crf: int) -> npt.NDArray[np.floating]:
    """The picture, of an odd side one column and row more, through H.264."""
    side = image.shape[0]
    odd = side % 2
    even = np.pad(image, ((0, odd), (0, odd), (0, 0)), "edge")
    coded = still.h264(np.clip(even, 0, 255).astype(np.uint8), crf)
    shown: npt.NDArray[np.floating] = coded[:side, :side].astype(np.float32)
    return shown


NO_AUGMENTATION = AugmentOptions(
    flip=0, rotation_deg=0, scale=0, shift=0, light=0, tint=0, motion=0, resample=0, h264=0, blur=0,
    jpeg=0, erase=0,
)  # fmt: skip
