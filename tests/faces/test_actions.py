"""Measures of a mesh by hand, the pose of turned faces, and the model file's canonical face."""

import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jadfer_cli.faces import actions as module
from jadfer_cli.faces.actions import actions_of, eye_aspect_ratio, gaze_deg
from jadfer_cli.faces.canonical import CanonicalFace, pose_deg
from jadfer_cli.faces.landmarker import FaceMeshes
from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS

VERTICES = np.array([[-4, -3, 1], [4, -3, 1], [0, 0, -2], [-2, 3, 0], [2, 3, 0], [0, 6, 1.0]])


@pytest.fixture
def canonical():
    return CanonicalFace(VERTICES, np.arange(6), np.full(6, 1 / 6))


def test_names():
    assert ACTION_COLUMNS[25] == "a_jaw_open" and ACTION_COLUMNS[44] == "a_mouth_smile_left"
    assert len(ACTION_COLUMNS) == 52 and len(set(ACTION_COLUMNS + MEASURE_COLUMNS)) == 63


def test_eye_aspect_ratio_by_hand():
    # 30 px wide; 9 px high at one third, 6 px at two thirds: (9 + 6) / (2 * 30) = 0.25
    points = np.zeros((478, 3))
    eye = (0, 1, 2, 3, 4, 5)
    points[:6, :2] = [[0, 0], [10, -5], [20, -3], [30, 0], [20, 3], [10, 4]]
    assert eye_aspect_ratio(points, eye) == pytest.approx(0.25)
    # turned away: the same in space
    turned = points @ Rotation.from_euler("y", 40, degrees=True).as_matrix().T
    assert eye_aspect_ratio(turned, eye) == pytest.approx(0.25)


def test_gaze_by_hand():
    # corners 29 px apart, so the radius is 10 px; the iris is 5 px to the right and 5 px up:
    # asin(0.5) = 30 degrees each
    head = np.zeros((478, 3))
    eye = (0, 1, 2, 3, 4, 5)
    head[3] = [29, 0, 0]
    head[6] = [14.5 + 5, -5, 0]
    assert gaze_deg(head, eye, 6) == pytest.approx((30, 30))
    head[6] = [14.5 + 50, 0, 0]  # a bad mesh; the angle stays finite
    assert gaze_deg(head, eye, 6) == pytest.approx((90, 0))


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 0, 0), (-20, 15, 40)])
def test_the_pose_of_a_turned_face_has_the_signs_of_the_columns(canonical, yaw, pitch, roll):
    # R = Rz(roll) Ry(-yaw) Rx(-pitch), see faces/quality.py
    turn = Rotation.from_euler("ZYX", [roll, -yaw, -pitch], degrees=True).as_matrix()
    mesh = np.zeros((478, 3))
    mesh[:6] = 12.0 * VERTICES @ turn.T + [300, 200, 5]
    assert canonical.rotation(mesh) == pytest.approx(turn)
    assert pose_deg(canonical.rotation(mesh)) == pytest.approx([yaw, pitch, roll], abs=1e-6)
    if yaw > 0:  # the nose, which lies in front, moves towards the image's right edge
        assert mesh[2, 0] > mesh[[0, 1, 3, 4, 5], 0].mean()


def message(*fields):
    """A Protocol Buffers message; integers are varints, floats 4 bytes, bytes have a length."""
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += bytes([number << 3, value])
        elif isinstance(value, float):
            data += bytes([number << 3 | 5]) + struct.pack("<f", value)
        else:
            data += bytes([number << 3 | 2, len(value)]) + value
    return data


def test_the_canonical_face_is_read_in_the_axes_of_the_camera():
    floats = [(3, float(v)) for v in (1, 2, 3, 0, 0, -1, 5, 7, 0, 0)]  # two vertices
    mesh = message((1, 0), *floats)
    data = message((1, mesh), (2, message((1, 1), (2, 3.0))), (2, message((2, 1.0))))
    face = CanonicalFace.read(data)
    assert face.points.tolist() == [1, 0] and face.weights == pytest.approx([0.75, 0.25])
    assert face.vertices.tolist() == [[-1, -5, -7], [1, -2, -3]]
    for damaged in (b"", data[:-3], data[:20], message((1, 7)), b"\x0b" + data):
        with pytest.raises((ValueError, KeyError)):
            CanonicalFace.read(damaged)


def test_a_mesh_of_no_face_has_no_values(canonical, monkeypatch):
    monkeypatch.setattr(module, "measures", lambda points, face: np.arange(10.0))
    meshes = FaceMeshes(
        np.ones((2, 478, 3), np.float32),
        np.array([0.9, 0.4], np.float32),
        np.full((2, 52), 0.5, np.float32),
    )
    found = actions_of(meshes, canonical, keep_points=True)
    assert found.values[0].tolist() == [0.5] * 52 + [*range(10)] + [pytest.approx(0.9)]
    assert np.isnan(found.values[1, :-1]).all() and found.values[1, -1] == pytest.approx(0.4)
    assert found.points_px is not None and np.isnan(found.points_px[1]).all()
    assert actions_of(meshes, canonical).points_px is None
