"""Track IDs: hand-made scenes, invariants over generated ones, and the choice of tracks."""

import warnings

import numpy as np
import pytest
import trackers
from hypothesis import given, settings
from hypothesis import strategies as st

from jadfer_cli.faces.track import FaceTracker, TrackStats, lasting_tracks
from jadfer_cli.faces.tracker_library import LibraryTracker
from jadfer_cli.options import TRACKERS, FaceOptions
from jadfer_cli.records import Faces

both = pytest.mark.parametrize("name", TRACKERS)


def faces(*centres_sizes, score=0.9):
    """Square faces at (x, y, side)."""
    given = np.array(centres_sizes, np.float32).reshape(-1, 3)
    x, y, half = given[:, 0], given[:, 1], given[:, 2] / 2
    boxes = np.stack([x - half, y - half, x + half, y + half], axis=1)
    marks = np.repeat(given[:, None, :2], 5, axis=1)
    return Faces(boxes, np.full(len(given), score, np.float32), marks)


def follow(name, scene, fps=25.0, times=None, **options):
    """The IDs in each frame of a scene, which is a list of Faces."""
    tracker = FaceTracker(FaceOptions(tracker=name, **options), fps)
    times = np.arange(len(scene)) / fps if times is None else times
    return [tracker.update(found, float(t)).tolist() for found, t in zip(scene, times, strict=True)]


@both
def test_first_frame_has_ids_from_zero_in_the_order_of_the_faces(name):
    assert follow(name, [faces((50, 50, 40), (200, 50, 40), (350, 50, 40))]) == [[0, 1, 2]]


@both
def test_ids_begin_at_zero_in_each_video_and_are_int32(name):
    for _ in range(2):
        tracker = FaceTracker(FaceOptions(tracker=name), 25)
        ids = tracker.update(faces((50, 50, 40)), 0.0)
        assert ids.dtype == np.int32 and ids.tolist() == [0]
        assert tracker.update(Faces.none(), 0.04).shape == (0,)


@both
def test_ids_follow_the_face_when_the_order_changes(name):
    people = [(50, 50, 40), (200, 50, 40), (350, 50, 40)]
    orders = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0], [0, 2, 1]] * 4
    scene = [faces(*(people[i] for i in order)) for order in orders]
    assert follow(name, scene) == orders


@both
@pytest.mark.parametrize("score", [0.05, 0.3, 0.55, 1.0])
def test_weak_detections_are_followed_like_strong_ones(name, score):
    scene = [faces((50 + 3 * i, 50, 40), (200, 50, 40), score=score) for i in range(30)]
    assert follow(name, scene) == [[0, 1]] * 30


@both
@pytest.mark.parametrize("fps", [5.0, 25.0, 60.0, 29.97])
def test_id_returns_within_a_second_and_not_after(name, fps):
    seen = [faces((100, 100, 40))] * 8
    back = [faces((112, 95, 42))] * 4
    within = [Faces.none()] * (int(fps * 0.9) - 1)
    beyond = [Faces.none()] * (int(fps * 1.1) + 1)
    assert [i for i in follow(name, seen + within + back, fps) if i] == [[0]] * 12
    assert [i for i in follow(name, seen + beyond + back, fps) if i] == [[0]] * 8 + [[1]] * 4


@both
def test_the_gap_is_measured_by_time_stamps_not_frames(name):
    scene = [faces((100, 100, 40)), faces((100, 100, 40)), faces((102, 100, 40))]
    assert follow(name, scene, times=[0.0, 0.04, 1.04]) == [[0], [0], [0]]
    assert follow(name, scene, times=[0.0, 0.04, 1.10]) == [[0], [0], [1]]
    assert follow(name, scene, times=[0.0, 0.04, 1.10], track_gap_s=3.0) == [[0], [0], [0]]


@both
def test_neighbouring_frames_keep_ids_where_sampling_is_slower_than_the_gap(name):
    scene = [faces((100, 100, 40), (300, 100, 40))] * 5
    assert follow(name, scene, fps=0.5) == [[0, 1]] * 5
    assert follow(name, scene, fps=25, track_gap_s=0.0) == [[0, 1]] * 5


@both
def test_a_face_that_returns_far_away_is_new(name):
    scene = [faces((100, 100, 40))] * 8 + [Faces.none()] * 5 + [faces((260, 100, 40))] * 3
    assert [i for i in follow(name, scene) if i] == [[0]] * 8 + [[1]] * 3


@both
def test_a_face_of_another_size_in_the_same_place_is_new(name):
    scene = [faces((100, 100, 30))] * 8 + [faces((100, 100, 120))] * 3
    assert follow(name, scene) == [[0]] * 8 + [[1]] * 3


@both
def test_a_lost_face_does_not_drift_away_with_its_last_speed(name):
    # It moves right at 8 px per frame, is hidden for 0.8 s, and reappears where it was lost; the
    # filter's prediction is 160 px away.
    walk = [faces((100 + 8 * i, 100, 40)) for i in range(15)]
    scene = walk + [Faces.none()] * 20 + [faces((216, 100, 40))] * 5
    assert [i for i in follow(name, scene) if i] == [[0]] * 20


@both
def test_a_drifting_prediction_does_not_take_over_another_face(name):
    # Another face appears where the prediction ends (216 + 8 * 21 = 384), four face sizes away.
    walk = [faces((100 + 8 * i, 100, 40)) for i in range(15)]
    scene = walk + [Faces.none()] * 20 + [faces((384 + 8 * i, 100, 40)) for i in range(5)]
    assert [i for i in follow(name, scene) if i] == [[0]] * 15 + [[1]] * 5


@both
def test_neighbours_do_not_swap_when_one_is_missed(name):
    left, right = (100, 100, 40), (160, 100, 40)
    scene, wanted = [], []
    for i in range(60):
        hidden = (i // 6) % 3  # nobody, the left one, the right one; six frames each
        shown = [p for k, p in enumerate((left, right)) if hidden != k + 1]
        scene.append(faces(*shown))
        wanted.append([k for k in range(2) if hidden != k + 1])
    assert follow(name, scene) == wanted


@pytest.mark.slow
@both
@pytest.mark.parametrize("score", [0.3, 0.9])
@pytest.mark.parametrize("start", [0, 20], ids=["steady pan", "pan that begins with the miss"])
def test_a_pan_carries_ids_along_also_through_a_miss(name, score, start):
    # Three people stand 120 px apart and the camera pans 9 px per frame, so in the 13 frames
    # without the middle one her neighbour reaches the place where she was lost. A filter predicts
    # the steady pan. If the pan begins with the miss, only the other faces reveal it.
    rng = np.random.default_rng(0)
    scene, wanted = [], []
    for i in range(70):
        missed = 20 <= i < 33
        people = [k for k in rng.permutation(3).tolist() if not (missed and k == 1)]
        at = 700 - 9 * max(i - start, 0)
        scene.append(faces(*((at + 120 * k, 200, 44) for k in people), score=score))
        wanted.append(people)
    ids = follow(name, scene)
    person_of = dict(zip(ids[0], wanted[0], strict=True))
    assert [[person_of.get(key) for key in frame] for frame in ids] == wanted


@both
def test_a_single_other_face_reveals_a_pan_too(name):
    # A pan of 9 px per frame begins with a miss of 13 frames: 117 px, 2.7 face sizes.
    scene, wanted = [], []
    for i in range(50):
        people = [0] if 20 <= i < 33 else [0, 1]
        at = 700 - 9 * max(i - 20, 0)
        scene.append(faces(*((at + 300 * k, 200, 44) for k in people)))
        wanted.append(people)
    assert follow(name, scene) == wanted


@both
@pytest.mark.parametrize("score", [0.3, 0.9])
def test_a_walk_continues_behind_a_pillar(name, score):
    # Two people walk apart at 12 px per frame and are both missed for 4 frames. Each reappears
    # 60 px (1.5 face sizes) further on, where only the library's motion model expects it.
    scene, wanted = [], []
    for i in range(40):
        order = [[0, 1], [1, 0]][i % 2] if not 20 <= i < 24 else []
        places = [(600 - 12 * i, 100, 40), (660 + 12 * i, 120, 40)]
        scene.append(faces(*(places[k] for k in order), score=score))
        wanted.append(order)
    assert follow(name, scene) == wanted


@both
def test_a_face_keeps_its_place_while_another_walks(name):
    # The other face moves 6 px per frame without a pan; the missed one returns where it was lost.
    scene = [faces((100, 100, 40), (300 + 6 * i, 100, 40)) for i in range(12)]
    scene += [faces((300 + 6 * i, 100, 40)) for i in range(12, 30)]
    scene += [faces((100, 100, 40), (300 + 6 * i, 100, 40)) for i in range(30, 34)]
    assert follow(name, scene) == [[0, 1]] * 12 + [[1]] * 18 + [[0, 1]] * 4


@both
def test_a_zoom_keeps_ids(name):
    scene = [
        faces((320 - 120 * z, 200, 40 * z), (320 + 120 * z, 200, 40 * z))
        for z in np.linspace(1, 3, 50)
    ]
    assert follow(name, scene) == [[0, 1]] * 50


@both
def test_faces_that_pass_each_other_stay_two(name):
    # They pass at different heights and touch; there must be two IDs throughout.
    scene = [faces((100 + 6 * i, 100, 40), (400 - 6 * i, 125, 40)) for i in range(50)]
    assert follow(name, scene) == [[0, 1]] * 50


@both
def test_time_may_stand_still_or_go_back(name):
    scene = [faces((100, 100, 40), (300, 100, 40))] * 6
    assert follow(name, scene, times=[0, 0, 0.04, 0.02, float("nan"), 0.08]) == [[0, 1]] * 6


@both
def test_duplicates_and_points_get_their_own_ids(name):
    scene = [faces((100, 100, 40), (100, 100, 40), (200, 100, 0), (200, 100, 0))] * 5
    for ids in follow(name, scene):
        assert sorted(set(ids)) == sorted(ids) and min(ids) >= 0


@both
def test_a_failure_inside_the_library_costs_no_id(name, monkeypatch):
    tracker = FaceTracker(FaceOptions(tracker=name), 25)
    library = LibraryTracker(name, 25, keep_s=1.0)
    found = faces((100, 100, 40), (300, 100, 40))
    for i in range(5):
        tracker.update(found, i / 25)
        assert library.propose(found, i / 25).max() < 2

    def fail(*args, **kwargs):
        raise np.linalg.LinAlgError("singular matrix")

    with monkeypatch.context() as patch:
        for kind in (trackers.ByteTrackTracker, trackers.OCSORTTracker):
            patch.setattr(kind, "update", fail)
        assert tracker.update(found, 0.2).tolist() == [0, 1]
        assert library.propose(found, 0.2).tolist() == [-1, -1]
    swapped = found.take(np.array([1, 0]))
    assert [tracker.update(swapped, 0.24 + i / 25).tolist() for i in range(4)] == [[1, 0]] * 4
    # After the reset the library's IDs start at 0 again, which still belongs to another track.
    proposed = [library.propose(swapped, 0.24 + i / 25) for i in range(4)][-1]
    assert proposed.min() >= 2


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_the_rate_may_be_unknown(fps):
    tracker = FaceTracker(FaceOptions(), fps)
    assert [tracker.update(faces((9, 9, 9)), i / 10).tolist() for i in range(3)] == [[0]] * 3


def test_no_warning_is_raised():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        follow("ocsort", [faces((100, 100, 0)), faces((100, 100, 40))] * 3)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    name=st.sampled_from(TRACKERS),
    people=st.integers(1, 6),
    size=st.integers(16, 120),
    fps=st.sampled_from([6.0, 12.5, 25.0, 60.0]),
    pan=st.floats(-0.15, 0.15),
)
def test_people_who_stand_apart_never_swap(seed, name, people, size, fps, pan):
    """Jitter, short misses, a pan, any order, weak scores: each person keeps one ID."""
    rng = np.random.default_rng(seed)
    tracker = FaceTracker(FaceOptions(tracker=name), fps)
    home = np.stack([np.arange(people) * 2.2 * size, rng.uniform(0, 0.5, people) * size], axis=1)
    id_of: dict[int, int] = {}
    missed = np.zeros(people)
    for i in range(40):
        hide = (rng.random(people) < 0.25) & (missed < min(0.8 * fps, 5)) & (i > 0)
        missed = np.where(hide, missed + 1, 0)
        shown = rng.permutation(np.flatnonzero(~hide))
        jitter = rng.normal(0, 0.05 * size, (people, 2))
        centres = home + jitter + [pan * size * i, 0]
        found = faces(
            *(np.append(centres[k], size * rng.uniform(0.9, 1.1)) for k in shown),
            score=rng.uniform(0.1, 1),
        )
        ids = tracker.update(found, i / fps).tolist()
        for person, key in zip(shown.tolist(), ids, strict=True):
            assert id_of.setdefault(person, key) == key
    assert sorted(id_of.values()) == list(range(people))


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(TRACKERS),
    st.lists(
        st.tuples(
            st.floats(0, 1.5),
            st.lists(
                st.tuples(st.integers(-50, 2000), st.integers(-50, 2000), st.integers(0, 900)),
                max_size=6,
            ),
        ),
        max_size=12,
    ),
)
def test_every_face_has_an_id_and_ids_are_unique_and_consecutive(name, scene):
    tracker = FaceTracker(FaceOptions(tracker=name), 25)
    time_s, seen = 0.0, set()
    for step, people in scene:
        time_s += step
        ids = tracker.update(faces(*people), time_s).tolist()
        assert len(ids) == len(people) == len(set(ids))
        new = sorted(set(ids) - seen)
        assert new == list(range(len(seen), len(seen) + len(new)))
        seen.update(ids)


def test_stats_add_up_by_hand():
    stats = TrackStats()
    stats.add(np.array([3, 1], np.int32), faces((0, 0, 10), (0, 0, 20)).boxes_px, 0.5)
    stats.add(np.array([3], np.int32), faces((0, 0, 30)).boxes_px, 0.25)
    stats.add(np.empty(0, np.int32), Faces.none().boxes_px, 0.25)
    assert stats.frames == {3: 2, 1: 1}
    assert stats.seconds == {3: 0.75, 1: 0.5}
    assert stats.area_px2 == {3: 1000.0, 1: 400.0}


def test_lasting_tracks_weight_duration_by_size():
    # 0: 2 s of 10 px = 20; 1: 1 s of 30 px = 30; 2 and 3: 1 s of 5 px = 5 each.
    stats = TrackStats()
    for frame in range(8):
        ids = [0] if frame >= 4 else [0, 1, 2, 3]
        boxes = faces(*((0, 0, (10, 30, 5, 5)[key]) for key in ids)).boxes_px
        stats.add(np.array(ids, np.int32), boxes, 0.25)
    assert lasting_tracks(stats, 1) == {1}
    assert lasting_tracks(stats, 2) == {0, 1}
    assert lasting_tracks(stats, 3) == {0, 1, 2}
    assert lasting_tracks(stats, None) == {0, 1, 2, 3}
    assert lasting_tracks(TrackStats(), 2) == frozenset()
