"""Real clips, whose content a person described before any model saw them."""

import av
import numpy as np
import pytest

pytestmark = pytest.mark.data

CLIPS = [
    "asl_thanks.mkv",
    "asl_yes.mkv",
    "carphone.mp4",
    "face_noface.mov",
    "no_face.mp4",
    "pexels_sad_to_joy.mp4",
    "single_face.mp4",
    "two_faces_speech.mp4",
]


@pytest.fixture(scope="module")
def result(shared, rows_of):
    known = {}

    def rows(name):
        if name not in known:
            known[name] = rows_of(shared / "clips" / name)
        return known[name]

    return rows


def shown_times(path) -> np.ndarray:
    """Presentation times of the decoded frames by PyAV, relative to the first."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = sorted(frame.pts * float(frame.time_base) for frame in container.decode(stream))
    return np.array(times) - times[0]


@pytest.mark.parametrize("name", CLIPS)
def test_times_are_the_containers_and_every_frame_has_a_row(shared, result, name):
    rows = result(name)
    times = rows.drop_duplicates("frame")["time_s"].to_numpy()
    expected = shown_times(shared / "clips" / name)
    assert len(times) == len(expected)
    assert np.abs(times - expected).max() < 0.001
    assert (rows["frame_status"] == "ok").all()
    assert rows["frame"].unique().tolist() == list(range(len(expected)))


def test_one_track_over_the_whole_of_pexels(result):
    rows = result("pexels_sad_to_joy.mp4")
    assert rows["frame"].nunique() == 472
    longest = rows.groupby("track_id").size().max()
    assert longest >= 0.99 * 472
    assert rows["track_id"].dropna().nunique() == 1


def test_faces_end_where_the_title_begins(result):
    rows = result("face_noface.mov")
    assert rows["frame"].nunique() == 169
    faces = rows.loc[rows["face_detected"], "frame"]
    assert faces.tolist() == list(range(72))
    decoders = rows.attrs["jadfer"]["video"]["decoders"]
    assert "pyav" in decoders[-1]["name"]


def test_no_face_in_a_cartoon(result):
    rows = result("no_face.mp4")
    assert len(rows) == rows["frame"].nunique() == 95
    assert not rows["face_detected"].any()


def test_two_speakers_are_two_tracks(result):
    rows = result("two_faces_speech.mp4")
    assert set(rows["track_id"].dropna()) == {0, 1}
    assert (rows["n_faces"] == 2).mean() > 0.99
    left_of = rows.groupby("track_id")["bbox_x1"].agg(["min", "max"])
    assert (left_of["max"] - left_of["min"] < 60).all()  # they stand apart and never swap


@pytest.mark.parametrize("name", ["asl_thanks.mkv", "asl_yes.mkv", "carphone.mp4"])
def test_one_person_is_one_track(result, name):
    rows = result(name)
    assert set(rows["track_id"].dropna()) == {0}
    assert rows["face_detected"].mean() >= 0.99
