"""Actions beside a result: events, blinks, asymmetry, figures and contradictions, by hand."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from made import Made, Track

from jadfer_cli.analysis import blinks, witness
from jadfer_cli.analysis.action_summary import ASYMMETRIC
from jadfer_cli.analysis.actions import PAIRED, read_meshes, resolve_actions
from jadfer_cli.errors import OptionError, ResultError
from jadfer_cli.results.load import load

OPEN, N = 0.32, 250  # 10 s at 25 frames per second


def eyes(*closures, other=None):
    """Aspect ratios of both eyes: open, except for (first frame, ratios from there on)."""
    left = np.full(N, OPEN)
    for first, values in closures:
        left[first : first + len(values)] = values
    return {"ear_left": left, "ear_right": left if other is None else other}


def made(folder, tracks, **more):
    return Made(tracks=tracks, n_frames=N, **more).write(folder / "clip.parquet")


def test_names_of_actions():
    assert resolve_actions(["jaw_open", "a_jaw_open", "mouthSmileLeft"]) == (
        "jaw_open", "mouth_smile_left",
    )  # fmt: skip
    with pytest.raises(OptionError, match="no such action") as caught:
        resolve_actions(["jaw_opne"])
    assert "Did you mean jaw_open" in caught.value.hint
    for unit in ("AU12", "au45_r", "AD29"):
        with pytest.raises(OptionError, match="no such action") as caught:
            resolve_actions([unit])
        assert "no FACS units; `jadfer guide actions`" in caught.value.hint
    assert "brow_down" in PAIRED and "mouth_smile" in PAIRED
    assert not {"jaw", "mouth"} & set(PAIRED)  # jawLeft and jawRight are directions
    assert "eye_look_up" in ASYMMETRIC and "eye_look_in" not in ASYMMETRIC


def test_events_of_an_action(invoke, tmp_path):
    jaw = np.zeros(N)
    jaw[50:75], jaw[60] = 0.6, 0.8  # 1 s from 2 s on, the most at 2.4 s
    jaw[100:102] = 0.9  # too short
    jaw[200:230], jaw[210:215] = 0.7, np.nan  # without a mesh for 0.2 s: two events
    out = made(tmp_path, [Track(0, list(range(N)), actions={"a_jaw_open": jaw})])
    got = invoke("events", out, "--action", "jawOpen", "--on", "0.5", "-o", tmp_path / "e.csv")
    assert got.exit_code == 0, got.stderr
    found = pd.read_csv(tmp_path / "e.csv", keep_default_na=False)
    assert found["expression"].tolist() == ["jaw_open"] * 3
    assert found["onset_s"].tolist() == [2.0, 8.0, 8.6]
    assert found["offset_s"].tolist() == [3.0, 8.4, 9.2]
    assert found["apex_frame"].tolist()[0] == 60 and found["p_apex"][0] == pytest.approx(0.8)
    assert found["truncated"].tolist() == ["", "end", "start"]
    both = invoke("events", out, "--action", "jaw_open", "--expression", "neutral")
    assert {line.split(",")[3] for line in both.stdout.splitlines()[1:]} == {"jaw_open", "neutral"}
    for format_name, ending in (("eaf", "eaf"), ("bids", None)):
        where = tmp_path / (f"e.{ending}" if ending else "bids")
        got = invoke("events", out, "--action", "jaw_open", "-o", where, "--format", format_name)
        assert got.exit_code == 0, got.stderr
    (described,) = (tmp_path / "bids").glob("*.json")
    assert "coefficient of the action" in json.loads(described.read_text())["p_apex"]["Description"]


def test_blinks_complete_incomplete_and_what_is_none(invoke, tmp_path):
    complete = [0.2, 0.08, 0.06, 0.15]  # closed by 0.38, 0.75, 0.81, 0.53 of 0.32
    partial = [0.2, 0.18, 0.2]  # by at most 0.44
    slow = [0.05] * 20  # 0.8 s: eyes closed, not a blink
    ratios = eyes((50, complete), (100, partial), (150, slow))
    winking = ratios["ear_left"].copy()
    winking[200:204] = 0.06  # the left eye only
    actions = {"ear_left": winking, "ear_right": ratios["ear_right"]}
    out = made(tmp_path, [Track(0, list(range(N)), actions=actions)])
    got = invoke("events", out, "--blinks", "-o", tmp_path / "b.csv")
    assert got.exit_code == 0, got.stderr
    found = pd.read_csv(tmp_path / "b.csv")
    assert found["expression"].tolist() == ["blink", "blink_incomplete"]
    assert found["onset_frame"].tolist() == [50, 100]
    assert found["apex_frame"].tolist() == [52, 101]
    assert found["p_apex"].tolist() == pytest.approx([1 - 0.06 / 0.32, 1 - 0.18 / 0.32], abs=1e-4)
    assert found["duration_s"].tolist() == pytest.approx([0.16, 0.12])
    # 1 complete blink in 10 s
    assert (
        "1 complete and 1 incomplete blinks in 10.0 s: 6.0 complete ones per minute" in got.stderr
    )
    got = invoke("events", out, "--blinks", "--action", "jaw_open")
    assert got.exit_code == 2 and "--blinks excludes" in got.stderr


def test_eyes_that_are_closed_or_lowered_do_not_blink(tmp_path):
    down = np.full(N, 0.08)  # looking down all the time: a further closure is no blink
    down[100:103] = 0.03
    out = made(tmp_path, [Track(0, list(range(N)), actions={"ear_left": down, "ear_right": down})])
    assert not len(blinks.find_blinks(load(out), blinks.BlinkRule()).events)


def test_blinks_at_gaps(tmp_path):
    """A short gap is bridged; what runs into a longer one, or into an end, is no blink."""
    left = np.full(N, OPEN)
    left[[*range(3), *range(50, 54), *range(95, 107), *range(150, 160), *range(248, N)]] = 0.05
    usable = np.ones(N, bool)
    usable[51:53] = False  # 0.08 s in the blink at 2 s: one blink of 0.16 s
    usable[98:104] = False  # 0.24 s in a closure of 0.48 s: how long it was, is not known
    left[152:158] = np.nan  # 0.24 s without a mesh: the same
    actions = {"ear_left": left, "ear_right": left}
    out = made(tmp_path, [Track(0, list(range(N)), usable=usable, actions=actions)])
    rule = blinks.BlinkRule()
    found = blinks.find_blinks(load(out), rule)
    assert found.events["onset_frame"].tolist() == [50]
    assert found.events["duration_s"].tolist() == pytest.approx([0.16])
    (rate,) = blinks.blink_rates(found, rule)
    # 250 frames of 0.04 s, of which 8 are not usable and 6 without a mesh
    assert rate.counted_s == pytest.approx(236 * 0.04)
    assert rate.per_min == pytest.approx(60 / (236 * 0.04))


def test_rates_follow_time_and_not_frames(tmp_path):
    """Frames twice as long from 4 s on: the same blinks, and time counts."""
    times = np.concatenate([np.arange(100) * 0.04, 4 + np.arange(150) * 0.08])
    left = np.full(N, OPEN)
    left[50:54] = left[200:204] = 0.05  # 0.16 s, then 0.32 s
    left[220:228] = 0.05  # 0.64 s: too long
    tracks = [Track(0, list(range(N)), actions={"ear_left": left, "ear_right": left})]
    rule = blinks.BlinkRule()
    found = blinks.find_blinks(load(made(tmp_path, tracks, times_s=times)), rule)
    assert found.events["duration_s"].tolist() == pytest.approx([0.16, 0.32])
    (rate,) = blinks.blink_rates(found, rule)
    assert rate.counted_s == pytest.approx(100 * 0.04 + 150 * 0.08)


def test_blinks_are_relative_to_each_persons_eyes(tmp_path):
    narrow = eyes((50, [0.1, 0.04, 0.04, 0.1]))
    narrow = {name: np.where(values == OPEN, 0.16, values) for name, values in narrow.items()}
    tracks = [
        Track(0, list(range(N)), actions=eyes((50, [0.1, 0.1, 0.1, 0.1]))),
        Track(1, list(range(N)), actions=narrow, box_px=(300.0, 80.0, 380.0, 180.0)),
    ]
    found = blinks.find_blinks(load(made(tmp_path, tracks)), blinks.BlinkRule())
    assert found.events["track_id"].tolist() == [0, 1]
    assert [rate.per_min for rate in blinks.blink_rates(found, blinks.BlinkRule())] == [6.0, 6.0]
    sparse = Made(tracks=[Track(0, [0, 1, 2], actions=eyes_of(3))], n_frames=3,
                  times_s=[0, 0.1, 0.2])  # fmt: skip
    rule = blinks.BlinkRule()
    step_s = blinks.find_blinks(load(sparse.write(tmp_path / "s.parquet")), rule).frame_step_s
    assert "too far for blinks" in rule.coarse_text(step_s)
    assert rule.coarse_text(0.04) is None


def eyes_of(n):
    return {"ear_left": np.full(n, OPEN), "ear_right": np.full(n, OPEN)}


def test_asymmetry_in_the_summary(invoke, tmp_path):
    left = np.where(np.arange(N) < N // 2, 0.8, 0.4)
    actions = {"a_mouth_smile_left": left, "a_mouth_smile_right": 0.4, **eyes((50, [0.05] * 4))}
    out = made(tmp_path, [Track(0, list(range(N)), actions=actions)])
    got = invoke("summary", out, "-o", tmp_path / "s.csv")
    assert got.exit_code == 0, got.stderr
    row = pd.read_csv(tmp_path / "s.csv").iloc[0]
    # half of the time 0.4, half 0: mean 0.2, SD 0.2 sqrt(n / (n - 1))
    assert row["asymmetry_mouth_smile_mean"] == pytest.approx(0.2, abs=1e-6)
    assert row["asymmetry_mouth_smile_sd"] == pytest.approx(0.2 * np.sqrt(N / (N - 1)), abs=1e-6)
    assert row["asymmetry_brow_down_mean"] == 0 and row["actions_s"] == pytest.approx(10)
    assert (row["blinks"], row["blinks_incomplete"], row["blinks_per_min"]) == (1, 0, 6)
    plain = Made(tracks=[Track(0, [0, 1])]).write(tmp_path / "plain.parquet")
    invoke("summary", plain, "-o", tmp_path / "p.csv")
    assert not [name for name in pd.read_csv(tmp_path / "p.csv") if "asymmetry" in name]


def test_contradictions_are_named_and_listed(invoke, tmp_path):
    smile, jaw, wide = np.zeros(N), np.zeros(N), np.zeros(N)
    smile[10:20] = 0.7
    jaw[50:60] = 0.8
    wide[55:60] = 0.3
    shows = ["happiness"] * 25 + ["neutral"] * 25 + ["surprise"] * 25 + ["anger"] * (N - 75)
    smile[30] = 0.9
    usable = np.ones(N, bool)
    usable[0] = False
    actions = {"a_mouth_smile_left": smile, "a_jaw_open": jaw, "a_eye_wide_left": wide}
    track = Track(0, list(range(N)), shows, usable=usable, actions=actions)
    out = made(tmp_path, [track])
    (facts,) = json.loads(invoke("show", out, "--json").stdout)
    found = {each["what"]: each["frames"] for each in facts["contradictions"]}
    assert found == {
        "happiness without a smile": [*range(1, 10), *range(20, 25)],
        "surprise with only an open jaw": [*range(50, 55)],
        "neutral in spite of a smile": [30],
    }
    text = invoke("show", out, width=400).stdout
    assert (
        "in 14 of 249 usable faces: happiness without a smile, at 0.04-0.40 s (frames 1-9), "
        "0.80-1.00 s (frames 20-24)." in text
    )
    assert "neutral in spite of a smile, at 1.20-1.24 s (frame 30)." in text
    assert {check.expression for check in witness.CHECKS} == {"happiness", "surprise", "neutral"}
    plain = Made(tracks=[Track(0, [0, 1], "happiness")]).write(tmp_path / "plain.parquet")
    assert json.loads(invoke("show", plain, "--json").stdout)[0]["contradictions"] == []


def test_quality_control_names_contradictions_that_last(invoke, tmp_path):
    smile = np.zeros(N)
    smile[20:] = 0.7
    shows = ["happiness"] * 25 + ["neutral"] * 4 + ["anger"] * (N - 29)
    actions = {"a_mouth_smile_left": smile}
    tracks = [
        Track(0, list(range(N)), shows, actions=actions),
        Track(1, list(range(10)), "happiness", box_px=(300.0, 80.0, 380.0, 180.0), actions={}),
    ]
    out = made(tmp_path, tracks)
    (entry,) = json.loads(invoke("qc", out, "--json").stdout)
    (finding,) = [each for each in entry["findings"] if each["check"] == "contradiction"]
    # 0.8 s, although both faces contradict in 0.4 s of it; neutral for only 0.16 s is not named
    assert "happiness without a smile, 0.8 s" in entry["reason"] and finding["at_s"] == 0
    assert "in 30 of 260 usable faces" in finding["text"]
    assert "at 0.00-0.80 s (frames 0-19)." in finding["text"]
    out.with_suffix(".actions.parquet").write_bytes(b"cut")
    got = invoke("qc", out, width=300)
    assert got.exit_code == 0 and "The facial actions cannot be read" in got.stdout


@pytest.mark.slow
def test_small_multiples(invoke, tmp_path):
    actions = {"a_mouth_smile_left": 0.5, "a_mouth_smile_right": 0.4, "a_jaw_open": 0.05}
    out = made(tmp_path, [Track(0, [*range(100), *range(150, N)], actions=actions)])
    got = invoke("plot", out, "-o", tmp_path / "a.svg", "--actions")
    assert got.exit_code == 0 and "1 action" in got.stderr, got.stderr
    got = invoke("plot", out, "-o", tmp_path / "b.png", "--action", "jaw_open", "--track", "0")
    assert got.exit_code == 0 and (tmp_path / "b.png").stat().st_size > 1000
    got = invoke("plot", out, "-o", tmp_path / "a.html", "--actions")
    assert got.exit_code == 2 and "not a page" in got.stderr


def test_without_actions_or_with_those_of_another_run(invoke, tmp_path):
    plain = Made(tracks=[Track(0, [0, 1])]).write(tmp_path / "plain.parquet")
    for command in (("events", plain, "--blinks"), ("events", plain, "--action", "jaw_open")):
        got = invoke(*command, width=400)
        assert got.exit_code == 1 and "plain.parquet has no actions beside it" in got.stderr
        assert "Annotate the video with --actions." in got.stderr
    with pytest.raises(ResultError, match="has no meshes beside it") as caught:
        read_meshes(load(plain))
    assert "Annotate the video with `actions` and `mesh`." in (caught.value.hint or "")
    out = made(tmp_path, [Track(0, list(range(N)), actions=eyes_of(N))])
    (tmp_path / "other").mkdir()
    later = {"created": "2026-11-25T10:00:00+00:00"}
    other = made(tmp_path / "other", [Track(0, [0], actions={})], metadata=later)
    shutil.copy(other.with_suffix(".actions.parquet"), out.with_suffix(".actions.parquet"))
    for command in ("events", "summary", "show"):
        more = ("--blinks",) if command == "events" else ()
        got = invoke(command, out, *more, width=400)
        assert got.exit_code == 1 and "belongs to another run" in got.stderr, command
    out.with_suffix(".actions.parquet").write_bytes(b"cut")
    got = invoke("events", out, "--blinks", width=400)
    assert got.exit_code == 1 and "clip.actions.parquet is damaged" in got.stderr


def test_methods_name_and_cite_the_landmarker(invoke, tmp_path):
    out = made(tmp_path, [Track(0, [0, 1], actions={})])
    said = " ".join(invoke("methods", out).stdout.split())
    assert "by MediaPipe's face landmarker (Lugaresi et al., 2019; Kartynnik et al., 2019)" in said
    assert "they are not FACS codes" in said and "@misc{Kartynnik2019," in said
    plain = Made(tracks=[Track(0, [0, 1])]).write(tmp_path / "plain.parquet")
    assert "MediaPipe" not in invoke("methods", plain).stdout
