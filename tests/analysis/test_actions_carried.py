"""Facial actions go with a result: collected, converted, copied with it, on a regular grid."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import Made, Track

from jadfer_cli.analysis.formats.base import TextStyle
from jadfer_cli.batch.plan import Task
from jadfer_cli.cli.also import AlsoWrite
from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS
from jadfer_cli.options import IfExists
from jadfer_cli.results.load import load

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"
N = 50  # 2 s at 25 frames per second
KEY = ["video", "frame", "track_id"]


def clip(folder, name="clip", jaw=0.6, day=24, overwrite=False):
    """A result of two tracks, whose jaws open by `jaw` from frame 25 on."""
    values = np.where(np.arange(N) < 25, 0.0, jaw)
    tracks = [
        Track(0, list(range(N)), actions={"a_jaw_open": values}),
        Track(1, list(range(10, 30)), box_px=(300.0, 80.0, 380.0, 180.0), actions={}),
    ]
    created = {"created": f"2026-11-{day}T10:00:00+00:00"}
    made = Made(tracks, N, video=f"{name}.mp4", sha256=str(day % 10) * 64, metadata=created)
    return made.write(folder / f"{name}.parquet", overwrite=overwrite)


def actions_of(out):
    return pd.read_parquet(out.with_suffix(".actions.parquet"))


@pytest.fixture
def results(tmp_path):
    """Two results with actions and one without."""
    folder = tmp_path / "results"
    clip(folder / "day1", "a"), clip(folder / "day2", "b", 0.9, 25)
    Made([Track(0, [0, 1])], 2, video="c.mp4", sha256="9" * 64).write(folder / "c.parquet")
    return folder


def test_collect_writes_all_actions_under_the_key(invoke, results, tmp_path):
    got = invoke("collect", results, "-o", tmp_path / "all.parquet", width=300)
    assert got.exit_code == 0, got.stderr
    assert "all.actions.parquet: actions of 2 videos, 140 rows" in got.stderr
    rows, actions = (pd.read_parquet(tmp_path / f"all.{name}parquet") for name in ("", "actions."))
    assert list(actions) == [*KEY, *ACTION_COLUMNS, *MEASURE_COLUMNS]
    assert isinstance(actions["video"].dtype, pd.CategoricalDtype)
    both = rows.merge(actions, on=KEY, validate="one_to_one")
    assert len(both) == len(actions) == 140
    opened = both.groupby("video", observed=True)["a_jaw_open"].max()
    assert opened.to_dict() == pytest.approx({"a.mp4": 0.6, "b.mp4": 0.9})
    again = invoke("collect", results, "-o", tmp_path / "all.parquet")
    assert again.exit_code == 2 and "already exists" in again.stderr
    (tmp_path / "all.parquet").unlink()
    again = invoke("collect", results, "-o", tmp_path / "all.parquet", width=300)
    assert again.exit_code == 2 and "all.actions.parquet already exists" in again.stderr
    shutil.copy(results / "c.parquet", tmp_path / "all.actions.parquet")
    got = invoke("collect", results, "-o", tmp_path / "all.parquet", "--overwrite", width=300)
    assert got.exit_code == 1 and "does not hold the actions of a dataset" in got.stderr


@pytest.mark.slow
@pytest.mark.parametrize("out", ["all.parquet", "all/"])
def test_commands_read_the_actions_of_a_dataset(invoke, results, tmp_path, out):
    assert invoke("collect", results, "-o", tmp_path / out).exit_code == 0
    got = invoke("events", tmp_path / out, "-r", "--action", "jaw_open", "-o", tmp_path / "e.csv")
    assert got.exit_code == 1, got.stderr
    assert "c.parquet is part of a dataset and has no actions" in " ".join(got.stderr.split())
    (results / "c.parquet").unlink()
    assert invoke("collect", results, "-o", tmp_path / out, "--overwrite").exit_code == 0
    if out == "all/":  # the folder still reads as one table
        assert len(pd.read_parquet(tmp_path / "all")) == 2 * (N + 20)
    got = invoke("events", tmp_path / out, "-r", "--action", "jaw_open", "-o", tmp_path / "e.csv")
    assert got.exit_code == 0, got.stderr
    found = pd.read_csv(tmp_path / "e.csv").set_index("video")["p_apex"]
    assert found.to_dict() == pytest.approx({"a.mp4": 0.6, "b.mp4": 0.9})
    got = invoke("summary", tmp_path / out, "-r", "-o", tmp_path / "s.csv")
    assert got.exit_code == 0 and "asymmetry_mouth_smile_mean" in pd.read_csv(tmp_path / "s.csv")
    got = invoke("smooth", tmp_path / out, "-r", "-o", tmp_path / "smooth")
    assert got.exit_code == 0, got.stderr
    pd.testing.assert_frame_equal(
        actions_of(tmp_path / "smooth/day2/b.parquet"), actions_of(results / "day2/b.parquet")
    )
    assert invoke("events", tmp_path / "smooth/day2/b.parquet", "--blinks").exit_code == 0


def test_the_actions_of_an_earlier_dataset_do_not_stay(invoke, results, tmp_path):
    out = tmp_path / "all.parquet"
    assert invoke("collect", results, "-o", out).exit_code == 0
    assert invoke("collect", results / "c.parquet", "-o", out, "--overwrite").exit_code == 0
    assert not (tmp_path / "all.actions.parquet").exists()


def test_actions_of_another_collection_are_refused(invoke, results, tmp_path):
    (results / "c.parquet").unlink()
    for name in ("new", "old"):
        assert invoke("collect", results, "-o", tmp_path / f"{name}.parquet").exit_code == 0
        clip(results / "day1", "a", day=26, overwrite=True) if name == "new" else None
    shutil.copy(tmp_path / "new.actions.parquet", tmp_path / "old.actions.parquet")
    got = invoke("events", tmp_path / "old.parquet", "--blinks", width=400)
    assert got.exit_code == 1 and "belongs to another run" in got.stderr
    assert "Collect the results again." in got.stderr


@pytest.mark.slow
def test_convert_writes_the_actions_beside_the_rows(invoke, results, tmp_path):
    got = invoke("convert", results, "-r", "-o", tmp_path / "csv", "--format", "csv", width=300)
    assert got.exit_code == 0, got.stderr
    assert "a.actions.csv" in got.stderr and not (tmp_path / "csv/c.actions.csv").exists()
    found = pd.read_csv(tmp_path / "csv/day1/a.actions.csv")
    stored = actions_of(results / "day1/a.parquet")
    assert np.allclose(found["a_jaw_open"], stored["a_jaw_open"])
    assert found["track_id"].tolist() == stored["track_id"].tolist()
    told = json.loads((tmp_path / "csv/day1/a.actions.json").read_text())
    assert "jawOpen" in told["a_jaw_open"]["Description"] and "created" in told["jadfer"]
    again = invoke("convert", results / "day1/a.parquet", "-o", tmp_path / "csv/day1/a.csv")
    assert again.exit_code == 2 and "already exists" in again.stderr
    got = invoke("collect", results, "-o", tmp_path / "all.csv")
    assert got.exit_code == 0 and len(pd.read_csv(tmp_path / "all.actions.csv")) == 140
    got = invoke("convert", results / "day1/a.parquet", "-o", tmp_path / "p.csv", "--columns",
                 "pyfeat")  # fmt: skip
    assert got.exit_code == 0 and not (tmp_path / "p.actions.csv").exists()
    (results / "day1/a.actions.parquet").write_bytes(b"cut")
    got = invoke("convert", results / "day1/a.parquet", "-o", tmp_path / "x.csv", width=300)
    assert got.exit_code == 1 and "a.actions.parquet" in got.stderr


@pytest.mark.slow
def test_copies_of_a_result_keep_its_actions(invoke, tmp_path):
    out = clip(tmp_path / "in")
    got = invoke("smooth", out, "-o", tmp_path / "smooth/")
    assert got.exit_code == 0, got.stderr
    copy = tmp_path / "smooth/clip.parquet"
    pd.testing.assert_frame_equal(actions_of(copy), actions_of(out))
    told = json.loads(copy.with_suffix(".actions.json").read_text())
    assert told["jadfer"]["actions"] == load(out).metadata["actions"]
    assert invoke("events", copy, "--blinks").exit_code == 0
    copy.unlink(), copy.with_suffix(".json").unlink()
    got = invoke("smooth", out, "-o", tmp_path / "smooth/", width=300)
    assert got.exit_code == 2 and "clip.actions.parquet exists already" in got.stderr
    got = invoke("baseline", tmp_path / "in/clip.parquet", "-o", tmp_path / "base/",
                 "--neutral", "0,0.5")  # fmt: skip
    assert got.exit_code == 0, got.stderr
    pd.testing.assert_frame_equal(actions_of(tmp_path / "base/clip.parquet"), actions_of(out))


def test_actions_on_a_regular_grid(invoke, tmp_path):
    out = clip(tmp_path)
    got = invoke("resample", out, "-o", tmp_path / "g.csv", "--rate", "10")
    assert got.exit_code == 0 and "--actions adds these" in got.stderr
    got = invoke("resample", out, "-o", tmp_path / "g.csv", "--rate", "10", "--actions",
                 "--overwrite")  # fmt: skip
    assert got.exit_code == 0 and "--actions adds" not in got.stderr, got.stderr
    grid = pd.read_csv(tmp_path / "g.csv")
    assert list(grid)[-63:] == [*ACTION_COLUMNS, *MEASURE_COLUMNS]
    one = grid[grid["track_id"] == 0].set_index("time_s")["a_jaw_open"]
    # frames last 0.04 s; that of 0.96 s (closed) ends where the cell of 1.0 s begins
    assert one[0.9] == 0 and one[1.0] == pytest.approx(0.6) and len(one) == 20
    assert grid[grid["track_id"] == 1]["a_jaw_open"].eq(0).all()
    told = json.loads((tmp_path / "g.json").read_text())
    assert "jawOpen" in json.dumps(told)
    plain = Made([Track(0, [0, 1])], 2).write(tmp_path / "plain.parquet")
    got = invoke("resample", plain, "-o", tmp_path / "p.csv", "--rate", "10", "--actions")
    assert got.exit_code == 1 and "no actions beside it" in got.stderr


def test_a_table_of_actions_is_not_overwritten_unasked(invoke, results, tmp_path):
    """As the main table is checked: before anything is written."""
    taken = tmp_path / "all.actions.csv"
    taken.write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    got = invoke("collect", results, "-o", tmp_path / "all.csv", width=300)
    assert got.exit_code == 2 and "all.actions.csv already exists" in got.stderr, got.stderr
    assert sorted(tmp_path.rglob("*")) == before and taken.read_text() == "mine"
    taken.rename(tmp_path / "all.actions.json")  # where the sidecar would be
    got = invoke("collect", results, "-o", tmp_path / "all.csv", width=300)
    assert got.exit_code == 1 and "all.actions.json exists and does not explain" in got.stderr
    (tmp_path / "all.actions.json").unlink()
    got = invoke("collect", results, "-o", tmp_path / "all.csv", width=300)
    assert got.exit_code == 0, got.stderr
    got = invoke("collect", results / "day1", "-o", tmp_path / "all.csv", "--overwrite")
    assert got.exit_code == 0 and len(pd.read_csv(taken)) == 70, got.stderr
    for name in ("all", "all.actions"):  # the sidecars are those of the new dataset
        told = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))["jadfer"]
        assert told == pd.read_parquet(tmp_path / f"{name}.parquet").attrs["jadfer"]
    got = invoke("collect", results / "c.parquet", "-o", tmp_path / "all.csv", "--overwrite")
    assert got.exit_code == 0 and not list(tmp_path.glob("all.actions*")), got.stderr
    taken.write_text("mine")  # nothing beside it says that it is jadfer's
    got = invoke("collect", results / "c.parquet", "-o", tmp_path / "all.csv", "--overwrite")
    assert taken.read_text() == "mine"


@pytest.mark.parametrize("name", ["clip.actions.csv", "clip.csv"])
def test_annotate_checks_the_tables_that_it_will_write(invoke, tmp_path, name):
    (tmp_path / name).write_text("mine")
    command = ("annotate", DEMO, "-o", tmp_path / "clip.csv", "--actions")
    got = invoke(*command, width=300)
    assert got.exit_code == 2 and f"{name} exists already" in got.stderr, got.stderr
    assert "--overwrite replaces it" in got.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_table_of_actions_is_made_again(tmp_path):
    also = AlsoWrite(".csv", TextStyle(), IfExists.SKIP, actions=True)
    task = Task(Path("clip.mp4"), clip(tmp_path))
    also.write([task], quiet=True)
    table, actions = tmp_path / "clip.csv", tmp_path / "clip.actions.csv"
    assert len(pd.read_csv(table)) == len(pd.read_csv(actions)) == 70
    actions.unlink()
    also.write([task], quiet=True)
    assert len(pd.read_csv(actions)) == 70
    table.write_text("kept"), actions.write_text("kept")  # both newer than the result
    also.write([task], quiet=True)
    assert table.read_text() == actions.read_text() == "kept"
