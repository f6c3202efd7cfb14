"""Help is documentation: every command and option has some, with examples; and it is quick."""

import inspect
import subprocess
import sys

import pytest

from jadfer_cli.cli import app


def walk(command, path):
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))


COMMANDS = {path: c for name in app.COMMANDS for path, c in walk(app.load(name), ("jadfer", name))}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help(path):
    command = COMMANDS[path]
    assert inspect.cleandoc(command.help or "")
    for parameter in command.params:
        if parameter.name != "help":
            assert getattr(parameter, "help", None), f"{path}: {parameter.name}"
    if not getattr(command, "commands", {}):
        assert f"  {' '.join(path)}" in command.help, "an example to run"


@pytest.mark.parametrize("name", app.COMMANDS)
def test_the_list_of_commands_shows_the_first_line_of_each_help(name):
    lines = inspect.cleandoc(app.load(name).help).splitlines()
    assert app.COMMANDS[name][1] == lines[0].strip()


def test_a_command_that_does_not_exist_is_answered_with_a_like_one(jadfer):
    result = jadfer("anotate", "clip.mp4")
    assert result.returncode == 2 and "annotate" in result.stderr


def test_help_is_printed_and_complete(jadfer):
    result = jadfer("annotate", "--help", env={"COLUMNS": "100", "PATH": "/usr/bin"})
    assert result.returncode == 0
    for word in ("--max-faces", "--landmarks", "--log-json", "pandas.read_parquet", "--fps"):
        assert word in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from jadfer_cli.cli import main\n"
        "sys.argv = ['jadfer', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'insightface', 'decord', 'av', 'pandas', 'cv2', 'numpy', 'trackers'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in result.stdout, result.stdout + result.stderr


def test_version(jadfer):
    import jadfer_cli

    assert jadfer("--version").stdout.strip() == f"jadfer {jadfer_cli.__version__}"
