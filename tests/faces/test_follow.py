"""Following faces between looks at the whole frame: nothing lost, order kept, cost saved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jadfer_cli.faces import follow as following
from jadfer_cli.faces.detector import Detector
from jadfer_cli.faces.follow import follow
from jadfer_cli.geometry import iou
from jadfer_cli.options import FaceOptions
from jadfer_cli.records import CORRUPT, OK, DetectorInfo, Faces, Frame

INFO = DetectorInfo("fake", "centerface", "fake.onnx", "0" * 64, "none", "CPUExecutionProvider")
RATE = 25


def faces_at(boxes) -> Faces:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    marks = np.repeat(((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None], 5, axis=1)
    return Faces(boxes, np.full(len(boxes), 0.9, np.float32), marks)


class Known:
    """Knows the boxes of every frame, and counts how it is asked; a frame holds its own number."""

    def __init__(self, truth, regions=True, batches=False):
        self.truth, self.regions, self.looks, self.near = truth, regions, [], []
        self.prefers_batches, self.batch_sizes = batches, []

    def detect(self, image_rgb):
        self.looks.append(int(image_rgb[0, 0, 0]))
        return faces_at(self.truth[self.looks[-1]])

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


def run(truth, redetect_s=0.4, without=(), regions=True):  # 0.4 s: every 10 frames
    detector = Known(truth, regions)
    seen = list(follow(frames_of(len(truth), without), detector, redetect_s))
    assert [frame.index for frame, *_ in seen] == list(range(len(truth)))
    return detector, [found.faces for found in seen]


def moved(x, y=50.0, side=40.0):
    return [x, y, x + side, y + side]


def test_a_face_that_moves_is_followed_at_a_tenth_of_the_looks():
    truth = [[moved(100 + 5 * i)] for i in range(30)]
    detector, found = run(truth)
    assert detector.looks == [0, 10, 20, 29]  # the last frame, too
    for i, faces in enumerate(found):
        assert faces.boxes_px.tolist() == truth[i]
        assert faces.followed.tolist() == [i % 10 != 0]


def test_a_face_that_comes_in_is_found_from_its_first_frame():
    truth = [[moved(10)] + ([moved(300 + i)] if i >= 3 else []) for i in range(15)]
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [1] * 3 + [2] * 12
    assert detector.looks == [
        0,
        10,
        2,
        14,
    ]  # where it is gone, and at the end, the whole frame tells


def test_a_face_in_an_empty_scene_is_found_from_its_first_frame_and_emptiness_costs_nothing():
    truth = [[]] * 13 + [[moved(60)]] * 12
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [0] * 13 + [1] * 12
    assert detector.looks == [0, 10, 20, 12, 24]
    assert min(detector.near) == 12  # looked back to where it was not


def test_a_face_that_comes_in_fast_is_found_from_its_first_frame():
    truth = [[moved(10)] + ([moved(900 - 45 * i)] if i >= 3 else []) for i in range(15)]
    _, found = run(truth)
    assert [len(faces) for faces in found] == [1] * 3 + [2] * 12


def test_a_face_that_comes_in_after_the_last_look_is_found():
    truth = [[moved(10)] + ([moved(300 + i)] if i >= 13 else []) for i in range(17)]
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [1] * 13 + [2] * 4
    assert detector.looks == [0, 10, 16, 12]


def test_looking_back_does_not_double_a_face():
    # two come out from behind one another just at the look: before it there is one
    truth = [[]] * 6 + [[moved(115)]] * 4 + [[moved(100), moved(122)]] * 2
    _, found = run(truth)
    assert [len(faces) for faces in found] == [0] * 6 + [1] * 4 + [2] * 2


def test_a_face_that_leaves_leaves_no_ghost():
    truth = [[moved(10)] + ([moved(300)] if i < 6 else []) for i in range(15)]
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [2] * 6 + [1] * 9
    assert detector.looks == [0, 6, 10, 14]  # at once, when it is due, and at the end


def test_a_cut_is_looked_at_at_once():
    truth = [[moved(10)]] * 4 + [[moved(400), moved(200)]] * 4
    detector, found = run(truth)
    assert [len(faces) for faces in found] == [1] * 4 + [2] * 4
    assert detector.looks == [
        0,
        4,
        3,
        7,
    ]  # the frame before too: they might have come in fast


def test_two_regions_that_show_one_face_do_not_double_it():
    # the left face hides behind the right one, whose box then continues both
    truth = [[moved(100), moved(122)]] * 3 + [[moved(115)]] * 3
    _, found = run(truth)
    assert [len(faces) for faces in found] == [2] * 3 + [1] * 3


def test_frames_without_a_picture_stay_in_their_place():
    truth = [[moved(10)]] * 12
    detector, found = run(truth, without=(0, 4, 11))
    assert [len(faces) for faces in found] == [0, 1, 1, 1, 0, *[1] * 6, 0]
    assert detector.looks == [1, 10]  # which is the last with a picture


@pytest.mark.parametrize(("redetect_s", "regions"), [(0.0, True), (0.4, False)])
def test_every_frame_is_looked_at_where_asked_or_where_regions_do_not_pay(redetect_s, regions):
    truth = [[moved(10)]] * 12
    detector, found = run(truth, redetect_s, regions=regions)
    assert detector.looks == list(range(12))
    assert not any(faces.followed.any() for faces in found)


def test_a_detector_that_likes_batches_gets_them():
    truth = [[moved(10 + i)] for i in range(20)]
    detector = Known(truth, batches=True)
    seen = list(follow(frames_of(20, without=(3, 18)), detector, 0.0))
    assert [frame.index for frame, *_ in seen] == list(range(20))
    assert [len(found.faces) for found in seen] == [i not in (3, 18) for i in range(20)]
    assert all(f.boxes_px.tolist() == truth[i] for i, (_, f, *_) in enumerate(seen) if len(f))
    assert detector.batch_sizes == [15, 3]


def test_looks_go_by_the_videos_own_time():
    truth = [[moved(10)]] * 40
    detector = Known(truth)
    part = list(frames_of(40))[7:]
    assert [frame.index for frame, *_ in follow(part, detector, 0.4)] == list(range(7, 40))
    assert detector.looks == [7, 10, 20, 30, 39]


def test_large_pictures_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(following, "_MAX_PENDING_BYTES", 48)  # four of these pictures
    detector, _ = run([[moved(10)]] * 12, redetect_s=100)
    assert detector.looks == [0, 4, 8, 11]


def scene(data, n=40):
    """Faces that come and go, some for two frames only."""
    truth: list[list] = [[] for _ in range(n)]
    for k in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, n - 2))
        x, step = 30.0 * k, data.draw(st.floats(-12, 12))
        for i in range(first, data.draw(st.integers(first + 1, n - 1)) + 1):
            truth[i].append(moved(x, y=200 + step * (i - first)))
    return truth


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans(), st.booleans())
def test_who_begins_at_a_fresh_frame_finds_the_same(data, every, batches):
    truth = scene(data)
    without = data.draw(st.sets(st.integers(0, 39), max_size=6))
    redetect_s = 0.0 if every else 0.4
    frames = list(frames_of(40, without))
    whole = list(follow(frames, Known(truth, batches=batches), redetect_s))
    fresh = [i for i, found in enumerate(whole) if found.restartable]
    assert len(fresh) >= 3
    begin = data.draw(st.sampled_from(fresh))
    again = list(follow(frames[begin:], Known(truth, batches=batches), redetect_s))
    assert len(again) == 40 - begin
    for one, other in zip(whole[begin:], again, strict=True):
        assert one.frame.index == other.frame.index and one.restartable == other.restartable
        assert one.faces.boxes_px.tolist() == other.faces.boxes_px.tolist()
        assert one.faces.followed.tolist() == other.faces.followed.tolist()


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
        assert sorted(faces.boxes_px.tolist()) == sorted(np.float32(expected).tolist())


def test_overlap_by_hand():
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(iou(a, b), [[1, 1 / 3, 0]], atol=1e-6)


# ---- regions by a real detector


def test_regions_give_the_faces_of_the_whole_frame(centerface, six_faces):
    whole = centerface.detect(six_faces)
    shifted = whole.boxes_px + 0.08 * (whole.boxes_px[:, 2:3] - whole.boxes_px[:, :1])
    near = centerface.detect_near(six_faces, shifted, following.REGION_MARGIN)
    size = (whole.boxes_px[:, 2:] - whole.boxes_px[:, :2]).mean(1)
    for i, found in enumerate(near):
        best = int(iou(whole.boxes_px[i : i + 1], found.boxes_px)[0].argmax())
        assert found.followed.all()
        assert iou(whole.boxes_px[i : i + 1], found.boxes_px[best : best + 1])[0, 0] > 0.75
        away = np.abs(found.landmarks_px[best] - whole.landmarks_px[i]).mean()
        assert away < 0.04 * size[i]


def test_regions_beyond_the_edges_are_black_there(six_faces):
    given = []

    def network(images, threshold):
        given.append(images)
        side = images.shape[1]
        return [faces_at([[side / 4, side / 4, side * 3 / 4, side * 3 / 4]])] * len(images)

    detector = Detector(INFO, network, FaceOptions())
    height, width = six_faces.shape[:2]
    boxes = np.array(
        [[-20, -10, 80, 90], [400, 300, 800, 700], [width - 60, height - 60, width, height]],
        np.float32,
    )
    found = detector.detect_near(np.full_like(six_faces, 255), boxes, 1.6)
    # 160 px of the frame are 80 in a whole look at 640 px, 96 are 48; 640 are 320, the most is 160
    assert [images.shape[:2] for images in given] == [(2, 96), (1, 160)]
    # a square of 160 px around (30, 40): 50 px of it lie left of the frame, 40 above
    assert (given[0][0, :, :29] == 0).all() and (given[0][0, 25:, 31:] == 255).all()
    assert (given[0][0, :23] == 0).all()
    # the middle half of the square, cut at the frame
    assert found[0].boxes_px.tolist() == [[0, 0, 70, 80]]
    assert found[1].boxes_px.tolist() == [[440, 340, 760, 660]]


def test_a_face_that_a_region_cuts_is_not_found_there():
    """The square around (100, 100, 200, 200) is (85, 85, 215, 215); 3 % of its side are 3.9 px."""
    boxes = [[90, 110, 190, 190], [86, 110, 190, 190], [110, 110, 190, 213], [110, 90, 190, 210]]

    def network(images, threshold):
        shown = (np.array(boxes, np.float32) - 85) * images.shape[1] / 130
        return [faces_at(shown)] * len(images)

    detector = Detector(INFO, network, FaceOptions())
    found = detector.detect_near(
        np.zeros((360, 640, 3), np.uint8), np.array([[100, 100, 200, 200.0]]), 1.3
    )
    assert sorted(found[0].boxes_px.round().tolist()) == [boxes[0], boxes[3]]
    # where the frame ends with the square, the face ends there as well
    at_edge = detector.detect_near(
        np.zeros((215, 640, 3), np.uint8), np.array([[100, 100, 200, 200.0]]), 1.3
    )
    assert sorted(at_edge[0].boxes_px.round().tolist()) == [boxes[0], boxes[3], boxes[2]]


def test_regions_are_declined_where_they_cost_more():
    detector = Detector(INFO, lambda images, threshold: [], FaceOptions(detection_size=320))
    many = np.repeat(np.array([[10, 10, 60, 60]], np.float32), 5, 0)
    assert detector.detect_near(np.zeros((360, 640, 3), np.uint8), many, 1.6) is None
    fixed = Detector(INFO, lambda images, threshold: [], FaceOptions(), fixed_size=(640, 640))
    assert fixed.detect_near(np.zeros((360, 640, 3), np.uint8), many[:1], 1.6) is None
