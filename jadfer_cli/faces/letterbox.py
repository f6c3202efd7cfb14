"""Fit a frame, or a square cut out of it, to a detector's input, and map faces back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.records import Faces

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray, ImageArray

_SIDE_MULTIPLE = 32
_MAX_ENLARGEMENT = 2.0
_EDGE = 0.03  # of a square's side: a box closer to the edge than this may be cut off


class Letterbox(NamedTuple):
    """How frames of one size map to the network's input; all sizes are (width, height) in px.

    Attributes:
        frame_px: Size of a frame.
        scaled_px: Size it is scaled to; the scaled frame sits at the input's top left.
        input_px: Size of the network's input.
        shrinks: True if the scale is below 1, so that areas have to be averaged.
    """

    frame_px: tuple[int, int]
    scaled_px: tuple[int, int]
    input_px: tuple[int, int]
    shrinks: bool

    @property
    def zoom(self) -> tuple[float, float]:
        """Scale in x and y; the two differ because sizes are rounded to whole pixels."""
        (width, height), (new_w, new_h) = self.frame_px, self.scaled_px
        return new_w / width, new_h / height


def fit_letterbox(
    width: int, height: int, longer_px: int, fixed_size: tuple[int, int] | None = None
) -> Letterbox:
    """Choose scale and padding for frames of one size.

    Args:
        width: Width of the frame.
        height: Height of the frame.
        longer_px: Target of the longer side; small frames are enlarged at most twofold.
        fixed_size: Width and height of the input; None for the next multiples of 32.
    """
    scale = scale_to_fit(width, height, longer_px)
    if fixed_size is not None:
        scale = min(fixed_size[0] / width, fixed_size[1] / height)
    new_w, new_h = max(round(width * scale), 1), max(round(height * scale), 1)
    input_px = fixed_size or (_round_up(new_w), _round_up(new_h))
    return Letterbox((width, height), (new_w, new_h), input_px, scale < 1)


def scale_to_fit(width: int, height: int, longer_px: int) -> float:
    """Scale that makes a frame's longer side `longer_px`.

    Enlarging adds no detail: beyond twofold it only costs time.
    """
    return min(longer_px / max(width, height), _MAX_ENLARGEMENT)


def _round_up(side_px: int) -> int:
    return math.ceil(side_px / _SIDE_MULTIPLE) * _SIDE_MULTIPLE


def apply_letterbox(image_rgb: ImageArray, box: Letterbox) -> ImageArray:
    """Scale a frame for the network, and pad it with black at the right and bottom.

    Args:
        image_rgb: uint8 (height, width, 3).
        box: Letterbox for frames of that size.

    Returns:
        uint8 (H, W, 3), of size `box.input_px`.
    """
    import cv2

    scaled = image_rgb
    if box.scaled_px != box.frame_px:
        # Bilinear sampling would alias a frame that shrinks; the mean over the area does not.
        interpolation = cv2.INTER_AREA if box.shrinks else cv2.INTER_LINEAR
        scaled = np.asarray(cv2.resize(image_rgb, box.scaled_px, interpolation=interpolation))
    (new_w, new_h), (in_w, in_h) = box.scaled_px, box.input_px
    padded = np.zeros((in_h, in_w, 3), np.uint8)
    padded[:new_h, :new_w] = scaled
    return padded


def square_crop(
    image_rgb: ImageArray, corner: npt.NDArray[np.int_], side_px: int, input_px: int
) -> ImageArray:
    """Cut a square out of a frame and resize it; black beyond the frame's edges.

    Args:
        image_rgb: uint8 (height, width, 3).
        corner: x and y of the square's top left corner; may lie outside the frame.
        side_px: Side of the square in the frame.
        input_px: Side of the result.

    Returns:
        uint8 (input_px, input_px, 3).
    """
    import cv2

    (x, y), (height, width) = corner, image_rgb.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side_px, width), min(y + side_px, height)
    piece = image_rgb[y0:y1, x0:x1]
    if piece.shape[:2] != (side_px, side_px):
        piece = cv2.copyMakeBorder(
            piece, y0 - y, y + side_px - y1, x0 - x, x + side_px - x1, cv2.BORDER_CONSTANT
        )
    interpolation = cv2.INTER_AREA if side_px > input_px else cv2.INTER_LINEAR
    resized = cv2.resize(piece, (input_px, input_px), interpolation=interpolation)
    return np.asarray(resized, np.uint8)


def inside_square(
    boxes_px: FloatArray,
    corner: npt.NDArray[np.floating],
    side_px: float,
    frame_size: tuple[int, int],
) -> npt.NDArray[np.bool_]:
    """Select the boxes that a square does not cut off, except where the frame ends as well.

    A box close to the edge counts as cut off: the visible part of a face looks like a smaller
    face, with landmarks in the wrong places.

    Args:
        boxes_px: float32 (n, 4), in pixels of the frame.
        corner: x and y of the square's top left corner.
        side_px: Side of the square.
        frame_size: Width and height of the frame.

    Returns:
        bool (n,).
    """
    margin = _EDGE * side_px
    begins = (boxes_px[:, :2] > corner + margin) | (corner <= 0)
    ends = (boxes_px[:, 2:] < corner + side_px - margin) | (corner + side_px >= frame_size)
    return np.asarray((begins & ends).all(axis=1))


def to_frame(
    found: Faces, zoom: tuple[float, float], frame_size: tuple[int, int], min_face_px: float
) -> Faces:
    """Map a network's faces to the frame; drop those that are too small or not finite.

    Args:
        found: Faces in pixels of the network's input.
        zoom: Scale from frame to input, in x and y.
        frame_size: Width and height of the frame.
        min_face_px: Boxes whose shorter side inside the frame is below this are dropped.

    Returns:
        Faces in the frame's pixels, best first; equal scores are ordered by position.
    """
    scale = np.array(zoom, np.float64)
    boxes = np.clip(found.boxes_px.reshape(-1, 2, 2) / scale, 0, frame_size).reshape(-1, 4)
    faces = Faces(
        boxes.astype(np.float32),
        found.scores,
        (found.landmarks_px / scale).astype(np.float32),
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
