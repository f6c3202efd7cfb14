"""Scores on a grid: against a loop over frames, by hand, and without inventing anything in gaps."""

import json

import numpy as np
import pandas as pd
import pytest
from made import Made, Track

from jadfer_cli.analysis.frame_times import frame_spans
from jadfer_cli.analysis.resampling import GridRule, resample
from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import load


def drawn(n, seed=1):
    return np.random.default_rng(seed).dirichlet(np.full(8, 0.7), n).astype(np.float32)


def opened(path, *tracks, **how):
    return load(Made(list(tracks), **how).write(path))


@pytest.mark.parametrize("rate", [3, 10, 40])
def test_values_are_those_of_a_loop_at_a_variable_frame_rate(tmp_path, rate):
    times = np.cumsum(np.random.default_rng(2).uniform(0.01, 0.2, 60))
    usable = [not 20 <= i < 30 for i in range(60)]
    track = Track(0, list(range(60)), drawn(60), usable)
    result = opened(tmp_path / "a.parquet", track, n_frames=60, times_s=times)
    table = resample(result, GridRule(rate))
    rows = result.rows()
    spans = frame_spans(rows, result.metadata).loc[rows["frame"]]
    counted = rows["usable"].to_numpy(bool)
    starts, ends = spans["start_s"].to_numpy()[counted], spans["end_s"].to_numpy()[counted]
    p = rows["p_happiness"].to_numpy()[counted]
    assert table["time_s"].iloc[0] == np.floor(times[0] * rate) / rate
    np.testing.assert_allclose(np.diff(table["time_s"]), 1 / rate)
    for line in table.itertuples():
        overlap = np.clip(np.minimum(ends, line.time_s + 1 / rate)
                          - np.maximum(starts, line.time_s), 0, None)  # fmt: skip
        assert line.seen_share == pytest.approx(overlap.sum() * rate, abs=2e-6)
        if overlap.sum() * rate < 0.5 - 1e-6:
            assert np.isnan(line.p_happiness)
        else:
            assert line.p_happiness == pytest.approx((overlap * p).sum() / overlap.sum())
    assert table["p_happiness"].isna().any()


def test_lines_are_drawn_between_frames_but_not_over_gaps(tmp_path):
    # frames at 0, 0.1, 0.3, 0.4, 0.5; the face is missing at 0.3
    p = np.zeros((4, 8), np.float32)
    p[:, 1], p[:, 0] = [0.0, 1.0, 0.5, 0.5], [1.0, 0.0, 0.5, 0.5]
    result = opened(tmp_path / "a.parquet", Track(0, [0, 1, 3, 4], p), n_frames=5,
                    times_s=[0, 0.1, 0.3, 0.4, 0.5])  # fmt: skip
    table = resample(result, GridRule(20, "linear"))
    expected = [0, 0.5, 1, 1, 1, 1, np.nan, np.nan, 0.5, 0.5, 0.5, 0.5]
    np.testing.assert_allclose(table["p_happiness"], expected, atol=1e-6)
    np.testing.assert_allclose(table["time_s"], np.arange(12) / 20)


def test_a_cell_holds_the_first_of_two_people_alone(tmp_path):
    # frames of 0.1 s: a track is anna for three frames, then ben; the second cell has both
    p = np.zeros((6, 8), np.float32)
    p[:, 1], p[:, 0] = [0.9, 0.9, 0.9, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.9, 0.9, 0.9]
    path = Made([Track(0, list(range(6)), p)], n_frames=6,
                times_s=np.arange(6) / 10).write(tmp_path / "a.parquet")  # fmt: skip
    pd.read_parquet(path).assign(person=["anna"] * 3 + ["ben"] * 3).to_parquet(path)
    for method in ("mean", "linear"):
        table = resample(load(path), GridRule(5, method, min_share=0.5))
        assert table["person"].tolist() == ["anna", "anna", "ben"]
        np.testing.assert_allclose(table["p_happiness"], [0.9, 0.9, 0.1], atol=1e-6)
        assert table["seen_share"].tolist() == [1, 0.5, 1]


def test_tracks_people_and_videos_without_a_face(tmp_path, invoke):
    frames = list(range(10))
    path = tmp_path / "in" / "a.parquet"
    Made([Track(0, frames, "anger"), Track(2, [4, 5], "fear")], n_frames=10).write(path)
    rows = pd.read_parquet(path)
    rows["person"] = rows["track_id"].map({0: "anna", 2: "unknown"})
    rows.to_parquet(path)
    Made([], n_frames=3, sha256="5" * 64).write(tmp_path / "in" / "none.parquet")
    out = tmp_path / "grid.csv"
    done = invoke("resample", tmp_path / "in", "-o", out, "--rate", "5", "--scale", "logit")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(out)
    assert table["track_id"].tolist() == [0, 0, 2, 2]
    assert table["time_s"].tolist() == [0, 0.2, 0, 0.2]  # frames 4 and 5: 0.16 to 0.24 s
    assert table["seen_share"].tolist() == [1, 1, 0.2, 0.2]
    assert table["person"].iloc[0] == "anna" and table["logit_anger"].isna().tolist()[-1]
    assert table["logit_anger"].iloc[0] == pytest.approx(np.log(0.9 / 0.1), rel=1e-4)
    sidecar = json.loads(out.with_suffix(".json").read_text())
    assert sidecar["jadfer_table"]["scale"] == "logit"
    assert "mean per 1/5 s" in sidecar["logit_anger"]["Description"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"rate": 0}, "`rate` must be above 0"),
        ({"rate": 5, "method": "cubic"}, "`method` must be one of mean, linear"),
        ({"rate": 5, "min_share": 0}, "`min_share` must be above 0"),
    ],
)
def test_wrong_settings_are_refused(settings, text):
    with pytest.raises(OptionError, match=text):
        GridRule(**settings)


def test_a_sidecar_of_something_else_is_not_replaced(tmp_path, invoke):
    source = Made([Track(0, [0, 1], "anger")], n_frames=2).write(tmp_path / "a.parquet")
    for name in ("a.csv", "b.csv"):  # a.json is the sidecar of the result
        (tmp_path / "b.json").write_text("{}")
        done = invoke("resample", source, "-o", tmp_path / name, "--rate", "5", "--overwrite")
        assert done.exit_code == 1 and "is not replaced" in " ".join(done.stderr.split())
    again = ["resample", source, "-o", tmp_path / "c.csv", "--rate", "5"]
    assert invoke(*again).exit_code == 0
    assert invoke(*again).exit_code == 2
    assert invoke(*again, "--overwrite").exit_code == 0
