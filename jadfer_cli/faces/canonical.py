"""MediaPipe's canonical face, from the model file, and the head pose of a mesh by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jadfer_cli.faces.quality import angles

Array = npt.NDArray[np.float64]

FILE = "geometry_pipeline_metadata_landmarks.binarypb"  # in the model file
_FLOATS_PER_VERTEX = 5  # x, y, z in cm (x to the face's left, y up, z towards the camera), u, v
# fields of the messages GeometryPipelineMetadata, Mesh3d and WeightedLandmarkRef
# (mediapipe/tasks/cc/vision/face_geometry/proto)
_MESH, _BASIS, _VERTEX_BUFFER, _LANDMARK_ID, _WEIGHT = 1, 2, 3, 1, 2
_VARINT, _BYTES, _FIXED32 = 0, 2, 5  # wire types of Protocol Buffers


@dataclass(frozen=True)
class CanonicalFace:
    """A face that looks into the camera, in the camera's axes: x right, y down, z away.

    Attributes:
        vertices: float64 (k, 3), those vertices that move little with the expression.
        points: int64 (k,), their indices among the points of a mesh.
        weights: float64 (k,), how much each counts for the pose; their sum is 1.
    """

    vertices: Array
    points: npt.NDArray[np.int64]
    weights: Array

    @classmethod
    def read(cls, data: bytes) -> CanonicalFace:
        """Reads the face from the content of `FILE`.

        Raises:
            ValueError: It is damaged.
        """
        vertices, basis = np.empty((0, 3)), []
        for field, value in _fields(data):
            if field == _MESH:
                vertex = [_bytes(v) for n, v in _fields(_bytes(value)) if n == _VERTEX_BUFFER]
                packed = b"".join(vertex)
                floats = np.frombuffer(packed, "<f4").reshape(-1, _FLOATS_PER_VERTEX)
                vertices = floats[:, :3].astype(np.float64) * [1, -1, -1]
            elif field == _BASIS:
                entry = dict(_fields(_bytes(value)))
                weight = float(np.frombuffer(_bytes(entry[_WEIGHT]), "<f4").item())
                basis.append((int(entry.get(_LANDMARK_ID, 0)), weight))
        if not basis or max(index for index, _ in basis) >= len(vertices):
            raise ValueError(f"{FILE} holds no face")
        points = np.array([index for index, _ in basis], np.int64)
        weights = np.array([weight for _, weight in basis])
        return cls(vertices[points], points, weights / weights.sum())

    def rotation(self, points_px: Array) -> Array:
        """The rotation (3, 3) that best turns this face into a mesh.

        Weighted least squares over rotation, scale and shift (Kabsch 1976), as in MediaPipe.

        Args:
            points_px: (478, 3), a mesh in pixels, z away from the camera.
        """
        chosen = points_px[self.points]
        target = chosen - self.weights @ chosen
        source = self.vertices - self.weights @ self.vertices
        u, _, vt = np.linalg.svd((target * self.weights[:, None]).T @ source)
        mirror = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        turn: Array = u @ mirror @ vt
        return turn


def pose_deg(rotation: Array) -> Array:
    """Yaw, pitch and roll (3,) of a rotation, degrees; `faces.quality` defines their signs."""
    degrees: Array = np.degrees(angles(rotation[None])[0])
    return degrees


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError(f"{FILE} has a number in place of a message")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a Protocol Buffers message: number and value, a 4-byte value as bytes.

    Raises:
        ValueError: The message ends early, or has fields of another wire type.
    """
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(data):
                raise ValueError(f"{FILE} ends early")
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            yield field, varint()
            continue
        if kind not in (_BYTES, _FIXED32):
            raise ValueError(f"{FILE} has a field of wire type {kind}")
        end = (4 if kind == _FIXED32 else varint()) + at
        value, at = data[at:end], end
        yield field, value
