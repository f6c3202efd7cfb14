"""The columns of the terminal timeline: by hand, and against the state at single instants."""

import numpy as np
from made import Made, Track

from jadfer_cli.analysis.face_table import read_faces
from jadfer_cli.analysis.plots.terminal import NO_FACE, UNSEEN, UNUSABLE, terminal_timeline
from jadfer_cli.expression.checkpoint import LABELS
from jadfer_cli.results import load

HAPPY, SAD = LABELS.index("happiness"), LABELS.index("sadness")


def read(tmp_path, *tracks, **how):
    return read_faces(load.load(Made(list(tracks), **how).write(tmp_path / "a.parquet")))


def test_a_column_shows_the_state_that_takes_most_of_its_time(tmp_path):
    # ten frames of 0.1 s; five columns of two frames
    annotated = read(
        tmp_path,
        Track(0, [0, 1, 2, 3, 6, 7], ["happiness"] * 2 + ["sadness"] * 4,
              usable=[True] * 4 + [False] * 2),
        Track(1, [2, 3], "happiness"),
        n_frames=10, times_s=np.arange(10) / 10,
    )  # fmt: skip
    drawn = terminal_timeline(annotated, 5)
    assert drawn.tracks == (0, 1) and (drawn.start_s, round(drawn.end_s, 9)) == (0, 1)
    assert drawn.states.tolist() == [
        [HAPPY, SAD, NO_FACE, UNUSABLE, NO_FACE],
        [UNSEEN, HAPPY, NO_FACE, UNSEEN, NO_FACE],
    ]


def test_a_short_track_is_in_at_least_one_column(tmp_path):
    annotated = read(tmp_path, Track(0, [500], "happiness"), n_frames=1000)
    states = terminal_timeline(annotated, 20).states[0]
    assert np.flatnonzero(states == HAPPY).tolist() == [10]


def test_columns_shorter_than_frames_show_their_frame(tmp_path):
    times = np.cumsum([0, 0.03, 0.2, 0.04, 0.04, 0.1, 0.3])
    labels = ["happiness", "sadness", "happiness", "neutral", "fear", "sadness", "anger"]
    annotated = read(tmp_path, Track(0, list(range(7)), labels), n_frames=7, times_s=times)
    drawn = terminal_timeline(annotated, 500)
    middle = drawn.start_s + (np.arange(500) + 0.5) * (drawn.end_s - drawn.start_s) / 500
    at = np.searchsorted(times, middle, side="right") - 1
    wanted = np.array([LABELS.index(label) for label in labels])[at]
    # except in the few columns in which a frame ends
    assert (drawn.states[0] != wanted).sum() <= 6


def test_one_frame_and_no_face(tmp_path):
    one = read(tmp_path, Track(0, [0], "happiness"), n_frames=1)
    assert terminal_timeline(one, 4).states.tolist() == [[HAPPY] * 4]
    (tmp_path / "b").mkdir()
    assert terminal_timeline(read(tmp_path / "b", n_frames=3), 4).states.shape == (0, 4)
