"""`jadfer recipes`."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer
from rich.text import Text

from jadfer_cli.cli import options as shared
from jadfer_cli.cli.commands import TRAINING_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_json
from jadfer_cli.cli.tables import Cell, figures, flat, show, table, title
from jadfer_cli.errors import OptionError
from jadfer_cli.training import recipes as methods

PANEL = TRAINING_PANEL
RUNS_WITHOUT_ARGUMENTS = True
HELP = """List the training methods, or describe one: source, size, needs, options.

A published method follows public code or formulas; in a reconstruction, parts had to be chosen; \
a control shows what another method adds. Size is that of the default network for one face.

Examples:

  jadfer recipes

  jadfer recipes dan

  jadfer recipes --json | jq -r '.[] | .name'
"""


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(help="Describe this one, with its options.", show_default=False),
    ] = None,
    as_json: shared.JsonOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """List the training methods."""
    with errors_as_exit_codes(debug=debug):
        if name is not None:
            if name not in methods.names():
                raise OptionError(
                    f"There is no recipe named {name}.", f"Recipes: {', '.join(methods.names())}."
                )
            described = _described(name)
            if as_json:
                print_json(described)
                return
            citation = described.pop("citation")
            show(table((), [((key, "bold"), value) for key, value in flat(described)]))
            if citation:
                show(Text(), Text(citation))
            return
        found = [_sized(each) for each in methods.names()]
        if as_json:
            print_json(found)
            return
        head = ["recipe", "kind", "parameters", "multiply-adds", "needs beside crops"]
        rows = [
            [
                f["name"], f["kind"], f"{f['parameters'] / 1e6:.2f} M",
                f"{f['multiply_adds'] / 1e6:.0f} M", ", ".join(f["needs"]) or "-",
            ]
            for f in found
        ]  # fmt: skip
        show(title("Recipes"), figures(head, rows, right=(2, 3)))
        sources: list[list[Cell]] = [
            [(f["name"], "bold"), f"{f['title']}: {f['source']}"] for f in found
        ]
        show(Text(), title("Sources"), table((), sources))
        show(
            Text(),
            Text("Train one: jadfer train --recipe NAME. Describe one: jadfer recipes NAME."),
        )


def _sized(name: str) -> dict[str, Any]:
    from jadfer_cli.training.recipe_size import size_of

    return methods.facts(name) | dataclasses.asdict(size_of(name))


def _described(name: str) -> dict[str, Any]:
    """Everything about a recipe, JSON-ready."""
    from jadfer_cli.training.recipe_options import defaults

    found, options, recipe = _sized(name), defaults(name), methods.load(name)
    changed = {key: getattr(options, key) for key in recipe.defaults}
    return found | {
        "options": dataclasses.asdict(options.own),
        "network": dataclasses.asdict(options.network),
        "defaults": {
            key: dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
            for key, value in changed.items()
        },
        "published": dict(recipe.published),
    }
