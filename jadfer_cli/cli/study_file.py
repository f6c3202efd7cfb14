"""The text of a new study file, from the parameters of `jadfer annotate` and their help."""

from __future__ import annotations

import textwrap
from typing import Any

import tomli_w

from jadfer_cli._version import __version__
from jadfer_cli.cli.annotate_options import FACES_PANEL, FRAMES_PANEL
from jadfer_cli.cli.options import MACHINE_PANEL
from jadfer_cli.cli.study import option_name, study_options

_WIDTH = 88
# These decide the rows, so they are in effect; the others are comments.
_IN_EFFECT = (FRAMES_PANEL, FACES_PANEL, MACHINE_PANEL)
_KINDS = {int: "a whole number", float: "a number"}
_EXAMPLES = {  # of what has no default
    "inputs": "clips/", "out": "results/", "format": "csv", "shard": "1/8", "ray-address": "auto",
}  # fmt: skip
_HEAD = f"""\
# Study file of jadfer {__version__}, for: jadfer annotate --config FILE
# Options typed on the command line win over this file. Lines that begin with # have no effect.
# Paths are relative to the folder in which jadfer is started.
"""


def study_text(command: Any) -> str:
    """Return a study file with every option of a command: its help as a comment, its default.

    Args:
        command: `jadfer annotate`, as typer built it.
    """
    panels: dict[str, list[Any]] = {}
    for parameter in study_options(command).values():
        panel = getattr(parameter, "rich_help_panel", None) or "Input"
        panels.setdefault(panel, []).append(parameter)
    texts = [_HEAD]
    for panel, parameters in panels.items():
        texts.append(f"# ---- {panel} ----\n")
        texts += [_entry(parameter, panel in _IN_EFFECT) for parameter in parameters]
    return "\n".join(texts)


def _entry(parameter: Any, in_effect: bool) -> str:
    """The help of an option as a comment, then the option with its default."""
    text = parameter.help or ""
    if isinstance(words := getattr(parameter, "show_default", None), str):
        text += f" Default: {words}."
    comment = textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")
    name, default = option_name(parameter), parameter.default
    if name in _EXAMPLES:
        return f"{comment}\n# {tomli_w.dumps({name: _EXAMPLES[name]}).strip()}\n"
    if isinstance(default, bool | int | float | str):
        line = tomli_w.dumps({name: default}).strip()
        return f"{comment}\n{line if in_effect else '# ' + line}\n"
    kind = _KINDS.get(parameter.type_descriptor.annotation, '"text"')
    return f"{comment}\n# {name} = {kind}\n"
