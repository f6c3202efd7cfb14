"""PyTorch holds, searches, crops and scores frames, as on a GPU: the rows are the same.

Run on the CPU, and on a GPU where there is one.
"""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import DEMO
from tolerances import FASTER_DETECTION_MEAN, HALF_MAX, OTHER_MACHINE, SAME_MACHINE

from jadfer_cli import AnnotateOptions, FaceOptions, ModelOptions, VideoOptions
from jadfer_cli.faces import align
from jadfer_cli.faces.follow import follow
from jadfer_cli.geometry import iou
from jadfer_cli.installation.samples import face_picture
from jadfer_cli.pipeline.annotator import Annotator
from jadfer_cli.pipeline.flow import annotate_video
from jadfer_cli.pipeline.result_metadata import result_metadata
from jadfer_cli.pipeline.source import open_video
from jadfer_cli.pipeline.state import RunState
from jadfer_cli.pipeline.steps import crop, in_batches, score, track
from jadfer_cli.records import CORRUPT, OK, Crops, Frame

PLAIN = AnnotateOptions(
    video=VideoOptions(end_s=2.4),
    # 256 px, so that frames of 320 x 240 are scaled
    faces=FaceOptions(detector="centerface", detection_size=256, redetect_s=0),
    model=ModelOptions(device="cpu"),
)
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


def as_on_a_gpu(device, name="default"):
    model = ModelOptions(model=name, device=device, engine="torch")  # half precision on a GPU
    return Annotator(dataclasses.replace(PLAIN, model=model), in_torch=True)


def annotated(annotator):
    source = open_video(DEMO, annotator.options)
    state = RunState()
    batches = annotate_video(source, annotator.networks, Frames(), state)
    frames = [frame for batch in batches for frame in batch]
    return frames, result_metadata(annotator.networks, source, state, sha256=None)


class Frames:
    """An output that returns the frames as they are."""

    def write(self, frames):
        return frames


def cropped(annotator, frames):
    """The frames found, tracked and cropped, in this thread."""
    networks = annotator.networks
    found = follow(iter(frames), networks.detector, networks.redetect_s, networks.device_crop_px)
    source = open_video(DEMO, annotator.options)
    tracked = track(found, source, annotator.options.faces, RunState())
    return list(crop(tracked, networks.predictor.crop_px))


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_the_demo_has_the_same_rows(device):
    plain, told = annotated(Annotator(PLAIN))
    there, said = annotated(as_on_a_gpu(device))
    assert told["crops"] == "OpenCV on cpu"
    assert said["crops"].startswith(f"PyTorch on {device}")
    assert said["detector"]["provider"].startswith(f"PyTorch on {device}")
    assert said["engine"] == "torch"
    assert len(plain) == len(there) == 60
    overlap, differ = [], []
    for one, other in zip(plain, there, strict=True):
        assert (one.index, one.status) == (other.index, other.status)
        assert one.track_ids.tolist() == other.track_ids.tolist()
        overlap += list(np.diag(iou(one.faces.boxes_px, other.faces.boxes_px)))
        differ += list(np.abs(one.probabilities - other.probabilities).max(1))
        np.testing.assert_allclose(one.quality.blur, other.quality.blur, atol=0.02)
    overlap, differ = np.array(overlap), np.array(differ)
    assert len(overlap) == 60 and overlap.min() > 0.9
    assert differ.mean() < FASTER_DETECTION_MEAN
    # faces for which CenterFace chose the same cell; see faces/torch/test_frames.py
    same = overlap > (0.98 if device == "cpu" else 0.96)
    assert same.mean() > 0.8
    assert differ[same].max() < (OTHER_MACHINE if device == "cpu" else HALF_MAX)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_each_face_keeps_its_crop_from_the_detector_to_the_network(device):
    annotator = as_on_a_gpu(device)
    picture = face_picture()
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    images = [picture, None, mirrored, picture, np.zeros_like(picture)]
    frames = [
        Frame(i, i / 25, 1 / 25, CORRUPT if image is None else OK, image)
        for i, image in enumerate(images)
    ]
    seen = cropped(annotator, frames)
    assert [len(one.faces) for one in seen] == [6, 0, 6, 6, 0]
    for one, image in zip(seen, images, strict=True):
        assert len(one.crops) == len(one.faces) and one.frame.image_rgb is None
        if image is not None:
            theirs = align.crop(image, one.faces.landmarks_px, 112).astype(int)
            assert np.abs(one.crops.rgb - theirs).max(initial=0) <= 2
            assert torch.equal(one.crops.on_device.cpu(), torch.from_numpy(one.crops.rgb))
    given = []
    predictor = annotator.networks.predictor
    engine = predictor.engine
    predictor.engine = lambda crops: (given.append(crops), engine(crops))[1]
    batches = score(in_batches(seen, 64), predictor, picture.shape[1::-1])
    scored = [frame for batch in batches for frame in batch]
    assert all(crops.device.type == device for crops in given)  # no detour via the CPU
    for one, frame in zip(seen, scored, strict=True):
        expected = predictor.probabilities(one.crops.rgb)
        most = SAME_MACHINE if device == "cpu" else HALF_MAX
        np.testing.assert_allclose(frame.probabilities, expected, atol=most)


@pytest.mark.slow
def test_regions_are_cropped_on_the_cpu_and_that_is_told():
    options = dataclasses.replace(PLAIN.faces, redetect_s=0.2)
    annotator = Annotator(dataclasses.replace(PLAIN, faces=options), in_torch=True)
    networks = annotator.networks
    assert networks.metadata()["crops"] == "OpenCV on cpu" and networks.hint is None
    frames = [Frame(i, i / 25, 1 / 25, OK, face_picture()) for i in range(3)]
    seen = cropped(annotator, frames)
    assert all(len(one.crops) == 6 and one.crops.on_device is None for one in seen)


def test_the_user_is_told_once_what_runs_on_the_gpu():
    networks = as_on_a_gpu("cpu").networks
    runtime = dataclasses.replace(
        networks.runtime, device="cuda:0", device_name="NVIDIA L4", precision="fp16"
    )
    networks = dataclasses.replace(networks, runtime=runtime)
    told = "Faces are found, cropped and scored on cuda:0 (NVIDIA L4), expressions in fp16."
    assert networks.hint == told
    networks = dataclasses.replace(networks, redetect_s=0.3)
    assert networks.hint == told.replace(", cropped", "")


def test_crops_are_joined_on_the_device_only_if_all_are_there():
    rgb = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)
    none = Crops(rgb[:0])
    there = Crops(rgb, torch.from_numpy(rgb))
    taken = there.take(np.array([2, 0]))
    np.testing.assert_array_equal(taken.on_device.numpy(), rgb[[2, 0]])
    assert there.take(np.arange(3)) is there
    joined = Crops.join([taken, none, there])
    np.testing.assert_array_equal(joined.on_device.numpy(), rgb[[2, 0, 0, 1, 2]])
    np.testing.assert_array_equal(joined.rgb, rgb[[2, 0, 0, 1, 2]])
    assert Crops.join([there, Crops(rgb)]).on_device is None
    assert Crops.join([none, none]).on_device is None and len(Crops.join([none])) == 0


@pytest.mark.slow
def test_the_detector_interval_does_not_depend_on_the_device():
    default = dataclasses.replace(PLAIN, faces=FaceOptions(detector="centerface"))
    intervals = [
        Annotator(default, in_torch=in_torch).networks.metadata()["redetect_s"]
        for in_torch in (False, True)  # as on a CPU, as on a GPU
    ]
    assert intervals == [0.3, 0.3]


@pytest.mark.slow
@pytest.mark.parametrize("device", ["opencv", *DEVICES])
def test_quality_does_not_depend_on_the_size_that_a_network_wants(device):
    """The fast model has crops of 64 px; limits of quality were measured on 112 px."""
    found = []
    frame = Frame(0, 0.0, 1 / 25, OK, face_picture())
    for name, side in (("default", 112), ("fast", 64)):
        if device == "opencv":
            options = dataclasses.replace(PLAIN, model=ModelOptions(model=name, device="cpu"))
            annotator = Annotator(options)
        else:
            annotator = as_on_a_gpu(device, name)
        (one,) = cropped(annotator, [frame])
        assert one.crops.rgb.shape == (6, side, side, 3)
        full = one.crops.rgb if side == 112 else one.crops.for_quality
        assert full.shape == (6, 112, 112, 3)
        found.append(annotated(annotator)[0])
    for one, other in zip(*found, strict=True):
        for name in ("blur", "light", "mouth_contrast", "reason"):
            of_one, of_other = (getattr(each.quality, name) for each in (one, other))
            np.testing.assert_array_equal(of_one, of_other)
        assert (one.probabilities != other.probabilities).any()


def test_crops_for_quality_stay_with_their_faces():
    rgb, full = (np.arange(n * 3, dtype=np.uint8).reshape(3, -1, 1, 3) for n in (3, 6))
    there, none = Crops(rgb, None, full), Crops(rgb[:0], None, full[:0])
    np.testing.assert_array_equal(there.take(np.array([2, 0])).for_quality, full[[2, 0]])
    joined = Crops.join([none, there.take(np.array([1])), there])
    np.testing.assert_array_equal(joined.for_quality, full[[1, 0, 1, 2]])
    assert len(Crops.join([none, none]).for_quality) == 0
    assert Crops.join([Crops(rgb)]).for_quality is None
