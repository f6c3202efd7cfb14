"""BIDS derivatives: where files lie, what describes them, and the official validator."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made import Made, Track

from jadfer_cli.analysis.export import bids


@pytest.mark.parametrize(
    ("result", "below", "folder"),
    [
        ("in/sub-01_task-talk_beh.parquet", ".", "sub-01/beh"),
        ("in/sub-01/ses-2/beh/sub-01_ses-2_task-x_run-1_beh.parquet", "sub-01/ses-2/beh",
         "sub-01/ses-2/beh"),
        ("in/func/sub-01_task-x_video.parquet", "func", "sub-01/func"),
        ("in/day 1/clip.parquet", "day 1", "day 1"),
        ("in/day 1/sub-01.parquet", "day 1", "day 1"),  # no task, so not a BIDS name
    ],
)  # fmt: skip
def test_the_name_gives_the_folder(result, below, folder):
    assert bids.folder(Path(result), Path(below)) == Path(folder)


@pytest.fixture
def derivative(invoke, tmp_path, monkeypatch):
    """Events of three results, one of them without a face."""
    monkeypatch.chdir(tmp_path)
    smile = [Track(0, list(range(2, 10)), "happiness")]
    Made(smile).write(tmp_path / "in" / "sub-01_ses-2_task-talk_run-1_beh.parquet")
    Made(smile).write(tmp_path / "in" / "func" / "sub-02_task-rest_video.parquet")
    Made().write(tmp_path / "in" / "sub-03_task-talk_beh.parquet")
    done = invoke("events", "in", "-r", "-o", "derivatives/jadfer/", "--format", "bids")
    assert done.exit_code == 0, done.output
    assert "dataset_description.json" in done.stderr
    return tmp_path / "derivatives" / "jadfer"


def test_entities_are_kept_and_the_data_set_is_described(derivative, invoke):
    files = {p.relative_to(derivative).as_posix() for p in derivative.rglob("*.*")}
    stems = {
        "sub-01/ses-2/beh/sub-01_ses-2_task-talk_run-1_events",
        "sub-02/func/sub-02_task-rest_events",
        "sub-03/beh/sub-03_task-talk_events",
    }
    expected = {f"{stem}{ending}" for stem in stems for ending in (".tsv", ".json")}
    assert files == expected | {"dataset_description.json"}
    described = json.loads((derivative / "dataset_description.json").read_text("utf-8"))
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "jadfer"


def test_a_description_that_exists_is_kept(derivative, invoke):
    (derivative / "dataset_description.json").write_text('{"Name": "mine"}')
    done = invoke(
        "events", "in", "-r", "-o", "derivatives/jadfer/", "--format", "bids", "--overwrite"
    )
    assert done.exit_code == 0, done.output
    assert "mine" in (derivative / "dataset_description.json").read_text()


def test_names_that_are_not_bids_get_no_description(invoke, tmp_path):
    Made().write(tmp_path / "clip.parquet")
    done = invoke("events", tmp_path / "clip.parquet", "-o", f"{tmp_path}/out/", "--format", "bids")
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "clip_events.json", "clip_events.tsv",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_official_validator_finds_no_error(derivative):
    validator = shutil.which("bids-validator-deno", path=Path(sys.executable).parent)
    validator = validator or shutil.which("bids-validator-deno")
    if validator is None:
        pytest.skip("bids-validator-deno is not installed (PyPI)")

    def errors() -> list[dict[str, str]]:
        done = subprocess.run(
            [validator, "--format", "json", str(derivative)], capture_output=True, text=True
        )
        issues = json.loads(done.stdout)["issues"]["issues"]
        return [each for each in issues if each.get("severity") == "error"]

    assert errors() == []
    # it does look at the files
    (derivative / "sub-03" / "beh" / "sub-03_task-talk_events.tsv").write_text("a\tb\n1\t2\n")
    assert errors()
