"""Facial actions of tracked faces: blendshapes, and measures of eyes, mouth and head by the mesh.

Left and right are the person's own. A distance between points of the mesh is taken in space, with
the depth that the network estimates, so that turning the head changes it little.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.faces.canonical import CanonicalFace, pose_deg
from jadfer_cli.faces.landmarker import MODEL_NAME, PRESENT, TERMS, FaceMeshes, Landmarker
from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS
from jadfer_cli.records import Actions, Faces, FloatArray, ImageArray

Array = npt.NDArray[np.float64]

# Six points of each eye's opening, p1 to p6 of Soukupova and Cech 2016: the corner on the image's
# left, two of the upper lid, the other corner, two of the lower lid; the iris' centre.
_LEFT_EYE, _LEFT_IRIS = (362, 385, 387, 263, 373, 380), 473
_RIGHT_EYE, _RIGHT_IRIS = (33, 160, 158, 133, 153, 144), 468
_INNER_LIPS = (13, 14)  # middle of the upper and of the lower lip
_OUTER_EYE_CORNERS = (33, 263)
# Distance of the iris from the centre of the eyeball, over that of the lid corners: 10 mm of
# 29 mm in adults. It scales the angles of gaze; their order and sign do not depend on it.
_IRIS_RADIUS = 10 / 29


class ActionFinder:
    """Finds the actions of faces, with MediaPipe's face landmarker.

    Args:
        file: The model file; None to find it as `landmarker.find_model` does.
        threads: CPU threads.
        keep_points: Keep the mesh in the actions.

    Attributes:
        landmarker: What finds the meshes.

    Raises:
        ModelError: The model file is missing or damaged, or LiteRT is not installed.
    """

    def __init__(
        self, file: Path | None = None, threads: int = 1, *, keep_points: bool = False
    ) -> None:
        self.landmarker = Landmarker(file, threads)
        self._canonical, self._keep_points = self.landmarker.canonical_face(), keep_points

    def find(self, image_rgb: ImageArray | None, faces: Faces) -> Actions:
        """The actions of the n faces in one image.

        Args:
            image_rgb: uint8 (height, width, 3); None only if there are no faces.
            faces: With landmarks.
        """
        if image_rgb is None or not len(faces):
            meshes = FaceMeshes.missing(len(faces))
        else:
            meshes = self.landmarker.find(image_rgb, faces.landmarks_px)
        return actions_of(meshes, self._canonical, keep_points=self._keep_points)

    def metadata(self) -> dict[str, Any]:
        """What computes the actions, JSON-ready."""
        return {
            "model": MODEL_NAME,
            "sha256": self.landmarker.sha256,
            "terms": TERMS,
            "engine": f"LiteRT {importlib.metadata.version('ai-edge-litert')}",
        }


def actions_of(
    meshes: FaceMeshes, canonical: CanonicalFace, *, keep_points: bool = False
) -> Actions:
    """The actions of n faces by their meshes.

    A mesh with a presence below 0.5 is not that of a face: its values are NaN.

    Args:
        meshes: Of n faces.
        canonical: The face that looks into the camera.
        keep_points: Keep the points of the meshes.
    """
    n_actions = len(ACTION_COLUMNS)
    values = np.full((len(meshes), n_actions + len(MEASURE_COLUMNS)), np.nan, np.float32)
    present = meshes.presence >= PRESENT
    values[present, :n_actions] = meshes.blendshapes[present]
    for i in np.flatnonzero(present):
        values[i, n_actions:-1] = measures(meshes.points_px[i].astype(np.float64), canonical)
    values[:, -1] = meshes.presence
    points: FloatArray | None = None
    if keep_points:
        points = np.where(present[:, None, None], meshes.points_px, np.float32(np.nan))
    return Actions(values, points)


def measures(points_px: Array, canonical: CanonicalFace) -> Array:
    """Measures of one mesh (478, 3): `labels.MEASURE_COLUMNS` without the presence."""
    rotation = canonical.rotation(points_px)
    head = points_px @ rotation  # in the head's own axes
    left, right = gaze_deg(head, _LEFT_EYE, _LEFT_IRIS), gaze_deg(head, _RIGHT_EYE, _RIGHT_IRIS)
    opening = _distance(points_px, *_INNER_LIPS) / _distance(points_px, *_OUTER_EYE_CORNERS)
    return np.array(
        [
            eye_aspect_ratio(points_px, _LEFT_EYE), eye_aspect_ratio(points_px, _RIGHT_EYE),
            left[0], right[0], left[1], right[1], opening, *pose_deg(rotation),
        ]
    )  # fmt: skip


def eye_aspect_ratio(points_px: Array, eye: tuple[int, ...]) -> float:
    """Height of an eye's opening over its width (Soukupova and Cech 2016, eq. 1).

    Args:
        points_px: (478, 3), a mesh.
        eye: The indices of p1 to p6.
    """
    p1, p2, p3, p4, p5, p6 = eye
    heights = _distance(points_px, p2, p6) + _distance(points_px, p3, p5)
    return heights / (2 * _distance(points_px, p1, p4))


def gaze_deg(head: Array, eye: tuple[int, ...], iris: int) -> tuple[float, float]:
    """Yaw and pitch of one eye in the head, degrees; 0 if the iris is midway between the corners.

    Signs are those of the head's angles: positive towards the image's right edge, and upwards.

    Args:
        head: (478, 3), a mesh in the head's own axes.
        eye: The indices of p1 to p6, see `eye_aspect_ratio`.
        iris: The index of the iris' centre.
    """
    first, second = head[eye[0]], head[eye[3]]
    radius = _IRIS_RADIUS * np.linalg.norm(second - first)
    across = (second - first) / np.linalg.norm(second - first)
    offset = head[iris] - (first + second) / 2
    # the corners of an eye need not be level, and one lies deeper than the other
    down = np.cross([0.0, 0.0, 1.0], across)
    down /= np.linalg.norm(down)
    x, y = offset @ across / radius, offset @ down / radius
    return (
        float(np.degrees(np.arcsin(np.clip(x, -1, 1)))),
        float(-np.degrees(np.arcsin(np.clip(y, -1, 1)))),
    )


def _distance(points: Array, a: int, b: int) -> float:
    return max(float(np.linalg.norm(points[a] - points[b])), 1e-6)
