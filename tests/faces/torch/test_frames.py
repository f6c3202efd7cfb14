"""Frames on a device: scaled and cropped like by OpenCV, and the same faces are detected."""

import cv2
import numpy as np
import pytest
import torch

from jadfer_cli.faces import align
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.letterbox import apply_letterbox, fit_letterbox
from jadfer_cli.faces.torch import frames as device_frames
from jadfer_cli.faces.torch.frames import DeviceFrames, warp
from jadfer_cli.geometry import iou
from jadfer_cli.options import FaceOptions
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

# OpenCV below 5 interpolates in steps of 1/32 px, which matters at sharp edges only
MEAN, MOST = 0.5, 6


def near(ours, theirs, mean=MEAN, most=MOST):
    differ = np.abs(np.asarray(ours).astype(int) - theirs)
    assert differ.mean() < mean and differ.max() <= most


def placed(side_px, corner, turn_deg=0.0):
    """Landmarks (5, 2) of a face whose crop is a square of the frame, rotated about its centre."""
    turn = np.radians(turn_deg)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return ((align.TEMPLATE - 0.5) * side_px) @ matrix.T + side_px / 2 + corner


# by side in px; crops of 112 px take 1, 1, 2, 3, 5, 9 and 16 samples per axis
FACES = [
    placed(40, (100, 50)), placed(112, (30.25, 40.75), 10), placed(200, (500, 300), -75),
    placed(300, (-150, 700), 30), placed(500, (900, 500), 180), placed(1000, (100, -300), 3),
    placed(3000, (-800, -900), 45), placed(90, (1240, 850)), placed(60, (5000, -2000)),
]  # fmt: skip


@pytest.fixture(scope="module")
def frames(six_faces):
    """A photograph, noise and sharp bars, all of one size."""
    noise = np.random.default_rng(0).integers(0, 256, six_faces.shape, np.uint8)
    bars = np.zeros_like(six_faces)
    bars[:, ::7], bars[::11] = 255, (255, 0, 120)
    return [six_faces, noise, bars]


@pytest.mark.slow
def test_crops_equal_those_of_opencv(frames):
    marks = [np.array(FACES), np.empty((0, 5, 2)), np.array(FACES[::-2])]
    made = DeviceFrames(frames, "cpu").crops(marks, 112)
    assert [len(crops) for crops in made] == [9, 0, 5]
    for image, its, crops in zip(frames, marks, made, strict=True):
        assert crops.rgb.dtype == np.uint8 and crops.rgb.shape == (len(its), 112, 112, 3)
        np.testing.assert_array_equal(crops.on_device.numpy(), crops.rgb)
        for one, theirs in zip(crops.rgb, align.crop(image, its, 112), strict=True):
            near(one, theirs)


def test_crops_of_the_faces_that_are_found(frames, centerface):
    marks = [centerface.detect(frames[0]).landmarks_px] * 2
    for size_px in (112, 64):
        for crops in DeviceFrames(frames[:1] * 2, "cpu").crops(marks, size_px):
            near(crops.rgb, align.crop(frames[0], marks[0], size_px), mean=0.3, most=2)


def test_memory_for_samples_is_bounded_without_changing_the_crops(frames, monkeypatch):
    transforms = align.similarity(np.array(FACES), 32)
    frame = np.arange(len(transforms)) % 3
    stacked = torch.from_numpy(np.stack(frames))
    in_one_step = warp(stacked, frame, transforms, 32)
    n_samples, lerp = [], torch.lerp

    def counting(start, end, weight):
        n_samples.append(weight.numel())
        return lerp(start, end, weight)

    monkeypatch.setattr(device_frames, "SAMPLES_PER_STEP", 10_000)
    monkeypatch.setattr(torch, "lerp", counting)
    assert torch.equal(warp(stacked, frame, transforms, 32), in_one_step)
    assert max(n_samples) <= 10_000 < sum(n_samples) / 10


def test_a_crop_at_its_own_size_is_the_image_and_the_border_is_repeated():
    image = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    (crops,) = DeviceFrames([image], "cpu").crops([align.TEMPLATE[None] * 112], 112)
    np.testing.assert_array_equal(crops.rgb[0], image)
    edge = np.full((60, 60, 3), 200, np.uint8)
    edge[:, 0] = 90
    (crops,) = DeviceFrames([edge], "cpu").crops([align.TEMPLATE[None] * 112 - [56, 20]], 112)
    assert (crops.rgb[0, :, :50] == 90).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "longer", "fixed"),
    [
        ((1280, 886), 640, None),  # half the size, odd height
        ((1280, 886), 416, None),  # by a factor of 3.08
        ((1280, 886), 1280, None),  # unchanged
        ((1280, 886), 640, (640, 640)),
        ((320, 240), 640, None),  # twice the size
        ((176, 144), 640, None),
        ((1279, 41), 333, None),
        ((1920, 1080), 640, None),
        ((7, 1500), 96, None),
    ],
)
def test_letterboxed_as_by_opencv(frames, size, longer, fixed):
    images = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in frames]
    box = fit_letterbox(*size, longer, fixed)
    ours = DeviceFrames(images, "cpu").letterboxed(box)
    assert ours.dtype == torch.uint8 and ours.is_contiguous()
    for one, image in zip(ours.numpy(), images, strict=True):
        theirs = apply_letterbox(image, box)
        assert one.shape == theirs.shape
        near(one, theirs, mean=0.15, most=1)


PLACES = ("boxes_px", "landmarks_px")


def padded_to_square(image_rgb):
    side = max(image_rgb.shape)
    square = np.zeros((side, side, 3), np.uint8)
    square[: image_rgb.shape[0], : image_rgb.shape[1]] = image_rgb
    return square


def demo_frames(root):
    info = probe(str(root / "examples" / "demo.mp4"))
    with VideoReader(info, np.arange(0, 60, 6), threads=1) as reader:
        return [frame.image_rgb for frame in reader]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "centerface",
        pytest.param("scrfd_500m_kps", marks=pytest.mark.data),
        pytest.param("scrfd_2.5g_kps", marks=pytest.mark.data),
    ],
)
def test_the_same_faces_in_frames_scaled_on_the_device(home, request, six_faces, name):
    if name != "centerface":
        name = str(request.getfixturevalue("shared") / "models" / f"{name}.onnx")
    options = FaceOptions(detector=name)
    on_cpu, on_device = (load_detector(options, 1, in_torch=flag) for flag in (False, True))
    empty = on_device.detect_and_crop([six_faces[:90]] * 2, 112)
    assert [len(faces) for faces, _ in empty] == [0, 0]
    jumps = []
    batches = [[six_faces, six_faces[:, ::-1]]]
    if name != "scrfd_2.5g_kps":  # the slowest; what it scales and crops does not depend on it
        batches.append(demo_frames(request.config.rootpath))
    for images in batches:
        if name != "centerface":
            # SCRFD's files require 640 x 640
            images = [padded_to_square(image) for image in images]
        found = on_device.detect_and_crop(images, 112)
        for image, (ours, crops) in zip(images, found, strict=True):
            near(crops.rgb, align.crop(image, ours.landmarks_px, 112))
            theirs = on_cpu.detect(image)
            overlap = iou(ours.boxes_px, theirs.boxes_px)
            match = overlap.argmax(1)
            assert sorted(match) == list(range(len(theirs))) and len(theirs) > 0
            theirs = theirs.take(match)
            apart = [np.abs(getattr(ours, key) - getattr(theirs, key)).max() for key in PLACES]
            jumps.append(max(apart) >= 0.5)
            assert overlap.max(1).min() > (0.9 if jumps[-1] else 0.95)
        # CenterFace's neighbouring cells may have almost equal scores and boxes 3 to 10 px apart.
        # Random noise of one grey level moves the box in 6 of 75 demo frames, scaling here in 7.
        assert sum(jumps) <= (2 if name == "centerface" and len(images) > 2 else 0)


@pytest.fixture
def small_detector(home):
    """CenterFace on a device, for inputs of 160 px."""
    options = FaceOptions(detector="centerface", detection_size=160)
    return load_detector(options, 1, in_torch=True)


def test_frames_are_freed_once_their_faces_are_cropped(small_detector, six_faces, monkeypatch):
    import weakref

    on_device, init = [], DeviceFrames.__init__

    def noted(self, *args):
        init(self, *args)
        on_device.append(weakref.ref(self.rgb))

    monkeypatch.setattr(DeviceFrames, "__init__", noted)
    ((_, crops),) = small_detector.detect_and_crop([six_faces[:, :640]], 112)
    assert len(crops) == 3 and [ref() for ref in on_device] == [None]


def test_lack_of_memory_halves_copying_detection_and_cropping(
    small_detector, six_faces, monkeypatch
):
    images = [six_faces[:, :640]] * 5
    expected = small_detector.detect_and_crop(images, 112)
    crops, batch_sizes = DeviceFrames.crops, []

    def out_of_memory(self, landmarks_px, size_px):
        batch_sizes.append(len(landmarks_px))
        if len(landmarks_px) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return crops(self, landmarks_px, size_px)

    monkeypatch.setattr(DeviceFrames, "crops", out_of_memory)
    halved = small_detector.detect_and_crop(images, 112)
    assert batch_sizes == [5, 2, 2, 1]
    limiter = small_detector.batch_limiter
    assert limiter.size == 2 and limiter.warnings
    for (faces, its), (others, their) in zip(expected, halved, strict=True):
        assert len(faces) == 3
        np.testing.assert_allclose(faces.boxes_px, others.boxes_px, atol=1e-3)
        near(its.rgb, their.rgb, mean=0.01, most=1)
