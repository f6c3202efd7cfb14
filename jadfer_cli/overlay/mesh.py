"""Draws the mesh of a face: its points, and the contours of face, brows, eyes, irises and lips."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from jadfer_cli.records import ImageArray

# Points of each contour in order (MediaPipe, face_mesh_connections.py); the first are closed.
_CLOSED = (
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
     148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (469, 470, 471, 472),
    (474, 475, 476, 477),
)  # fmt: skip
_OPEN = (
    (276, 283, 282, 295, 285), (300, 293, 334, 296, 336),
    (46, 53, 52, 65, 55), (70, 63, 105, 66, 107),
)  # fmt: skip
_COLOUR = (120, 230, 255)
_SUBPIXEL_BITS = 4


def draw_mesh(image: ImageArray, points_px: npt.NDArray[np.floating]) -> None:
    """Draw a mesh into an image, in place.

    Args:
        image: uint8 RGB (height, width, 3).
        points_px: (478, 3), x and y in px.
    """
    # OpenCV puts pixel centres at whole numbers, meshes at halves
    fixed = np.rint((points_px[:, :2] - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    for x, y in np.rint(points_px[:, :2] - 0.5).astype(int).tolist():
        if 0 <= x < image.shape[1] and 0 <= y < image.shape[0]:
            image[y, x] = _COLOUR
    for contours, closed in ((_CLOSED, True), (_OPEN, False)):
        lines = [fixed[list(contour)] for contour in contours]
        cv2.polylines(image, lines, closed, _COLOUR, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
