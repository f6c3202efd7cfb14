"""Non-maximum suppression of face boxes; their overlap is `jadfer_cli.geometry.iou`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jadfer_cli.geometry import iou

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray


def suppress(boxes_px: FloatArray, scores: FloatArray, max_iou: float) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression.

    Args:
        boxes_px: float32 (n, 4), x1 y1 x2 y2.
        scores: float32 (n,).
        max_iou: A box that overlaps a better one by this much or more is dropped.

    Returns:
        Indices of the boxes kept, best first; equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    keep: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        keep.append(int(best))
        order = rest[iou(boxes_px[best][None], boxes_px[rest])[0] < max_iou]
    return np.array(keep, np.intp)
