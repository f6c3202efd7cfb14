"""Augmentation that makes small grey pictures look like faces in videos.

Geometry (flip, rotation, scale, shift) is composed with the alignment, so that a face is
resampled only once. Light, colour, resolution, blur, JPEG and an erased rectangle follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class AugmentOptions:
    """Strength of each step: a probability unless a unit is given."""

    flip: float = 0.5
    rotation_deg: float = 12.0  # uniform, both ways
    scale: float = 0.15  # log-uniform factor, both ways
    shift: float = 0.05  # of the side, both ways
    light: float = 0.8  # brightness, contrast, gamma
    tint: float = 0.5  # colour cast on a grey face
    resample: float = 0.3  # down to 24-80 px and up again
    blur: float = 0.2
    jpeg: float = 0.2
    erase: float = 0.25

    def __post_init__(self) -> None:
        for name in ("flip", "light", "tint", "resample", "blur", "jpeg", "erase", "shift"):
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
    """Applies light, colour, resolution, blur, JPEG and erasing to one (S, S, 3) crop."""
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
    if rng.random() < options.resample:
        small = int(rng.integers(24, 80))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
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


NO_AUGMENTATION = AugmentOptions(
    flip=0, rotation_deg=0, scale=0, shift=0, light=0, tint=0, resample=0, blur=0, jpeg=0, erase=0
)
