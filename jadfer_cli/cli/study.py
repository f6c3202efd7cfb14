"""Study files: the options of `jadfer annotate` in TOML, under the names of the command line.

`use_study` gives them to the command as its defaults, so they are checked and converted like
options that are typed, and options that are typed win.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

import typer

_NOT_IN_STUDY = ("help", "config")


def option_name(parameter: Any) -> str:
    """Return the name of a parameter in a study file: detection-size, inputs, out."""
    return str(parameter.name).replace("_", "-").replace("format-name", "format")


def study_options(command: Any) -> dict[str, Any]:
    """Return the parameters of a command that a study file may set, by their names there."""
    return {option_name(p): p for p in command.params if p.name not in _NOT_IN_STUDY}


def read_study(path: Path) -> str:
    """Return the text of a study file.

    Raises:
        typer.BadParameter: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise typer.BadParameter(
            f"{path} cannot be read: {reason}. `jadfer init` writes a study file."
        ) from None


def use_study(context: typer.Context, path: Path | None) -> Path | None:
    """Make the options in a study file the defaults of the command.

    Raises:
        typer.BadParameter: The file cannot be read, or has an option that does not exist.
    """
    if path is not None:
        known = study_options(context.command)
        defaults: dict[str, Any] = {}
        for name, value in _parsed(path).items():
            parameter = known.get(name)
            if parameter is None:
                raise typer.BadParameter(f"{path}: there is no option {name}. {_hint(name, known)}")
            defaults[str(parameter.name)] = _checked(path, name, parameter, value)
        context.default_map = defaults
    return path


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_study(path))
    except tomllib.TOMLDecodeError as error:
        raise typer.BadParameter(
            f"{path} is not valid TOML: {error}. Texts stand in quotes, truth values are true or "
            "false."
        ) from None


def _hint(name: str, known: dict[str, Any]) -> str:
    plain = name.strip("-").replace("_", "-")
    for ending in ("", "-s", "-px"):  # the names in Python have units
        if (stem := plain.removesuffix(ending) if ending else plain) in known:
            return f"Did you mean {stem}?"
    near = difflib.get_close_matches(plain, known, 1)
    return f"Did you mean {near[0]}?" if near else f"Options are {', '.join(known)}."


def _checked(path: Path, name: str, parameter: Any, value: Any) -> Any:
    """The value, if its kind is one that the option can take; the command checks the rest."""
    if bool(getattr(parameter, "is_flag", False)) != isinstance(value, bool):
        needed = "true or false" if getattr(parameter, "is_flag", False) else "a value"
        raise typer.BadParameter(f"{path}: {name} needs {needed}, not {value!r}.")
    if parameter.nargs == -1:
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise typer.BadParameter(f"{path}: {name} needs a list of texts, not {value!r}.")
        return listed
    if not isinstance(value, str | int | float):
        raise typer.BadParameter(f"{path}: {name} needs one value, not {value!r}.")
    return str(value)
