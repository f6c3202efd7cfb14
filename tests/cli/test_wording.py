"""What commands say about numbers, names and defaults."""

import io
import re
from pathlib import Path

import pytest
from made import Made, Track
from rich.console import Console

from jadfer_cli.batch.plan import Task
from jadfer_cli.cli.app import COMMANDS, load
from jadfer_cli.cli.batch_progress import Quiet
from jadfer_cli.cli.progress import Silent
from jadfer_cli.faces.detect import DETECTORS
from jadfer_cli.text import count_text, shortened, without_subject


def one_of_each(path, **how):
    return Made([Track(0, [0], "happiness")], n_frames=1, **how).write(path)


def test_one_is_singular(invoke, tmp_path, monkeypatch):
    """Whatever there is one of, no command says "1 tracks"."""
    monkeypatch.chdir(tmp_path)
    one_of_each(tmp_path / "in" / "a.parquet")
    one_of_each(tmp_path / "in2" / "a.parquet", model_sha256="3" * 64)
    for arguments in (
        ["show", "in"], ["summary", "in"], ["events", "in"], ["events", "in", "-o", "e.csv"],
        ["methods", "in"], ["diff", "in/a.parquet", "in2/a.parquet"], ["diff", "in", "in2"],
        ["diff", "in", "in"], ["collect", "in", "-o", "all.parquet"], ["plot", "in", "-o", "p/"],
        ["plot", "in", "-o", "p.html"], ["summary", "in", "-o", "s.csv"],
    ):  # fmt: skip
        result = invoke(*arguments)
        text = " ".join((result.stdout + result.stderr).split())
        assert not (found := re.findall(r"(?<![.\d])1 (?!is\b|s\b)\w+s\b(?!/)", text)), (
            arguments,
            found,
        )
    assert count_text(1, "track") == "1 track" and count_text(2300, "row") == "2,300 rows"


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_in_words_have_one_pair_of_brackets(invoke, name):
    commands = getattr(load(name), "commands", {})
    for arguments in ([name], *([name, sub] for sub in commands)):
        text = " ".join(invoke(*arguments, "--help", width=200).stdout.split())
        assert "default: (" not in text


@pytest.mark.parametrize("command", ["annotate", "train", "evaluate"])
def test_the_help_names_every_detector_of_the_table(invoke, command):
    text = invoke(command, "--help", width=300).stdout
    line = next(line for line in text.splitlines() if "--detector " in line)
    built_in = [name for name, kind in DETECTORS.items() if kind.weights is not None]
    for name in ["auto", *built_in]:
        assert name in line


def test_an_unknown_track_is_answered_with_one_that_exists(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_of_each(tmp_path / "a.parquet")
    result = invoke("plot", "a.parquet", "-o", "a.png", "--track", "5")
    assert result.exit_code == 2
    assert "a.parquet has no track 5." in result.stderr and "--track 0" in result.stderr
    Made(n_frames=3).write(tmp_path / "b.parquet")
    result = invoke("plot", "b.parquet", "-o", "a.png", "--track", "5")
    assert "No face was found" in result.stderr


def test_names_that_are_not_bids_are_named(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_of_each(tmp_path / "in" / "clip.parquet")
    result = invoke("events", "in", "-o", "bids/", "--format", "bids")
    assert "clip_events.tsv is not a BIDS name" in result.stderr
    one_of_each(tmp_path / "ok" / "sub-01_task-talk_beh.parquet")
    result = invoke("events", "ok", "-o", "bids/", "--format", "bids")
    assert "BIDS" not in result.stderr
    assert (tmp_path / "bids/sub-01/beh/sub-01_task-talk_events.tsv").is_file()


def test_the_confusion_table_fits_80_columns_with_full_labels(capsys):
    from jadfer_cli.cli.commands.evaluate import _report
    from jadfer_cli.labels import LABELS

    names = ("accuracy", "mean_class_recall", "macro_f1", "ece")
    figures = {"n": 3152, "n_tied": 0, "ece_before_temperature": 0.1} | dict.fromkeys(names, 0.15)
    figures["intervals_95"] = dict.fromkeys(names, (0.1, 0.2))
    parts = _report({
        "model": "m", "dataset": "d", "split": "test", "labels": list(LABELS), "temperature": 1.0,
        "temperature_fitted_on": "valid", "protocol": "majority",
        "protocols": {"majority": figures}, "recall": dict.fromkeys(LABELS, 0.5),
        "clean": None, "twins": None, "votes": None, "probes": None,
        "confusion": [[1000 + i] * len(LABELS) for i in range(len(LABELS))],
    })  # fmt: skip
    Console(width=80).print(parts[-1])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(LABELS) + 1 and max(map(len, lines)) <= 80
    for label, line in zip(LABELS, lines[1:], strict=True):
        assert line[2:].startswith(label) and line[0] in lines[0]


def test_one_is_singular_where_a_model_is_measured():
    from jadfer_cli.analysis.methods_model import _accuracy
    from jadfer_cli.cli.commands.evaluate import _clean, _ties

    assert str(_ties({"plurality": {"n_tied": 1}})[0]).startswith("plurality: in 1 image several")
    twins = {"images_with_twin_in_train": 2, "images_with_twin_in_split": 1, "threshold": 0.9}
    found = {"twins": twins, "clean": {}, "images": 5, "split": "test"}
    assert str(_clean(found)[-1]).endswith("Within the split 1 image has one.")
    assert "measured on 1 image, too" in _accuracy({"folder_test_all": {"accuracy": 1, "n": 1}})


@pytest.mark.parametrize("number", [1, 2])
def test_quiet_shows_warnings_of_one_video_as_of_many(number):
    console = Console(file=io.StringIO(), width=200)
    tasks = [Task(f"{i}.mp4", Path(f"{i}.parquet")) for i in range(number)]
    shown = Silent(console, *tasks) if number == 1 else Quiet(console, tasks)
    shown.note("Three frames are corrupt.", kind="warning")
    shown.note("Faces are small.", kind="hint")
    assert console.file.getvalue() == "Warning: Three frames are corrupt.\n"


def test_a_shortened_name_keeps_both_ends():
    assert shortened("abcdefghij", 5) == "ab…ij" and shortened("abc", 5) == "abc"
    assert len(shortened("x" * 100, 32)) == 32


def test_a_table_never_breaks_a_name(invoke, tmp_path):
    names = [f"sub-{i:02}_ses-01_task-conversation_run-{i}_camera-left" for i in range(5)]
    for name in names:
        one_of_each(tmp_path / f"{name}.parquet")
    for command in ("show", "summary"):
        lines = invoke(command, tmp_path, width=80).stdout.splitlines()
        shown = [line.split()[0] for line in lines if line.startswith("sub-")]
        assert len(shown) == 5 and max(map(len, lines)) <= 80
        for text, name in zip(shown, names, strict=True):
            head, tail = text.split("…")
            assert name.startswith(head) and name.endswith(tail)
        assert names[0] in invoke(command, tmp_path, width=400).stdout


def test_thresholds_in_the_wrong_order_are_refused_in_words(invoke, tmp_path):
    one_of_each(tmp_path / "a.parquet")
    result = invoke("events", tmp_path / "a.parquet", "--on", "0.3")
    assert result.exit_code == 2 and "<=" not in result.stderr
    assert "cannot begin at 0.3 and end below 0.4" in result.stderr and "--on" in result.stderr


def test_a_message_about_a_file_can_stand_after_its_name():
    assert without_subject("a.mp4: no video stream.", "a.mp4") == "no video stream."
    assert without_subject("a.mp4 is empty.", "a.mp4") == "it is empty."
    assert without_subject("There is no file a.mp4.", "a.mp4") == "There is no file a.mp4."


def test_messages_are_printed_above_a_bar_not_behind_it(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        one_of_each(tmp_path / "in" / f"{name}.parquet")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
    for arguments in (["plot", "in", "-o", "p/"], ["events", "in", "-o", "e/", "--format", "eaf"]):
        drawn = re.split(r"\n|\x1b\[2K", invoke(*arguments).stderr)
        lines = [re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", line).strip("\r") for line in drawn]
        written = [line for line in lines if ": 1 track" in line or ": no event" in line]
        assert any("%" in line for line in lines), "no bar was drawn"
        assert len(written) == 2 and all(line.startswith(("p/", "e/")) for line in written), lines
