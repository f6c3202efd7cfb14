"""Detection and tracking together: a photograph of six faces under a moving camera, real clips."""

import cv2
import numpy as np
import pytest

from jadfer_cli.faces.align import crop
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.quality import assess
from jadfer_cli.faces.track import FaceTracker, TrackStats, lasting_tracks
from jadfer_cli.geometry import iou
from jadfer_cli.options import TRACKERS, FaceOptions
from jadfer_cli.records import Faces

FPS = 25.0
N_FRAMES = 40
SIZE = (1280, 720)


def camera(i):
    """Zoom and shift of frame i (px * zoom + shift); all six faces stay inside the frame."""
    phase = 2 * np.pi * i / N_FRAMES
    zoom = 0.8 + 0.1 * np.sin(phase)
    middle = np.array([640 + 30 * np.sin(3 * phase), 290 + 60 * np.cos(2 * phase)])
    return zoom, np.array(SIZE) / 2 - zoom * middle


def pan(picture):
    """Frames of the moving camera, each with its zoom and shift."""
    for i in range(N_FRAMES):
        zoom, shift = camera(i)
        matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
        yield cv2.warpAffine(picture, matrix, SIZE, flags=cv2.INTER_AREA), zoom, shift


def check_pan(detector, picture, boxes, tracker):
    """Six tracks, one per person, and at least 99 % of the boxes in the right place."""
    follow = FaceTracker(FaceOptions(tracker=tracker), FPS)
    fits, extra, ids_of = [], 0, [set() for _ in boxes]
    for i, (frame, zoom, shift) in enumerate(pan(picture)):
        found = detector.detect(frame)
        ids = follow.update(found, i / FPS)
        extra += max(len(found) - len(boxes), 0)
        overlap = iou(boxes * zoom + np.tile(shift, 2), found.boxes_px)  # (people, faces)
        for person, its in enumerate(overlap):
            fits.append(its.max(initial=0) >= 0.6)
            if fits[-1]:
                ids_of[person].add(int(ids[its.argmax()]))
    assert np.mean(fits) >= 0.99
    assert extra == 0
    assert sorted(ids_of, key=min) == [{k} for k in range(6)]


@pytest.mark.slow
def test_six_people_under_a_moving_camera(centerface, six_faces, six_boxes):
    check_pan(centerface, six_faces, six_boxes, "bytetrack")


@pytest.mark.data
def test_six_people_under_a_moving_camera_by_scrfd(shared, six_faces, six_boxes):
    path = shared / "models" / "scrfd_500m_kps.onnx"
    detector = load_detector(FaceOptions(detector=str(path)), 1)
    check_pan(detector, six_faces, six_boxes, "ocsort")


# ---- clips


def frames(path, every=1):
    """(index, time_s, uint8 RGB) of every Nth frame, by PyAV."""
    import av

    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i % every == 0:
                yield i, frame.time, frame.to_ndarray(format="rgb24")


def found_in(detector, path, every=1):
    """[(index, time_s, Faces)]."""
    return [(i, t, detector.detect(image)) for i, t, image in frames(path, every)]


@pytest.fixture(scope="session", params=["centerface", "scrfd_500m_kps"])
def detector(request, shared):
    """Both detectors; CenterFace with a small input, so that the clips take only seconds."""
    if request.param == "centerface":
        return load_detector(FaceOptions(detector="centerface", detection_size=416), 1)
    path = shared / "models" / f"{request.param}.onnx"
    return load_detector(FaceOptions(detector=str(path)), 1)


@pytest.mark.data
@pytest.mark.parametrize(
    ("clip", "every"),
    [
        ("pexels_sad_to_joy.mp4", 16),
        ("single_face.mp4", 6),
        ("asl_thanks.mkv", 6),
        ("asl_yes.mkv", 6),
        ("carphone.mp4", 6),
    ],
)
def test_one_face_is_one_track(detector, shared, clip, every):
    seen = found_in(detector, shared / "clips" / clip, every)
    tracker = FaceTracker(FaceOptions(), 25 / every)
    assert [len(found) for _, _, found in seen] == [1] * len(seen)
    assert {int(tracker.update(found, t)[0]) for _, t, found in seen} == {0}


@pytest.mark.data
def test_no_face_in_cartoons(detector, shared):
    assert sum(len(f) for _, _, f in found_in(detector, shared / "clips" / "no_face.mp4", 8)) == 0
    seen = found_in(detector, shared / "clips" / "face_noface.mov", 8)
    assert [len(found) for i, _, found in seen] == [int(i < 72) for i, _, _ in seen]


@pytest.fixture(scope="module")
def two_faces(shared):
    """What SCRFD detects in every second frame of two men who stand apart throughout."""
    path = shared / "models" / "scrfd_500m_kps.onnx"
    detector = load_detector(FaceOptions(detector=str(path)), 1)
    return found_in(detector, shared / "clips" / "two_faces_speech.mp4", 2)


@pytest.mark.data
@pytest.mark.parametrize("name", TRACKERS)
def test_two_small_faces_are_two_tracks(two_faces, name):
    tracker = FaceTracker(FaceOptions(tracker=name), 30)
    stats = TrackStats()
    sides = {}
    for _, time_s, found in two_faces:
        ids = tracker.update(found, time_s)
        stats.add(ids, found.boxes_px, 1 / 15)
        assert len(found) == 2
        for key, box in zip(ids.tolist(), found.boxes_px, strict=True):
            sides.setdefault(key, []).append(box[0])
    assert sorted(sides) == [0, 1]
    # neither track ever changes sides
    left, right = sorted(sides.values(), key=np.mean)
    assert max(left) < min(right)
    assert len(lasting_tracks(stats, 1)) == 1


@pytest.mark.data
def test_quality_of_a_clip_is_plausible(shared):
    detector = load_detector(FaceOptions(detector="centerface", detection_size=416), 1)
    for _, _, image in frames(shared / "clips" / "pexels_sad_to_joy.mp4", 20):
        found = detector.detect(image)
        size = (image.shape[1], image.shape[0])
        judged = assess(crop(image, found.landmarks_px), found, size)
        assert judged.usable.all() and abs(judged.yaw_deg[0]) < 30
        mirrored = Faces(
            found.boxes_px,
            found.scores,
            (found.landmarks_px * [-1, 1] + [size[0], 0])[:, [1, 0, 2, 4, 3]].astype(np.float32),
        )
        image = np.ascontiguousarray(image[:, ::-1])
        flipped = assess(crop(image, mirrored.landmarks_px), mirrored, size)
        np.testing.assert_allclose(flipped.yaw_deg, -judged.yaw_deg, atol=0.1)
        np.testing.assert_allclose(flipped.pitch_deg, judged.pitch_deg, atol=0.1)
        np.testing.assert_allclose(flipped.blur, judged.blur, atol=0.01)
