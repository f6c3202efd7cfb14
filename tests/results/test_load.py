"""Finding and opening results, and what each analysed frame stands for."""

import shutil

import numpy as np
import pandas as pd
import pytest
from made import Made, Track, options

from jadfer_cli.analysis import frame_times as timing
from jadfer_cli.analysis import tabular
from jadfer_cli.errors import OptionError, OutputError, ResultError
from jadfer_cli.results import load
from jadfer_cli.results.paths import landmark_path


def made(path, **how):
    tracks = [Track(0, [0, 1, 2], "happiness"), Track(1, [2, 3], "sadness")]
    return Made(tracks, n_frames=6, **how).write(path)


def test_a_result_is_opened_with_its_metadata_and_rows(tmp_path):
    result = load.load(made(tmp_path / "a.parquet"))
    assert result.metadata["model"]["name"] == "jadfer-compact" and result.n_rows == 7
    assert result.probabilities[:2] == ("p_neutral", "p_happiness") and result.name == "a"
    rows = result.rows(["frame", "expression"])
    assert rows["frame"].tolist() == [0, 1, 2, 2, 3, 4, 5]
    assert rows["expression"].tolist()[:4] == ["happiness"] * 3 + ["sadness"]


def test_files_folders_and_patterns_mean_results_and_nothing_else(tmp_path):
    a = made(tmp_path / "a.parquet", landmarks=True)
    deep = tmp_path / "day1" / "b.parquet"
    deep.parent.mkdir()
    made(deep)
    made(tmp_path / ".c.parquet")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "table.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    assert load.find([str(tmp_path)]) == [a]
    assert load.find([str(tmp_path)], recursive=True) == [a, deep]
    assert load.find([str(tmp_path / "*.parquet"), str(a)]) == [a]
    # as a shell writes *.parquet out: the landmarks are left out
    events = tmp_path / "events.parquet"
    tabular.write_table(pd.DataFrame({"onset_s": [1.0]}), events)
    assert load.find([str(a), str(landmark_path(a)), str(events)]) == [a]
    assert pd.read_parquet(events)["onset_s"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.parquet", "There is no file"),
        ("a.mp4", "Did you mean"),
        ("a.json", "Did you mean"),
        ("video.mp4", "makes one"),
        ("table.parquet", "no result of jadfer annotate"),
        ("broken.parquet", "no readable Parquet"),
        ("a.landmarks.parquet", "name the result beside it"),
        ("empty", "holds no result"),
        ("top", "give -r"),
        ("nothing*.parquet", "No result of jadfer annotate matches"),
    ],
)
def test_what_is_no_result_is_said(tmp_path, name, says):
    made(tmp_path / "a.parquet", landmarks=True)
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "table.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "broken.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "video.mp4").write_bytes(b"no Parquet")
    (tmp_path / "empty").mkdir()
    (tmp_path / "top" / "deep").mkdir(parents=True)
    shutil.copy(tmp_path / "a.parquet", tmp_path / "top" / "deep" / "b.parquet")
    with pytest.raises(ResultError) as caught:
        for path in load.find([str(tmp_path / name)]):
            load.load(path)
    assert says in str(caught.value)


def test_a_frame_stands_for_the_time_until_the_next_analysed_one(tmp_path):
    # at 0, 0.04, 0.1, 0.14, 0.3, 0.34 s; of every second frame: 0, 0.1, 0.3
    times = [0, 0.04, 0.1, 0.14, 0.3, 0.34]
    every = load.load(
        Made(n_frames=6, times_s=times, frames=[0, 2, 4], options=options(every=2)).write(
            tmp_path / "every.parquet"
        )
    )
    spans = timing.frame_spans(every.rows(), every.metadata)
    assert spans.index.tolist() == [0, 2, 4]
    # the last: the median of 0.1 and 0.2, but the video ends at 0.34 + 0.04
    assert spans["span_s"].tolist() == pytest.approx([0.1, 0.2, 0.08])
    whole = load.load(Made(n_frames=6, times_s=times).write(tmp_path / "whole.parquet"))
    spans = timing.frame_spans(whole.rows(), whole.metadata)
    assert spans["end_s"].tolist() == pytest.approx([*times[1:], 0.38])
    assert spans["span_s"].sum() == pytest.approx(whole.metadata["video"]["duration_s"])


def test_unbroken_runs():
    runs = timing.unbroken_runs(np.array([0, 1, 2, 5, 7, 8]))
    assert runs == [slice(0, 3), slice(3, 4), slice(4, 6)]
    assert timing.unbroken_runs(np.array([], np.int64)) == []


@pytest.mark.parametrize("ending", tabular.table_endings())
def test_tables_come_back(tmp_path, ending):
    table = pd.DataFrame({"name": ["a", "ä"], "n": [1, 2], "x": [0.5, np.nan]})
    out = tmp_path / f"t{ending}"
    tabular.check_target(out, overwrite=False, endings=tabular.table_endings())
    tabular.write_table(table, out)
    read = {
        ".csv": pd.read_csv, ".tsv": lambda f: pd.read_csv(f, sep="\t"), ".json": pd.read_json,
        ".jsonl": lambda f: pd.read_json(f, lines=True), ".parquet": pd.read_parquet,
    }[ending]  # fmt: skip
    pd.testing.assert_frame_equal(read(out), table)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_what_may_not_be_written_is_refused_early(tmp_path):
    result = made(tmp_path / "a.parquet")
    endings = tabular.table_endings()
    with pytest.raises(OptionError, match=r"Known are .csv"):
        tabular.check_target(tmp_path / "t.doc", overwrite=False, endings=endings)
    for path in (result, result.with_suffix(".json")):
        with pytest.raises(OutputError, match="is a result of jadfer annotate"):
            tabular.check_target(path, overwrite=True, endings=endings)
    (tmp_path / "t.csv").touch()
    with pytest.raises(OptionError, match="--overwrite"):
        tabular.check_target(tmp_path / "t.csv", overwrite=False, endings=endings)
    tabular.check_target(tmp_path / "t.csv", overwrite=True, endings=endings)
