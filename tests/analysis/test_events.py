"""Onset, apex and offset: by hand, against a naive scan, for odd videos, and the time it takes."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import Made, Track, options

from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.analysis.events import COLUMNS, Event, find_events, joined, select_expressions
from jadfer_cli.errors import OptionError
from jadfer_cli.labels import LABELS
from jadfer_cli.results import load

SMILE = LABELS.index("happiness")
LOOSE = Rule(min_duration_s=0, merge_gap_s=0)


def showing(values, label="happiness"):
    """Probabilities (n, K) with `values` for one label and the rest for neutral."""
    p = np.zeros((len(values), len(LABELS)), np.float32)
    p[:, LABELS.index(label)] = values
    p[:, 0] = 1 - np.asarray(values, np.float32)
    return p


def result(path, *tracks, **how):
    return load.load(Made(list(tracks), **how).write(path / "clip.parquet"))


def brief(found):
    return [(e.track_id, e.expression, e.onset_frame, e.apex_frame, e.offset_frame, e.truncated)
            for e in found.records()]  # fmt: skip


def test_one_smile_by_hand(tmp_path):
    # 25 frames per second; reaches 0.6 in frame 2, peaks in 4 (and 5), falls below 0.4 in 8
    p = [0.1, 0.5, 0.6, 0.7, 0.9, 0.9, 0.5, 0.4, 0.39, 0.5]
    found = find_events(result(tmp_path, Track(0, list(range(10)), showing(p))), Rule(on=0.6))
    assert found.records() == [
        Event(0, "happiness", 0.08, 0.16, 0.32, 0.24, 2, 4, 7,
              pytest.approx(0.9, abs=1e-6), pytest.approx(4.0 / 6, abs=1e-6), 6, "")
    ]  # fmt: skip
    assert tuple(found.events.columns) == COLUMNS
    assert found.events["video"].tolist() == ["clips/clip.mp4"]
    assert found.events["result"].tolist() == [str(tmp_path / "clip.parquet")]
    assert found.tracks == (0,) and found.end_s == pytest.approx(0.4)


@pytest.mark.slow
def test_gaps_are_bridged_before_short_events_are_dropped(tmp_path):
    # two stretches of 3 frames (0.12 s) with 2 frames (0.08 s) between them
    p = [0, 0.9, 0.9, 0.9, 0, 0, 0.9, 0.9, 0.8, 0]
    clip = result(tmp_path, Track(0, list(range(10)), showing(p)))
    assert brief(find_events(clip, Rule())) == [(0, "happiness", 1, 1, 8, "")]
    assert find_events(clip, Rule()).records()[0].n_frames == 8
    assert find_events(clip, Rule()).records()[0].p_mean == pytest.approx(5.3 / 8, abs=1e-6)
    assert brief(find_events(clip, Rule(merge_gap_s=0.079))) == []
    assert len(brief(find_events(clip, Rule(merge_gap_s=0.079, min_duration_s=0.12)))) == 2
    assert brief(find_events(clip, Rule(min_duration_s=0.33))) == []
    assert len(brief(find_events(clip, Rule(min_duration_s=0.32)))) == 1  # exactly its length


def test_unusable_frames_end_an_event_unless_the_gap_is_short(tmp_path):
    # frames 3 and 4 are unusable (0.08 s), and after them the probability never reaches 0.6
    p = [0, 0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0]
    usable = [True] * 3 + [False] * 2 + [True] * 5
    clip = result(tmp_path, Track(0, list(range(10)), showing(p), usable=usable))
    assert brief(find_events(clip, Rule(on=0.6))) == [(0, "happiness", 1, 1, 8, "")]
    assert find_events(clip, Rule(on=0.6)).records()[0].n_frames == 6
    short = Rule(on=0.6, min_duration_s=0, merge_gap_s=0.05)
    assert brief(find_events(clip, short)) == [(0, "happiness", 1, 1, 2, "end")]
    assert find_events(clip, short).records()[0].offset_s == pytest.approx(0.12)
    everybody = Rule(on=0.6, min_duration_s=0, merge_gap_s=0, all_faces=True)
    assert brief(find_events(clip, everybody)) == [(0, "happiness", 1, 1, 8, "")]


def test_corrupt_and_missing_frames_count_as_unseen(tmp_path):
    seen = [0, 1, 2, 3, 4, 7, 8, 9]
    clip = result(tmp_path, Track(0, seen, "anger"), status={2: 1, 9: 2})
    assert brief(find_events(clip, LOOSE)) == [
        (0, "anger", 0, 0, 1, "both"), (0, "anger", 3, 3, 4, "both"), (0, "anger", 7, 7, 9, "both"),
    ]  # fmt: skip


def test_events_of_several_tracks_and_expressions_are_sorted_by_time(tmp_path):
    clip = result(
        tmp_path,
        Track(0, list(range(3, 10)), "sadness"),
        Track(1, list(range(6)), ["happiness"] * 3 + ["fear"] * 3),
    )
    assert [e[:3] for e in brief(find_events(clip, LOOSE))] == [
        (1, "happiness", 0), (0, "sadness", 3), (1, "fear", 3),
    ]  # fmt: skip
    assert [e[:2] for e in brief(find_events(clip, LOOSE, ["scared", "sad"]))] == [
        (0, "sadness"), (1, "fear"),
    ]  # fmt: skip


def test_neutral_is_found_on_request_and_unknown_labels_are_errors(tmp_path):
    labels = LABELS[:7]
    clip = result(tmp_path, Track(0, list(range(10))), labels=labels)
    assert brief(find_events(clip, Rule())) == []
    assert brief(find_events(clip, Rule(), ["neutral"])) == [(0, "neutral", 0, 0, 9, "both")]
    assert select_expressions(["Happy", "joy", "angry"], clip) == ("happiness", "anger")
    for name in ("contempt", "grin"):
        with pytest.raises(OptionError, match=f"{name}.*It has neutral, happiness"):
            find_events(clip, Rule(), [name])


@pytest.mark.parametrize(
    "wrong",
    [{"on": 0.3}, {"off": 0.0}, {"on": 1.1}, {"on": float("nan")}, {"min_duration_s": -1},
     {"merge_gap_s": -0.1}, {"min_duration_s": float("inf")}],
)  # fmt: skip
def test_a_rule_out_of_range_is_refused(wrong):
    with pytest.raises(OptionError, match=r"`(on|off|min_duration_s|merge_gap_s)`"):
        Rule(**wrong)


def test_every_second_frame_stands_for_the_time_until_the_next(tmp_path):
    # at 0, 0.1, 0.3 and 0.6 s; the video ends at 0.64
    clip = result(
        tmp_path, Track(0, [0, 2, 4, 6], showing([0.9, 0.2, 0.9, 0.9])), n_frames=7,
        times_s=[0, 0.04, 0.1, 0.14, 0.3, 0.34, 0.6], frames=[0, 2, 4, 6], options=options(every=2),
    )  # fmt: skip
    one, two = find_events(clip, LOOSE).records()
    assert (one.onset_s, one.offset_s, one.offset_frame) == (0, 0.1, 0)
    assert (two.onset_s, two.offset_frame, two.n_frames) == (0.3, 6, 2)
    assert two.offset_s <= find_events(clip, LOOSE).end_s == pytest.approx(two.offset_s)


def test_videos_without_faces_or_frames_have_a_table_without_rows(tmp_path):
    for name, made in (("a", Made(n_frames=4)), ("b", Made(n_frames=0, times_s=[], frames=[]))):
        if name == "b":
            made.durations_s = np.array([0.04])
        clip = load.load(made.write(tmp_path / f"{name}.parquet"))
        found = find_events(clip, Rule())
        assert found.tracks == () and len(found.events) == 0
        assert tuple(joined([found]).columns) == COLUMNS
    with_some = find_events(result(tmp_path, Track(0, list(range(10)), "fear")), Rule())
    table = joined([found, with_some])
    assert table.dtypes.equals(with_some.events.dtypes)
    assert table.attrs["jadfer_events"]["on"] == 0.5


def scan(frames, rule):
    """Events of one track by a plain loop: (first, apex, last, n) as positions in `frames`.

    `frames`: (start_s, end_s, p, or None if the face cannot be judged).
    """
    found, inside, last = [], None, None
    for i, (start, _, p) in enumerate(frames):
        if p is None:
            continue
        if last is not None and start - frames[last][1] > rule.merge_gap_s + 1e-6 and inside:
            found.append(inside)
            inside = None
        if inside and p < rule.off:
            found.append(inside)
            inside = None
        elif inside or p >= rule.on:
            inside = [*(inside or []), i]
        last = i
    if inside:
        found.append(inside)
    merged = []
    for positions in found:
        if (
            merged
            and frames[positions[0]][0] - frames[merged[-1][-1]][1] <= rule.merge_gap_s + 1e-6
        ):
            merged[-1] = merged[-1] + positions
        else:
            merged.append(positions)
    events = []
    for positions in merged:
        a, b = positions[0], positions[-1]
        if frames[b][1] - frames[a][0] >= rule.min_duration_s - 1e-6:
            judged = [i for i in range(a, b + 1) if frames[i][2] is not None]
            apex = max(judged, key=lambda i: (frames[i][2], -i))
            events.append((a, apex, b, len(judged)))
    return events


GRID = st.sampled_from([None, "unusable", 0.0, 0.3, 0.375, 0.4, 0.5, 0.6, 0.625, 0.7, 1.0])
RULES = st.builds(
    Rule, on=st.sampled_from([0.5, 0.6, 0.7]), off=st.sampled_from([0.3, 0.4, 0.5]),
    min_duration_s=st.sampled_from([0, 0.04, 0.1, 0.2]),
    merge_gap_s=st.sampled_from([0, 0.03, 0.04, 0.1, 0.3]), all_faces=st.booleans(),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(GRID, GRID), min_size=1, max_size=25),
    st.lists(st.sampled_from([0.01, 0.02, 0.04, 0.1, 0.25]), min_size=25, max_size=25),
    RULES,
)
def test_events_are_those_of_a_naive_scan(faces, gaps, rule):
    n = len(faces)
    times = np.concatenate([[0], np.cumsum(gaps)])[: n + 1].round(6)
    rows, plain = [], {0: [], 1: []}
    for i, pair in enumerate(faces):
        for track, shown in enumerate(pair):
            judged = (0.9 if rule.all_faces else None) if shown == "unusable" else shown
            plain[track].append((times[i], times[i + 1], judged))
            if shown is not None:
                p = 0.9 if shown == "unusable" else shown
                rows.append((i, track, shown != "unusable", p))
        if pair == (None, None):
            rows.append((i, None, None, np.nan))
    table = pd.DataFrame(rows, columns=["frame", "track_id", "usable", "p_happiness"])
    table = table.astype({"track_id": "Int32", "usable": "boolean", "p_happiness": "float32"})
    at = table["frame"].to_numpy()
    table["time_s"], table["duration_s"] = times[at], np.diff(times)[at]
    table["frame_status"], table["video"], table["expression"] = "ok", "x", "happiness"
    table["p_neutral"] = 1 - table["p_happiness"]
    table[["yaw_deg", "pitch_deg", "roll_deg"]] = 0.0

    class Memory(load.Result):
        def rows(self, columns=None):
            return table[list(columns)]

    metadata = {"labels": ["neutral", "happiness"], "video": {"path": "x"}}
    clip = Memory(Path("x.parquet"), metadata, (), n)
    expected = sorted(
        (times[a], track, apex, times[b + 1], n_judged)
        for track in (0, 1)
        for a, apex, b, n_judged in scan(plain[track], rule)
    )
    found = [(e.onset_s, e.track_id, e.apex_frame, e.offset_s, e.n_frames)
             for e in find_events(clip, rule, ["happiness"]).records()]  # fmt: skip
    assert found == expected


@pytest.mark.slow
def test_an_hour_of_two_tracks_takes_seconds(tmp_path):
    n, rng = 90_000, np.random.default_rng(3)
    table = pd.DataFrame({"frame": np.repeat(np.arange(n, dtype=np.int32), 2)})
    table["time_s"] = table["frame"] / 25
    table["duration_s"] = 0.04
    table["frame_status"] = pd.Categorical(["ok"] * (2 * n))
    table["video"] = pd.Categorical(["x"] * (2 * n))
    table["expression"] = pd.Categorical(["fear"] * (2 * n))
    for name in ("yaw_deg", "pitch_deg", "roll_deg"):
        table[name] = np.float32(0)
    table["track_id"] = pd.array(np.tile([0, 1], n), "Int32")
    table["usable"] = pd.array(np.ones(2 * n, bool), "boolean")
    table["unusable_reason"] = pd.Categorical([None] * (2 * n), categories=["blurred"])
    walk = np.abs(np.cumsum(rng.normal(0, 0.1, (2 * n, len(LABELS))), axis=0) % 2 - 1)
    for i, label in enumerate(LABELS):
        table[f"p_{label}"] = walk[:, i].astype(np.float32)
    small = result(tmp_path, Track(0, [0]))
    table.to_parquet(tmp_path / "hour.parquet")
    clip = load.Result(tmp_path / "hour.parquet", small.metadata, small.columns, 2 * n)
    begun = time.process_time()  # the machine may be busy
    found = find_events(clip, Rule())
    assert time.process_time() - begun < 10
    assert len(found.events) > 1000
