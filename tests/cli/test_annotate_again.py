"""A batch given again: what the rows call the videos, which results are kept, and what is said."""

import json
import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest

from jadfer_cli.results.parquet import ATTRS_KEY, read_attrs


def made_by(path, version):
    """Makes a result look like one of an earlier version, which recorded no revision."""
    table = pq.read_table(path)
    attrs = read_attrs(path)
    attrs["jadfer"]["jadfer_version"] = version
    del attrs["jadfer"]["results_revision"]
    entries = {**table.schema.metadata, ATTRS_KEY: json.dumps(attrs).encode()}
    pq.write_table(table.replace_schema_metadata(entries), path)


@pytest.fixture
def days(short_clip, tmp_path, monkeypatch):
    for name in ("day1/P01.mp4", "day2/P01.mp4"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True)
        shutil.copy(short_clip, tmp_path / "clips" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_keys_are_unique_and_results_of_older_rows_are_made_again(invoke, days):
    command = ("annotate", "clips", "-r", "-o", "out", "--detector", "centerface")
    refused = invoke(*command, "--file-names")
    assert refused.exit_code == 2 and not (days / "out").exists()
    assert "would both be called P01.mp4 in the rows" in " ".join(refused.stderr.split())
    first = invoke(*command, "--relative-paths")
    assert first.exit_code == 0, first.stderr
    results = [days / "out" / day / "P01.parquet" for day in ("day1", "day2")]
    rows = pd.concat(map(pd.read_parquet, results))
    assert rows["video"].unique().tolist() == ["day1/P01.mp4", "day2/P01.mp4"]
    assert not rows.duplicated(["video", "frame", "track_id"]).any()

    made_by(results[0], "0.4.1")
    made_by(results[1], "0.3.0")
    again = invoke(*command, "--relative-paths", "--skip-existing")
    assert again.exit_code == 0, again.stderr
    said = " ".join(again.stderr.split())
    assert "day1/P01.parquet: kept: same settings, made by jadfer 0.4.1" in said
    assert "P01.parquet is annotated again: made by jadfer 0.3.0, whose rows differ: faces" in said
    assert "results_revision" in read_attrs(results[1])["jadfer"]
    other = invoke(*command, "--relative-paths", "--skip-existing", "--fps", "5")
    assert other.exit_code == 1
    assert "made with other settings: fps (then none, now 5)" in " ".join(other.stderr.split())
