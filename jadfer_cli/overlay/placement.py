"""Chooses where tags and panels go, so that they hide neither faces nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

# A head reaches beyond the box of its face, in units of the box: hair above, ears at the sides.
_HAIR, _EARS, _CHIN = 0.35, 0.12, 0.05
# Another side must hide this share of the panel less before the panel moves there.
_WORTH_MOVING = 0.15


def head_box(box_px: Floats) -> Floats:
    """Return the box of the head around the box of a face; both float (4,), x1 y1 x2 y2."""
    width, height = box_px[2] - box_px[0], box_px[3] - box_px[1]
    grown: Floats = box_px + np.array(
        [-_EARS * width, -_HAIR * height, _EARS * width, _CHIN * height]
    )
    return grown


def tag_places(box_px: Floats, size: tuple[int, int], image_px: tuple[int, int]) -> list[Floats]:
    """Return where a track's tag may go, the best place first.

    It sits on the upper edge of the box; or below the box, or inside it.

    Args:
        box_px: The face's box.
        size: Width and height of the tag, px.
        image_px: Width and height of the image.
    """
    x1, y1, x2, y2 = box_px
    width, height = size
    above = [(x1, y1 - height), (x2 - width, y1 - height)]
    below = [(x1, y2), (x2 - width, y2)]
    inside = [(x1, y1), (x1, y2 - height)]
    # at the top edge of the image there is no room above
    order = [*above, *below, *inside] if y1 >= height else [*inside, *below, *above]
    return [_fit(x, y, size, image_px) for x, y in order]


def panel_places(
    head_px: Floats, size: tuple[int, int], image_px: tuple[int, int], gap: int
) -> list[Floats]:
    """Return where a panel may go: right of the head, left, below, above, and in the corners.

    Args:
        head_px: The box of the head, see `head_box`.
        size: Width and height of the panel, px.
        image_px: Width and height of the image.
        gap: Distance to the head, px.
    """
    x1, y1, x2, y2 = head_px
    width, height = size
    right, bottom = image_px[0] - width, image_px[1] - height
    corners = [(right, bottom), (0, bottom), (right, 0), (0, 0)]
    sides = [
        (x2 + gap, y1), (x1 - gap - width, y1), (x1, y2 + gap), (x1, y1 - gap - height),
        (x2 - width, y2 + gap), (x1, y2 + 2 * gap + height),
    ]  # fmt: skip
    return [_fit(x, y, size, image_px) for x, y in (*sides, *corners)]


def least_hidden(
    places: Sequence[Floats], taken: Sequence[Floats], keep: int | None = None
) -> tuple[int, Floats]:
    """Return the index and the box of the place that overlaps least with what is taken.

    Args:
        places: Boxes of equal size, the best first.
        taken: Boxes of what must stay visible.
        keep: Index of the place chosen in the frame before, which is kept unless another one
            is far better.
    """
    hidden = [sum(_overlap_px2(place, other) for other in taken) for place in places]
    best = int(np.argmin(hidden))
    if keep is not None:
        box = places[keep]
        area = float((box[2] - box[0]) * (box[3] - box[1]))
        if hidden[keep] <= hidden[best] + _WORTH_MOVING * area:
            best = keep
    return best, places[best]


def _fit(x: float, y: float, size: tuple[int, int], image_px: tuple[int, int]) -> Floats:
    """Return the box of this size that is nearest to x, y and lies in the image."""
    left = round(min(max(float(x), 0), max(image_px[0] - size[0], 0)))
    top = round(min(max(float(y), 0), max(image_px[1] - size[1], 0)))
    return np.array([left, top, left + size[0], top + size[1]], np.float64)


def _overlap_px2(a: Floats, b: Floats) -> float:
    wide, high = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(max(wide, 0) * max(high, 0))
