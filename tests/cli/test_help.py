"""Help is documentation: every command and option has it, with examples, and it is fast."""

import inspect
import re
import subprocess
import sys

import pytest
from rich.text import Text

from jadfer_cli.cli import app, commands


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


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_nothing_in_brackets_is_lost_as_markup(path):
    command = COMMANDS[path]
    for text in (command.help, *(getattr(p, "help", None) or "" for p in command.params)):
        own = re.sub(r" \[dim\].*\[/\]$", "", text, flags=re.DOTALL)  # the default, by app.py
        assert Text.from_markup(own).plain == own.replace("\\[", "[")


@pytest.mark.parametrize("name", ["annotate", "overlay", "bench"])
def test_commands_that_decode_videos_limit_the_time_or_say_that_they_do_not(name):
    command = COMMANDS["jadfer", name]
    limits = any("--stall" in parameter.opts for parameter in command.params)
    assert limits == (name == "annotate")
    assert limits or "Unlike `jadfer annotate --stall`, nothing limits" in command.help


def test_the_help_page_lists_every_command_with_the_first_line_of_its_help(invoke):
    shown = " ".join(invoke("--help").stdout.replace("│", " ").split())
    for name in app.COMMANDS:
        first_line = inspect.cleandoc(app.load(name).help).splitlines()[0].strip()
        assert f" {name} {first_line}" in shown


def test_a_command_is_one_file(monkeypatch, tmp_path, capsys):
    (tmp_path / "greet.py").write_text(
        "import typer\n"
        f"PANEL, HELP = {commands.RESULTS_PANEL!r}, 'Greet somebody.'\n"
        "def greet(name: str) -> None:\n"
        "    typer.echo(f'hello {name}')\n"
    )
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    monkeypatch.setitem(sys.modules, "jadfer_cli.cli.commands.greet", None)  # to be restored
    del sys.modules["jadfer_cli.cli.commands.greet"]
    assert app.command_names() == tuple(sorted((*app.COMMANDS, "greet")))
    greet = app.load("greet")
    assert (greet.help, greet.rich_help_panel) == ("Greet somebody.", commands.RESULTS_PANEL)
    greet.main(["Ada"], standalone_mode=False)
    assert capsys.readouterr().out == "hello Ada\n"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_sentences_of_the_help_are_short(path):
    """Under 25 words, so that readers of English as a second language can follow."""
    command = COMMANDS[path]
    texts = [command.help or "", *(getattr(p, "help", "") or "" for p in command.params)]
    for paragraph in "\n\n".join(texts).split("\n\n"):
        if not paragraph.startswith("  "):  # examples
            for sentence in re.split(r"(?<=[.:;?!]) ", paragraph):
                assert len(sentence.split()) < 25, sentence


@pytest.mark.parametrize("flag", ["--quiet", "--debug", "--recursive", "--overwrite", "--device"])
def test_an_option_of_many_commands_is_the_same_in_each(flag):
    """It is declared once, in cli/options.py; these few mean something else on purpose."""
    different = {
        ("jadfer diff", "--quiet"),  # drops the figures, too
        ("jadfer collect", "--recursive"),  # on by default
        ("jadfer models fetch", "--overwrite"),  # downloads again
        ("jadfer models add", "--overwrite"),  # installs again
    }
    declared = {
        (tuple(option.opts), option.help, option.rich_help_panel)
        for path, command in COMMANDS.items()
        for option in command.params
        if flag in option.opts and (" ".join(path), flag) not in different
    }
    assert len(declared) == 1, declared


def test_a_typo_is_answered_with_a_similar_command(invoke):
    result = invoke("anotate", "clip.mp4")
    assert result.exit_code == 2 and "Did you mean 'annotate'?" in result.stderr


@pytest.mark.slow
def test_help_is_printed_and_complete(jadfer):
    result = jadfer("annotate", "--help", env={"COLUMNS": "80", "PATH": "/usr/bin"})
    assert result.returncode == 0
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    for word in ("--max-faces", "--landmarks", "--log-json", "pandas.read_parquet", "--fps"):
        assert word in result.stdout


@pytest.mark.slow
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


def test_version(invoke):
    import jadfer_cli

    assert invoke("--version").stdout.strip() == f"jadfer {jadfer_cli.__version__}"
