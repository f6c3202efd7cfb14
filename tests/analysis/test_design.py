"""Tables of a study: against plain pandas, why cells are missing, errors in the user's tables."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import Made, Track, sure

from jadfer_cli.analysis.design import compute, long_table, wide_table
from jadfer_cli.analysis.design_groups import by_group
from jadfer_cli.analysis.design_options import design_rule
from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.analysis.events import find_events
from jadfer_cli.analysis.frame_times import frame_spans
from jadfer_cli.analysis.study_files import VideoIndex, read_study_table
from jadfer_cli.analysis.trials import read_study
from jadfer_cli.errors import OptionError
from jadfer_cli.labels import LABELS
from jadfer_cli.results.load import load


def walk(seed, n):
    """Probabilities (n, 8) from a random walk, so that expressions change."""
    steps = np.cumsum(np.random.default_rng(seed).normal(0, 0.7, (n, 8)), 0)
    p = np.exp(steps - steps.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True)).astype(np.float32)


def result_of(path, *tracks, persons=None, **how):
    Made(list(tracks), **how).write(path)
    if persons:
        rows = pd.read_parquet(path)
        rows["person"] = rows["track_id"].map(persons)
        rows.to_parquet(path)
    return load(path)


def study_of(folder, results, trials, people=None):
    (folder / "trials.csv").write_text(trials)
    if people:
        (folder / "people.csv").write_text(people)
    return read_study(
        folder / "trials.csv", folder / "people.csv" if people else None, results, reserved=()
    )


def design_of(folder, results, trials, people=None, windows=(), baseline=None, **how):
    settings = {"min_usable": 0.7, "scores": "raw", "scale": None, "events": Rule()} | how
    return compute(study_of(folder, results, trials, people), results,
                   design_rule(windows, baseline, **settings))  # fmt: skip


def counted_rows(result):
    """The rows that count, with the time of each."""
    rows = result.rows()
    spans = frame_spans(rows, result.metadata).loc[rows["frame"]].reset_index(drop=True)
    rows = rows.join(spans)
    return rows[rows["usable"].fillna(False).astype(bool)]


def by_pandas(rows, events, onset, start, end, label, scale, baseline=None):
    """One cell's measures, from the rows and the events of the result."""
    rows = rows.copy()
    p = rows[f"p_{label}"].astype(float).clip(0.001, 0.999)
    rows["score"] = np.log(p / (1 - p)) if scale == "logit" else rows[f"p_{label}"].astype(float)

    def part(begin, finish):
        weight = rows["end_s"].clip(upper=finish) - rows["start_s"].clip(lower=begin)
        return rows[weight > 1e-12].assign(w=weight[weight > 1e-12])

    inside = part(onset + start, onset + end)
    subtract = 0.0
    if baseline:
        before = part(onset + baseline[0], onset + baseline[1]).sort_values("score")
        half = before["w"].cumsum() >= before["w"].sum() / 2
        subtract = before["score"][half].iloc[0]
    w, x = inside["w"], inside["score"] - subtract
    events = events[events["expression"] == label]
    events = events[events["onset_s"].between(onset + start, onset + end, inclusive="left")]
    first = events.sort_values("onset_s").head(1)
    sure_of_it = len(first) and first["truncated"].iloc[0] not in ("start", "both")
    return {
        "mean": np.average(x, weights=w),
        "peak": x.max(),
        "time_to_peak_s": max(inside["start_s"][x.idxmax()], onset + start) - onset,
        "area": (x * w).sum(),
        "share": w[inside["expression"] == label].sum() / w.sum(),
        "events": len(events),
        "latency_s": first["onset_s"].iloc[0] - onset if sure_of_it else np.nan,
        "usable_share": w.sum() / (end - start),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "baseline"), [("probability", None), ("logit", None), ("logit", (-0.55, -0.03))]
)
def test_values_are_those_of_plain_pandas_at_a_variable_frame_rate(tmp_path, scale, baseline):
    n = 150
    times = np.cumsum(np.random.default_rng(3).choice([0.02, 0.04, 0.11], n)) - 0.02
    usable = np.random.default_rng(4).random(n) > 0.04
    usable[70:75] = False
    result = result_of(tmp_path / "a.parquet", Track(0, list(range(n)), walk(11, n), usable),
                       n_frames=n, times_s=times)  # fmt: skip
    onsets = (1.013, 2.5, 4.777)
    trials = "participant,trial,video,onset_s\n" + "".join(
        f"p,{i},clip.mp4,{onset}\n" for i, onset in enumerate(onsets)
    )
    windows = {"early": (0, 0.5), "late": (0.313, 1.7)}
    made = design_of(
        tmp_path, [result], trials, windows=[f"{k}={a},{b}" for k, (a, b) in windows.items()],
        baseline=None if baseline is None else f"{baseline[0]},{baseline[1]}",
        scale=scale, min_usable=0.5,
    )  # fmt: skip
    table = long_table(made)
    assert len(table) == 3 * 2 * 8 * 7
    rows, events = counted_rows(result), find_events(result, Rule(), LABELS).events
    cells = table.set_index(["trial", "window", "expression", "measure"])["value"]
    for i, onset in enumerate(onsets):
        for name, (start, end) in windows.items():
            for label in LABELS:
                expected = by_pandas(rows, events, onset, start, end, label, scale, baseline)
                usable_share = expected.pop("usable_share")
                for measure, value in expected.items():
                    found = cells[str(i), name, label, measure]
                    assert found == pytest.approx(value, abs=1e-5, nan_ok=True), (label, measure)
            shares = table[(table["trial"] == str(i)) & (table["window"] == name)]["usable_share"]
            assert np.allclose(shares, usable_share)
    wide = wide_table(made)
    assert len(wide) == 3
    for i in range(3):
        for name in windows:
            row = wide.set_index("trial").loc[str(i)]
            assert row[f"anger_mean_{name}"] == cells[str(i), name, "anger", "mean"]


def test_measures_by_hand(tmp_path):
    # 10 frames of 0.1 s; happiness from 0.4 to 0.8 s
    shows = np.stack([sure("happiness" if 4 <= i < 8 else "neutral", 0.9) for i in range(10)])
    shows[5] = sure("happiness", 0.95)
    result = result_of(tmp_path / "a.parquet", Track(0, list(range(10)), shows), n_frames=10,
                       times_s=np.arange(10) / 10)  # fmt: skip
    made = design_of(tmp_path, [result], "participant,trial,video,onset_s,duration_s\np,1,clip,0.15,0.5\n")  # fmt: skip # noqa: E501
    table = long_table(made).query("expression == 'happiness'").set_index("measure")["value"]
    low = 0.1 / 7
    # 0.15 to 0.65 s: 0.25 s neutral, then 0.9, 0.95 for 0.1 s each, and 0.9 for 0.05 s
    area = 0.25 * low + 0.1 * 0.9 + 0.1 * 0.95 + 0.05 * 0.9
    expected = {"mean": area / 0.5, "peak": 0.95, "time_to_peak_s": 0.35, "area": area,
                "share": 0.5, "events": 1, "latency_s": 0.25}  # fmt: skip
    assert table.to_dict() == pytest.approx(expected, abs=1e-6)


def test_missing_cells_say_why(tmp_path):
    frames = list(range(50))
    results = [
        result_of(tmp_path / "a.parquet", Track(0, frames, "neutral", [i < 10 for i in frames]),
                  n_frames=50, video="a.mp4"),
        result_of(tmp_path / "two.parquet", Track(0, frames, "neutral"),
                  Track(1, frames[20:], "fear"), n_frames=50, video="two.mp4"),
        result_of(tmp_path / "none.parquet", n_frames=50, video="none.mp4"),
        result_of(tmp_path / "named.parquet", Track(0, frames, "neutral"), n_frames=50,
                  persons={0: "anna"}, video="named.mp4"),
        result_of(tmp_path / "bad.parquet", Track(0, frames, "neutral", [i < 25 for i in frames]),
                  n_frames=50, video="bad.mp4", status={i: 1 for i in range(5, 25)}),
    ]  # fmt: skip
    rows = pd.read_parquet(results[-1].path)  # as `annotate` explains it since 0.6.0
    rows["unusable_reason"] = rows["usable"].map({True: None, False: "too_small"})
    rows.to_parquet(results[-1].path)
    results[-1] = load(results[-1].path)
    trials = """participant,trial,video,onset_s,duration_s,track_id,person
p,1,a.mp4,0.3,1,,
p,2,a.mp4,1.6,1,,
p,3,a.mp4,3,1,,
p,4,two.mp4,0.5,1,,
p,5,two.mp4,0.5,1,1,
p,6,two.mp4,0.1,0.4,,
p,7,two.mp4,0.5,1,7,
p,8,none.mp4,0.5,1,,
p,9,lost.mp4,0.5,1,,
p,10,named.mp4,0.5,1,,
p,11,named.mp4,0.5,1,,ben
p,12,named.mp4,0.5,1,,anna
anna,1,named.mp4,0.5,1,,
p,13,two.mp4,0.5,,1,
p,14,two.mp4,0.9,1,1,
p,15,bad.mp4,0,1,,
p,16,bad.mp4,1,1,,
"""
    made = design_of(tmp_path, results, trials)
    reasons = {(c.trial.participant, c.trial.trial): c.reason for c in made.cells}
    several = "several faces at once; name one by track_id or person"
    assert reasons == {
        ("p", "1"): "usable for less than 70% of the window, mostly blurred",
        ("p", "2"): "usable for less than 70% of the window, mostly outside the video",
        ("p", "3"): "usable for less than 70% of the window, mostly outside the video",
        ("p", "4"): several,
        ("p", "5"): "",
        ("p", "6"): "",  # the other face comes later
        ("p", "7"): "track 7 is not in the video",
        ("p", "8"): "no face in the video",
        ("p", "9"): "no result of this video",
        ("p", "10"): "the participant is none of the people in the video (anna)",
        ("p", "11"): "person ben is not in the video",
        ("p", "12"): "",
        ("anna", "1"): "",
        ("p", "13"): "the trial has no duration",
        ("p", "14"): "",
        ("p", "15"): "usable for less than 70% of the window, mostly in corrupt frames",
        ("p", "16"): "usable for less than 70% of the window, mostly too small",
    }
    table = long_table(made)
    cell = table[(table["trial"] == "1") & (table["participant"] == "p")]
    assert cell["value"].isna().all() and np.allclose(cell["usable_share"], 0.1)
    assert table[table["trial"] == "9"]["usable_share"].isna().all()
    kept = table[(table["trial"] == "5") & (table["measure"] == "mean")]
    assert kept.set_index("expression")["value"]["fear"] == pytest.approx(0.9)
    late = table[(table["measure"] == "latency_s") & (table["expression"] == "fear")]
    late = late.set_index(["participant", "trial"])["missing_reason"]
    # the face appears at 0.8 s, showing fear already
    assert late["p", "5"] == "the face was not judged just before the first event"
    assert late["p", "14"] == "no event begins in the window"


def test_a_visitor_between_baseline_and_window_does_no_harm(tmp_path):
    tracks = [Track(0, list(range(75))), Track(1, list(range(30, 45)))]  # 1.2 to 1.8 s
    result = result_of(tmp_path / "a.parquet", *tracks, n_frames=75, video="a.mp4")
    trials = "participant,trial,video,onset_s,duration_s\np,1,a.mp4,1,2\n"
    for start, several in ((1, False), (0.5, True)):
        made = design_of(tmp_path, [result], trials, windows=(f"late={start},2",), baseline="-1,0")
        assert made.cells[0].reason.startswith("several faces at once") == several
        assert bool(made.cells[0].reason) == several


def test_a_baseline_without_a_usable_face_makes_the_cell_missing(tmp_path):
    frames = list(range(10, 50))
    result = result_of(tmp_path / "a.parquet", Track(0, frames, "neutral"), n_frames=50)
    trials = "participant,trial,video,onset_s,duration_s\np,1,clip,0.5,1\np,2,clip,0.9,1\n"
    made = design_of(tmp_path, [result], trials, baseline="-0.4,0")
    first, second = made.cells
    assert first.reason == "baseline usable for less than 70% of its span, mostly without a face"
    assert first.usable_share == 1 and not second.reason
    assert second.baseline[0] == pytest.approx(0.9)
    assert second.values[0, 0] == pytest.approx(0)


@pytest.mark.slow
def test_derived_scores_of_the_commands(tmp_path, invoke, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Made([Track(0, list(range(100)), walk(5, 100))], n_frames=100, video=f"{name}.mp4").write(
            Path("in") / f"{name}.parquet"
        )
    Path("trials.csv").write_text(
        "participant,trial,video,onset_s,duration_s\n01,1,a,1,1\n01,2,b,1,1\n"
    )
    assert invoke("smooth", "in", "-o", "smooth", "--scale", "logit").exit_code == 0
    assert invoke("baseline", "smooth", "-o", "change", "--scores", "smooth",
                  "--neutral", "0,1").exit_code == 0  # fmt: skip
    done = invoke("design", "change", "--trials", "trials.csv", "--scores", "smooth_change",
                  "-o", "table.csv", "--measure", "latency", "--measure", "mean")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "2 cells, none missing" in done.stderr
    table = pd.read_csv("table.csv", dtype={"participant": str})
    assert list(table["measure"].unique()) == ["mean", "latency_s"]
    assert set(table["participant"]) == {"01"} and set(table["unit"]) == {"logit", "s"}
    rows = pd.read_parquet("change/a.parquet")
    window = rows[(rows["time_s"] > 0.99) & (rows["time_s"] < 1.99)]
    mean = table[(table["expression"] == "fear") & (table["measure"] == "mean")]["value"].iloc[0]
    assert mean == pytest.approx(window["logit_fear_smooth_change"].mean(), abs=1e-5)
    sidecar = json.loads(Path("table.json").read_text())
    assert sidecar["jadfer_table"]["scores"] == "smooth_change"
    assert sidecar["jadfer_table"]["kind"] == "change"
    assert "onset" in sidecar["window_start_s"]["Description"]
    assert set(table.columns) == set(sidecar) - {"jadfer_table"}
    assert invoke("baseline", "smooth", "-o", "none", "--scores", "smooth",
                  "--seconds", "9").exit_code == 0  # fmt: skip
    table = ["design", "change", "--trials", "trials.csv", "--scores", "smooth_change"]
    assert invoke(*table, "--window", "0,1", "-o", "table.parquet", "--overwrite").exit_code == 0
    said = invoke("methods", "change", "table.parquet").output
    said = " ".join(said.split())
    assert "The log odds of usable faces were smoothed over time by LOESS of degree 1" in said
    assert "(scores smooth) of usable faces, each person's baseline was subtracted" in said
    assert "the median over time in a neutral span chosen by the authors." in said
    assert "summarised from 0 s to 1 s relative to the stimulus onset. A window" in said
    assert "for 70% of its time; 0 of 2 cells were missing." in said
    done = invoke("design", "none", "--trials", "trials.csv", "--scores", "smooth_change")
    assert "2 x the face has no smooth_change scores" in " ".join(done.stderr.split())


def test_groups_have_standard_errors_over_people(tmp_path, invoke, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shares = {"a": 0.25, "b": 0.75, "c": 1.0}  # of the time with anger
    results = [
        result_of(tmp_path / "in" / f"{name}.parquet",
                  Track(0, list(range(100)),
                        ["anger" if i < 100 * s else "fear" for i in range(100)]),
                  n_frames=100, video=f"{name}.mp4")
        for name, s in shares.items()
    ]  # fmt: skip
    people = "participant,group\na,x\nb,x\nc,y\nd,y\n"
    trials = "participant,trial,video,onset_s,duration_s\n" + "".join(
        f"{name},1,{name},0,4\n" for name in shares
    )
    made = design_of(tmp_path, results, trials + "c,2,c,3,4\n", people)
    x, y = by_group(made, "group")
    assert (x.group, x.participants, x.cells, x.missing) == ("x", 2, 2, 0)
    assert x.shares == pytest.approx({"anger": 0.5, "fear": 0.5} | dict.fromkeys(
        [label for label in LABELS if label not in ("anger", "fear")], 0.0))  # fmt: skip
    assert x.errors["anger"] == pytest.approx(np.std([0.25, 0.75], ddof=1) / np.sqrt(2))
    assert (y.participants, y.cells, y.missing) == (1, 2, 1) and np.isnan(y.errors["anger"])
    assert made.study.without_trials == ("d",)
    done = invoke("design", "in", "--trials", "trials.csv", "--participants", "people.csv",
                  "--by", "group")  # fmt: skip
    said = " ".join(done.output.split())
    assert done.exit_code == 0 and "1 participant without a trial: d" in said
    assert "anger 50% ± 25" in said and "1 of 4 cells missing" in said
    done = invoke("design", "in", "--trials", "trials.csv", "--by", "age")
    assert done.exit_code == 2 and "--by age" in done.stderr


def test_people_of_identify_are_told_apart_from_participants(tmp_path, invoke):
    """`identify` without references names person_1: a table says which participant that is."""
    path = tmp_path / "a.parquet"
    Made([Track(0, list(range(50)), "anger")], n_frames=50).write(path)
    rows = pd.read_parquet(path)
    rows.assign(person="person_1").to_parquet(path)
    trials = tmp_path / "trials.csv"
    trials.write_text("participant,trial,video,onset_s,duration_s\nP01,1,clip,0.5,1\n")
    done = invoke("design", path, "--trials", trials)
    said = " ".join(done.stderr.split())
    assert "none of the people in the video (person_1)" in said and "a column person" in said
    people = tmp_path / "people.csv"
    people.write_text("participant,person\nP01,person_1\n")
    done = invoke("design", path, "--trials", trials, "--participants", people)
    assert "1 cell, none missing" in done.stderr and "column person" not in done.stderr


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx", "sav", "dta", "tsv", "json"])
def test_every_format_holds_the_table(tmp_path, invoke, ending):
    """Participant 01 stays 01, numbers stay numbers, missing ones stay missing."""
    if ending in ("sav", "dta"):
        pytest.importorskip("pyreadstat")
    result_of(tmp_path / "a.parquet", Track(0, list(range(50)), "anger"), n_frames=50)
    (tmp_path / "trials.csv").write_text(
        "participant;trial;video;onset_s;duration_s;dose\n01;1;clip;0,4;1;0,5\n01;2;clip;9;1;2\n"
    )
    out = tmp_path / f"table.{ending}"
    done = invoke("design", tmp_path / "a.parquet", "--trials", tmp_path / "trials.csv", "-o", out,
                  "--wide")  # fmt: skip
    assert done.exit_code == 0, done.output
    text = {"participant": str, "trial": str}
    table = {
        "csv": lambda: pd.read_csv(out, dtype=text),
        "tsv": lambda: pd.read_csv(out, sep="\t", dtype=text),
        "parquet": lambda: pd.read_parquet(out),
        "xlsx": lambda: pd.read_excel(out, dtype=text),
        "sav": lambda: pd.read_spss(out),
        "dta": lambda: pd.read_stata(out),
        "json": lambda: pd.read_json(out, dtype=text),
    }[ending]()
    assert table["participant"].tolist() == ["01", "01"]
    assert table["dose"].tolist() == [0.5, 2]
    assert table["anger_mean"].iloc[0] == pytest.approx(0.9)
    assert np.isnan(table["anger_mean"].iloc[1])
    assert table["missing_reason"].iloc[1].startswith("usable for less than 70% of the window")
    if ending == "parquet":
        assert table.attrs["jadfer_design"]["scale"] == "probability"


def test_names_of_videos(tmp_path):
    results = [
        result_of(tmp_path / day / "p1.parquet", Track(0, [0], "anger"),
                  video=f"c:\\x\\{day}\\p1.mp4")
        for day in ("day1", "day2")
    ]  # fmt: skip
    for name in ("day1/p1.mp4", "day1/p1", "day1\\p1.mp4", "x/day1/p1", "day1/p1.parquet"):
        assert VideoIndex(results).matching(name) == results[:1], name
    assert VideoIndex(results).matching("p1.mp4") == results
    assert VideoIndex(results).matching("1.mp4") == []
    assert VideoIndex(results).matching("") == []


def test_columns_are_read_as_they_were_typed(tmp_path):
    path = tmp_path / "people.tsv"
    path.write_text(
        "participant_id\tage\tgroup\tscore\n007\t20\t01\t1.5\nNA7\tn/a\tb\t2\n", "utf-8-sig"
    )
    table = read_study_table(path, texts=("participant",), needed=("participant",))
    assert table.rows["participant"].tolist() == ["007", "NA7"]
    assert table.rows["age"].tolist() == [20, pd.NA] and table.rows["age"].dtype == "Int64"
    assert table.rows["group"].tolist() == ["01", "b"]
    assert table.rows["score"].tolist() == [1.5, 2.0]


def test_lines_are_counted_as_an_editor_does(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text('\nparticipant,note\n\n01,"two\nlines"\n,\n02,a, b\n')
    with pytest.raises(OptionError, match="line 7: it has 3 cells"):
        read_study_table(path, texts=("participant",), needed=("participant",))
    path.write_text('\nparticipant,note\n\n01,"two\nlines"\n,\n02,"a, b"\n')
    table = read_study_table(path, texts=("participant",), needed=("participant",))
    assert table.rows["note"].tolist() == ["two\nlines", "a, b"]
    assert [table.place(i) for i in range(2)] == [f"{path}, line 5", f"{path}, line 7"]


def test_a_workbook_is_no_csv(tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(OptionError, match="it is not UTF-8 text") as caught:
        read_study_table(path, texts=(), needed=())
    assert caught.value.hint == "Save it as CSV in UTF-8."


HEAD = "participant,trial,video,onset_s,duration_s"
WRONG = {
    "no such column": ("participant,trial\np,1\n", None, "lacks the column onset_s"),
    "twice": (f"{HEAD}\np,1,clip,0,1\np,1,clip,1,1\n", None, "line 3: participant p, trial 1"),
    "unknown": (f"{HEAD}\n1,1,clip,0,1\n", "participant,age\n01,3\n", "participant 1 is not in"),
    "no number": (f"{HEAD}\np,1,clip,soon,1\n", None, "line 2: onset_s is soon, which is not"),
    "no onset": (f"{HEAD}\np,1,clip,,1\n", None, "line 2: onset_s is empty"),
    "no video": (f"{HEAD}\np,1,,0,1\n", None, "line 2: there is no video"),
    "no result at all": (f"{HEAD}\np,1,x.mp4,0,1\n", None, "no result is of any of its videos"),
    "negative": (f"{HEAD}\np,1,clip,0,-1\n", None, "duration_s is -1, but must be above 0"),
    "track": (f"{HEAD},track_id\np,1,clip,0,1,x\n", None, "track_id x is not a whole number"),
    "cells": (f"{HEAD}\np,1,clip,0\n", None, "line 2: it has 4 cells, and the first line 5"),
    "both": (f"{HEAD},age\np,1,clip,0,1,3\n", "participant,age\np,3\n", "column age is in both"),
    "reserved": (f"{HEAD},value\np,1,clip,0,1,3\n", None, "A column called value cannot"),
    "people twice": (f"{HEAD}\np,1,clip,0,1\n", "participant\np\np\n", "participant p is on"),
    "no name": (f"{HEAD},\np,1,clip,0,1,\n", None, "every column needs a name of its own"),
    "empty": (f"{HEAD}\n", None, "has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tables_are_explained(tmp_path, case):
    trials, people, message = WRONG[case]
    result = result_of(tmp_path / "a.parquet", Track(0, [0], "anger"))
    (tmp_path / "trials.csv").write_text(trials)
    (tmp_path / "people.csv").write_text(people or "")
    with pytest.raises(OptionError, match=message):
        read_study(tmp_path / "trials.csv", tmp_path / "people.csv" if people else None, [result],
                   reserved={"value"})  # fmt: skip


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--window", "0"], "--window 0: give begin and end in seconds"),
        (["--window", "2,1"], "--window 2,1: give begin and end in seconds"),
        (["--window", "a b=0,1"], "a name has letters, digits and underscores"),
        (["--window", "a=0,1", "--window", "a=1,2"], "Two windows have the same name"),
        (["--baseline", "soon"], "--baseline soon: give begin and end in seconds"),
        (["--min-usable", "0"], "--min-usable must be above 0"),
        (["--measure", "median"], "--measure must be one of mean, peak"),
        (["--expression", "bored"], "--expression bored"),
        (["--trials", "lost.csv"], "lost.csv cannot be read: No such file"),
    ],
)
def test_wrong_options_are_explained(tmp_path, invoke, options, text):
    result_of(tmp_path / "a.parquet", Track(0, [0], "anger"))
    (tmp_path / "trials.csv").write_text(f"{HEAD}\np,1,clip,0,1\n")
    done = invoke("design", tmp_path / "a.parquet", "--trials", tmp_path / "trials.csv", *options)
    assert done.exit_code == 2 and text in " ".join(done.stderr.split()), done.stderr
