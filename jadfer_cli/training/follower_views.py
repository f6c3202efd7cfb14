"""Training views of a face: moved, turned, scaled, covered, blurred, darkened; and no face."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.faces.follower import FACE_PX, INPUT_PX, grey_crop, moved, placement
from jadfer_cli.records import FloatArray, ImageArray

MIRRORED = [1, 0, 2, 4, 3]  # order of eyes, nose and mouth corners in a mirror image
# Covered part of the face from which it counts as absent, and up to which as present.
_ABSENT, _PRESENT = 0.6, 0.45
_FACE = slice(round((INPUT_PX - FACE_PX) / 2), round((INPUT_PX + FACE_PX) / 2))
_Rng = np.random.Generator


@dataclass(frozen=True)
class ViewOptions:
    """How training views are made; probabilities unless stated otherwise."""

    negative: float = 0.14  # the crop shows no face, or one far from where it was
    large_jitter: float = 0.35  # as after a jump of the face; otherwise small, as between frames
    turn_deg: float = 40.0  # largest rotation of a large jitter
    scale: float = 1.4  # its largest scale, and the inverse of its smallest
    shift: float = 0.25  # its largest shift, in units of the face
    cover: float = 0.35  # something before the face
    edge: float = 0.1  # the frame's edge cuts the face
    blur: float = 0.3  # out of focus
    motion: float = 0.2  # blurred by motion
    coarse: float = 0.25  # fewer pixels
    jpeg: float = 0.2
    dark: float = 0.15


@dataclass(frozen=True)
class View:
    """One training view.

    Attributes:
        crop: uint8 (INPUT_PX, INPUT_PX).
        landmarks: float32 (5, 2), in pixels of the crop.
        presence: 1 for a face, 0 for none, NaN if either would do.
    """

    crop: ImageArray
    landmarks: FloatArray
    presence: float


def make_view(
    picture: ImageArray,
    landmarks_px: npt.NDArray[np.float64],
    other: ImageArray,
    options: ViewOptions,
    rng: _Rng,
) -> View:
    """Makes one random view.

    Args:
        picture: uint8 (h, w), grey.
        landmarks_px: (5, 2), in it; NaN in a picture without a face.
        other: Another picture, which may cover the face.
        options: How views are made.
        rng: Random numbers.
    """
    picture, corner = _without_black_border(picture)
    landmarks_px = landmarks_px - corner
    no_face = not np.isfinite(landmarks_px).all()
    if no_face:
        matrix, presence = _anywhere(picture.shape[:2], rng), 0.0
        points = np.zeros((5, 2))
    else:
        absent = rng.random() < options.negative
        jitter = _far(rng) if absent else _near(options, rng)
        matrix = _combined(jitter, placement(landmarks_px[None])[0])
        points = moved(landmarks_px[None], matrix[None])[0]
        presence = 0.0 if absent else 1.0
    crop = _bordered(picture, matrix, rng)
    covered = np.zeros((INPUT_PX, INPUT_PX), np.bool_)
    if rng.random() < options.cover:
        crop = _cover(crop, other, covered, rng)
    if rng.random() < options.edge:
        _cut(crop, covered, rng)
    share = float(covered[_FACE, _FACE].mean())
    if presence and share > _PRESENT:
        presence = 0.0 if share >= _ABSENT else math.nan
    crop = _photographed(crop, options, rng)
    if rng.random() < 0.5:
        crop, points = crop[:, ::-1], points[MIRRORED]
        points = np.stack([INPUT_PX - points[:, 0], points[:, 1]], 1)
    return View(np.ascontiguousarray(crop), points.astype(np.float32), presence)


def _without_black_border(picture: ImageArray) -> tuple[ImageArray, npt.NDArray[np.int_]]:
    """The part of a patch that shows the picture it was cut from, and the part's corner (x, y)."""
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    if not len(rows):
        return picture, np.zeros(2, np.int_)
    part = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return part, np.array([columns[0], rows[0]])


def _combined(
    second: npt.NDArray[np.float64], first: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    square = np.vstack([first, [0, 0, 1]])
    result: npt.NDArray[np.float64] = second @ square
    return result


def _about_centre(turn_deg: float, scale: float, shift: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A map (2, 3) of the crop to itself; the shift is in units of the face."""
    angle, middle = math.radians(turn_deg), np.full(2, INPUT_PX / 2)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.column_stack([turn, middle - turn @ middle + np.asarray(shift) * FACE_PX])


def _near(options: ViewOptions, rng: _Rng) -> npt.NDArray[np.float64]:
    if rng.random() < options.large_jitter:
        scale = options.scale ** rng.uniform(-1, 1)
        shift = rng.uniform(-options.shift, options.shift, 2)
        return _about_centre(rng.uniform(-1, 1) * options.turn_deg, scale, shift)
    return _about_centre(5 * rng.normal(), math.exp(0.06 * rng.normal()), 0.05 * rng.normal(size=2))


def _far(rng: _Rng) -> npt.NDArray[np.float64]:
    """A crop that shows another place, a part of the face, or a much smaller face."""
    kind, angle = rng.random(), rng.uniform(0, 2 * math.pi)
    direction = np.array([math.cos(angle), math.sin(angle)])
    turn = rng.uniform(-40, 40)
    if kind < 0.6:
        scale = math.exp(rng.normal() * 0.3)
        return _about_centre(turn, scale, direction * rng.uniform(0.75, 1.4) * max(scale, 1.0))
    if kind < 0.8:
        return _about_centre(turn, rng.uniform(2.4, 5), direction * rng.uniform(0, 1.5))
    return _about_centre(turn, rng.uniform(0.25, 0.42), direction * rng.uniform(0, 0.6))


def _anywhere(size: tuple[int, ...], rng: _Rng) -> npt.NDArray[np.float64]:
    """A random square of a picture (height, width)."""
    side = min(size) * rng.uniform(0.3, 1.0)
    corner = rng.uniform(0, 1, 2) * (np.array(size[::-1]) - side)
    zoom = INPUT_PX / side
    return np.array([[zoom, 0, -zoom * corner[0]], [0, zoom, -zoom * corner[1]]])


def _bordered(picture: ImageArray, matrix: npt.NDArray[np.float64], rng: _Rng) -> ImageArray:
    """The crop; beyond the picture there is a border, as a small picture shows the face only."""
    import cv2

    kinds = (cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)
    kind = kinds[rng.choice(3, p=(0.5, 0.2, 0.3))]
    pad = max(picture.shape) // 2
    value = float(rng.integers(256)) if rng.random() < 0.5 else 0.0
    padded = cv2.copyMakeBorder(picture, pad, pad, pad, pad, kind, value=value)
    shifted = matrix.copy()
    shifted[:, 2] -= shifted[:, :2] @ (pad, pad)
    return grey_crop(np.asarray(padded, np.uint8), shifted)


def _cover(
    crop: ImageArray, other: ImageArray, covered: npt.NDArray[np.bool_], rng: _Rng
) -> ImageArray:
    """Covers a part with a shape that shows another picture, noise, or one shade."""
    import cv2

    mask = np.zeros((INPUT_PX, INPUT_PX), np.uint8)
    for _ in range(rng.integers(1, 4)):
        middle = tuple(int(v) for v in rng.integers(6, INPUT_PX - 6, 2))
        axes = tuple(int(v) for v in rng.integers(3, 20, 2))
        cv2.ellipse(mask, middle, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
        if rng.random() < 0.3:  # as straight as a book or a microphone
            end = tuple(int(v) for v in rng.integers(0, INPUT_PX, 2))
            cv2.line(mask, middle, end, 255, int(rng.integers(3, 14)))
    kind = rng.random()
    if kind < 0.6:
        texture = grey_crop(other, _anywhere(other.shape[:2], rng)).astype(np.float32)
        texture = np.clip(texture * rng.uniform(0.5, 1.3) + rng.uniform(-30, 30), 0, 255)
    elif kind < 0.85:  # a hand has the shade of the face
        shade = float(np.median(crop)) + rng.normal() * 25
        texture = np.full(crop.shape, np.clip(shade, 0, 255), np.float32)
        slope = np.linspace(-1, 1, INPUT_PX)[:, None] * rng.normal() * 20
        texture = np.clip(texture + slope + rng.normal(size=crop.shape) * 3, 0, 255)
    else:
        texture = rng.integers(0, 256, crop.shape).astype(np.float32)
    soft = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.4, 1.5))).astype(np.float32) / 255
    covered |= mask > 0
    return np.asarray(crop * (1 - soft) + texture * soft, np.uint8)


def _cut(crop: ImageArray, covered: npt.NDArray[np.bool_], rng: _Rng) -> None:
    """Blackens the crop beyond a straight edge, as at the edge of a frame."""
    angle = rng.choice(4) * math.pi / 2 + rng.normal() * 0.2
    y, x = np.mgrid[:INPUT_PX, :INPUT_PX] - INPUT_PX / 2
    beyond = x * math.cos(angle) + y * math.sin(angle) > rng.uniform(-0.4, 0.6) * FACE_PX
    crop[beyond] = 0
    covered |= beyond


def _photographed(crop: ImageArray, options: ViewOptions, rng: _Rng) -> ImageArray:
    """Blur, light, noise and compression."""
    import cv2

    image: Any = crop
    if rng.random() < options.coarse:
        side = int(rng.integers(14, 48))
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        how = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
        image = cv2.resize(small, (INPUT_PX, INPUT_PX), interpolation=how)
    if rng.random() < options.blur:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 2.2)))
    if rng.random() < options.motion:
        length = int(rng.integers(3, 12))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, math.pi)
        reach = (length - 1) / 2 * np.array([math.cos(angle), math.sin(angle)])
        begin, end = ((length - 1) / 2 + sign * reach for sign in (-1, 1))
        cv2.line(kernel, tuple(begin.round().astype(int).tolist()),
                 tuple(end.round().astype(int).tolist()), 1.0)  # fmt: skip
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    shades = 255 * (np.arange(256) / 255) ** math.exp(rng.normal() * 0.35)
    gain = rng.uniform(0.15, 0.5) if rng.random() < options.dark else math.exp(rng.normal() * 0.25)
    shades = np.clip(shades * gain + rng.normal() * 15 * min(gain, 1), 0, 255)
    image = cv2.LUT(image, shades.astype(np.uint8))
    if rng.random() < 0.4:
        noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(1, 9)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < options.jpeg:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))])
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return np.asarray(image, np.uint8)
