"""Following faces between full-frame detections: no face lost, order kept, cost saved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jadfer_cli.faces import follow as following
from jadfer_cli.faces.detector import Detector
from jadfer_cli.faces.follow import follow
from jadfer_cli.faces.regions import REGION_MARGIN
from jadfer_cli.geometry import iou
from jadfer_cli.options import FaceOptions
from jadfer_cli.records import CORRUPT, OK, DetectorInfo, Faces, Frame

INFO = DetectorInfo("fake", "centerface", "fake.onnx", "0" * 64, "none", "CPUExecutionProvider")
RATE = 25


def faces_at(boxes) -> Faces:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    marks = np.repeat(((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None], 5, axis=1)
    return Faces(boxes, np.full(len(boxes), 0.9, np.float32), marks)


class KnownScene:
    """A detector that knows the boxes of every frame, and records which frames it searched.

    The pixels of a frame are its own number.
    """

    def __init__(self, truth, regions=True, prefers_batches=False):
        self.truth, self.regions = truth, regions
        self.full_frames, self.near = [], []
        self.prefers_batches, self.batch_sizes = prefers_batches, []

    def detect(self, image_rgb):
        self.full_frames.append(int(image_rgb[0, 0, 0]))
        return faces_at(self.truth[self.full_frames[-1]])

    def detect_all(self, images_rgb):
        self.batch_sizes.append(len(images_rgb))
        return [self.detect(image_rgb) for image_rgb in images_rgb]

    def detect_near(self, image_rgb, boxes_px, margin):
        self.near.append(int(image_rgb[0, 0, 0]))
        if not self.regions:
            return None
        all_faces = faces_at(self.truth[self.near[-1]])
        result = []
        for box in boxes_px:
            centre, reach = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() * margin / 2
            inside = (np.abs(all_faces.landmarks_px[:, 2] - centre) < reach).all(1)
            found = all_faces.take(inside)
            marked = np.ones(len(found), bool)
            result.append(Faces(found.boxes_px, found.scores, found.landmarks_px, marked))
        return result


def frames_of(n, without=()):
    for i in range(n):
        image = None if i in without else np.full((2, 2, 3), i, np.uint8)
        yield Frame(i, i / RATE, 1 / RATE, CORRUPT if i in without else OK, image)


def run(truth, redetect_s=0.4, without=(), regions=True):  # 0.4 s are 10 frames
    detector = KnownScene(truth, regions)
    seen = list(follow(frames_of(len(truth), without), detector, redetect_s))
    assert [frame.index for frame, *_ in seen] == list(range(len(truth)))
    return detector, [found.faces for found in seen]


def moved(x, y=50.0, side=40.0):
    return [x, y, x + side, y + side]


def test_an_evenly_moving_face_takes_one_look_between_full_frame_detections():
    truth = [[moved(100 + 2 * i)] for i in range(30)]
    detector, found = run(truth)
    assert detector.full_frames == [0, 10, 20, 29]  # including the last frame
    assert detector.near == [5, 15, 24]
    for i, faces in enumerate(found):
        np.testing.assert_allclose(faces.boxes_px, truth[i], atol=1e-3)
        assert faces.followed.tolist() == [i not in detector.full_frames]


def test_a_face_that_shakes_is_looked_for_more_often():
    truth = [[moved(100 + 20 * np.sin(i))] for i in range(31)]
    detector, found = run(truth)
    assert len(detector.near) > 20
    for faces, (box,) in zip(found, truth, strict=True):
        assert np.abs(faces.boxes_px[0] - box).max() <= 0.03 * 40


def test_places_go_by_time_not_by_the_number_of_frames():
    # frame 1 comes just before frame 5, after a long gap
    times = [0.0, 0.155, 0.16, 0.17, 0.18, 0.2, 0.25, 0.3, 0.35, 0.39, 0.4]
    truth = [[moved(100 + 50 * t)] for t in times]
    frames = [Frame(i, t, 0.04, OK, np.full((2, 2, 3), i, np.uint8)) for i, t in enumerate(times)]
    found = list(follow(frames, KnownScene(truth), 0.4))
    for one, (box,) in zip(found, truth, strict=True):
        np.testing.assert_allclose(one.faces.boxes_px[0], box, atol=1e-3)


def test_a_picture_shown_again_at_a_search_loses_no_face():
    truth = [[moved(10)]] * 8 + [[moved(10)]] * 6 + [[]] * 8
    shown = [i if i < 8 or i > 11 else 8 for i in range(22)]  # 8 to 11 are one picture; 10 is due
    frames = [
        Frame(i, i / RATE, 1 / RATE, OK, np.full((2, 2, 3), k, np.uint8))
        for i, k in enumerate(shown)
    ]
    found = list(follow(frames, KnownScene(truth), 0.4))
    assert [len(one.faces) for one in found] == [1] * 14 + [0] * 8


def test_a_picture_shown_until_a_search_keeps_its_faces():
    truth = [[moved(100 + min(i, 8))] + ([moved(300)] if i >= 3 else []) for i in range(11)]
    frames = [
        Frame(i, i / RATE, 1 / RATE, OK, np.full((2, 2, 3), min(i, 8), np.uint8)) for i in range(11)
    ]  # 8 to 10 are one picture
    found = [one.faces for one in follow(frames, KnownScene(truth), 0.4)]
    assert found[8].boxes_px.tolist() == found[9].boxes_px.tolist() == found[10].boxes_px.tolist()
    for faces, boxes in zip(found, truth, strict=True):
        np.testing.assert_allclose(faces.boxes_px, boxes, atol=1e-3)


def test_a_new_face_is_followed_past_a_frame_where_another_is_lost():
    # the first face moves at 5 and is hidden at 7, which is looked at; the second comes in at 3
    truth = [[moved(15 if i == 5 else 10)] if i != 7 else [] for i in range(12)]
    truth = [boxes + ([moved(300)] if i >= 3 else []) for i, boxes in enumerate(truth)]
    _, found = run(truth)
    assert [len(faces) for faces in found] == [len(boxes) for boxes in truth]


def test_a_face_found_where_another_is_lost_is_followed_until_it_leaves():
    # the first face is hidden at 2, which is looked at; the second is there from 1 to 8
    truth = [[moved(15 if i == 5 else 10)] if i != 2 else [] for i in range(11)]
    truth = [boxes + ([moved(300)] if 1 <= i <= 8 else []) for i, boxes in enumerate(truth)]
    _, found = run(truth)
    assert [len(faces) for faces in found] == [len(boxes) for boxes in truth]


@pytest.mark.parametrize("hidden", [{2}, {3, 4}, {7, 8}])
def test_a_face_that_is_covered_for_a_moment_is_not_there_meanwhile(hidden):
    truth = [[] if i in hidden else [moved(10)] for i in range(12)]
    detector = KnownScene(truth)
    grey = [200 if i in hidden else 0 for i in range(12)]

    def image(i):
        picture = np.full((100, 100, 3), grey[i], np.uint8)
        picture[0, 0] = i  # the frame's own number, for the detector
        return picture

    frames = [Frame(i, i / RATE, 1 / RATE, OK, image(i)) for i in range(12)]
    found = list(follow(frames, detector, 0.4))
    assert [len(one.faces) for one in found] == [i not in hidden for i in range(12)]


def test_a_face_that_comes_in_is_found_from_its_first_frame():
    truth = [[moved(10)] + ([moved(300 + i)] if i >= 3 else []) for i in range(15)]
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [1] * 3 + [2] * 12
    # 2: followed backwards, the face is missing there; 14: the last frame
    assert detector.full_frames == [0, 10, 2, 14]


def test_a_face_in_an_empty_scene_is_found_from_its_first_frame_and_empty_frames_cost_nothing():
    truth = [[]] * 13 + [[moved(60)]] * 12
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [0] * 13 + [1] * 12
    assert detector.full_frames == [0, 10, 20, 12, 24]
    assert min(detector.near) == 12  # followed backwards to the first frame without it


def test_a_face_that_comes_in_fast_is_found_from_its_first_frame():
    truth = [[moved(10)] + ([moved(900 - 45 * i)] if i >= 3 else []) for i in range(15)]
    _, found = run(truth)
    assert [len(faces) for faces in found] == [1] * 3 + [2] * 12


def test_a_face_that_comes_in_after_the_last_interval_is_found():
    truth = [[moved(10)] + ([moved(300 + i)] if i >= 13 else []) for i in range(17)]
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [1] * 13 + [2] * 4
    assert detector.full_frames == [0, 10, 16, 12]


def test_following_backwards_does_not_duplicate_a_face():
    # two faces separate just at the full-frame detection; before it there is one
    truth = [[]] * 6 + [[moved(115)]] * 4 + [[moved(100), moved(122)]] * 2
    _, found = run(truth)
    assert [len(faces) for faces in found] == [0] * 6 + [1] * 4 + [2] * 2


def test_a_face_that_leaves_is_not_reported_any_more():
    truth = [[moved(10)] + ([moved(300)] if i < 6 else []) for i in range(15)]
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [2] * 6 + [1] * 9
    assert detector.full_frames == [0, 10, 6, 14]  # when due, where it is lost, the last frame


def test_after_a_cut_the_full_frame_is_searched():
    truth = [[moved(10)]] * 4 + [[moved(400), moved(200)]] * 4
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [1] * 4 + [2] * 4
    # 3: the new faces might have come in fast
    assert detector.full_frames == [0, 7, 4, 3]


def test_two_regions_that_contain_the_same_face_do_not_duplicate_it():
    # the left face is occluded by the right one, whose box then matches both
    truth = [[moved(100), moved(122)]] * 3 + [[moved(115)]] * 3
    _, found = run(truth)
    assert [len(faces) for faces in found] == [2] * 3 + [1] * 3


def test_frames_without_an_image_stay_in_order():
    truth = [[moved(10)]] * 12
    detector, found = run(truth, without=(0, 4, 11))
    assert [len(faces) for faces in found] == [0, 1, 1, 1, 0, *[1] * 6, 0]
    assert detector.full_frames == [1, 10]  # the last one with an image


def test_every_full_frame_is_searched_on_request():
    truth = [[moved(10)]] * 12
    detector, found = run(truth, 0.0)
    assert detector.full_frames == list(range(12))
    assert not any(faces.followed.any() for faces in found)


def test_the_full_frame_is_searched_where_regions_cost_more():
    truth = [[moved(10 + i), moved(200 - i)] for i in range(12)]
    detector, found = run(truth, regions=False)
    assert detector.full_frames == [0, 10, 5, 11]
    for faces, boxes in zip(found, truth, strict=True):
        np.testing.assert_allclose(faces.boxes_px, boxes, atol=1e-3)


def test_a_detector_that_prefers_batches_gets_them():
    truth = [[moved(10 + i)] for i in range(20)]
    detector = KnownScene(truth, prefers_batches=True)
    seen = list(follow(frames_of(20, without=(3, 18)), detector, 0.0))
    assert [frame.index for frame, *_ in seen] == list(range(20))
    assert [len(found.faces) for found in seen] == [i not in (3, 18) for i in range(20)]
    assert all(f.boxes_px.tolist() == truth[i] for i, (_, f, *_) in enumerate(seen) if len(f))
    assert detector.batch_sizes == [15, 3]


def test_intervals_are_counted_from_the_start_of_the_video():
    truth = [[moved(10)]] * 40
    detector = KnownScene(truth)
    part = list(frames_of(40))[7:]
    assert [frame.index for frame, *_ in follow(part, detector, 0.4)] == list(range(7, 40))
    assert detector.full_frames == [7, 10, 20, 30, 39]


def test_the_memory_for_pending_images_is_bounded(monkeypatch):
    monkeypatch.setattr(following, "_MAX_PENDING_BYTES", 48)  # four of these images
    detector, _ = run([[moved(10)]] * 12, redetect_s=100)
    assert detector.full_frames == [0, 4, 8, 11]


def scene(data, n=40):
    """Faces that come and go, some after only two frames."""
    truth: list[list] = [[] for _ in range(n)]
    for k in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, n - 2))
        x, step = 30.0 * k, data.draw(st.floats(-12, 12))
        for i in range(first, data.draw(st.integers(first + 1, n - 1)) + 1):
            truth[i].append(moved(x, y=200 + step * (i - first)))
    return truth


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans(), st.booleans())
def test_a_run_that_starts_at_a_restartable_frame_finds_the_same(data, every, batches):
    truth = scene(data)
    without = data.draw(st.sets(st.integers(0, 39), max_size=6))
    redetect_s = 0.0 if every else 0.4
    frames = list(frames_of(40, without))
    complete = list(follow(frames, KnownScene(truth, prefers_batches=batches), redetect_s))
    restartable = [i for i, found in enumerate(complete) if found.restartable]
    assert len(restartable) >= 3
    begin = data.draw(st.sampled_from(restartable))
    restarted = list(follow(frames[begin:], KnownScene(truth, prefers_batches=batches), redetect_s))
    assert len(restarted) == 40 - begin
    for one, other in zip(complete[begin:], restarted, strict=True):
        assert one.frame.index == other.frame.index and one.restartable == other.restartable
        assert one.faces.boxes_px.tolist() == other.faces.boxes_px.tolist()
        assert one.faces.followed.tolist() == other.faces.followed.tolist()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_faces_that_stay_for_an_interval_are_all_found(data):
    n = 40
    truth: list[list] = [[] for _ in range(n)]
    for k in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, n - 12))
        last = data.draw(st.integers(first + 11, n - 1))
        x, step = 200.0 * k, data.draw(st.floats(-4, 4))
        for i in range(first, last + 1):
            truth[i].append(moved(x, y=200 + step * (i - first)))
    _, found = run(truth)
    for expected, faces in zip(truth, found, strict=True):
        assert len(faces) == len(expected)
        np.testing.assert_allclose(sorted(faces.boxes_px.tolist()), sorted(expected), atol=0.02)


# ---- regions, by a real detector


def test_regions_yield_the_faces_of_the_full_frame(centerface, six_faces):
    full = centerface.detect(six_faces)
    shifted = full.boxes_px + 0.08 * (full.boxes_px[:, 2:3] - full.boxes_px[:, :1])
    near = centerface.detect_near(six_faces, shifted, REGION_MARGIN)
    size = (full.boxes_px[:, 2:] - full.boxes_px[:, :2]).mean(1)
    for i, found in enumerate(near):
        best = int(iou(full.boxes_px[i : i + 1], found.boxes_px)[0].argmax())
        assert found.followed.all()
        assert iou(full.boxes_px[i : i + 1], found.boxes_px[best : best + 1])[0, 0] > 0.75
        error_px = np.abs(found.landmarks_px[best] - full.landmarks_px[i]).mean()
        assert error_px < 0.04 * size[i]


def test_regions_beyond_the_edges_are_black_there(six_faces):
    inputs = []

    def network(images, threshold):
        inputs.append(images)
        side = images.shape[1]
        return [faces_at([[side / 4, side / 4, side * 3 / 4, side * 3 / 4]])] * len(images)

    detector = Detector(INFO, network, FaceOptions())
    height, width = six_faces.shape[:2]
    boxes = np.array(
        [[-20, -10, 80, 90], [400, 300, 800, 700], [width - 60, height - 60, width, height]],
        np.float32,
    )
    found = detector.detect_near(np.full_like(six_faces, 255), boxes, 1.6)
    # At 640 px, the regions of 160 px are scaled to 80 px, so they get inputs of 96 px; the region
    # of 640 px is scaled to 320 px and gets the largest input.
    assert [images.shape[:2] for images in inputs] == [(2, 96), (1, 160)]
    # a square of 160 px around (30, 40): 50 px of it are left of the frame, 40 px above it
    assert (inputs[0][0, :, :29] == 0).all() and (inputs[0][0, 25:, 31:] == 255).all()
    assert (inputs[0][0, :23] == 0).all()
    # the central half of the square, clipped to the frame
    assert found[0].boxes_px.tolist() == [[0, 0, 70, 80]]
    assert found[1].boxes_px.tolist() == [[440, 340, 760, 660]]


def test_a_face_that_a_region_cuts_off_is_dropped():
    """The region of (100, 100, 200, 200) is (85, 85, 215, 215); 3 % of its side is 3.9 px."""
    boxes = [[90, 110, 190, 190], [86, 110, 190, 190], [110, 110, 190, 213], [110, 90, 190, 210]]

    def network(images, threshold):
        shown = (np.array(boxes, np.float32) - 85) * images.shape[1] / 130
        return [faces_at(shown)] * len(images)

    detector = Detector(INFO, network, FaceOptions())
    found = detector.detect_near(
        np.zeros((360, 640, 3), np.uint8), np.array([[100, 100, 200, 200.0]]), 1.3
    )
    assert sorted(found[0].boxes_px.round().tolist()) == [boxes[0], boxes[3]]
    # at the bottom edge of the frame, the region cannot cut off a face
    at_edge = detector.detect_near(
        np.zeros((215, 640, 3), np.uint8), np.array([[100, 100, 200, 200.0]]), 1.3
    )
    assert sorted(at_edge[0].boxes_px.round().tolist()) == [boxes[0], boxes[3], boxes[2]]


def test_regions_are_declined_if_they_cost_more_than_the_full_frame():
    detector = Detector(INFO, lambda images, threshold: [], FaceOptions(detection_size=320))
    many = np.repeat(np.array([[10, 10, 60, 60]], np.float32), 5, 0)
    assert detector.detect_near(np.zeros((360, 640, 3), np.uint8), many, 1.6) is None
    fixed = Detector(INFO, lambda images, threshold: [], FaceOptions(), fixed_size=(640, 640))
    assert fixed.detect_near(np.zeros((360, 640, 3), np.uint8), many[:1], 1.6) is None
