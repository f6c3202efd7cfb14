"""Messages of the library name options as Python does; the command line spells them as flags."""

import ast
import functools
import re
from pathlib import Path

import pytest

import jadfer_cli
from jadfer_cli.cli import app
from jadfer_cli.flags import NAMES, flag, worded

PACKAGE = Path(jadfer_cli.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
# complete commands, to be pasted into a terminal
COMMAND = re.compile(r"jadfer (models|annotate|train)|pip install|sbatch|--array=|^\w+ \S+ --over")
# labels of settings in tables and files, commands to be pasted, and the table itself
LABELS = {
    "analysis/methods.py", "analysis/provenance.py", "analysis/dataset/check.py", "flags.py",
    "installation/doctor.py", "installation/environment.py", "installation/models.py",
    "installation/unpack.py",
}  # fmt: skip


@functools.cache
def strings_below_cli():
    """(file, line, text) of each string of the library except docstrings."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("cli/"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docs
            ):
                found.append((name, node.lineno, node.value))
    return found


def test_messages_below_cli_do_not_speak_of_flags():
    found = [
        f"{name}:{line}: {text}"
        for name, line, text in strings_below_cli()
        if FLAG.search(text) and not COMMAND.search(text) and name not in LABELS
    ]
    assert found == []


def test_every_option_in_a_message_is_known_and_is_an_option_of_a_command():
    quoted = {
        name
        for _, _, text in strings_below_cli()
        for name in re.findall(r"`([a-z0-9_]+(?:=[A-Za-z']+)?)`", text)
    }
    assert {"fps", "out", "if_exists='overwrite'"} <= quoted and quoted - NAMES <= {"jadfer"}
    known = {
        word
        for name in app.COMMANDS
        for command in (app.load(name), *getattr(app.load(name), "commands", {}).values())
        for option in command.params
        for word in (*option.opts, *option.secondary_opts)
    }
    assert {flag(name) for name in NAMES} <= known


def test_words_in_backticks_that_are_no_option_stay():
    assert worded("`fps` and `start_s`; see `jadfer doctor`, `usable`.") == (
        "--fps and --start; see `jadfer doctor`, `usable`."
    )
    assert worded("Add `if_exists='overwrite'`, or another `out`.") == (
        "Add --overwrite, or another -o."
    )


@pytest.mark.parametrize("log_json", [[], ["--log-json"]])
def test_the_same_error_in_python_and_in_the_terminal(invoke, tmp_path, log_json):
    with pytest.raises(jadfer_cli.OptionError) as caught:
        jadfer_cli.VideoOptions(fps=-1)
    assert caught.value.message == "`fps` must be a positive number, not -1."
    result = invoke("annotate", "x.mp4", "-o", tmp_path / "x.parquet", "--fps=-1", *log_json)
    assert result.exit_code == 2 and "--fps must be a positive number, not -1.0." in result.stderr


def test_names_of_files_keep_their_backticks():
    assert worded("/a/`out`.mp4 and /a/`out` do not exist; see `out`.") == (
        "/a/`out`.mp4 and /a/`out` do not exist; see -o."
    )
    path = "clips/my `out` film.mp4"
    for name in (path, Path(path).name):
        assert worded(f"{name} exists (`out`).", path) == f"{name} exists (-o)."


def test_words_of_messages_are_still_recognised():
    quoted = re.compile(r"`([a-z0-9_]+(?:=[A-Za-z']+)?)`")
    lost = [
        text
        for _, _, text in strings_below_cli()
        if any(name in NAMES for name in quoted.findall(worded(text)))
    ]
    assert lost == []


def test_an_error_names_a_file_with_backticks_as_it_is(invoke, tmp_path, monkeypatch):
    for name in ("`out`.mp4", "my `out` film.mp4"):
        monkeypatch.setattr("sys.argv", ["jadfer", "annotate", str(tmp_path / name)])
        result = invoke("annotate", tmp_path / name, "-o", tmp_path / "x.parquet", width=500)
        assert result.exit_code != 0 and f"{name} does not exist" in result.stderr
