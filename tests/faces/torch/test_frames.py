"""Frames on a device: crops and pictures as OpenCV makes them, and the faces found in those."""

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

# OpenCV below 5 interpolates in steps of 1/32 px, which shows at sharp edges only
MEAN, MOST = 0.5, 6


def near(ours, theirs, mean=MEAN, most=MOST):
    differ = np.abs(np.asarray(ours).astype(int) - theirs)
    assert differ.mean() < mean and differ.max() <= most


def placed(side_px, corner, turn_deg=0.0):
    """Landmarks (5, 2) of a face whose crop is a square of the frame, turned about its middle."""
    turn = np.radians(turn_deg)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return ((align.TEMPLATE - 0.5) * side_px) @ matrix.T + side_px / 2 + corner


# by side in px: crops of 112 px take 1, 1, 2, 3, 5, 9 and 16 samples an axis
FACES = [
    placed(40, (100, 50)), placed(112, (30.25, 40.75), 10), placed(200, (500, 300), -75),
    placed(300, (-150, 700), 30), placed(500, (900, 500), 180), placed(1000, (100, -300), 3),
    placed(3000, (-800, -900), 45), placed(90, (1240, 850)), placed(60, (5000, -2000)),
]  # fmt: skip


@pytest.fixture(scope="module")
def frames(six_faces):
    """Photograph, noise and sharp bars, of one size."""
    noise = np.random.default_rng(0).integers(0, 256, six_faces.shape, np.uint8)
    bars = np.zeros_like(six_faces)
    bars[:, ::7], bars[::11] = 255, (255, 0, 120)
    return [six_faces, noise, bars]


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


def test_memory_for_samples_is_bounded_and_changes_nothing(frames, monkeypatch):
    maps = align.similarity(np.array(FACES))
    frame = np.arange(len(maps)) % 3
    stacked = torch.from_numpy(np.stack(frames))
    whole = warp(stacked, frame, maps, 112)
    seen = []
    sampled = device_frames._bilinear

    def noted(frames_rgb, which, x, y):
        seen.append(x.numel())
        return sampled(frames_rgb, which, x, y)

    monkeypatch.setattr(device_frames, "_SAMPLES_PER_STEP", 30_000)
    monkeypatch.setattr(device_frames, "_bilinear", noted)
    assert torch.equal(warp(stacked, frame, maps, 112), whole)
    assert max(seen) <= 30_000 < sum(seen)


def test_a_crop_at_its_own_size_is_the_image_and_the_border_is_repeated():
    image = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    (crops,) = DeviceFrames([image], "cpu").crops([align.TEMPLATE[None] * 112], 112)
    np.testing.assert_array_equal(crops.rgb[0], image)
    edge = np.full((60, 60, 3), 200, np.uint8)
    edge[:, 0] = 90
    (crops,) = DeviceFrames([edge], "cpu").crops([align.TEMPLATE[None] * 112 - [56, 20]], 112)
    assert (crops.rgb[0, :, :50] == 90).all()


@pytest.mark.parametrize(
    ("size", "longer", "fixed"),
    [
        ((1280, 886), 640, None),  # halves, an odd height
        ((1280, 886), 416, None),  # 3.08 px to one
        ((1280, 886), 1280, None),  # as it is
        ((1280, 886), 640, (640, 640)),
        ((320, 240), 640, None),  # twice as large
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


def squared(image_rgb):
    side = max(image_rgb.shape)
    square = np.zeros((side, side, 3), np.uint8)
    square[: image_rgb.shape[0], : image_rgb.shape[1]] = image_rgb
    return square


def demo_frames(root):
    info = probe(str(root / "examples" / "demo.mp4"))
    with VideoReader(info, np.arange(0, 60, 6), threads=1) as reader:
        return [frame.image_rgb for frame in reader]


@pytest.mark.parametrize(
    "name",
    [
        "centerface",
        pytest.param("scrfd_500m_kps", marks=pytest.mark.data),
        pytest.param("scrfd_2.5g_kps", marks=pytest.mark.data),
    ],
)
def test_the_same_faces_in_pictures_scaled_on_the_device(home, request, six_faces, name):
    if name != "centerface":
        name = str(request.getfixturevalue("shared") / "models" / f"{name}.onnx")
    options = FaceOptions(detector=name)
    plain, there = (load_detector(options, 2, in_torch=flag) for flag in (False, True))
    assert [len(faces) for faces, _ in there.detect_and_crop([six_faces[:90]] * 2, 112)] == [0, 0]
    jumps = []
    for images in ([six_faces, six_faces[:, ::-1]], demo_frames(request.config.rootpath)):
        if name != "centerface":
            images = [squared(image) for image in images]  # SCRFD's files insist on 640 x 640
        for image, (ours, crops) in zip(images, there.detect_and_crop(images, 112), strict=True):
            near(crops.rgb, align.crop(image, ours.landmarks_px, 112))
            theirs = plain.detect(image)
            overlap = iou(ours.boxes_px, theirs.boxes_px)
            match = overlap.argmax(1)
            assert sorted(match) == list(range(len(theirs))) and len(theirs) > 0
            theirs = theirs.take(match)
            apart = [np.abs(getattr(ours, of) - getattr(theirs, of)).max() for of in PLACES]
            jumps.append(max(apart) >= 0.5)
            assert overlap.max(1).min() > (0.9 if jumps[-1] else 0.95)
        # CenterFace has neighbouring cells with almost equal scores and boxes 3 to 10 px apart:
        # random noise of one grey level moves the box in 6 of 75 frames of the demo, this in 7.
        assert sum(jumps) <= (2 if name == "centerface" and len(images) > 2 else 0)


def test_frames_are_gone_when_their_faces_are_there(home, six_faces, monkeypatch):
    import weakref

    there = load_detector(FaceOptions(detector="centerface"), 2, in_torch=True)
    held, made = [], DeviceFrames.__init__

    def noted(self, *args):
        made(self, *args)
        held.append(weakref.ref(self.rgb))

    monkeypatch.setattr(DeviceFrames, "__init__", noted)
    found = there.detect_and_crop([six_faces], 112)
    assert len(found[0][1]) == 6 and [one() for one in held] == [None]


def test_too_little_memory_halves_copying_looking_and_cropping(home, six_faces, monkeypatch):
    there = load_detector(FaceOptions(detector="centerface", detection_size=320), 2, in_torch=True)
    whole = there.detect_and_crop([six_faces] * 5, 112)
    crops, given = DeviceFrames.crops, []

    def short(self, landmarks_px, size_px):
        given.append(len(landmarks_px))
        if len(landmarks_px) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return crops(self, landmarks_px, size_px)

    monkeypatch.setattr(DeviceFrames, "crops", short)
    halved = there.detect_and_crop([six_faces] * 5, 112)
    assert given == [5, 2, 2, 1] and there.batch_limiter.size == 2 and there.batch_limiter.warnings
    for (one, its), (other, others) in zip(whole, halved, strict=True):
        np.testing.assert_allclose(one.boxes_px, other.boxes_px, atol=1e-3)
        near(its.rgb, others.rgb, mean=0.01, most=1)
