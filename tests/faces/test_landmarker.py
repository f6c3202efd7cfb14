"""The face landmarker: crops by hand, the actions of real clips, and what is missing."""

import sys
import zipfile

import av
import numpy as np
import pytest

from jadfer_cli.errors import ModelError
from jadfer_cli.faces import landmarker
from jadfer_cli.faces.actions import actions_of
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.landmarker import (
    MODEL,
    MODEL_SHA256,
    FaceMeshes,
    Landmarker,
    square_of_landmarks,
    square_of_mesh,
)
from jadfer_cli.labels import ACTION_COLUMNS, BLENDSHAPES, MEASURE_COLUMNS, snake_case
from jadfer_cli.options import FaceOptions

COLUMNS = (*ACTION_COLUMNS, *MEASURE_COLUMNS)


def test_names_in_snake_case():
    assert len(set(BLENDSHAPES)) == 52
    assert [snake_case(name) for name in ("mouthSmileLeft", "jawOpen", "_neutral")] == [
        "mouth_smile_left", "jaw_open", "neutral",
    ]  # fmt: skip


def test_the_square_about_five_landmarks_by_hand():
    # eyes 40 px apart at y = 100, mouth 60 px below: a mesh of 2.45 * 60 = 147 px, a square of
    # 220.5 px about (120, 100 + 0.48 * 60 = 128.8)
    five = np.array([[100, 100], [140, 100], [120, 130], [105, 160], [135, 160]], float)
    matrix = square_of_landmarks(five)
    assert matrix[:, :2] == pytest.approx(np.eye(2) * 256 / 220.5)
    assert matrix @ [120, 128.8, 1] == pytest.approx([128, 128])
    # the face turned by a quarter: its eyes are on a horizontal line in the crop
    turned = five @ np.array([[0, 1], [-1, 0]])
    crop = np.c_[turned, np.ones(5)] @ square_of_landmarks(turned).T
    assert crop == pytest.approx(np.c_[five, np.ones(5)] @ matrix.T)
    # in profile the eyes say little, and coinciding landmarks must not divide by zero
    assert np.isfinite(square_of_landmarks(np.zeros((5, 2)))).all()


def test_the_square_about_a_mesh_by_hand():
    points = np.full((478, 3), 50.0)
    points[0, :2], points[1, :2] = (0, 10), (80, 110)  # 80 x 100 px about (40, 60)
    points[33, :2], points[263, :2] = (20, 50), (60, 50)
    matrix = square_of_mesh(points)
    assert matrix[:, :2] == pytest.approx(np.eye(2) * 256 / 150)
    assert matrix @ [40, 60, 1] == pytest.approx([128, 128])


def test_meshes_check_their_shapes():
    three = FaceMeshes.missing(3)
    assert len(three.take([True, False, True])) == 2 and not three.presence.any()
    with pytest.raises(ValueError, match="expected an array of shape"):
        FaceMeshes(three.points_px, three.presence[:2], three.blendshapes)


def test_a_missing_model_file_names_both_ways_out(tmp_path, monkeypatch):
    monkeypatch.setattr(landmarker, "models_folder", lambda: tmp_path)
    monkeypatch.delenv(landmarker.MODEL_VARIABLE, raising=False)
    with pytest.raises(ModelError, match="There is no face landmarker model at") as caught:
        Landmarker()
    assert str(tmp_path / MODEL) in caught.value.message
    assert "Either run `jadfer models fetch face_landmarker`" in caught.value.hint
    assert f"or set {landmarker.MODEL_VARIABLE}" in caught.value.hint
    monkeypatch.setenv(landmarker.MODEL_VARIABLE, str(tmp_path / "mine.task"))
    with pytest.raises(ModelError, match=r"mine\.task"):
        Landmarker()
    (tmp_path / "mine.task").write_bytes(b"x")
    assert landmarker.find_model() == tmp_path / "mine.task"


def test_missing_litert_names_the_extra(tmp_path, monkeypatch):
    file = tmp_path / MODEL
    file.write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ModelError, match="needs LiteRT, which cannot be loaded") as caught:
        Landmarker(file)
    assert "pip install 'jadfer-cli[actions]'" in caught.value.hint


def test_a_damaged_model_file_is_refused(tmp_path):
    pytest.importorskip("ai_edge_litert")
    plain, hollow = tmp_path / "plain.task", tmp_path / "hollow.task"
    plain.write_bytes(b"no zip")
    with zipfile.ZipFile(hollow, "w") as archive:
        archive.writestr("face_detector.tflite", b"")
    for file in (plain, hollow):
        with pytest.raises(ModelError, match="not a readable face landmarker") as caught:
            Landmarker(file)
        assert MODEL_SHA256 in caught.value.hint


@pytest.fixture(scope="module")
def on_clips(shared):
    """Finds the meshes of some frames of a clip: its first face each."""
    pytest.importorskip("ai_edge_litert")
    finder = Landmarker(shared / "models" / MODEL)
    assert finder.sha256 == MODEL_SHA256
    detector = load_detector(FaceOptions(detector="centerface"), 1)

    def find(clip, frames):
        found, pictures = [], []
        with av.open(str(shared / "clips" / clip)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index in frames:
                    image = frame.to_ndarray(format="rgb24")
                    five = detector.detect(image).landmarks_px[:1]
                    found.append(finder.find(image, five))
                    pictures.append((image, five))
        return found, pictures, finder

    return find


def of(found, name):
    return [float(each.blendshapes[0, BLENDSHAPES.index(name)]) for each in found]


@pytest.mark.data
def test_jaw_and_smile_agree_with_what_the_eye_sees(on_clips):
    found, _, _ = on_clips("carphone.mp4", (4, 20, 57, 60))
    jaw = of(found, "jawOpen")  # by eye: talking with a closed mouth, then wide open in 56-62
    assert max(jaw[:2]) < 0.2 and min(jaw[2:]) > 0.4, jaw
    assert min(each.presence[0] for each in found) > 0.9
    found, _, _ = on_clips("single_face.mp4", (2, 10, 30, 60))
    for side in ("Left", "Right"):
        smile = of(found, f"mouthSmile{side}")  # by eye: neutral in 0-15, smiling in 24-71
        assert max(smile[:2]) < 0.2 and min(smile[2:]) > 0.7, smile


@pytest.mark.data
def test_the_mesh_lies_on_the_detectors_landmarks_and_turns_with_the_picture(on_clips):
    (mesh,), ((image, five),), finder = on_clips("single_face.mp4", (30,))
    points = mesh.points_px[0, :, :2]
    # mesh points next to the five: irises, nose tip, mouth corners (as seen in the image)
    near = points[[468, 473, 1, 61, 291]]
    apart = np.linalg.norm(near - five[0], axis=1) / np.linalg.norm(five[0, 1] - five[0, 0])
    assert apart.max() < 0.15, apart
    # a picture turned by a quarter gives the turned mesh and the same actions
    turned = np.ascontiguousarray(np.rot90(image))  # (x, y) to (y, width - x)
    width = image.shape[1]
    five_turned = np.stack([five[..., 1], width - five[..., 0]], -1)
    other = finder.find(turned, five_turned)
    expected = np.stack([points[:, 1], width - points[:, 0]], 1)
    size = np.ptp(points, axis=0).max()
    assert np.abs(other.points_px[0, :, :2] - expected).max() / size < 0.03
    assert np.abs(other.blendshapes - mesh.blendshapes).max() < 0.1


def of_other_side(name):
    """The column of the other side: ear_right of ear_left."""
    return name.replace("left", "?").replace("right", "left").replace("?", "right")


@pytest.mark.data
@pytest.mark.parametrize(
    ("clip", "frames"), [("carphone.mp4", (4, 60, 90)), ("single_face.mp4", (27, 60))]
)
def test_a_mirrored_picture_swaps_left_and_right(on_clips, clip, frames):
    meshes, pictures, finder = on_clips(clip, frames)
    canonical = finder.canonical_face()
    for mesh, (image, five) in zip(meshes, pictures, strict=True):
        x = mesh.points_px[0, :, 0]
        # left is the person's own, on the right of the picture: irises, outer eye corners, lips
        assert x[473] > x[468] and x[263] > x[33] and x[291] > x[61]
        mirrored = np.ascontiguousarray(image[:, ::-1])
        turned = np.stack([image.shape[1] - five[..., 0], five[..., 1]], -1)[:, [1, 0, 2, 4, 3]]
        a, b = (
            dict(zip(COLUMNS, actions_of(each, canonical).values[0].tolist(), strict=True))
            for each in (mesh, finder.find(mirrored, turned))
        )
        for name, value in a.items():
            sign = -1 if name.startswith(("gaze_yaw", "mesh_yaw", "mesh_roll")) else 1
            near = (
                20
                if "gaze" in name
                else 6
                if name.endswith("_deg")
                else 0.3
                if name.startswith("a_")
                else 0.06
            )
            assert b[of_other_side(name)] == pytest.approx(sign * value, abs=near), name
        # the left eye looks out if it looks to the right of the picture
        out = a["a_eye_look_out_left"] - a["a_eye_look_in_left"]
        assert abs(out) < 0.2 or np.sign(out) == np.sign(a["gaze_yaw_left_deg"])


@pytest.mark.data
def test_a_crop_without_a_face_has_a_low_presence(on_clips):
    _, ((image, five),), finder = on_clips("single_face.mp4", (30,))
    grey = np.full_like(image, 127)
    missing = np.full((1, 5, 2), np.nan)
    both = finder.find(grey, np.concatenate([five, missing]))
    assert both.presence[0] < landmarker.PRESENT
    assert both.presence[1] == 0 and np.isnan(both.points_px[1]).all()
