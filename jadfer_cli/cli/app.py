"""The `jadfer` command: finds the modules in `commands/` and loads the one that is used."""

from __future__ import annotations

import functools
import importlib
import keyword
import pkgutil
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_command

from jadfer_cli._version import __version__
from jadfer_cli.cli import commands
from jadfer_cli.cli.console import print_line, printable_usage_errors


def command_names() -> tuple[str, ...]:
    """The modules in `commands/`, sorted: `train-follower` is that of the file train_follower.py.

    The file import_.py is the command `import`, which is a word of Python.
    """
    modules = pkgutil.iter_modules(commands.__path__)
    return tuple(sorted(each.name.removesuffix("_").replace("_", "-") for each in modules))


COMMANDS = command_names()


@functools.cache
def load(name: str) -> Any:
    """Imports a command's module and builds its command (typer's own class, hence Any)."""
    attribute = f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")
    module = importlib.import_module(f"{commands.__name__}.{attribute}")
    if hasattr(module, "app"):
        command: Any = get_command(module.app)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        show_help = not getattr(module, "RUNS_WITHOUT_ARGUMENTS", False)
        single.command(name, help=module.HELP, no_args_is_help=show_help)(
            getattr(module, attribute)
        )
        command = get_command(single)
    command.name, command.rich_help_panel = name, module.PANEL
    for one in (command, *getattr(command, "commands", {}).values()):
        _describe_defaults(one)
    return command


def _describe_defaults(command: Any) -> None:
    """Moves defaults in words into the help text: typer prints them as [default: (words)]."""
    for option in command.params:
        if isinstance(words := getattr(option, "show_default", None), str):
            option.help = f"{option.help} [dim]{escape(f'[default: {words}]')}[/]"
            option.show_default = False


class _Commands(TyperGroup):
    """All commands by name; a command's module is imported only when that command is needed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: Any = dict.fromkeys(COMMANDS)
        self.commands = names  # after a typo, typer suggests one of them

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        return load(cmd_name) if cmd_name in self.commands else None

    def make_context(self, *args: Any, **settings: Any) -> Any:
        """Parses the options before the command's name."""
        with printable_usage_errors():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Parses the command's options, and runs it."""
        with printable_usage_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the help page: by panel, then by name."""
        return sorted(COMMANDS, key=lambda name: commands.PANELS.index(load(name).rich_help_panel))


app = typer.Typer(
    name="jadfer",
    cls=_Commands,
    help="Annotate facial expressions in video: one command from a clip to tidy Parquet.\n\n"
    "Exit codes: 0 success, 1 a file or the machine failed, 2 wrong usage, 130 interrupted.",
    epilog="Start with:  jadfer annotate clip.mp4 -o clip.parquet",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"jadfer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Annotate facial expressions in video."""
