"""Frames held, looked at, cropped and scored by PyTorch, as on a GPU: the rows are the same.

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
from jadfer_cli.geometry import iou
from jadfer_cli.installation.selftest import face_picture
from jadfer_cli.pipeline.annotator import Annotator
from jadfer_cli.records import CORRUPT, OK, Crops, Frame

PLAIN = AnnotateOptions(
    video=VideoOptions(end_s=2.4),
    # 256 px: the frames of 320 x 240 are scaled
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


def as_on_a_gpu(device):
    model = ModelOptions(device=device, engine="torch")  # in half precision on a GPU
    return Annotator(dataclasses.replace(PLAIN, model=model), in_torch=True)


def annotated(annotator):
    with annotator.open(str(DEMO)) as run:
        return [frame for part in run.frames() for frame in part], run.metadata()


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
    # where CenterFace took the same cell; see faces/torch/test_frames.py
    same = overlap > (0.98 if device == "cpu" else 0.96)
    assert same.mean() > 0.8
    assert differ[same].max() < (OTHER_MACHINE if device == "cpu" else HALF_MAX)


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
    run = annotator.open(str(DEMO))
    seen = list(run.crop(run.track(run.find(iter(frames)))))
    assert [len(one.faces) for one in seen] == [6, 0, 6, 6, 0]
    for one, image in zip(seen, images, strict=True):
        assert len(one.crops) == len(one.faces) and one.frame.image_rgb is None
        if image is not None:
            theirs = align.crop(image, one.faces.landmarks_px, 112).astype(int)
            assert np.abs(one.crops.rgb - theirs).max(initial=0) <= 2
            assert torch.equal(one.crops.on_device.cpu(), torch.from_numpy(one.crops.rgb))
    given = []
    engine = annotator.predictor._engine
    annotator.predictor._engine = lambda crops: (given.append(crops), engine(crops))[1]
    scored = [frame for part in run.score(run.batches(seen)) for frame in part]
    assert all(crops.device.type == device for crops in given)  # no way round by the CPU
    for one, frame in zip(seen, scored, strict=True):
        expected = annotator.predictor.probabilities(one.crops.rgb)
        most = SAME_MACHINE if device == "cpu" else HALF_MAX
        np.testing.assert_allclose(frame.probabilities, expected, atol=most)


def test_regions_are_cropped_on_the_cpu_and_that_is_told():
    options = dataclasses.replace(PLAIN.faces, redetect_s=0.2)
    annotator = Annotator(dataclasses.replace(PLAIN, faces=options), in_torch=True)
    assert annotator.metadata()["crops"] == "OpenCV on cpu" and annotator.hint is None
    frames = [Frame(i, i / 25, 1 / 25, OK, face_picture()) for i in range(3)]
    run = annotator.open(str(DEMO))
    seen = list(run.crop(run.track(run.find(iter(frames)))))
    assert all(len(one.crops) == 6 and one.crops.on_device is None for one in seen)


def test_the_user_is_told_once_what_runs_on_the_gpu():
    annotator = as_on_a_gpu("cpu")
    annotator.runtime = dataclasses.replace(
        annotator.runtime, device="cuda:0", device_name="NVIDIA L4", precision="fp16"
    )
    told = "Faces are found, cropped and scored on cuda:0 (NVIDIA L4), expressions in fp16."
    assert annotator.hint == told
    annotator.redetect_s = 0.3
    assert annotator.hint == told.replace(", cropped", "")


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
