"""Align faces to one landmark template and crop them, in training and annotation alike.

Coordinates are those of boxes and landmarks: x = 0 is the image's left edge, so the centre of
the first pixel is at 0.5. A crop of the whole image is then a plain resize.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray, ImageArray

CROP_PX = 112

# Mean landmarks of FER+ in the unit square, made symmetric: left eye, right eye, nose tip, left
# and right mouth corner, as seen in the image. The ArcFace template puts the mouth at 0.82 of
# the height, which cuts off the chin; but the chin carries expression.
TEMPLATE: FloatArray = np.array(
    [[0.3175, 0.3725], [0.6825, 0.3725], [0.5, 0.584], [0.357, 0.757], [0.643, 0.757]],
    np.float32,
)
TEMPLATE.setflags(write=False)

# Landmarks closer together than this do not determine a face's size and tilt.
_MIN_SPREAD_PX = 1e-2
# Samples per crop pixel and axis: 16 prevent aliasing for faces up to 1800 px.
_MAX_SAMPLES = 16


def similarity(
    landmarks_px: npt.ArrayLike, size_px: int = CROP_PX, template: FloatArray = TEMPLATE
) -> FloatArray:
    """Fit the similarity transform that best maps each face's landmarks to the template.

    Least squares over rotation, scale and shift, without reflection (Umeyama 1991). In the
    plane this is one complex division: with centred landmarks p and template q as complex
    numbers, rotation and scale are sum(conj(p) q) / sum(|p|^2).

    Args:
        landmarks_px: (n, 5, 2), in the source image.
        size_px: Side of the crop.
        template: float32 (5, 2), where the landmarks belong in the unit square.

    Returns:
        float32 (n, 2, 3), source to crop; never NaN for finite input. If the landmarks coincide
        or determine no rotation, only a shift of their mean to the template's mean.

    Raises:
        ValueError: `landmarks_px` is not (n, 5, 2).
    """
    points = np.asarray(landmarks_px, np.float64)
    if points.ndim != 3 or points.shape[1:] != template.shape:
        raise ValueError(f"landmarks_px must be (n, 5, 2), got {points.shape}")
    target = template.astype(np.float64) * size_px
    mean = points.mean(axis=1)  # (n, 2)
    target_mean = target.mean(axis=0)
    p = (points - mean[:, None]) @ np.array([1, 1j])  # (n, 5) complex
    q = (target - target_mean) @ np.array([1, 1j])  # (5,) complex
    spread = (np.abs(p) ** 2).sum(axis=1)  # (n,)
    known = spread > len(template) * _MIN_SPREAD_PX**2
    factor = (p.conj() @ q) / np.where(known, spread, 1.0)
    factor = np.where(known & (np.abs(factor) > 1e-6), factor, 1.0)

    matrices = np.empty((len(points), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = factor.real
    matrices[:, 1, 0] = factor.imag
    matrices[:, 0, 1] = -factor.imag
    matrices[:, :, 2] = target_mean - (matrices[:, :, :2] @ mean[:, :, None])[:, :, 0]
    return matrices.astype(np.float32)


def mean_placement(width_px: int, height_px: int, size_px: int = CROP_PX) -> FloatArray:
    """The transform for a loosely cropped face image in which no landmarks were found.

    The template is the mean of FER+ in the unit square of the image, so the best guess without
    landmarks is to resize the whole image.

    Args:
        width_px: Width of the face image.
        height_px: Height of the face image.
        size_px: Side of the crop.

    Returns:
        float32 (2, 3), source to crop.
    """
    return np.array([[size_px / width_px, 0, 0], [0, size_px / height_px, 0]], np.float32)


def samples_per_axis(matrix: npt.NDArray[np.float64]) -> int:
    """Samples per crop pixel and axis that prevent aliasing under a transform (2, 3)."""
    zoom = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    # The tolerance prevents a face of exactly the crop's size from being sampled twice.
    return min(max(math.ceil(1 / max(zoom, 1e-6) - 1e-3), 1), _MAX_SAMPLES)


def warp(image_rgb: ImageArray, matrices: npt.ArrayLike, size_px: int = CROP_PX) -> ImageArray:
    """Crop one image under given transforms, without aliasing.

    If the source is finer than the crop by a factor of up to k, each crop pixel is the mean of
    k x k bilinear samples. Beyond the image its border is repeated.

    Args:
        image_rgb: uint8 (height, width, 3).
        matrices: (n, 2, 3), source to crop.
        size_px: Side of the crops.

    Returns:
        uint8 (n, size_px, size_px, 3).
    """
    import cv2

    maps = np.asarray(matrices, np.float64)
    crops = np.empty((len(maps), size_px, size_px, 3), np.uint8)
    for crop_rgb, matrix in zip(crops, maps, strict=True):
        k = samples_per_axis(matrix)
        fine = matrix * k
        # OpenCV puts pixel centres at whole numbers, these transforms at halves.
        fine[:, 2] += 0.5 * fine[:, :2].sum(axis=1) - 0.5
        side = size_px * k
        sampled = cv2.warpAffine(
            image_rgb, fine, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        if k > 1:
            sampled = cv2.resize(sampled, (size_px, size_px), interpolation=cv2.INTER_AREA)
        crop_rgb[:] = sampled
    return crops


def crop(image_rgb: ImageArray, landmarks_px: npt.ArrayLike, size_px: int = CROP_PX) -> ImageArray:
    """Align and crop the faces in one image.

    Args:
        image_rgb: uint8 (height, width, 3).
        landmarks_px: (n, 5, 2), in that image.
        size_px: Side of the crops.

    Returns:
        uint8 (n, size_px, size_px, 3).

    Raises:
        ValueError: `landmarks_px` is not (n, 5, 2).
    """
    return warp(image_rgb, similarity(landmarks_px, size_px), size_px)
