"""Following faces by a network between full-frame detections; the network is a known one."""

import numpy as np
import pytest

from jadfer_cli.errors import ModelError
from jadfer_cli.faces import follower
from jadfer_cli.faces.drift import settle
from jadfer_cli.faces.follow import follow
from jadfer_cli.faces.motion import Located, MotionTracker
from jadfer_cli.faces.regions import Pending
from jadfer_cli.geometry import iou
from jadfer_cli.records import OK, Faces, Frame

RATE, INTERVAL_S = 25, 0.4  # 10 frames
SHAPE = np.array([[-9, -9], [9, -9], [0, 2], [-7, 10], [7, 10]], float)
BIAS = np.array([[1.0, 0], [0, 1], [0, 0], [-1, 0], [0, 2]])  # of the network, px


class Scene:
    """Faces that move; a detector and a network that know them.

    Each face is a row of x, y for each frame; NaN where it is not there. Frames hold their number
    in their first pixel. The network sees a face whose middle is within 12 px of where it looks.
    """

    def __init__(self, paths, unsure=()):
        self.paths = np.array(paths, float)  # (faces, frames, 2)
        self.unsure = set(unsure)  # (frame, face)
        self.full, self.near, self.network, self.glances = [], [], [], []
        self.glances_see, self.ghost = lambda k: True, False
        self.bias = lambda frame: BIAS

    def marks(self, frame):
        return {k: at + SHAPE for k, at in enumerate(self.paths[:, frame]) if np.isfinite(at).all()}

    def faces(self, marks, followed):
        points = np.array(list(marks), np.float32).reshape(-1, 5, 2)
        middle = points.mean(1)
        boxes = np.concatenate([middle - 20, middle + 20], 1).astype(np.float32)
        n = len(points)
        return Faces(boxes, np.full(n, 0.8, np.float32), points, np.full(n, followed))

    def detect(self, image):
        self.full.append(int(image[0, 0, 0]))
        return self.faces(self.marks(self.full[-1]).values(), followed=False)

    def glance(self, image):
        frame = int(image[0, 0, 0])
        self.glances.append(frame)
        seen = [marks for k, marks in self.marks(frame).items() if self.glances_see(k)]
        return self.faces(seen, followed=False)

    def detect_near(self, image, boxes, margin):
        frame = int(image[0, 0, 0])
        self.near.append((frame, len(boxes)))
        everyone = self.faces(self.marks(frame).values(), followed=True)
        return [everyone.take(iou(box[None], everyone.boxes_px)[0] > 0.1) for box in boxes]

    def __call__(self, image, landmarks):
        frame = int(image[0, 0, 0])
        self.network.append((frame, len(landmarks)))
        found, presence = np.array(landmarks, np.float32), np.zeros(len(landmarks), np.float32)
        presence[:] = self.ghost
        for i, expected in enumerate(landmarks):
            for k, marks in self.marks(frame).items():
                if np.abs(marks.mean(0) - expected.mean(0)).max() < 12:
                    found[i] = marks + self.bias(frame)
                    presence[i] = (frame, k) not in self.unsure
        return follower.Followed(found, presence, np.full(len(landmarks), 0.05, np.float32))

    def run(self, begin=0, pictures=None, shades=None):
        n = self.paths.shape[1]
        frames = []
        for i in range(begin, n):
            image = np.full((400, 600, 3), i if shades is None else shades[i], np.uint8)
            image[0, 0] = i if pictures is None else pictures[i]
            frames.append(Frame(i, i / RATE, 1 / RATE, OK, image))
        motion = MotionTracker(self, min_face_px=16)
        found = list(follow(frames, self, INTERVAL_S, motion=motion))
        assert [one.frame.index for one in found] == list(range(begin, n))
        return found


def line(n, x, y, dx, dy=0.0):
    return np.stack([x + dx * np.arange(n), y + dy * np.arange(n)], 1)


def test_landmarks_continue_those_of_the_detector_although_the_network_has_a_bias():
    scene = Scene([line(45, 100, 100, 4, 1), line(45, 400, 200, -3)])
    found = scene.run()
    assert scene.full == [0, 40, 44] and scene.glances == [10, 20, 30] and not scene.near
    for i, one in enumerate(found):
        expected = np.stack(list(scene.marks(i).values()))
        assert np.abs(one.faces.landmarks_px - expected).max() < 0.05
        assert np.abs(one.faces.boxes_px[:, :2] + 20 - expected.mean(1)).max() < 0.05
        assert one.faces.followed.tolist() == [i not in (0, 40, 44)] * 2
        assert one.faces.scores.tolist() == pytest.approx([0.8] * 2)


def test_what_the_network_drifts_off_is_spread_over_the_frames_once_the_detector_has_looked():
    scene = Scene([line(45, 100, 100, 4, 1), line(45, 400, 200, -3)])
    scene.bias = lambda frame: BIAS * (1 + frame / 20)  # up to 4 px more until frame 40
    found = scene.run()
    assert scene.full == [0, 40, 44] and not scene.near
    for i, one in enumerate(found):
        expected = np.stack(list(scene.marks(i).values()))
        assert np.abs(one.faces.landmarks_px - expected).max() < 0.2
        assert np.abs(one.faces.boxes_px[:, :2] + 20 - expected.mean(1)).max() < 0.2


def test_drift_counts_from_the_last_frame_in_which_the_detector_placed_the_face():
    scene = Scene([line(21, 100, 100, 0), line(21, 400, 200, 0)], unsure={(10, 0)})
    # off by 2 px from frame 1 on, and from 12 on, when it is known where the detector placed it
    scene.bias = lambda frame: BIAS + (2.0 if 0 < frame < 10 or frame > 11 else 0.0)
    found = scene.run()
    assert scene.near == [(10, 1), (11, 1)] and scene.full == [0, 20]
    off = [np.abs(one.faces.landmarks_px[0] - scene.marks(0)[0]).max() for one in found]
    assert off[1:10] == pytest.approx([2.0] * 9, abs=0.05)  # not spread: an unsure end
    assert off[10:12] == pytest.approx([0, 0], abs=0.05)
    assert off[12:] == pytest.approx([2 - 2 * (i - 11) / 9 for i in range(12, 21)], abs=0.05)


def test_a_face_that_the_network_is_unsure_of_when_it_is_searched_is_no_measure_of_drift():
    scene = Scene([line(11, 100, 100, 0)], unsure={(10, 0)})
    scene.bias = lambda frame: BIAS + (frame == 10) * 6.0
    found = scene.run(shades=[10] * 10 + [11])
    assert scene.full == [0, 10]
    for one in found:
        assert np.abs(one.faces.landmarks_px[0] - scene.marks(0)[0]).max() < 0.05


@pytest.mark.parametrize("at, moves", [(45, True), (100, False)])
def test_the_drift_of_one_person_is_not_that_of_another_beside_them(at, moves):
    """Two people, of whom one is found at `at`: the nearer one's drift, unless it is too far."""

    def faces(*left):
        boxes = np.array([[x, 0, x + 100, 100] for x in left], np.float32)
        marks = np.stack([SHAPE * 2.5 + (x + 50, 50) for x in left]).astype(np.float32)
        return Faces(boxes, np.full(len(left), 0.8, np.float32), marks)

    image = np.zeros((200, 400, 3), np.uint8)
    stretch = [Pending(Frame(i, i / 10, 0.1, OK, image), faces(0, 55), i == 0) for i in range(3)]
    end = Pending(Frame(3, 0.3, 0.1, OK, image), faces(at), full_frame=True)
    settle(stretch, Located(faces(0, 55), np.ones(2, np.bool_)), end, Scene(line(3, 0, 0, 0)[None]))
    x = np.array([one.faces.boxes_px[:2, 0] for one in stretch])
    assert (x[:, 0] == 0).all()  # the other person stays where they were
    assert (x[2, 1] != 55) == moves


def test_frames_that_repeat_the_last_picture_get_the_faces_of_its_search():
    scene = Scene([line(9, 100, 100, 1)])
    scene.bias = lambda frame: BIAS * (1 + frame / 2)
    shown = [0, 1, 2, 3, 4, 4, 4, 4, 4]
    found = scene.run(pictures=shown, shades=shown)
    assert scene.full == [0, 4]
    for at, one in zip(shown, found, strict=True):
        assert np.abs(one.faces.landmarks_px[0] - scene.marks(at)[0]).max() < 0.2
    assert len({one.faces.landmarks_px.tobytes() for one in found[4:]}) == 1


def test_a_fast_face_is_followed_by_its_velocity():
    # 8 px a frame, then 15: more than the 12 px in which the network finds it
    steps = [8, 8, 15, 20, 20, 20, 15, 8]
    path = np.stack([100 + np.cumsum([0, *steps]), np.full(9, 100.0)], 1)
    scene = Scene([path])
    found = scene.run()
    assert scene.full == [0, 8] and not scene.near
    assert all(len(one.faces) == 1 for one in found)


def test_only_the_face_that_the_network_is_unsure_about_is_detected_again():
    scene = Scene([line(10, 100, 100, 2), line(10, 400, 200, -2)], unsure={(3, 1), (4, 1)})
    found = scene.run()
    # 5: it has to be recognised where it was detected before it is followed again
    assert scene.near == [(3, 1), (4, 1), (5, 1)] and scene.full == [0, 9]
    for i, one in enumerate(found):
        expected = np.stack(list(scene.marks(i).values()))
        assert np.abs(one.faces.landmarks_px - expected).max() < 0.05


def test_a_face_that_the_network_does_not_recognise_where_it_was_detected_is_left_to_the_detector():
    scene = Scene([line(10, 100, 100, 2), line(10, 400, 200, -2)], unsure={(0, 0)})
    scene.run()
    assert scene.near == [(1, 1)]  # and found there again, with the network


def test_a_face_that_leaves_costs_one_search_of_the_whole_frame():
    path = line(9, 100, 100, 1)
    path[5:] = np.nan
    scene = Scene([path, line(9, 400, 200, 0)])
    found = scene.run()
    assert [len(one.faces) for one in found] == [2] * 5 + [1] * 4
    assert scene.full == [0, 5, 8]


def test_a_face_that_comes_in_is_seen_at_a_glance_and_followed_backwards():
    path = line(25, 400, 200, 1)
    path[:6] = np.nan
    scene = Scene([line(25, 100, 100, 1), path])
    found = scene.run()
    assert scene.glances == [10, 20] and scene.full == [0, 10, 5, 24]
    assert [len(one.faces) for one in found] == [1] * 6 + [2] * 19


def test_a_face_that_is_too_small_for_a_glance_is_detected_in_its_region():
    scene = Scene([line(15, 100, 100, 1), line(15, 400, 200, 0)])
    scene.glances_see = lambda k: k == 0
    found = scene.run()
    assert scene.glances == [10] and scene.near == [(10, 1)] and scene.full == [0, 14]
    assert all(len(one.faces) == 2 for one in found)


def test_a_follower_that_sticks_to_no_face_is_found_out_at_a_glance():
    scene = Scene([line(15, 100, 100, 1), line(15, 400, 200, 0)])
    scene.ghost = True  # the network sees a face where none is
    scene.paths[1, 4:] = np.nan
    found = scene.run()
    assert [len(one.faces) for one in found] == [2] * 10 + [1] * 5
    assert scene.full == [0, 10, 14]


def test_a_change_of_the_picture_as_at_a_cut_is_searched_at_once():
    scene = Scene([line(9, 100, 100, 0)])
    found = scene.run(shades=[10, 45, 10, 10, 10, 60, 60, 60, 60])
    assert scene.full == [0, 5, 8]
    assert [i for i, one in enumerate(found) if not one.faces.followed[0]] == [0, 5, 8]


def test_a_repeated_picture_costs_nothing_and_gives_the_same_landmarks():
    scene = Scene([line(9, 100, 100, 1)])
    shown = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    found = scene.run(pictures=shown, shades=shown)
    assert [frame for frame, _ in scene.network] == [0, 1, 2]
    first = [one.faces.landmarks_px.tolist() for one in found]
    assert first[0] == first[1] == first[2] and first[3] == first[4] == first[5]


@pytest.mark.parametrize("begin", [40, 80])
def test_a_run_that_starts_at_a_restartable_frame_finds_the_same(begin):
    paths = [line(90, 100, 100, 4, 1), line(90, 400, 200, -3)]
    complete, restarted = Scene(paths).run(), Scene(paths).run(begin)
    assert complete[begin].restartable
    for one, other in zip(complete[begin:], restarted, strict=True):
        assert one.faces.landmarks_px.tolist() == other.faces.landmarks_px.tolist()
        assert one.faces.boxes_px.tolist() == other.faces.boxes_px.tolist()


# ---- the crop of the network


@pytest.mark.parametrize("size", [30, 120, 700])
def test_a_crop_shows_the_face_at_the_same_place_and_size_however_large_it_is(size):
    image = np.zeros((1600, 1600, 3), np.uint8)
    marks = size * SHAPE / 18 + (820, 790)
    for (x, y), shade in zip(marks, (250, 200, 150, 100, 50), strict=True):
        r = size / 7
        image[round(y - r) : round(y + r), round(x - r) : round(x + r)] = shade
    crop = follower.grey_crop(image, follower.placement(marks[None])[0])
    there = follower.moved(marks[None], follower.placement(marks[None]))[0]
    shown = [crop[int(y), int(x)] for x, y in there]
    assert np.abs(np.array(shown, float) - (250, 200, 150, 100, 50)).max() < 30
    assert np.abs(there - follower.CROP_TEMPLATE).max() < 4


def test_a_crop_is_black_beyond_the_frame():
    image = np.full((100, 100, 3), 200, np.uint8)
    matrix = follower.placement(SHAPE[None] * 2 + (0, 50))[0]
    crop = follower.grey_crop(image, matrix)
    assert (crop[:, :24] == 0).all() and (crop[20:44, 40:] == 200).all()


def test_crop_and_map_are_inverse():
    marks = np.stack([SHAPE * 3 + (200, 100), SHAPE @ [[0, 2], [-2, 0]] + (50, 60)])
    maps = follower.placement(marks)
    assert (
        np.abs(follower.moved(follower.moved(marks, maps), follower.inverted(maps)) - marks).max()
        < 1e-6
    )


# ---- the shipped network


def test_the_shipped_network_is_small_whole_and_finds_the_landmarks_of_the_detector(
    centerface, six_faces
):
    network = follower.load_follower("network")
    assert (follower.weights_folder() / follower.FILE).stat().st_size < 300_000
    assert network.info() == {"name": follower.FILE, "sha256": follower.SHA256}
    faces = centerface.detect(six_faces)
    found = network(six_faces, faces.landmarks_px)
    scale = np.sqrt(np.linalg.det(follower.placement(faces.landmarks_px)[:, :, :2]))
    distance = np.linalg.norm(found.landmarks_px - faces.landmarks_px, axis=2).mean(1) * scale
    assert (distance / follower.INTEROCULAR_PX).mean() < 0.1
    assert (found.presence > 0.5).all() and (found.error < 0.14).all()
    beside = network(
        six_faces, faces.landmarks_px + np.array([0, 400])
    )  # below them are tables and legs
    assert (beside.presence < 0.5).mean() > 0.5


def test_a_damaged_network_is_refused_with_both_hashes(monkeypatch, tmp_path):
    whole = (follower.weights_folder() / follower.FILE).read_bytes()
    monkeypatch.setattr(follower, "weights_folder", lambda: tmp_path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        follower.load_follower("network")
    (tmp_path / follower.FILE).write_bytes(whole)
    monkeypatch.setattr(follower, "SHA256", "1" * 64)
    with pytest.raises(ModelError, match=f"(?s)[0-9a-f]{{64}}, not {'1' * 64}"):
        follower.load_follower("network")
    (tmp_path / follower.FILE).write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be loaded"):
        follower.load_follower("network")
    assert follower.load_follower("detector") is None
