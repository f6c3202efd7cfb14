"""Study files: `annotate --config`, `init`, and `methods --planned`."""

import tomllib

import pytest
from conftest import DEMO

from jadfer_cli.cli.commands.annotate import options_of
from jadfer_cli.cli.commands.init import annotate_command
from jadfer_cli.cli.study import study_options
from jadfer_cli.options import AnnotateOptions


def written(folder, text):
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def given(*arguments):
    """The parameters of `jadfer annotate` with these arguments."""
    return annotate_command().make_context("annotate", [str(a) for a in arguments]).params


def test_init_writes_every_option_with_its_help_and_default(tmp_path, invoke):
    out = tmp_path / "study.toml"
    assert invoke("init", "-o", out).exit_code == 0
    text = out.read_text(encoding="utf-8")
    for name, option in study_options(annotate_command()).items():
        assert f"\n{name} = " in text or f"\n# {name} = " in text, name
        assert option.help.split(".")[0].split()[0] in text
    # the file changes nothing: its values are the defaults
    assert options_of(given("--config", out, "x.mp4", "-o", "r/")) == AnnotateOptions()
    assert {"every", "detector", "redetect", "model", "precision"} <= set(tomllib.loads(text))
    again = invoke("init", "-o", out, width=200)
    assert again.exit_code == 2 and "already exists" in again.stderr
    assert invoke("init", "-o", out, "--overwrite").exit_code == 0
    assert invoke("init", "-o", tmp_path / "study.txt").exit_code == 2


def test_every_option_can_be_set_and_what_is_typed_wins(tmp_path):
    study = written(
        tmp_path,
        'inputs = ["a.mp4", "b.mp4"]\nout = "results/"\nrecursive = true\nfps = 10\n'
        'start = "1:30"\nend = 120.5\nmax-faces = 2\nlandmarks = true\nprecision = "fp32"\n'
        "jobs = 3\nskip-existing = true\nformat = 'sav'\nrelative-paths = true\n",
    )
    found = given("--config", study)
    assert found["inputs"] == ["a.mp4", "b.mp4"] and found["out"] == "results/"
    assert (found["jobs"], found["skip_existing"], found["format_name"]) == (3, True, "sav")
    options = options_of(found, study)
    assert (options.video.fps, options.video.start_s, options.video.end_s) == (10, 90, 120.5)
    assert options.faces.max_faces == 2 and options.landmarks and options.relative_paths
    assert options.study == study.read_text(encoding="utf-8")
    typed = given("--config", study, "c.mp4", "--fps", "5", "-o", "c.parquet", "--max-faces", "1")
    assert typed["inputs"] == ["c.mp4"] and (typed["fps"], typed["max_faces"]) == (5, 1)
    assert typed["out"] == "c.parquet" and typed["start"] == 90
    assert given("c.mp4", "-o", "x/")["fps"] is None  # nothing stays from earlier calls


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("detection_size = 640", "there is no option detection_size. Did you mean detection-size?"),
        ("start_s = 3", "Did you mean start?"),
        ("detctor = 'auto'", "Did you mean detector?"),
        ("xyzzyx = 1", "Options are inputs, "),
        ("config = 'other.toml'", "there is no option config"),
        ("fps = true", "fps needs a value, not True"),
        ("landmarks = 1", "landmarks needs true or false, not 1"),
        ("every = [1]", "every needs one value"),
        ("inputs = [1]", "inputs needs a list of texts"),
        ("every = 1.5", "Invalid value for '--every'"),
        ("fps = a number", "is not valid TOML"),
        ("start = '1:90'", "1:90 is not a time"),
    ],
)
def test_a_wrong_study_file_is_refused_before_any_work(text, words, tmp_path, invoke):
    shown = invoke(
        "annotate", "--config", written(tmp_path, text), "x.mp4", "-o", "x.parquet", width=400
    )
    message = " ".join(shown.stderr.replace("│", " ").split())
    assert shown.exit_code == 2 and words in message, message
    planned = invoke("methods", "--planned", tmp_path / "study.toml", width=400)
    assert planned.exit_code == 2 and "unexpected" not in planned.stderr


def test_a_study_file_that_cannot_be_read(tmp_path, invoke):
    shown = invoke("annotate", "--config", tmp_path / "none.toml", "x.mp4", "-o", "x/", width=300)
    assert shown.exit_code == 2 and "`jadfer init` writes a study file" in shown.stderr
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    shown = invoke("annotate", "--config", tmp_path / "bytes.toml", "x", "-o", "x/", width=300)
    assert shown.exit_code == 2 and "it is not UTF-8 text" in shown.stderr


def test_the_planned_methods_state_the_options(tmp_path, invoke):
    study = written(
        tmp_path,
        "detector = 'centerface'\nfps = 10\nstart = 5\nmax-faces = 1\nredetect = 0\n"
        "detection-size = 960\ntracker = 'ocsort'\n",
    )
    shown = invoke("methods", "--planned", study)
    assert shown.exit_code == 0, shown.stderr
    text = shown.stdout
    for words in (
        "will be annotated with jadfer", "At most 10 frames per second from 5 s to the end will be",
        "detected by CenterFace (Xu et al., 2020)", "scaled to 960 px", "in every analysed frame",
        "OC-SORT", "At most 1 track per video will be kept",
        "Each face will be scored by the network jadfer-compact", "@software{jadfer",
        "will be counted by hysteresis (on 0.5, off 0.4",
        "not measured on the videos of this study",
    ):  # fmt: skip
        assert words in text, words
    assert " was scored" not in text and "Warning" not in shown.stderr
    for arguments in ((), ("--planned", study, tmp_path)):
        refused = invoke("methods", *arguments, "-q", width=200)
        assert refused.exit_code == 2 and "Name either results or a study file" in refused.stderr


@pytest.mark.slow
def test_a_study_is_recorded_and_other_formats_follow_the_parquet(invoke, tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    study = written(tmp_path, f"inputs = '{DEMO}'\nout = 'clip.csv'\nevery = 5\nend = '0:02'\n")
    run = invoke("annotate", "--config", study, "--end", 1, "--decimal", ",")
    assert run.exit_code == 0, run.stderr
    rows = pd.read_parquet(tmp_path / "clip.parquet")
    options = rows.attrs["jadfer"]["options"]
    assert options["video"]["end_s"] == 1 and options["study"] == study.read_text()
    table = pd.read_csv(tmp_path / "clip.csv", sep=";", decimal=",")
    assert table["time_s"].tolist() == rows["time_s"].tolist()
    assert table["frame"].tolist() == [0, 5, 10, 15, 20]
    # again: refused; with --skip-existing the result is kept, and a missing file is written
    again = invoke("annotate", "--config", study, "--end", 1, width=500)
    assert again.exit_code == 2 and "exists already" in again.stderr
    (tmp_path / "clip.csv").unlink()
    kept = invoke("annotate", "--config", study, "--end", 1, "--skip-existing", width=500)
    assert kept.exit_code == 0 and "is kept" in kept.stderr and "clip.csv: 5 rows" in kept.stderr
    stamp = (tmp_path / "clip.csv").stat().st_mtime_ns
    third = invoke("annotate", "--config", study, "--end", 1, "--skip-existing")
    assert third.exit_code == 0 and (tmp_path / "clip.csv").stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_a_batch_writes_the_other_format_of_each_result_and_reports_failures(
    invoke, tmp_path, monkeypatch
):
    import shutil

    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "day1").mkdir(parents=True)
    shutil.copy(DEMO, tmp_path / "in" / "day1" / "a.mp4")
    (tmp_path / "in" / "b.mp4").write_bytes(b"no video")
    command = ("annotate", "in/", "-r", "-o", "out/", "--every", 25, "--format", "csv.gz")
    run = invoke(*command, width=500)
    assert run.exit_code == 1, run.stderr
    assert (tmp_path / "out/day1/a.csv.gz").exists() and not (tmp_path / "out/b.csv.gz").exists()
    assert "day1/a.csv.gz: 9 rows" in run.stderr
    wrong = invoke(*command[:-1], "doc", width=200)
    assert wrong.exit_code == 2 and "--format must be one of csv, csv.gz" in wrong.stderr
    clash = invoke("annotate", DEMO, "-o", "x.csv", "--format", "sav", width=200)
    assert clash.exit_code == 2 and "--format is sav" in clash.stderr
