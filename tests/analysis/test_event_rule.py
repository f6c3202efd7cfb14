"""Episodes, transitions and events of one curve at several frame rates, with gaps and flicker."""

import numpy as np
import pandas as pd
import pytest
from made import Made, Track, options
from scipy import stats

from jadfer_cli.analysis import summary
from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.analysis.events import find_events
from jadfer_cli.analysis.face_table import read_faces
from jadfer_cli.labels import LABELS
from jadfer_cli.results import load

SECONDS = 12.0
SMILES = ((1.0, 2.6), (4.0, 5.0), (7.5, 10.0))  # onset and offset; neutral before and between


def curve(time_s):
    """Probabilities (n, K): three smiles that rise and fall within 0.4 s."""
    smile = np.zeros(len(time_s))
    for onset, offset in SMILES:
        smile = np.maximum(smile, np.clip(np.minimum(time_s - onset, offset - time_s) / 0.4, 0, 1))
    p = np.zeros((len(time_s), len(LABELS)), np.float32)
    p[:, LABELS.index("happiness")] = 0.05 + 0.9 * smile
    p[:, 0] = 1 - p[:, LABELS.index("happiness")]
    return p


def made(folder, fps=25.0, *, missing=(), unusable=(), corrupt=(), flicker=(), name="clip", **how):
    """A result of the curve; the last arguments are indices of frames."""
    n = round(SECONDS * fps)
    times = np.arange(n) / fps
    p = curve(times)
    for i in flicker:
        p[i] = np.roll(p[i], 3)  # another expression has the probability of this one
    seen = [i for i in how.get("frames", range(n)) if i not in set(missing)]
    track = Track(0, seen, p[seen], usable=[i not in set(unusable) for i in seen])
    status = dict.fromkeys(corrupt, 1)
    path = Made([track], n_frames=n, times_s=times, status=status, **how).write(
        folder / f"{name}.parquet"
    )
    return load.load(path)


def counts(clip, **how):
    (item,) = summary.summarise(clip, **how)
    row = item.row()
    return row["episodes_happiness"], row["episodes_neutral"], row["transitions"]


def smiles(clip):
    return find_events(clip, Rule(), ["happiness"]).events


@pytest.mark.parametrize("fps", [10, 12.5, 24, 25, 29.97, 50, 100])
def test_the_frame_rate_changes_no_count(tmp_path, fps):
    clip = made(tmp_path, fps)
    assert counts(clip) == (3, 4, 6)
    found = smiles(clip)
    # p = 0.05 + 0.9 (t - onset) / 0.4 reaches 0.5 at 0.200 s, falls below 0.4 0.156 s from the end
    assert found["onset_s"].to_numpy() == pytest.approx([s + 0.200 for s, _ in SMILES], abs=1 / fps)
    assert found["offset_s"].to_numpy() == pytest.approx(
        [e - 0.156 for _, e in SMILES], abs=1 / fps
    )


@pytest.mark.parametrize("kind", ["missing", "unusable", "corrupt", "flicker"])
@pytest.mark.parametrize("every", [10, 7, 4])
def test_single_frames_change_no_count(tmp_path, kind, every):
    clip = made(tmp_path, **{kind: range(5, 300, every)})
    assert counts(clip) == (3, 4, 6) and len(smiles(clip)) == 3
    (raw,) = summary.summarise(clip, raw_changes=True)
    assert raw.n_episodes.sum() > 30  # what the rule protects from
    assert raw.row()["rule"] == "raw changes, usable faces in intact frames"


@pytest.mark.parametrize("all_faces", [False, True])
def test_a_corrupt_frame_counts_in_no_measure(tmp_path, all_faces):
    rule = Rule(all_faces=all_faces)
    plain = made(tmp_path, corrupt=range(0, 300, 10), name="corrupt")
    # the same frames with a wild face instead: nothing may change
    wild = made(tmp_path, corrupt=range(0, 300, 10), flicker=range(0, 300, 10), name="wild")
    tables = [
        summary.table(summary.summarise(clip, rule=rule, raw_changes=raw)).drop(columns="result")
        for raw in (False, True)
        for clip in (plain, wild)
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    pd.testing.assert_frame_equal(tables[2], tables[3])
    assert tables[0]["counted_s"].tolist() == [pytest.approx(SECONDS * 0.9)]
    assert tables[0]["usable_share"].tolist() == [pytest.approx(0.9)]
    assert find_events(wild, rule).records() == find_events(plain, rule).records()
    assert read_faces(wild).faces.usable.sum() == 270


def test_summary_counts_the_events_of_every_expression(tmp_path):
    rng = np.random.default_rng(5)
    walk = np.cumsum(rng.normal(0, 0.7, (400, len(LABELS))), 0)
    p = np.exp(walk - walk.max(1, keepdims=True))
    p = (p / p.sum(1, keepdims=True)).astype(np.float32)
    tracks = [Track(0, list(range(0, 300)), p[:300]), Track(4, list(range(100, 400)), p[100:])]
    clip = load.load(Made(tracks, n_frames=400).write(tmp_path / "walk.parquet"))
    for rule in (Rule(), Rule(0.5, 0.3, 0.1, 0.3)):
        (item,) = summary.summarise(clip, by="video", rule=rule)
        events = find_events(clip, rule, LABELS).events
        by_label = events.groupby("expression")["duration_s"]
        for i, label in enumerate(LABELS):
            n = int((events["expression"] == label).sum())
            assert item.n_episodes[i] == n
            if n:
                mean_s = by_label.mean()[label]
                assert item.row()[f"episode_mean_s_{label}"] == pytest.approx(mean_s, abs=1e-5)
        assert item.n_episodes.sum() > 10 and 0 < item.transitions.sum() < item.n_episodes.sum()


def test_a_transition_needs_another_expression_and_no_long_gap(tmp_path):
    # 0.4 s each of neutral, fear, undecided, fear, then 0.4 s away, then neutral
    shows = ["neutral"] * 10 + ["fear"] * 10 + [None] * 10 + ["fear"] * 10 + ["neutral"] * 10
    p = np.array([
        np.full(8, 1 / 8) if label is None else np.eye(8)[LABELS.index(label)] for label in shows
    ])  # fmt: skip
    frames = [*range(40), *range(50, 60)]
    clip = load.load(Made([Track(0, frames, p)], n_frames=60).write(tmp_path / "a.parquet"))
    (item,) = summary.summarise(clip)
    assert item.n_episodes[[0, LABELS.index("fear")]].tolist() == [2, 2]
    assert item.transitions.sum() == 1 == item.transitions[0, LABELS.index("fear")]
    (bridged,) = summary.summarise(clip, rule=Rule(merge_gap_s=0.4))
    assert bridged.transitions.sum() == 2 and bridged.n_episodes.tolist()[0] == 2


@pytest.mark.parametrize(
    ("fps", "says"),
    [(25, None), (10, None), (8, "a gap of one frame is not bridged"),
     (5, "a single frame makes an event and a gap"), (2, "a single frame makes an event")],
)  # fmt: skip
def test_frames_too_far_apart_for_the_rule_are_reported(invoke, tmp_path, fps, says):
    made(tmp_path, fps)
    for command in ("summary", "events"):
        found = invoke(command, tmp_path / "clip.parquet", width=400)
        assert found.exit_code == 0
        if says is None:
            assert "too far" not in found.stderr
        else:
            assert f"clip: Frames are {1 / fps:.3g} s apart, too far for the rule" in found.stderr
            assert says in found.stderr
    assert "too far" not in invoke("summary", tmp_path / "clip.parquet", "--raw-changes").stderr


def test_every_tenth_frame_is_reported_too(tmp_path):
    clip = made(tmp_path, 25, frames=range(0, 300, 10), options=options(every=10))
    assert Rule().coarse_text(find_events(clip, Rule()).frame_step_s).startswith("Frames are 0.4 s")
    assert Rule(min_duration_s=0, merge_gap_s=0).coarse_text(0.4) is None


def test_the_rule_is_recorded_in_tables(invoke, tmp_path):
    made(tmp_path)
    rule = "on 0.7, off 0.3, at least 0.5 s, gaps up to 0.2 s bridged, all faces in intact frames"
    given = ["--on", "0.7", "--off", "0.3", "--min-duration", "0.5", "--merge-gap", "0.2"]
    out = tmp_path / "out"
    out.mkdir()
    for command in ("summary", "events"):
        for ending in ("csv", "parquet"):
            path = out / f"{command}.{ending}"
            done = invoke(command, tmp_path / "clip.parquet", "-o", path, *given, "--all-faces")
            assert done.exit_code == 0, done.stderr
            table = pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)
            assert set(table["rule"]) == {rule}
        assert f"jadfer_{command}" in table.attrs


def test_mean_probability_is_weighted_by_time(tmp_path):
    # shown for 0.1, 0.3 and 0.1 s: (0.1 x 0.9 + 0.3 x 0.7 + 0.1 x 0.8) / 0.5 = 0.76
    p = np.zeros((3, 8), np.float32)
    p[:, 1] = [0.9, 0.7, 0.8]
    p[:, 0] = 1 - p[:, 1]
    clip = Made([Track(0, [0, 1, 2], p)], n_frames=4, times_s=[0, 0.1, 0.4, 0.5])
    (event,) = find_events(load.load(clip.write(tmp_path / "a.parquet")), Rule()).records()
    assert event.p_mean == pytest.approx(0.76, abs=1e-6)
    (item,) = summary.summarise(load.load(tmp_path / "a.parquet"))
    assert item.mean[1] == pytest.approx(event.p_mean, abs=1e-6)


@pytest.mark.parametrize("centre", [0.0, 90.0, 179.0, -179.5])
def test_angles_are_averaged_as_directions(centre):
    rng = np.random.default_rng(1)
    angles = (rng.normal(centre, 6, (500, 3)) + 180) % 360 - 180
    mean, sd = summary._circular_mean_and_sd(angles, np.full(500, 0.04))
    apart = (mean - stats.circmean(angles, 180, -180, axis=0) + 180) % 360 - 180
    np.testing.assert_allclose(apart, 0, atol=1e-9)
    np.testing.assert_allclose(sd, stats.circstd(angles, 180, -180, axis=0), rtol=1e-9)
    # weights count as repetitions do
    w = rng.integers(1, 4, 500)
    again, _ = summary._circular_mean_and_sd(angles, w.astype(float))
    repeated = stats.circmean(np.repeat(angles, w, axis=0), 180, -180, axis=0)
    np.testing.assert_allclose((again - repeated + 180) % 360 - 180, 0, atol=1e-9)
    assert np.isnan(summary._circular_mean_and_sd(angles[:0], np.zeros(0))).all()
