"""Summaries: against plain loops over the rows, and by hand."""

import numpy as np
import pandas as pd
import pytest
from made import Made, Track, options, sure

from jadfer_cli.analysis import frame_times as timing
from jadfer_cli.analysis import summary
from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.labels import LABELS
from jadfer_cli.results import load

SEVEN = LABELS[:-1]


def opened(tmp_path, *tracks, name="a", **how):
    return load.load(Made(list(tracks), **how).write(tmp_path / f"{name}.parquet"))


def drawn(seed, n, labels=LABELS):
    """Probabilities (n, K) from a random walk, so that expressions change."""
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.7, (n, len(labels))), 0)
    p = np.exp(walk - walk.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True)).astype(np.float32)


def by_loop(result, track, all_faces=False):
    """The values of one track, computed frame by frame from the rows."""
    rows = result.rows()
    spans = timing.frame_spans(rows, result.metadata)
    analysed = list(spans.index)
    own = rows[rows["track_id"] == track].set_index("frame")
    seconds = dict.fromkeys(result.labels, 0.0)
    durations = {label: [] for label in result.labels}
    transitions = dict.fromkeys([(a, b) for a in result.labels for b in result.labels], 0)
    before = None
    for frame in analysed:
        counts = frame in own.index and (all_faces or bool(own.loc[frame, "usable"]))
        if not counts:
            before = None
            continue
        label, span = own.loc[frame, "expression"], spans.loc[frame, "span_s"]
        seconds[label] += span
        if label == before:
            durations[label][-1] += span
        else:
            durations[label].append(span)
            if before is not None:
                transitions[before, label] += 1
        before = label
    counted = own if all_faces else own[own["usable"].astype(bool)]
    w = spans.loc[counted.index, "span_s"].to_numpy()
    p = counted[list(result.probabilities)].to_numpy(np.float64)
    sd = np.sqrt(np.diag(np.cov(p.T, aweights=w))) if len(p) > 1 else np.full(p.shape[1], np.nan)
    mean = np.average(p, axis=0, weights=w)
    return spans, own, seconds, durations, transitions, mean, sd


def irregular(n):
    """Times of a variable frame rate."""
    return np.cumsum(np.random.default_rng(3).choice([0.02, 0.04, 0.11], n)) - 0.02


CASES = {
    "all frames": dict(n_frames=150),
    "variable frame rate": dict(n_frames=150, times_s=irregular(150)),
    "every third": dict(n_frames=150, frames=list(range(0, 150, 3)), options=options(every=3),
                        times_s=irregular(150)),
    "seven classes": dict(n_frames=150, labels=SEVEN),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("all_faces", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_values_equal_those_of_a_loop(tmp_path, case, all_faces):
    how = CASES[case]
    labels = how.get("labels", LABELS)
    analysed = how.get("frames", range(150))
    seen = [f for f in analysed if not 40 <= f < 55]
    usable = np.random.default_rng(1).random(len(seen)) < 0.9
    result = opened(
        tmp_path,
        Track(0, seen, drawn(0, len(seen), labels), usable=usable),
        Track(3, seen[5:9], drawn(1, 4, labels)),
        **how,
    )
    rule = Rule(all_faces=all_faces)
    for item in summary.summarise(result, rule=rule, raw_changes=True):
        spans, own, seconds, durations, transitions, mean, sd = by_loop(
            result, item.track_id, all_faces
        )
        row = item.row()
        assert row["seconds_seen"] == pytest.approx(spans.loc[own.index, "span_s"].sum())
        assert row["first_seen_s"] == pytest.approx(own["time_s"].iloc[0])
        assert row["last_seen_s"] == pytest.approx(spans.loc[own.index[-1], "end_s"])
        usable_s = spans.loc[own.index[own["usable"].astype(bool)], "span_s"].sum()
        assert row["usable_share"] == pytest.approx(usable_s / row["seconds_seen"])
        assert row["frames"] == len(own)
        np.testing.assert_allclose(item.mean, mean, rtol=1e-9)
        np.testing.assert_allclose(item.sd, sd, rtol=1e-9)
        total = sum(seconds.values())
        for i, label in enumerate(labels):
            assert row[f"share_{label}"] == pytest.approx(seconds[label] / total)
            assert row[f"episodes_{label}"] == len(durations[label])
            if durations[label]:
                assert row[f"episode_mean_s_{label}"] == pytest.approx(np.mean(durations[label]))
            else:
                assert row[f"episode_mean_s_{label}"] is None
            for j, after in enumerate(labels):
                assert item.transitions[i, j] == transitions[label, after]
        assert row["transitions"] == sum(transitions.values()) > 0


def test_a_case_by_hand(tmp_path):
    # frames at 0, 0.1, 0.2, 0.5, 0.6 s; the third lasts 0.3 s, the last 0.1 s
    # h h n | - | h: one episode of 0.2 s, one of 0.3 s, and one of 0.1 s after a gap. The face in
    # frame 3 is not usable, so the last episode does not follow another.
    result = opened(
        tmp_path,
        Track(0, [0, 1, 2, 3, 4], ["happiness", "happiness", "neutral", "fear", "happiness"],
              usable=[True, True, True, False, True], p=0.93),
        n_frames=5, times_s=[0, 0.1, 0.2, 0.5, 0.6],
    )  # fmt: skip
    (item,) = summary.summarise(result, raw_changes=True)
    row = item.row()
    assert row["seconds_seen"] == pytest.approx(0.7)
    assert row["video_s"] == row["analysed_s"] == pytest.approx(0.7)

    assert row["counted_s"] == pytest.approx(0.6)
    assert row["usable_share"] == pytest.approx(0.6 / 0.7)
    assert row["share_happiness"] == pytest.approx(0.3 / 0.6)
    assert (row["episodes_happiness"], row["episodes_neutral"]) == (2, 1)
    assert row["episode_mean_s_happiness"] == pytest.approx((0.2 + 0.1) / 2)
    assert row["transitions"] == 1 and item.transitions[1, 0] == 1
    # mean: (0.3 x 0.93 + 0.3 x 0.01) / 0.6 = 0.47; weights 0.1 0.1 0.3 0.1: V1 - V2/V1 = 0.4,
    # SD = sqrt((0.3 x 0.46^2 + 0.3 x 0.46^2) / 0.4)
    assert row["p_happiness_mean"] == pytest.approx(0.47, abs=1e-6)
    assert row["p_happiness_sd"] == pytest.approx((0.6 * 0.46**2 / 0.4) ** 0.5, abs=1e-6)
    # all faces: fear follows neutral, happiness follows fear
    (all_faces,) = summary.summarise(result, rule=Rule(all_faces=True), raw_changes=True)
    assert all_faces.row()["transitions"] == 3 and all_faces.row()["episodes_fear"] == 1


def test_by_video_pools_the_tracks(tmp_path):
    # two tracks overlap in frames 2 and 3: 6 frames of 0.04 s are seen, 8 faces
    result = opened(
        tmp_path,
        Track(0, [0, 1, 2, 3], "happiness"),
        Track(1, [2, 3, 4, 5], ["sadness", "sadness", "neutral", "neutral"]),
    )
    (item,) = summary.summarise(result, by="video", raw_changes=True)
    row = item.row()
    assert row["track_id"] is None and row["tracks"] == 2 and row["frames"] == 6
    assert row["seconds_seen"] == pytest.approx(0.24) and row["face_s"] == pytest.approx(0.32)
    assert row["share_happiness"] == pytest.approx(0.5)
    assert row["transitions"] == 1  # not from one track to another
    rows = result.rows()
    p = rows.loc[rows["face_detected"], "p_happiness"].to_numpy(np.float64)
    assert row["p_happiness_mean"] == pytest.approx(p.mean())
    assert row["p_happiness_sd"] == pytest.approx(p.std(ddof=1))


def test_videos_without_faces_have_a_row(tmp_path):
    nobody = opened(tmp_path, name="nobody", n_frames=4)
    blurred = opened(tmp_path, Track(0, [0, 1], usable=False), name="blurred", n_frames=4)
    once = opened(tmp_path, Track(0, [0]), name="once", n_frames=1, labels=SEVEN)
    items = [item for r in (nobody, blurred, once) for item in summary.summarise(r)]
    table = summary.table(items).set_index(pd.Index(["nobody", "blurred", "once"]))
    assert table["track_id"].tolist() == [pd.NA, 0, 0]
    assert table["seconds_seen"].tolist() == pytest.approx([0, 0.08, 0.04])
    assert table["usable_share"].tolist() == pytest.approx([np.nan, 0, 1], nan_ok=True)
    assert table["p_neutral_mean"].tolist() == pytest.approx([np.nan, np.nan, 0.9], nan_ok=True)
    assert table["p_neutral_sd"].isna().all()  # the SD of one frame is undefined
    # the seven-class model has no contempt: null, not 0
    assert table["episodes_contempt"].tolist() == [0, 0, pd.NA]
    assert list(table.columns) == summary.columns(LABELS)


def test_transitions_in_long_form(tmp_path):
    result = opened(tmp_path, Track(0, [0, 1, 2], ["neutral", "fear", "neutral"]))
    table = summary.transition_table(summary.summarise(result, raw_changes=True))
    assert len(table) == 8 * 7 and table["count"].sum() == 2
    found = table.set_index(["from", "to"])["count"]
    assert found["neutral", "fear"] == 1 == found["fear", "neutral"]


def test_twenty_tracks_sum_to_the_video(tmp_path):
    tracks = [Track(i, list(range(i, i + 10)), drawn(i, 10)) for i in range(20)]
    result = opened(tmp_path, *tracks, n_frames=40)
    items = summary.summarise(result, raw_changes=True)
    (whole,) = summary.summarise(result, by="video", raw_changes=True)
    assert [item.track_id for item in items] == list(range(20))
    for name in ("face_s", "counted_s", "shown_s", "n_episodes", "transitions"):
        np.testing.assert_allclose(sum(getattr(i, name) for i in items), getattr(whole, name))
    pooled = sum(i.mean * i.counted_s for i in items) / whole.counted_s
    np.testing.assert_allclose(whole.mean, pooled)
    assert whole.seconds_seen == pytest.approx(29 * 0.04)
    assert whole.transitions.diagonal().sum() == 0


def test_certain_probabilities_stay_certain(tmp_path):
    result = opened(tmp_path, Track(0, [0, 1, 2], [sure("fear", 1.0)] * 3))
    (item,) = summary.summarise(result)
    assert item.shares == {"fear": 1.0} and item.row()["p_fear_sd"] == pytest.approx(0)
