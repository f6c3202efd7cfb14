"""`jadfer models`: a group of commands about weights and face detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from jadfer_cli.cli import fetching
from jadfer_cli.cli import options as shared
from jadfer_cli.cli.commands import INSTALLATION_PANEL
from jadfer_cli.cli.console import (
    errors_as_exit_codes,
    print_json,
    print_line,
    stdout_console,
)
from jadfer_cli.cli.tables import Cell, flat, show, table, title
from jadfer_cli.errors import ModelError

PANEL = INSTALLATION_PANEL
_HELP = """Show, verify and fetch the networks: expression weights, face detectors, face landmarker.

Examples:

  jadfer models list

  jadfer models verify

  jadfer models fetch buffalo_sc
"""

_LIST_HELP = """List weights, face detectors and the face landmarker, with their terms.

Examples:

  jadfer models list

  jadfer models list --json | jq -r '.weights[].name'
"""

_INFO_HELP = """Show everything about one network: file, sha256, labels, sizes, figures, terms.

Examples:

  jadfer models info default

  jadfer models info buffalo_l --json

  jadfer models info my_weights.safetensors
"""

_VERIFY_HELP = """Read weights and detectors, compare their sha256, and load them.

Without a NAME, all shipped weights, the embedded detector, and the installed packs and face \
landmarker are verified. \
The exit code is 1 if any of them is damaged or missing.

Examples:

  jadfer models verify

  jadfer models verify default buffalo_l
"""

_FETCH_HELP = """Download the face landmarker for --actions, or an InsightFace pack for --detector.

The terms are shown first: Apache 2.0 for the face landmarker (3.8 MB), non-commercial research \
only for the packs. The sha256 of the file is verified, and nothing is left behind if a step \
fails. This is the only command that uses the internet. For a machine that is offline, download \
the file elsewhere, and use `jadfer models add`.

Packs: buffalo_l (289 MB), buffalo_m (276 MB), buffalo_s (128 MB), buffalo_sc (15 MB) and \
antelopev2 (361 MB). Their detectors need 10 GFLOPs in buffalo_l and antelopev2, 2.5 in \
buffalo_m, and 0.5 (the fastest) in buffalo_s and buffalo_sc.

Examples:

  jadfer models fetch face_landmarker

  jadfer models fetch buffalo_sc

  jadfer models fetch buffalo_l --yes

  jadfer models fetch buffalo_l --from ~/Downloads/buffalo_l.zip --yes
"""

_ADD_HELP = """Install a model file from another machine: the face landmarker, or a pack's zip.

What the file is follows from its sha256, else from its content and name. It is verified as by \
`jadfer models fetch`, and copied. Nothing is downloaded.

Examples:

  jadfer models add face_landmarker.task

  jadfer models add ~/Downloads/buffalo_l.zip --yes
"""

_PATH_HELP = """Print the path of a network's file, for scripts; without NAME, the weights folder.

Examples:

  jadfer models path

  sha256sum "$(jadfer models path default)"
"""

LANDMARKER = "face_landmarker"

app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")

_NameArgument = Annotated[str, typer.Argument(help="A name from the list, or a .safetensors file.")]
_NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Names from the list, or .safetensors files."),
]
_OptionalNameArgument = Annotated[
    str | None, typer.Argument(help="A name from the list.", show_default=False)
]
_FetchArgument = Annotated[
    str, typer.Argument(help=f"{LANDMARKER}, or the name of a pack.", show_default=False)
]
_FileArgument = Annotated[
    Path,
    typer.Argument(help="The model file.", show_default=False, exists=True, dir_okay=False),
]
_YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Accept the terms.")]
_FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        "--url",
        metavar="URL|FILE",
        show_default=False,
        help="Take the file from this address, mirror or path.",
        envvar="JADFER_PACK_URL",
    ),
]
_Sha256Option = Annotated[
    str | None,
    typer.Option(
        metavar="HEX",
        show_default=False,
        help="Expected sha256 of the file, in place of the known one.",
    ),
]
_TimeoutOption = Annotated[
    float, typer.Option(min=0.1, help="Give up when the server is silent this long, seconds.")
]
_RefetchOption = Annotated[
    bool, typer.Option("--overwrite", help="Install it again if it is installed.")
]
_STYLES = {
    "default": "green",
    "embedded": "green",
    "installed": "green",
    "preview": "yellow",
    "missing": "bold red",
}


@app.command("list", help=_LIST_HELP)
def list_models(as_json: shared.JsonOption = False, debug: shared.DebugOption = False) -> None:
    """List weights and detectors."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.installation import models as networks

        groups = (
            ("weights", "Weights (--model)", networks.weights()),
            ("detectors", "Face detectors (--detector)", networks.detectors()),
            ("landmarkers", "Face landmarker (--actions)", [networks.landmarker()]),
        )
        if as_json:
            print_json({key: [_plain(item) for item in items] for key, _, items in groups})
            return
        for key, heading, items in groups:
            show(
                *([] if key == "weights" else [Text("")]),
                title(heading),
                table(("name", "state", "description", "terms"), map(_row, items)),
            )


@app.command("info", help=_INFO_HELP)
def info(
    name: _NameArgument, as_json: shared.JsonOption = False, debug: shared.DebugOption = False
) -> None:
    """Show one network."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.installation import models as networks

        facts = networks.describe(networks.find(name))
        if as_json:
            print_json(facts)
            return
        show(table((), [((key, "bold"), value) for key, value in flat(facts)]))


@app.command("verify", help=_VERIFY_HELP)
def verify(names: _NamesArgument = None, debug: shared.DebugOption = False) -> None:
    """Verify networks."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.installation import models as networks

        items = [networks.find(name) for name in names or ()]
        if not names:
            others = [*networks.detectors(), networks.landmarker()]
            items = [*networks.weights(), *(x for x in others if networks.FETCHABLE not in x.marks)]
        n_failed = 0
        for item in items:
            try:
                word, style, detail = "ok", "green", networks.verify(item)
            except ModelError as error:
                word, style, detail = "PROBLEM", "bold red", str(error)
                n_failed += 1
            line = Text.assemble((f"{word:<8}", style), (item.name, "bold"), f": {detail}")
            stdout_console().print(line, soft_wrap=True)
        if n_failed:
            raise ModelError(f"{n_failed} of {len(items)} failed; fixes are listed above.")


@app.command("fetch", help=_FETCH_HELP)
def fetch(
    name: _FetchArgument,
    yes: _YesOption = False,
    source: _FromOption = None,
    sha256: _Sha256Option = None,
    timeout: _TimeoutOption = 30.0,
    overwrite: _RefetchOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Download a model."""
    with errors_as_exit_codes(debug=debug):
        how: dict[str, Any] = {"overwrite": overwrite, "quiet": quiet}
        if name == LANDMARKER:
            fetching.install_landmarker(source, sha256, timeout, **how)
        else:
            fetching.install_pack(name, source, sha256, timeout, yes=yes, **how)


@app.command("add", help=_ADD_HELP)
def add(
    file: _FileArgument,
    yes: _YesOption = False,
    sha256: _Sha256Option = None,
    overwrite: _RefetchOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Install a model file."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.installation import model_file as files

        how: dict[str, Any] = {"overwrite": overwrite, "quiet": quiet}
        if (pack := files.pack_in(file)) is not None:
            fetching.install_pack(pack.name, str(file), sha256, 0.0, yes=yes, **how)
        else:
            files.check_is_landmarker(file)
            fetching.install_landmarker(str(file), sha256, 0.0, **how)


@app.command("path", help=_PATH_HELP)
def path(name: _OptionalNameArgument = None, debug: shared.DebugOption = False) -> None:
    """Print a path."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.expression.checkpoint import weights_dir
        from jadfer_cli.installation import models as networks

        if name is None:
            print_line(weights_dir())
            return
        item = networks.find(name)
        if item.path is None and networks.FETCHABLE in item.marks:
            raise ModelError(f"{name} is not installed.", f"Run: jadfer models fetch {name}")
        if item.path is None or not item.path.is_file():
            raise ModelError(
                f"The file of {name} is missing.", "Run `jadfer models verify` for how to fix it."
            )
        print_line(item.path)


def _row(item: Any) -> list[Cell]:
    states = ", ".join(item.marks)
    style = next((_STYLES[mark] for mark in reversed(item.marks) if mark in _STYLES), "dim")
    return [(item.name, "bold"), (states, style), item.summary, item.terms]


def _plain(item: Any) -> dict[str, Any]:
    """An item, JSON-ready."""
    return {
        key: str(value) if isinstance(value, Path) else value for key, value in vars(item).items()
    }
