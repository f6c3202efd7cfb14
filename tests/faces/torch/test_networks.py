"""The detectors in PyTorch, as used on CUDA: the same faces as in ONNX Runtime."""

import weakref

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch.utils._python_dispatch import TorchDispatchMode

from jadfer_cli.errors import ModelError
from jadfer_cli.faces.centerface import weights_path
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.detector import Detector
from jadfer_cli.faces.torch.graph import TorchGraph
from jadfer_cli.faces.torch.networks import TorchCenterFace
from jadfer_cli.options import FaceOptions
from jadfer_cli.records import DetectorInfo

INFO = DetectorInfo("fake", "centerface", "fake.onnx", "0" * 64, "none", "PyTorch on cpu")


def same(a, b, px=0.05):
    assert len(a) == len(b) > 0
    np.testing.assert_allclose(a.boxes_px, b.boxes_px, atol=px)
    np.testing.assert_allclose(a.landmarks_px, b.landmarks_px, atol=px)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-3)


def views(picture):
    return [picture, np.ascontiguousarray(picture[:, ::-1]), np.roll(picture, 40, axis=1)]


def both(name, picture):
    """Compares ONNX Runtime, frame by frame, with PyTorch, all frames at once."""
    options = FaceOptions(detector=name)
    plain, in_torch = (load_detector(options, 1, in_torch=flag) for flag in (False, True))
    assert in_torch.prefers_batches and not plain.prefers_batches
    assert in_torch.info.provider == "PyTorch on cpu, float32"
    assert in_torch.info.sha256 == plain.info.sha256
    images = views(picture)
    for one, other in zip(map(plain.detect, images), in_torch.detect_all(images), strict=True):
        same(one, other)
    near = in_torch.detect_near(picture, plain.detect(picture).boxes_px[:2], 1.6)
    assert near is not None and all(len(faces) for faces in near)


@pytest.mark.slow
def test_centerface_gives_the_same_faces(home, six_faces):
    both("centerface", six_faces)


@pytest.mark.slow
def test_no_face_in_a_batch(home):
    detector = load_detector(FaceOptions(detector="centerface"), 1, in_torch=True)
    blank = np.full((240, 320, 3), 120, np.uint8)
    assert [len(faces) for faces in detector.detect_all([blank, blank])] == [0, 0]


@pytest.mark.data
@pytest.mark.parametrize("name", ["scrfd_500m_kps", "scrfd_2.5g_kps"])
def test_scrfd_gives_the_same_faces(home, shared, six_faces, name):
    square = np.zeros((1280, 1280, 3), np.uint8)  # its file requires 640 x 640
    square[: len(six_faces)] = six_faces
    both(str(shared / "models" / f"{name}.onnx"), square)


@pytest.mark.data
def test_a_recogniser_is_no_detector_in_torch_either(home, shared):
    path = shared / "models" / "mobilefacenet_arcface.onnx"
    with pytest.raises(ModelError, match=r"arcface\.onnx|operator"):
        load_detector(FaceOptions(detector=str(path)), 1, in_torch=True)


def test_half_precision_finds_the_same_faces(home, six_faces):
    single, half = (TorchCenterFace(weights_path(), "cpu") for _ in range(2))
    half.dtype = torch.float16
    half.graph.half()
    options = FaceOptions(detector="centerface", detection_size=160)
    faces, others = (
        Detector(INFO, network, options, device="cpu").detect(six_faces[:, :640])
        for network in (single, half)
    )
    assert len(faces) == 3
    same(faces, others, px=1.5)


def test_an_unknown_operator_and_a_broken_file_are_refused(tmp_path, home):
    node = helper.make_node("Tan", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, 1, [1, 3, 8, 8]) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", value[:1], value[1:]))
    with pytest.raises(ModelError, match="operator Tan, which is not supported"):
        TorchGraph(model)
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_detector(FaceOptions(detector=str(tmp_path / "broken.onnx")), 1, in_torch=True)


class LargestTotal(TorchDispatchMode):
    """Counts the bytes of all results of operators that are still referenced."""

    def __init__(self):
        super().__init__()
        self.results, self.largest, self.total = [], 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            self.results.append(weakref.ref(result))
            self.total += result.nbytes
            alive = [tensor for ref in self.results if (tensor := ref()) is not None]
            self.largest = max(self.largest, sum(tensor.nbytes for tensor in alive))
        return result


@pytest.mark.slow
def test_values_are_freed_as_soon_as_no_later_node_needs_them():
    graph = TorchGraph(onnx.load(str(weights_path()))).eval()
    with torch.inference_mode(), LargestTotal() as memory:
        outputs = graph(torch.zeros(1, 3, 64, 64))
    assert list(outputs) == graph.output_names
    assert memory.largest < memory.total / 5
