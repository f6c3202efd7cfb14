"""Smoothing: against statsmodels, SciPy and a naive loop; in seconds, and never across gaps."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from made import Made, Track
from scipy.signal import savgol_filter

from jadfer_cli.analysis.local_fit import FLAT, TRICUBE, local_polynomial
from jadfer_cli.analysis.score_columns import LOGIT_MARGIN, score_set
from jadfer_cli.analysis.smoothing import SmoothRule, smooth
from jadfer_cli.errors import OptionError
from jadfer_cli.results.columns import PERSON_DESCRIPTIONS
from jadfer_cli.results.extended import write_extended
from jadfer_cli.results.load import load


def drawn(n, seed=1, k=8):
    """Probabilities (n, k) that change from frame to frame."""
    p = np.random.default_rng(seed).dirichlet(np.full(k, 0.7), n)
    return p.astype(np.float32)


def irregular(n, seed=2):
    """Times of a variable frame rate, from 10 to 100 frames per second."""
    return np.cumsum(np.random.default_rng(seed).uniform(0.01, 0.1, n))


@pytest.mark.parametrize("half", [3, 8])
def test_loess_is_that_of_statsmodels_at_a_constant_frame_rate(half):
    lowess = pytest.importorskip("statsmodels.nonparametric.smoothers_lowess").lowess
    time_s, values = np.arange(120) / 25, drawn(120, k=3).astype(np.float64)
    found = local_polynomial(time_s, values, window_s=2 * half / 25, degree=1, kernel=TRICUBE)
    share = (2 * half + 1) / 120 + 1e-9
    for k in range(3):
        expected = lowess(values[:, k], time_s, frac=share, it=0, return_sorted=False)
        np.testing.assert_allclose(found[:, k], expected, atol=1e-12)


@pytest.mark.parametrize("degree", [2, 3])
def test_savgol_is_that_of_scipy_at_a_constant_frame_rate(degree):
    time_s, values = np.arange(120) / 30, drawn(120, k=3).astype(np.float64)
    found = local_polynomial(time_s, values, window_s=10 / 30, degree=degree, kernel=FLAT)
    expected = savgol_filter(values, 11, degree, axis=0, mode="interp")
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("kernel", "degree"), [(TRICUBE, 1), (FLAT, 2)])
def test_at_a_variable_frame_rate_each_window_is_fitted_in_seconds(kernel, degree):
    time_s, window_s = irregular(80), 0.6
    values = drawn(80, k=2).astype(np.float64)
    found = local_polynomial(time_s, values, window_s=window_s, degree=degree, kernel=kernel)
    for i, t in enumerate(time_s):
        low = min(max(t - window_s / 2, time_s[0]), time_s[-1] - window_s)
        radius = max(t - low, low + window_s - t)
        inside = (time_s >= low - 1e-6) & (time_s <= low + window_s + 1e-6)
        u = np.abs(time_s[inside] - t) / radius
        weights = np.clip(1 - u**3, 0, None) ** 3 if kernel == TRICUBE else np.ones(inside.sum())
        for k in range(2):
            fit = np.polyfit(time_s[inside] - t, values[inside, k], degree, w=np.sqrt(weights))
            assert found[i, k] == pytest.approx(fit[-1], abs=1e-9)


def test_a_line_stays_a_line_and_a_frame_alone_stays_as_it_is():
    time_s = irregular(50)
    line = np.column_stack([time_s, 3 - 2 * time_s])
    found = local_polynomial(time_s, line, window_s=0.5, degree=1, kernel=TRICUBE)
    np.testing.assert_allclose(found, line, atol=1e-10)
    for n in (1, 2):
        alone = local_polynomial(time_s[:n], line[:n], window_s=0.5, degree=2, kernel=FLAT)
        np.testing.assert_allclose(alone, line[:n], atol=1e-9)


def opened(path, *tracks, n, **how):
    return load(Made(list(tracks), n_frames=n, **how).write(path))


def smoothed(result, rule=None):
    """The smoothed values of each row."""
    columns = smooth(result, rule or SmoothRule()).added.columns
    return pd.DataFrame(columns)


def test_nothing_is_smoothed_across_a_gap_or_between_tracks(tmp_path):
    p, times = drawn(60), irregular(60)
    usable = np.ones(60, bool)
    usable[20] = False
    other = drawn(60, seed=9)
    frames = list(range(60))
    with_gap = opened(
        tmp_path / "a.parquet", Track(0, frames, p, usable), Track(1, frames, other),
        n=60, times_s=times,
    )  # fmt: skip
    changed = p.copy()
    changed[:21] = changed[:21, ::-1]
    again = opened(
        tmp_path / "b.parquet", Track(0, frames, changed, usable), Track(1, frames, other[::-1]),
        n=60, times_s=times,
    )  # fmt: skip
    first, second = smoothed(with_gap), smoothed(again)
    own = with_gap.rows()["track_id"] == 0
    assert first[own].iloc[20].isna().all() and first[own].notna().all(axis=1).sum() == 59
    pd.testing.assert_frame_equal(first[own].iloc[21:], second[own].iloc[21:])
    assert (first[own].iloc[:20] != second[own].iloc[:20]).any(axis=None)
    alone = opened(tmp_path / "c.parquet", Track(0, frames[21:], p[21:]), n=60, times_s=times)
    seen = alone.rows()["face_detected"].to_numpy()
    np.testing.assert_allclose(first[own].iloc[21:], smoothed(alone)[seen], atol=1e-12)


def test_a_change_of_person_within_a_track_ends_a_run(tmp_path):
    path = Made([Track(0, list(range(40)), drawn(40))], n_frames=40).write(tmp_path / "a.parquet")
    rows = pd.read_parquet(path)
    rows["person"] = ["anna"] * 25 + ["unknown"] * 15
    named = tmp_path / "named.parquet"
    rows.to_parquet(named)
    assert smooth(load(path), SmoothRule()).n_runs == 1
    found = smooth(load(named), SmoothRule())
    assert found.n_runs == 2
    only = Made([Track(0, list(range(25)), drawn(40)[:25])], n_frames=40)
    expected = smoothed(load(only.write(tmp_path / "only.parquet"))).iloc[:25]
    np.testing.assert_allclose(pd.DataFrame(found.added.columns).iloc[:25], expected, atol=1e-12)


def test_faces_that_do_not_count_and_corrupt_frames_have_no_smoothed_score(tmp_path):
    result = opened(
        tmp_path / "a.parquet", Track(0, list(range(20)), drawn(20), [i != 3 for i in range(20)]),
        n=20, status={7: 1},
    )  # fmt: skip
    assert np.flatnonzero(smoothed(result).isna().all(axis=1)).tolist() == [3, 7]
    every = smoothed(result, SmoothRule(all_faces=True))
    assert np.flatnonzero(every.isna().all(axis=1)).tolist() == [7]


def test_probabilities_stay_in_their_range_and_logits_are_smoothed_as_logits(tmp_path):
    p = np.zeros((30, 8), np.float32)
    p[:, 0], p[:, 1] = np.arange(30) < 15, np.arange(30) >= 15
    result = opened(tmp_path / "a.parquet", Track(0, list(range(30)), p), n=30)
    found = smooth(result, SmoothRule(method="savgol"))
    values = pd.DataFrame(found.added.columns)
    assert values.min(axis=None) == 0 and values.max(axis=None) == 1
    assert found.added.entry["faces_moved_into_0_to_1"] > 0
    logits = smooth(result, SmoothRule(method="savgol", degree=0, window_s=0.08, scale="logit"))
    assert list(logits.added.columns)[1] == "logit_happiness_smooth"
    top = np.log((1 - LOGIT_MARGIN) / LOGIT_MARGIN)
    # three frames: the mean of -top, -top, top at the last frame before the change
    assert logits.added.columns["logit_happiness_smooth"][14] == pytest.approx(-top / 3)
    assert logits.added.entry["scale"] == "logit"
    assert logits.added.entry["logit_margin"] == LOGIT_MARGIN


@pytest.mark.slow
def test_the_command_writes_new_columns_to_a_new_file(tmp_path, invoke):
    tracks = [Track(0, list(range(30)), drawn(30)), Track(1, [3, 4, 5], "anger")]
    source = Made(tracks, n_frames=40).write(tmp_path / "in" / "day1" / "clip.parquet")
    before = source.read_bytes()
    done = invoke("smooth", tmp_path / "in", "-r", "-o", tmp_path / "out", "--seconds", "0.3")
    assert done.exit_code == 0, done.output
    assert "33 faces smoothed in 2 unbroken runs" in " ".join(done.stderr.split())
    assert source.read_bytes() == before
    out = tmp_path / "out" / "day1" / "clip.parquet"
    old, new = pd.read_parquet(source), pd.read_parquet(out)
    pd.testing.assert_frame_equal(new[old.columns], old)
    expected = smooth(load(source), SmoothRule(window_s=0.3)).added.columns["p_anger_smooth"]
    np.testing.assert_array_equal(new["p_anger_smooth"], expected.astype(np.float32))
    (entry,) = new.attrs["jadfer"]["derived"]
    assert (entry["step"], entry["scale"], entry["window_s"]) == ("smooth", "probability", 0.3)
    sidecar = json.loads(out.with_suffix(".json").read_text())
    assert (
        "LOESS of degree 1 over 0.3 s of the probability"
        in (sidecar["p_anger_smooth"]["Description"])
    )
    for command in ("show", "summary", "events"):
        assert invoke(command, out).exit_code == 0, command
    assert invoke("convert", out, "-o", tmp_path / "clip.csv").exit_code == 0
    assert "p_anger_smooth" in (tmp_path / "clip.csv").read_text().splitlines()[0]


def test_smoothing_twice_keeps_both_and_replaces_nothing(tmp_path, invoke):
    source = Made([Track(0, list(range(30)), drawn(30))], n_frames=30).write(tmp_path / "a.parquet")
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    assert invoke("smooth", source, "-o", one).exit_code == 0
    done = invoke("smooth", one, "-o", two)
    assert done.exit_code == 2 and "no column is replaced" in done.stderr
    assert invoke("smooth", one, "-o", two, "--name", "slow", "--seconds", "1").exit_code == 0
    assert [s["name"] for s in pd.read_parquet(two).attrs["jadfer"]["derived"]] == [
        "smooth", "slow",
    ]  # fmt: skip
    assert score_set(load(two), "slow").columns[0] == "p_neutral_slow"
    sidecar = json.loads(two.with_suffix(".json").read_text())
    assert {"p_neutral_smooth", "p_neutral_slow"} <= set(sidecar)


def test_what_identify_added_stays_described_and_typed(tmp_path, invoke):
    source = Made([Track(0, list(range(9)), drawn(9))], n_frames=10).write(tmp_path / "a.parquet")
    who = pd.DataFrame({"person": ["anna"] * 9 + [None], "person_score": [0.8] * 9 + [np.nan]})
    named, out = tmp_path / "named.parquet", tmp_path / "smooth.parquet"
    write_extended(load(source), who, named, {}, PERSON_DESCRIPTIONS)
    named.with_suffix(".json").unlink()
    assert invoke("smooth", named, "-o", out).exit_code == 0
    schemas = [pq.read_schema(path) for path in (named, out)]
    for name in schemas[0].names:
        assert schemas[0].field(name).type == schemas[1].field(name).type, name
    sidecar = json.loads(out.with_suffix(".json").read_text())
    assert set(sidecar) - {"jadfer"} == set(schemas[1].names)
    assert sidecar["person"] == PERSON_DESCRIPTIONS["person"]
    assert [p.name for p in tmp_path.iterdir() if ".part" in p.name] == []
    assert invoke("convert", out, "-o", tmp_path / "other.csv").exit_code == 0
    assert json.loads((tmp_path / "other.json").read_text()) == sidecar


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_result_of_annotate_is_never_replaced(tmp_path, invoke, overwrite):
    made = Made([Track(0, list(range(9)), "anger")], n_frames=9)
    source, other = made.write(tmp_path / "a.parquet"), made.write(tmp_path / "b.parquet")
    for out in (source, tmp_path):
        done = invoke("smooth", source, "-o", out, *overwrite)
        assert done.exit_code == 1 and "is the result that is read" in done.stderr.replace(
            "\n", " "
        )
    done = invoke("smooth", source, "-o", other, *overwrite)
    assert done.exit_code == 1
    assert "was not written by this command" in " ".join(done.stderr.split())
    assert pd.read_parquet(other).shape == pd.read_parquet(source).shape


def test_an_existing_output_needs_overwrite(tmp_path, invoke):
    source = Made([Track(0, list(range(9)), "anger")], n_frames=9).write(tmp_path / "a.parquet")
    out = tmp_path / "out.parquet"
    assert invoke("smooth", source, "-o", out).exit_code == 0
    again = invoke("smooth", source, "-o", out)
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    assert invoke("smooth", source, "-o", out, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--method", "spline"], "--method must be one of loess, savgol, not spline"),
        (["--seconds", "0"], "--seconds must be more than 0, not 0"),
        (["--degree", "7"], "--degree must be 0 to 3, not 7"),
        (["--scores", "slow"], "has no such columns"),
        (["--scale", "percent"], "--scale must be probability or logit, not percent"),
        (["--name", "a b"], "--name a b: use letters, digits and underscores"),
    ],
)
def test_wrong_options_are_explained(tmp_path, invoke, options, text):
    source = Made([Track(0, list(range(9)), "anger")], n_frames=9).write(tmp_path / "a.parquet")
    done = invoke("smooth", source, "-o", tmp_path / "out.parquet", *options)
    assert done.exit_code == 2 and text in " ".join(done.stderr.split())
    assert not (tmp_path / "out.parquet").exists()


def test_windows_with_few_frames_are_reported(tmp_path, invoke):
    source = Made([Track(0, list(range(9)), "anger")], n_frames=9).write(tmp_path / "a.parquet")
    done = invoke("smooth", source, "-o", tmp_path / "out.parquet", "--seconds", "0.1")
    assert "fewer than 5 frames" in " ".join(done.stderr.split())


def test_several_results_do_not_fit_into_one_file(tmp_path, invoke):
    made = Made([Track(0, list(range(9)), "anger")], n_frames=9)
    paths = [made.write(tmp_path / name / "a.parquet") for name in "xy"]
    done = invoke("smooth", *paths, "-o", tmp_path / "out.parquet")
    assert done.exit_code == 2 and "names one file, but there are 2 results" in done.stderr
    done = invoke("smooth", *paths, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "would both be written to" in " ".join(done.stderr.split())


def test_scores_with_both_scales_need_one(tmp_path, invoke):
    source = Made([Track(0, list(range(30)), drawn(30))], n_frames=30).write(tmp_path / "a.parquet")
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    assert invoke("smooth", source, "-o", one).exit_code == 0
    assert invoke("smooth", one, "-o", two, "--scale", "logit").exit_code == 0
    with pytest.raises(OptionError, match="as probabilities and as log odds"):
        score_set(load(two), "smooth")
    assert score_set(load(two), "smooth", "logit").columns[1] == "logit_happiness_smooth"
