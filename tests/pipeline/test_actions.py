"""`annotate --actions` on a real clip: rows, resuming, existing results, and what is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jadfer_cli.faces import landmarker
from jadfer_cli.pipeline.annotator import Annotator
from jadfer_cli.results import parts, revision, settings
from jadfer_cli.results.paths import companion_path, parts_folder

SHORT = ("--end", "1.2", "--detector", "centerface")


@pytest.fixture
def model(shared, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    file = shared / "models" / landmarker.MODEL
    monkeypatch.setenv(landmarker.MODEL_VARIABLE, str(file))
    return file


@pytest.fixture
def clip(shared):
    return shared / "clips" / "single_face.mp4"


@pytest.mark.data
@pytest.mark.slow
def test_actions_lie_beside_a_result_that_is_the_same_without_them(invoke, clip, model, tmp_path):
    plain, out = tmp_path / "plain.parquet", tmp_path / "c.parquet"
    assert invoke("annotate", clip, "-o", plain, *SHORT).exit_code == 0
    assert invoke("annotate", clip, "-o", out, *SHORT, "--actions", "--mesh").exit_code == 0
    rows = pd.read_parquet(out)
    pd.testing.assert_frame_equal(rows, pd.read_parquet(plain))
    actions = pd.read_parquet(companion_path(out, "actions"))
    faces = rows[rows["face_detected"]]
    assert actions["frame"].tolist() == faces["frame"].tolist()
    assert actions["track_id"].tolist() == faces["track_id"].tolist()
    smile = actions.set_index("frame")["a_mouth_smile_left"]
    assert smile[:15].max() < 0.2 and smile[28:].min() > 0.7  # by eye: smiling from 24 on
    assert actions["mesh_presence"].min() > 0.9
    blink = actions["ear_left"] < 0.18  # by eye: the eyes close once, about frame 28
    assert 1 <= blink.sum() <= 4 and blink[26:31].sum() == blink.sum()
    mesh = np.stack(pd.read_parquet(companion_path(out, "mesh"))["mesh_px"]).reshape(-1, 478, 3)
    inside = faces["bbox_x1"].to_numpy() < mesh[:, 1, 0]  # the nose tip
    assert inside.all() and len(mesh) == len(faces)
    made_by = actions.attrs["jadfer"]["actions"]
    assert made_by["sha256"] == landmarker.MODEL_SHA256 and made_by["revision"] == 1
    sidecar = json.loads(companion_path(out, "actions").with_suffix(".json").read_text())
    assert sidecar["jadfer"] == actions.attrs["jadfer"]

    again = invoke("annotate", clip, "-o", out, *SHORT, "--actions", "--mesh", "--skip-existing")
    assert again.exit_code == 0 and "same settings" in again.stderr
    other = invoke("annotate", clip, "-o", out, *SHORT, "--skip-existing")
    assert other.exit_code == 1 and "actions (then on, now off)" in other.stderr
    assert invoke("annotate", clip, "-o", out, *SHORT, "--overwrite").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("c.")) == [
        "c.json", "c.parquet",
    ]  # fmt: skip


@pytest.mark.data
@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_the_same_actions(clip, model, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_S", 0.0)
    options = {"detector": "centerface", "end_s": 1.2, "batch_size": 2, "actions": True}
    annotator = Annotator(**options)
    annotator.annotate_to(clip, tmp_path / "whole.parquet")

    def stop(now):
        if now.frames > 28 and any(parts_folder(tmp_path / "c.parquet").glob("*.part")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        annotator.annotate_to(clip, tmp_path / "c.parquet", progress=stop)
    assert not companion_path(tmp_path / "c.parquet", "actions").exists()
    notes = []
    annotator.annotate_to(clip, tmp_path / "c.parquet", note=notes.append)
    assert "resumes at" in notes[0]
    found, whole = (
        pd.read_parquet(tmp_path / f"{name}.actions.parquet") for name in ("c", "whole")
    )
    pd.testing.assert_frame_equal(found, whole, atol=1e-4)
    in_memory = annotator.annotate(clip)
    assert np.allclose(in_memory["a_jaw_open"], whole["a_jaw_open"], atol=1e-4)


def test_without_the_model_or_litert_the_error_names_the_ways_out(
    invoke, short_clip, tmp_path, monkeypatch
):
    monkeypatch.setattr(landmarker, "models_folder", lambda: tmp_path / "none")
    monkeypatch.delenv(landmarker.MODEL_VARIABLE, raising=False)
    found = {"ai_edge_litert": object()}
    monkeypatch.setattr(landmarker.importlib.util, "find_spec", found.get)
    one = ("annotate", short_clip, "-o", tmp_path / "c.parquet", "--actions")
    many = ("annotate", short_clip, short_clip.parent, "-o", tmp_path / "out", "--actions")
    for command in (one, many):
        got = invoke(*command, width=400)
        assert got.exit_code == 2 and "There is no face landmarker model at" in got.stderr
        assert "jadfer models fetch face_landmarker" in got.stderr
        assert "jadfer models add face_landmarker.task" in got.stderr
    found.clear()
    got = invoke(*one, width=400)
    assert got.exit_code == 2 and "needs LiteRT" in got.stderr
    assert "pip install 'jadfer-cli[actions]'" in got.stderr
    assert "jadfer models fetch face_landmarker" in got.stderr  # both are missing: one error
    (tmp_path / landmarker.MODEL).touch()
    monkeypatch.setenv(landmarker.MODEL_VARIABLE, str(tmp_path / landmarker.MODEL))
    got = invoke(*one, width=400)
    assert "needs LiteRT" in got.stderr and "models fetch" not in got.stderr
    assert not (tmp_path / "c.parquet").exists()
    got = invoke(*one[:-1], "--mesh")
    assert got.exit_code == 2 and "--mesh needs --actions" in got.stderr


def test_actions_of_another_revision_are_made_again_or_kept_from_an_older_jadfer(
    tmp_path, monkeypatch
):
    from made import Made, Track

    def made(number):
        entry = {"actions": {"revision": number, "sha256": "4" * 64}}
        tracks = [Track(0, [0], actions={})]
        return Made(tracks, 2, metadata=entry | {"options": {"actions": True}})

    out = made(1).write(tmp_path / "c.parquet")
    video = tmp_path / "clip.mp4"
    monkeypatch.setattr(settings, "_is_same_file", lambda *_: True)
    wanted = made(1).described([])
    assert settings.keep(out, str(video), wanted) is None
    monkeypatch.setattr(settings, "ACTIONS_REVISION", 2)
    monkeypatch.setitem(revision.ACTION_CHANGES, 2, ("0.7.0", "blinks are finer"))
    why = settings.keep(out, str(video), made(2).described([]))
    assert why is not None and "whose actions differ: blinks are finer" in why
    monkeypatch.setattr(settings, "ACTIONS_REVISION", 0)
    with pytest.raises(Exception, match="whose actions are newer"):
        settings.keep(out, str(video), wanted)


def test_a_result_is_not_kept_without_its_own_actions(tmp_path, monkeypatch):
    """A run killed while it replaced a result leaves new actions beside the old rows."""
    from made import Made, Track

    def made(created):
        entry = {"options": {"actions": True}, "created": created}
        return Made([Track(0, [0, 1], actions={})], 2, metadata=entry)

    first, second = made("2026-11-24T10:00:00+00:00"), made("2026-11-25T10:00:00+00:00")
    out = first.write(tmp_path / "c.parquet")
    monkeypatch.setattr(settings, "_is_same_file", lambda *_: True)

    def why():
        return settings.keep(out, "clip.mp4", first.described([]))

    assert why() is None
    actions = companion_path(out, "actions")
    other = companion_path(second.write(tmp_path / "d.parquet"), "actions")
    actions.write_bytes(other.read_bytes())
    assert why() == f"{actions} belongs to another run"
    actions.write_bytes(b"cut")
    assert why() == f"{actions} is damaged"
    actions.unlink()
    assert why() == f"{actions} is missing"


KILLED = """
import os, sys
from pathlib import Path
from made import Made, Track

out, replace = Path(sys.argv[1]), os.replace

def killed(source, target):
    if Path(target) == out:
        os._exit(9)  # as after kill -9: nothing is cleaned up
    replace(source, target)

os.replace = killed
later = {"created": "2026-11-25T10:00:00+00:00"}
Made([Track(0, [0, 1], actions={})], 2, metadata=later).write(out, overwrite=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("replaces", [False, True])
def test_a_run_killed_between_its_files_is_told_apart_and_repeated(invoke, tmp_path, replaces):
    from made import Made, Track

    made, out = Made([Track(0, [0, 1], actions={})], 2), tmp_path / "c.parquet"
    if replaces:
        made.write(out)
    tests = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])}
    child = subprocess.run([sys.executable, "-c", KILLED, out], env=environment, check=False)
    assert child.returncode == 9 and companion_path(out, "actions").exists()
    got = invoke("events", out, "--blinks", width=300)
    if replaces:  # the rows of the first run, the actions of the second
        assert got.exit_code == 1 and "belongs to another run" in got.stderr
    else:
        assert got.exit_code == 1 and "There is no file" in got.stderr
    made.write(out, overwrite=replaces)
    got = invoke("events", out, "--blinks", width=300)
    assert got.exit_code == 0, got.stderr
