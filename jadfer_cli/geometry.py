"""Overlap of axis-aligned bounding boxes.

A box is (x1, y1, x2, y2) in pixels: its top left and its bottom right corner.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_Boxes = npt.NDArray[np.floating[Any]]

_MIN_UNION_PX2 = 1e-6  # two boxes without area overlap by 0 rather than by 0/0


def iou(a: _Boxes, b: _Boxes) -> npt.NDArray[np.float32]:
    """Intersection over union of every box in `a` with every box in `b`.

    Args:
        a: Boxes in px, (n, 4).
        b: Boxes in px, (m, 4).

    Returns:
        Values from 0 to 1, float32 (n, m).
    """
    return paired_iou(a[:, None], b[None]).astype(np.float32)


def paired_iou(a: _Boxes, b: _Boxes) -> npt.NDArray[Any]:
    """Intersection over union of the boxes in `a` and `b` that stand at the same position.

    Args:
        a: Boxes in px, (..., 4).
        b: Boxes in px, (..., 4); its leading dimensions broadcast against those of `a`.

    Returns:
        Values from 0 to 1, in the boxes' precision, (...).
    """
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    area_a, area_b = (np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (a, b))
    result: npt.NDArray[Any] = shared / np.maximum(area_a + area_b - shared, _MIN_UNION_PX2)
    return result
