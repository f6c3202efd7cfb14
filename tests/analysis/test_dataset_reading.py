"""A dataset of `jadfer collect` is read by every command as if it were the folder of results."""

import json
import os
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from made import Made, Track, options

from jadfer_cli.analysis.find import find_results
from jadfer_cli.errors import ResultError
from jadfer_cli.labels import LABELS
from jadfer_cli.results.load import load
from jadfer_cli.results.members import members
from jadfer_cli.results.parquet import ATTRS_KEY

SEVEN = tuple(label for label in LABELS if label != "contempt")


def made(path, number, **how):
    show = ["happiness"] * 6 + ["sadness"] * 6
    tracks = [Track(0, list(range(12)), show), Track(1, [2, 3], "fear")] if number else []
    how = {"video": f"clips/{number}.mp4", "sha256": str(number) * 64} | how
    path.parent.mkdir(parents=True, exist_ok=True)
    return Made(tracks, n_frames=14 + number, **how).write(path)


@pytest.fixture
def study(tmp_path, monkeypatch, invoke):
    """Four results in folders, one without a face, with differing settings; and two datasets."""
    monkeypatch.chdir(tmp_path)
    paths = [made(Path("in/a.parquet"), 0), made(Path("in/day1/P01.parquet"), 1),
             made(Path("in/day2/P01.parquet"), 2, options=options(fps=5.0)),
             made(Path("in/day2/P02.parquet"), 3, metadata={
                 "warnings": ["Look here."], "created": "2026-01-01T00:00:00+00:00"})]  # fmt: skip
    for out in ("all.parquet", "all/"):
        result = invoke("collect", "in", "-o", out)
        assert result.exit_code == 0, result.stderr
    return paths


def same_rows(rows, expected):
    changed = ["video", "frame_status", "face_source", "expression"]  # categories of the dataset
    kinds = dict.fromkeys([c for c in changed if c in rows], object)
    pd.testing.assert_frame_equal(
        rows.astype(kinds).reset_index(drop=True), expected.astype(kinds), check_like=True
    )


@pytest.mark.parametrize("mixed", [False, True])
def test_rows_and_metadata_are_those_of_the_results(study, invoke, mixed):
    if mixed:
        study.append(made(Path("in/e.parquet"), 4, labels=SEVEN, model_sha256="9" * 64))
        assert invoke("collect", "in", "-o", "all.parquet", "--mixed",
                      "--overwrite").exit_code == 0  # fmt: skip
    found = {result.path.name + result.path.parent.name: result
             for result in members(Path("all.parquet"))}  # fmt: skip
    assert len(found) == len(study)
    for path in study:
        parent = "all.parquet" if path.parent.name == "in" else path.parent.name
        result, expected = found[path.name + parent], load(path)
        assert result.metadata == expected.metadata
        assert result.labels == expected.labels and set(result.columns) == set(expected.columns)
        rows = expected.rows()
        same_rows(result.rows(), rows)
        assert result.rows(["video", "frame"]).columns.tolist() == ["video", "frame"]
        assert list(result.rows()["video"].cat.categories) == rows["video"].unique().tolist()


def written(invoke, *arguments, out):
    result = invoke(*arguments, "-o", out, "--overwrite")
    assert result.exit_code == 0, result.stderr
    return pd.read_csv(out).drop(columns="result")


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["all.parquet", "all"])
def test_every_command_reads_it_like_the_folder(study, invoke, dataset):
    for command in (["summary"], ["events"], ["show"], ["summary", "--by", "video"]):
        tables = [written(invoke, *command, place, "-r", out=f"{i}.csv")
                  for i, place in enumerate(("in", dataset))]  # fmt: skip
        assert len(tables[0]) > 2
        pd.testing.assert_frame_equal(*tables)
    texts = [invoke("methods", place, "-r").stdout for place in ("in", dataset)]
    assert texts[0] == texts[1] and "4 videos" in texts[0]
    for place in ("in", dataset):
        out = f"plots_{place.replace('.', '_')}/"
        result = invoke("plot", place, "-r", "-o", out, "--format", "svg", "--track", 1)
        assert result.exit_code == 0, result.stderr
    trees = [sorted(p.relative_to(top).as_posix() for p in Path(top).rglob("*.svg"))
             for top in ("plots_in", f"plots_{dataset.replace('.', '_')}")]  # fmt: skip
    assert trees[0] == trees[1] == ["a.svg", "day1/P01.svg", "day2/P01.svg", "day2/P02.svg"]
    for pair in (("in", dataset), (dataset, "in"), (dataset, dataset)):
        result = invoke("diff", *pair)
        assert result.exit_code == 0, result.output
        assert "all 4 pairs" in result.stdout
    shown = json.loads(invoke("show", dataset, "-r", "--json").stdout)
    assert [each["warnings"][:1] for each in shown][-1] == ["Look here."]
    assert "P02" in invoke("show", dataset, "-r").stdout


def test_nothing_counts_twice(study, invoke):
    """Beside its results, or named with them as a shell's * does, a dataset adds nothing."""
    os.rename("all.parquet", "in/all.parquet")
    assert len(find_results(["in"], recursive=True).results) == 4
    assert len(find_results(["in/all.parquet", *map(str, study)]).results) == 4
    assert len(find_results(["in/all.parquet", "all"], recursive=True).results) == 4
    made(Path("more.parquet"), 7)
    assert len(find_results(["in/all.parquet", "more.parquet"]).results) == 5


def test_datasets_of_earlier_versions_and_hostile_ones_are_refused(study, invoke):
    table = pq.read_table("all.parquet")
    stored = table.schema.metadata[ATTRS_KEY]

    def older(metadata):
        for source in metadata["sources"]:
            del source["video_metadata"]

    def outside(metadata):
        metadata["sources"][0]["result"] = "../../outside.parquet"

    def outside_on_windows(metadata):
        metadata["sources"][0]["result"] = "..\\..\\outside.parquet"

    def on_a_drive(metadata):
        metadata["sources"][0]["result"] = "C:\\outside.parquet"

    def twice(metadata):
        metadata["sources"][0] = metadata["sources"][1]

    def no_list(metadata):
        metadata["sources"] = 7

    def null(metadata):
        metadata["sources"] = [None]

    changes = (older, outside, outside_on_windows, on_a_drive, twice, no_list, null)
    for change in changes:
        attrs = json.loads(stored)
        change(attrs["jadfer"])
        entries = {**table.schema.metadata, ATTRS_KEY: json.dumps(attrs).encode()}
        pq.write_table(table.replace_schema_metadata(entries), "odd.parquet")
        with pytest.raises(ResultError, match="lacks metadata of its results"):
            members(Path("odd.parquet"))
        result = invoke("summary", "odd.parquet")
        assert result.exit_code == 1 and "collect the results again" in result.stderr


def test_a_dataset_that_pandas_rewrote_is_read_or_refused(study, invoke):
    """As texts where jadfer writes categories; with a wrong type; with rows missing."""
    table = pd.read_parquet("all.parquet")
    tables = {"text": table.astype({"video": str}), "odd": table.astype({"track_id": str}),
              "less": table[table["video"] == table["video"].iloc[0]],
              "cut": table.drop(columns="time_s")}  # fmt: skip
    for name, changed in tables.items():
        changed.attrs = table.attrs
        changed.to_parquet(f"{name}.parquet")
    assert written(invoke, "summary", "text.parquet", out="text.csv").equals(
        written(invoke, "summary", "all.parquet", out="all.csv"))  # fmt: skip
    for name, problem in (("odd", "the column track_id holds"), ("less", "it has 0 rows, not "),
                          ("cut", "the column time_s is missing")):  # fmt: skip
        result = invoke("summary", f"{name}.parquet")
        text = " ".join(result.stderr.split())
        assert result.exit_code == 1 and problem in text and "Collect the results again" in text


def test_duplicates_are_named_and_refused_unless_asked_for(study, invoke):
    made(Path("in/copy.parquet"), 1, video="other.mp4")
    result = invoke("collect", "in", "-o", "new.parquet")
    assert result.exit_code == 1
    assert "in/copy.parquet" in result.stderr and "in/day1/P01.parquet" in result.stderr
    assert "--allow-duplicates" in result.stderr and not Path("new.parquet").exists()
    result = invoke("collect", "in", "-o", "new.parquet", "--allow-duplicates")
    assert result.exit_code == 0 and "has several results" in result.stderr
    assert len(members(Path("new.parquet"))) == 5


def test_a_folder_keeps_folders_and_hive_names_them(study, invoke):
    assert sorted(p.relative_to("all").as_posix() for p in Path("all").rglob("*.parquet")) == [
        "a.parquet", "day1/P01.parquet", "day2/P01.parquet", "day2/P02.parquet"]  # fmt: skip
    result = invoke("collect", "in", "-o", "hive/", "--hive", "day")
    assert result.exit_code == 2 and "a.parquet lies in 0 folders" in result.stderr
    Path("in/a.parquet").unlink()
    made(Path("in/Tag 3%/_x.parquet"), 5)
    result = invoke("collect", "in", "-o", "hive/", "--hive", "day")
    assert result.exit_code == 0, result.stderr
    assert Path("hive/day=day1/P01.parquet").is_file()
    rows = pd.read_parquet("hive")
    assert set(rows["day"]) == {"day1", "day2", "Tag 3%"}
    assert rows.groupby("day", observed=True)["video"].nunique()["day2"] == 2
    assert len(find_results(["hive"], recursive=True).results) == 4
    for wrong in (["-o", "x.parquet", "--hive", "day"], ["-o", "x/", "--hive", "a b"]):
        assert invoke("collect", "in", *wrong).exit_code == 2


def test_diff_says_what_is_missing(study, invoke):
    result = invoke("diff", "in/", "nofolder/")
    assert result.exit_code == 1 and "There is no folder nofolder/" in result.stderr
    result = invoke("diff", "in/", "in/a.parquet")
    assert result.exit_code == 2 and "in/a.parquet is a file of one" in result.stderr
