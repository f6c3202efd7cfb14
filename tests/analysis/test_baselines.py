"""Baselines: medians over time in given and in calmest spans, per person or track, by hand."""

import numpy as np
import pandas as pd
import pytest
from made import Made, Track, sure

from jadfer_cli.analysis.baselines import BaselineRule, add_changes, find_baselines
from jadfer_cli.analysis.neutral_spans import NeutralSpan, given_spans
from jadfer_cli.analysis.score_columns import read_scores, weighted_median
from jadfer_cli.errors import OptionError
from jadfer_cli.labels import LABELS
from jadfer_cli.results.load import load


def result_of(path, *tracks, persons=None, **how):
    """A result; `persons` gives the column `person` by track ID."""
    Made(list(tracks), **how).write(path)
    if persons:
        rows = pd.read_parquet(path)
        rows["person"] = rows["track_id"].map(persons)
        rows.to_parquet(path)
    return load(path)


def found(results, rule):
    return find_baselines((read_scores(each, rule.scores, rule.scale) for each in results), rule)


def labels(*parts):
    """Labels per frame: ("anger", 3) is three frames of anger."""
    return [label for label, n in parts for _ in range(n)]


def test_the_median_is_over_time_and_not_over_frames():
    values = np.array([[1.0], [2.0], [3.0], [9.0]])
    # sorted by value, half of the time is reached with the second
    assert weighted_median(values, np.array([1.0, 2.0, 1.0, 1.0])) == 2
    assert weighted_median(values, np.array([1.0, 1.0, 1.0, 9.0])) == 9
    assert weighted_median(values, np.ones(4)) == 2


def test_a_given_span_counts_by_the_time_inside_it(tmp_path):
    # 0.1 s each for three frames, then one for 1 s; the span ends 0.25 s into the last
    times = [0.0, 0.1, 0.2, 0.3, 1.3]
    shows = np.stack([sure("neutral", p) for p in (0.5, 0.6, 0.7, 0.9, 0.1)])
    result = result_of(tmp_path / "a.parquet", Track(0, list(range(5)), shows), n_frames=5,
                       times_s=times)  # fmt: skip
    rule = BaselineRule(spans=(NeutralSpan(0.0, 0.55),))
    ((key, baseline),) = found([result], rule)[0].items()
    assert key == ("", str(result.path), 0) and baseline.how == "given"
    assert baseline.seconds == pytest.approx(0.55)
    # 0.3 s below 0.8, 0.25 s at 0.9: half is reached at 0.7
    assert baseline.values[0] == pytest.approx(0.7)
    changes = add_changes(read_scores(result), {key: baseline}, rule)
    np.testing.assert_allclose(
        changes.columns["p_neutral_change"], [-0.2, -0.1, 0, 0.2, -0.6], atol=1e-6
    )
    assert changes.entry["kind"] == "change"
    assert changes.entry["baselines"][0]["neutral"] == pytest.approx(0.7)


def test_the_calmest_neutral_span_is_found(tmp_path):
    rng = np.random.default_rng(5)
    p = np.stack([sure("neutral", p) for p in rng.uniform(0.5, 0.9, 100)])
    p[60:90] = sure("neutral", 0.8)  # 1.2 s without any change
    p[10:50] = sure("happiness", 0.99)  # calmer still, but a smile
    result = result_of(tmp_path / "a.parquet", Track(0, list(range(100)), p), n_frames=100)
    (baseline,) = found([result], BaselineRule(window_s=1.2))[0].values()
    assert (baseline.spans[0].start_s, baseline.spans[0].end_s) == pytest.approx((2.4, 3.6))
    assert baseline.is_neutral and baseline.values[0] == pytest.approx(0.8)
    smiling = result_of(tmp_path / "b.parquet", Track(0, list(range(50)), p[:50]), n_frames=50)
    (baseline,) = found([smiling], BaselineRule(window_s=1.2))[0].values()
    assert baseline.spans[0].start_s == pytest.approx(0.4) and not baseline.is_neutral


def test_a_gap_ends_a_span(tmp_path):
    frames = [*range(20), *range(21, 60)]
    result = result_of(tmp_path / "a.parquet", Track(0, frames, "neutral"), n_frames=60)
    (baseline,) = found([result], BaselineRule(window_s=1))[0].values()
    assert baseline.spans[0].start_s == pytest.approx(21 / 25)
    none, reasons = found([result], BaselineRule(window_s=2))
    assert not none and list(reasons.values()) == ["no span of 2 s without a gap"]


def test_one_baseline_per_person_in_all_results_and_one_per_unknown_track(tmp_path):
    frames = list(range(50))
    calm, lively = labels(("neutral", 50)), labels(("neutral", 25), ("anger", 25))
    results = [
        result_of(tmp_path / "a.parquet", Track(0, frames, lively, p=0.7), Track(1, frames, calm),
                  n_frames=50, persons={0: "anna", 1: "unknown"}),
        result_of(tmp_path / "b.parquet", Track(0, frames, calm, p=0.8), Track(1, frames, calm),
                  n_frames=50, persons={0: "anna", 1: "unknown"}),
    ]  # fmt: skip
    baselines, _ = found(results, BaselineRule(window_s=2))
    assert set(baselines) == {
        ("anna", "", -1), ("", str(results[0].path), 1), ("", str(results[1].path), 1),
    }  # fmt: skip
    anna = baselines["anna", "", -1]
    assert [span.result for span in anna.spans] == [str(results[1].path)]
    assert anna.values[0] == pytest.approx(0.8)
    added = add_changes(read_scores(results[0]), baselines, BaselineRule(window_s=2))
    own = results[0].rows()["track_id"].to_numpy() == 0
    np.testing.assert_allclose(added.columns["p_neutral_change"][own][:25], 0.7 - 0.8, atol=1e-6)


def test_given_spans_of_a_file(tmp_path):
    frames = list(range(50))
    results = [
        result_of(tmp_path / f"{name}.parquet", Track(0, frames, "neutral"),
                  Track(1, frames, "sadness"), n_frames=50, video=f"clips/{name}.mp4")
        for name in ("a", "b")
    ]  # fmt: skip
    file = tmp_path / "neutral.csv"
    file.write_text("video;start_s;end_s;track_id\na.mp4;0,5;1,5;1\n")
    rule = BaselineRule(spans=given_spans(str(file), results))
    assert rule.spans == (NeutralSpan(0.5, 1.5, str(results[0].path), None, 1),)
    baselines, reasons = found(results, rule)
    assert list(baselines) == [("", str(results[0].path), 1)]
    assert set(reasons.values()) == {"no neutral span is given"} and len(reasons) == 3
    # the record names every span, not only the first
    file.write_text("video,start_s,end_s\na.mp4,0,0.4\na.mp4,1,1.2\na.mp4,5,5.1\nb.mp4,1,2\n")
    rule = BaselineRule(spans=given_spans(str(file), results))
    baselines, _ = found(results, rule)
    used = add_changes(read_scores(results[0]), baselines, rule).entry["baselines"]
    places = [[(span["start_s"], span["end_s"]) for span in each["spans"]] for each in used]
    assert places == [[(0, 0.4), (1, 1.2)]] * 2
    assert {span["result"] for each in used for span in each["spans"]} == {str(results[0].path)}
    assert given_spans("0,3", results) == (NeutralSpan(0.0, 3.0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,start_s,end_s\nnone.mp4,0,1\n", "line 2: no result is of the video none.mp4"),
        ("video,start_s,end_s\na.mp4,1,1\n", "line 2: the span must begin before it ends"),
        ("video,start_s,end_s\na.mp4,x,1\n", "line 2: start_s is x, which is not a number"),
        ("video,start_s\na.mp4,1\n", "lacks the column end_s"),
        ("video,start_s,end_s\n", "has no rows"),
    ],
)
def test_wrong_files_are_explained(tmp_path, text, message):
    result = result_of(tmp_path / "a.parquet", Track(0, [0], "neutral"), video="a.mp4")
    (tmp_path / "spans.csv").write_text(text)
    with pytest.raises(OptionError, match=message):
        given_spans(str(tmp_path / "spans.csv"), [result])


def test_too_little_of_a_given_span(tmp_path):
    result = result_of(tmp_path / "a.parquet", Track(0, [0, 1, 2], "neutral"), n_frames=50)
    baselines, reasons = found([result], BaselineRule(spans=(NeutralSpan(0, 1),)))
    assert not baselines
    assert list(reasons.values()) == ["less than 50% of its neutral span counts"]


def test_results_of_different_models_share_no_baselines(tmp_path, invoke):
    for name, known in (("a", LABELS), ("b", LABELS[:7])):
        result_of(tmp_path / "in" / f"{name}.parquet", Track(0, [0], "fear"), labels=known)
    done = invoke("baseline", tmp_path / "in", "-o", tmp_path / "out")
    assert done.exit_code == 1 and not (tmp_path / "out").exists()
    assert "has other labels than the results before it" in " ".join(done.stderr.split())


def test_the_command(tmp_path, invoke):
    frames = list(range(60))
    p = np.stack([sure("neutral", 0.9)] * 50 + [sure("happiness", 0.9)] * 10)
    Made([Track(0, frames, p), Track(1, [3, 4], "fear")], n_frames=60).write(
        tmp_path / "in" / "a.parquet"
    )
    out, table = tmp_path / "out", tmp_path / "baselines.csv"
    done = invoke("baseline", tmp_path / "in", "-o", out, "--scale", "logit",
                  "--baselines", table)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "track 0" in done.stdout and "calmest" in done.stdout
    assert "No baseline for a track 1: no span of 2 s without a gap" in " ".join(
        done.stderr.split()
    )
    rows = pd.read_parquet(out / "a.parquet")
    logit = np.log(0.9 / 0.1)
    own = rows[rows["track_id"] == 0]
    np.testing.assert_allclose(own["logit_neutral_change"][:50], 0, atol=1e-5)
    rest = 0.1 / 7
    expected = np.log(rest / (1 - rest)) - logit
    np.testing.assert_allclose(own["logit_neutral_change"][50:], expected, rtol=1e-4)
    assert rows[rows["track_id"] == 1]["logit_neutral_change"].isna().all()
    (line,) = pd.read_csv(table).to_dict("records")
    assert line["neutral"] == pytest.approx(logit, rel=1e-4)
    assert (line["scale"], line["how"]) == ("logit", "calmest")
    done = invoke("baseline", tmp_path / "in", "-o", out, "--neutral", "3,1")
    assert done.exit_code == 2
    assert "--neutral 3,1: give begin and end in seconds" in " ".join(done.stderr.split())
