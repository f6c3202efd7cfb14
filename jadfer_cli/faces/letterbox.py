"""From a frame to the picture that a detector's network sees, and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.records import Faces

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray, ImageArray

_SIDE_MULTIPLE = 32
_MOST_ENLARGED = 2.0
_EDGE = 0.03  # share of a square's side: a box so near to its edge may be cut


class Placing(NamedTuple):
    """How frames of one size come into the network's picture; all (width, height) in px.

    Attributes:
        frame_px: Size of a frame.
        scaled_px: What it is scaled to; it lies at the picture's left and top.
        picture_px: Size of the picture.
        shrinks: Whether the scale is below 1, so that areas are averaged.
    """

    frame_px: tuple[int, int]
    scaled_px: tuple[int, int]
    picture_px: tuple[int, int]
    shrinks: bool

    @property
    def zoom(self) -> tuple[float, float]:
        """In x and y; they differ by the rounding to whole pixels."""
        (width, height), (new_w, new_h) = self.frame_px, self.scaled_px
        return new_w / width, new_h / height


def placing(
    width: int, height: int, longer_px: int, fixed_size: tuple[int, int] | None = None
) -> Placing:
    """Where a frame of a size goes.

    Args:
        width: Of the frame.
        height: Of the frame.
        longer_px: What the longer side becomes; small frames are at most doubled.
        fixed_size: Width and height of the picture; None takes the least multiples of 32.
    """
    scale = scale_for(width, height, longer_px)
    if fixed_size is not None:
        scale = min(fixed_size[0] / width, fixed_size[1] / height)
    new_w, new_h = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = fixed_size or (_round_up(new_w), _round_up(new_h))
    return Placing((width, height), (new_w, new_h), picture, scale < 1)


def scale_for(width: int, height: int, longer_px: int) -> float:
    """By how much a frame is scaled so that its longer side is `longer_px`.

    Enlarging shows no more than is there: past twice it costs time only.
    """
    return min(longer_px / max(width, height), _MOST_ENLARGED)


def _round_up(side_px: int) -> int:
    return math.ceil(side_px / _SIDE_MULTIPLE) * _SIDE_MULTIPLE


def letterbox(image_rgb: ImageArray, place: Placing) -> ImageArray:
    """Scales a frame for the network and pads it with black at the right and below.

    Args:
        image_rgb: uint8 (height, width, 3).
        place: Of frames of its size.
    """
    import cv2

    # Bilinear sampling would alias a frame that shrinks; the mean over the area does not.
    how = cv2.INTER_AREA if place.shrinks else cv2.INTER_LINEAR
    same = place.scaled_px == place.frame_px
    small = image_rgb if same else cv2.resize(image_rgb, place.scaled_px, interpolation=how)
    (new_w, new_h), (out_w, out_h) = place.scaled_px, place.picture_px
    placed = np.zeros((out_h, out_w, 3), np.uint8)
    placed[:new_h, :new_w] = small
    return placed


def square(
    image_rgb: ImageArray, corner: npt.NDArray[np.int_], side: int, shown_px: int
) -> ImageArray:
    """A square of the frame, `shown_px` a side, black beyond the frame's edges."""
    import cv2

    (x, y), (height, width) = corner, image_rgb.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    piece = image_rgb[y0:y1, x0:x1]
    if piece.shape[:2] != (side, side):
        piece = cv2.copyMakeBorder(
            piece, y0 - y, y + side - y1, x0 - x, x + side - x1, cv2.BORDER_CONSTANT
        )
    how = cv2.INTER_AREA if side > shown_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(piece, (shown_px, shown_px), interpolation=how), np.uint8)


def uncut(
    boxes_px: FloatArray,
    corner: npt.NDArray[np.floating],
    side: float,
    frame_size: tuple[int, int],
) -> npt.NDArray[np.bool_]:
    """Which boxes (n, 4) a square does not cut, but for where the frame ends too.

    The landmarks of a face that moved out of its square lie wrong; one near its edge counts as
    cut, as what is left of a face looks like a smaller one.
    """
    margin = _EDGE * side
    begins = (boxes_px[:, :2] > corner + margin) | (corner <= 0)
    ends = (boxes_px[:, 2:] < corner + side - margin) | (corner + side >= frame_size)
    return np.asarray((begins & ends).all(axis=1))


def tidy(
    found: Faces, zoom: tuple[float, float], frame_size: tuple[int, int], min_face_px: float
) -> Faces:
    """From a network's faces to those of the frame.

    Args:
        found: In pixels of the network's picture.
        zoom: Applied to the frame in x and y.
        frame_size: Width and height of the frame.
        min_face_px: Boxes whose shorter side inside the frame is below this are left out.

    Returns:
        Faces in the frame's pixels, best first; equal scores are ordered by place.
    """
    by = np.array(zoom, np.float64)
    boxes = np.clip(found.boxes_px.reshape(-1, 2, 2) / by, 0, frame_size).reshape(-1, 4)
    faces = Faces(
        boxes.astype(np.float32),
        found.scores,
        (found.landmarks_px / by).astype(np.float32),
        found.followed,
    )
    shorter = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf)
    finite = (
        np.isfinite(boxes).all(axis=1)
        & np.isfinite(faces.landmarks_px).all(axis=(1, 2))
        & np.isfinite(faces.scores)
    )
    faces = faces.take(finite & (shorter >= max(min_face_px, 1e-3)))
    keys = (faces.boxes_px[:, 1], faces.boxes_px[:, 0], -faces.scores)
    return faces.take(np.lexsort(keys))
