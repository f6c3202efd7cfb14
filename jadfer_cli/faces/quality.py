"""Face quality: size, sharpness, light, head pose, and whether the face is usable.

The signs of the angles are defined here. All angles are 0 for a face that looks into the camera.

    yaw_deg    > 0  the face turns towards the image's right edge
    pitch_deg  > 0  the face looks up
    roll_deg   > 0  the head is tilted clockwise as seen in the image

Yaw and pitch are rotations about the head's own axes (R = Rz(roll) Ry(-yaw) Rx(-pitch), with
camera axes x right, y down, z away), so rotating the image in its plane changes only roll. They
are relative to the line of sight: a person at the edge of a wide frame who looks into the
camera has yaw 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.faces.align import TEMPLATE, similarity
from jadfer_cli.records import UNUSABLE_REASONS, Quality

if TYPE_CHECKING:
    from jadfer_cli.records import Faces, FloatArray, ImageArray, IntArray

Array = npt.NDArray[np.float64]

# The thresholds of `usable` follow how often degrading the whole picture, before detection,
# changes the label (tests/bench/usable.py: clips encoded again by x264, photographs). No sign of
# compression in the picture told such faces apart (block edges, flat areas, detail, bits per
# pixel), so the smallest size is cautious: small faces suffer first. Pose cannot be added to a
# picture; there, accuracy on FER+ validation images counts, and limits stay where faces abound.
MIN_INTEROCULAR_PX = 24.0  # changed 9.9 % at 20-24 px (252 faces), 1.6 % at 24-28 (190)
MAX_BLUR = 0.65  # changed 8.8 % at 0.60-0.65, 17 % at 0.65-0.70 (64), 26 % at 0.70-0.75 (62)
MAX_YAW_DEG = 40.0  # right 87.8 % at 30-40 degrees, 84.3 at 40-50 (83 faces only), 77.5 beyond
MAX_PITCH_DEG = 20.0  # right 89.6 % up to 10 degrees, 86.1 at 10-20; only 35 faces beyond, 71 %
# Light (tests/bench/usable_light.py, columns.md has the curves): as low, and as high, as labels
# change no more often than those of faces in better light.
MIN_LIGHT = 0.16  # changed 18 % at 0.12-0.16 (65 faces), 11 % at 0.16-0.2 (64), 10 % beyond (166)
MAX_CLIPPED = 0.4  # changed 30 % at 0.4-0.6 (23 faces), 13 % at 0.2-0.4 (38), 16 % below (103)
# Covered by a drawn or a real hand, 88 % are below; of 133 faces without one, none.
MIN_MOUTH_CONTRAST = 0.32
MIN_SCORE = 0.5  # the default detection threshold; matters if the user lowered it
MIN_VISIBLE = 0.8  # of the crop inside the frame; with less, mouth or brows are cut off

# An adult's pupils are 63 mm apart. At that scale the template is a plausible frontal face
# (mouth 49 mm wide, 66 mm below the pupils), so the template gets pitch 0.
_MM = 63.0 / float(TEMPLATE[1, 0] - TEMPLATE[0, 0])
# The nose tip is well in front of the pupils, the mouth corners are slightly in front of them.
_DEPTH_MM = np.array([0.0, 0.0, -29.0, -4.0, -4.0])
# (5, 3) mm, x right, y down, z away from the camera; origin: mean of the landmarks.
FACE_MODEL_MM: Array = np.column_stack([TEMPLATE.astype(np.float64) * _MM, _DEPTH_MM])
FACE_MODEL_MM -= FACE_MODEL_MM.mean(axis=0)
FACE_MODEL_MM.setflags(write=False)

_POSIT_ITERATIONS = 8  # even for a face as wide as the frame, the 5th changes under 0.1 degrees
_INNER = 0.2  # of the crop's side on each side is left out: hair, background
_WHITE = 250  # from this grey value on, a picture has no detail
_MOUTH = 0.16, 0.08  # half of the width and height of the mouth's place, in sides of the crop
_BLUR_WINDOW = 11  # as in scikit-image


def assess(
    crops: ImageArray,
    faces: Faces,
    frame_size: tuple[int, int],
    mesh_pose_deg: FloatArray | None = None,
) -> Quality:
    """Measure the quality of faces of one video.

    Args:
        crops: uint8 (n, 112, 112, 3), aligned, RGB; the limits hold for this size.
        faces: The n faces, from one or more frames.
        frame_size: Width and height of the frames.
        mesh_pose_deg: (n, 2), yaw and pitch by a mesh of each face, where there is one; else NaN.
            `usable` takes them rather than those of five landmarks, because they depend less on
            the detector: at 43 faces, two detectors differed by 0.2 degrees of pitch, not by 10.

    Returns:
        Quality of the n faces; no value is NaN.
    """
    marks = faces.landmarks_px.astype(np.float64)
    interocular = np.linalg.norm(marks[:, 1] - marks[:, 0], axis=1).astype(np.float32)
    blur = perceptual_blur(crops)
    lit, clipped = light(crops)
    yaw, pitch, roll = head_pose(marks, frame_size).T.astype(np.float32)
    visible = visible_fraction(marks, frame_size)
    mouth = mouth_contrast(crops)
    by = np.stack([yaw, pitch], axis=1)  # (n, 2)
    if mesh_pose_deg is not None:
        by = np.where(np.isfinite(mesh_pose_deg), mesh_pose_deg, by)
    reason = unusable_rule(
        interocular, blur, lit, clipped, mouth, by[:, 0], by[:, 1], faces.scores, visible
    )
    return Quality(interocular, blur, lit, clipped, mouth, yaw, pitch, roll, reason)


def unusable_rule(
    interocular_px: FloatArray,
    blur: FloatArray,
    lit: FloatArray,
    clipped: FloatArray,
    mouth: FloatArray,
    yaw_deg: FloatArray,
    pitch_deg: FloatArray,
    scores: FloatArray,
    visible: FloatArray,
) -> IntArray:
    """Decide whether a face's probabilities can be trusted, and if not, why; arguments are (n,).

    A usable face is large enough, turned and tilted little enough, sharp enough, well lit, detected
    with enough confidence, and inside the frame. Roll does not matter: cropping undoes it.

    Several limits may be exceeded. The reason is the first in the order of `UNUSABLE_REASONS`,
    which puts causes before what they cause: small and dark faces look blurred as well.
    Only a covered mouth is told from others (`mouth_contrast`), not covered eyes.

    Returns:
        int32 (n,), 0 for a usable face, otherwise 1 + the index in `UNUSABLE_REASONS`.
    """
    exceeded = {
        "cut_off": visible < MIN_VISIBLE,
        "low_score": scores < MIN_SCORE,
        "too_small": interocular_px < MIN_INTEROCULAR_PX,
        # a profile has its mouth elsewhere, but over a covered mouth the pitch is wrong
        "occluded": (mouth < MIN_MOUTH_CONTRAST) & (np.abs(yaw_deg) <= MAX_YAW_DEG),
        "turned": (np.abs(yaw_deg) > MAX_YAW_DEG) | (np.abs(pitch_deg) > MAX_PITCH_DEG),
        "too_dark": lit < MIN_LIGHT,
        "overexposed": clipped > MAX_CLIPPED,
        "blurred": blur > MAX_BLUR,
    }
    conditions = np.stack([exceeded[name] for name in UNUSABLE_REASONS])  # (R, n)
    reason: IntArray = np.where(
        conditions.any(axis=0), 1 + conditions.argmax(axis=0), 0
    ).astype(np.int32)  # fmt: skip
    return reason


def perceptual_blur(crops: ImageArray) -> FloatArray:
    """Measure blur without a reference: how little another blur changes the edges.

    Crete et al. 2007, "The blur effect: perception and estimation with a new no-reference
    perceptual blur metric", with Sobel edges and an 11 px window as in
    `skimage.measure.blur_effect`.

    Args:
        crops: uint8 (n, s, s, 3), RGB.

    Returns:
        float32 (n,), from 0 (sharp) to 1 (blurred); 1 for a crop without edges.
    """
    import cv2

    result = np.ones(len(crops), np.float32)
    inner = (slice(2, -1), slice(2, -1))
    for index, crop_rgb in enumerate(crops):
        grey = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        per_axis = []
        for dx in (1, 0):  # edges and blur along x, then along y
            window = (_BLUR_WINDOW, 1) if dx else (1, _BLUR_WINDOW)
            blurred = cv2.blur(grey, window, borderType=cv2.BORDER_REFLECT)
            sharp = np.abs(cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx))[inner]
            soft = np.abs(cv2.Sobel(blurred, cv2.CV_32F, dx, 1 - dx))[inner]
            total = float(sharp.sum(dtype=np.float64))
            lost = float(np.maximum(sharp - soft, 0).sum(dtype=np.float64))
            per_axis.append((total - lost) / total if total > 0 else 1.0)
        result[index] = max(per_axis)
    return result


def light(crops: ImageArray) -> tuple[FloatArray, FloatArray]:
    """Measure how brightly faces are lit, and how much of them is overexposed.

    Args:
        crops: uint8 (n, s, s, 3), RGB.

    Returns:
        float32 (n,), the 95th percentile of the grey values, from 0 (black) to 1 (white); and
        float32 (n,), the fraction that is white. Both of the crop's inner part, which is face.
    """
    import cv2

    lit, clipped = np.zeros(len(crops), np.float32), np.zeros(len(crops), np.float32)
    for index, crop_rgb in enumerate(crops):
        size = len(crop_rgb)
        inner = slice(round(_INNER * size), size - round(_INNER * size))
        grey = cv2.cvtColor(crop_rgb[inner, inner], cv2.COLOR_RGB2GRAY)
        lit[index] = np.percentile(grey, 95) / 255
        clipped[index] = (grey >= _WHITE).mean()
    return lit, clipped


def mouth_contrast(crops: ImageArray) -> FloatArray:
    """Measure whether the place of the mouth shows a mouth: lips and teeth differ from skin.

    A hand, a scarf or a mask has less contrast of its own than a mouth. A beard has more.

    Args:
        crops: uint8 (n, s, s, 3), RGB.

    Returns:
        float32 (n,), SD of the grey values around the mouth over that of the crop's inner part.
    """
    import cv2

    result = np.zeros(len(crops), np.float32)
    for index, crop_rgb in enumerate(crops):
        size = len(crop_rgb)
        grey = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        x, y = (TEMPLATE[3:].mean(axis=0) * size).round().astype(int)
        half_x, half_y = int(_MOUTH[0] * size), int(_MOUTH[1] * size)
        mouth = grey[y - half_y : y + half_y, x - half_x : x + half_x]
        inner = slice(round(_INNER * size), size - round(_INNER * size))
        result[index] = mouth.std() / max(float(grey[inner, inner].std()), 1.0)
    return result


def head_pose(landmarks_px: npt.ArrayLike, frame_size: tuple[int, int]) -> Array:
    """Estimate yaw, pitch and roll from five landmarks.

    POSIT (DeMenthon and Davis 1995): fit the face model under scaled orthography, take the
    nearest rotation, correct the image points for perspective, repeat. It has a unique solution,
    needs no initial guess, and varies smoothly with the landmarks.

    The assumed camera is a pinhole that points at the face, with the frame's longer side as
    focal length (a field of view of 53 degrees); a wrong focal length matters only if the face
    fills the frame. Pitch depends on the height of the nose tip alone. At the same true pose it
    differs by 10 degrees or more between people and between detectors, so compare it within a
    track only.

    Args:
        landmarks_px: (n, 5, 2).
        frame_size: Width and height of the frame.

    Returns:
        float64 (n, 3), degrees: yaw in [-90, 90], pitch and roll in [-180, 180]. 0 if the
        landmarks coincide; never NaN for finite input.
    """
    points = np.asarray(landmarks_px, np.float64)
    points = points - points.mean(axis=1, keepdims=True)  # (n, 5, 2)
    focal_px = float(max(frame_size))
    fit = np.linalg.pinv(FACE_MODEL_MM)  # (3, 5)
    depth = np.zeros(points.shape[:2])  # (n, 5), in units of the face's distance
    rotation = np.broadcast_to(np.eye(3), (len(points), 3, 3))
    for _ in range(_POSIT_ITERATIONS):
        flat = points * (1 + depth[:, :, None])
        flat = flat - flat.mean(axis=1, keepdims=True)
        affine = (fit @ flat).transpose(0, 2, 1)  # (n, 2, 3), px / mm
        rotation, scale = _nearest_rotation(affine)
        # The depth of a face is a third of its distance at most.
        depth = np.clip(
            (FACE_MODEL_MM @ rotation[:, 2, :, None])[:, :, 0] * scale[:, None] / focal_px,
            -0.33,
            0.33,
        )
    return np.degrees(angles(rotation))


def _nearest_rotation(affine: Array) -> tuple[Array, Array]:
    """Rotation (n, 3, 3) and scale (n,) whose scaled first two rows are nearest to (n, 2, 3)."""
    u, s, vt = np.linalg.svd(affine, full_matrices=False)
    rows = u @ vt  # (n, 2, 3)
    scale = s.mean(axis=1)
    rows = np.where(scale[:, None, None] > 1e-6, rows, np.eye(3)[:2])
    third = np.cross(rows[:, 0], rows[:, 1])
    return np.concatenate([rows, third[:, None]], axis=1), scale


def angles(rotation: Array) -> Array:
    """Yaw, pitch, roll (n, 3) in radians of R = Rz(roll) Ry(-yaw) Rx(-pitch)."""
    yaw = np.arcsin(np.clip(rotation[:, 2, 0], -1, 1))
    pitch = -np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return np.stack([yaw, pitch, roll], axis=1)


def visible_fraction(landmarks_px: npt.ArrayLike, frame_size: tuple[int, int]) -> FloatArray:
    """Fraction of each aligned crop's area that lies inside the frame.

    Args:
        landmarks_px: (n, 5, 2).
        frame_size: Width and height of the frame.

    Returns:
        float32 (n,), from 0 to 1.
    """
    import cv2

    width, height = frame_size
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    unit = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float64)
    fractions = np.zeros(len(np.asarray(landmarks_px)), np.float32)
    for index, matrix in enumerate(similarity(landmarks_px, 1).astype(np.float64)):
        inverse: Any = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
        corners = (unit @ inverse[:2].T).astype(np.float32)
        area, _ = cv2.intersectConvexConvex(corners, frame)
        fractions[index] = min(area / max(cv2.contourArea(corners), 1e-6), 1.0)
    return fractions
