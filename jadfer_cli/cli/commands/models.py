"""`jadfer models`: a group of commands about weights and face detectors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from jadfer_cli.cli import options as shared
from jadfer_cli.cli.commands import INSTALLATION_PANEL
from jadfer_cli.cli.console import (
    errors_as_exit_codes,
    print_json,
    print_line,
    stderr_console,
    stdout_console,
)
from jadfer_cli.cli.tables import Cell, flat, show, table, title
from jadfer_cli.errors import ModelError, OptionError

PANEL = INSTALLATION_PANEL
_HELP = """Show, verify and fetch the networks: expression weights and face detectors.

Examples:

  jadfer models list

  jadfer models verify

  jadfer models fetch buffalo_sc
"""

_LIST_HELP = """List the shipped weights and the face detectors, with their terms.

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

Without a NAME, all shipped weights, the embedded detector and the installed packs are verified. \
The exit code is 1 if any of them is damaged or missing.

Examples:

  jadfer models verify

  jadfer models verify default buffalo_l
"""

_FETCH_HELP = """Download an InsightFace pack for its face detector (SCRFD).

The terms of the packs (non-commercial research only) are shown first. The sha256 of the zip is \
verified, and nothing is left behind if a step fails. This is the only command that uses the \
internet. For a machine that is offline, download the zip elsewhere and use --from.

Packs: buffalo_l (289 MB), buffalo_m (276 MB), buffalo_s (128 MB), buffalo_sc (15 MB) and \
antelopev2 (361 MB). Their detectors need 10 GFLOPs in buffalo_l and antelopev2, 2.5 in \
buffalo_m, and 0.5 (the fastest) in buffalo_s and buffalo_sc.

Examples:

  jadfer models fetch buffalo_sc

  jadfer models fetch buffalo_l --yes

  jadfer models fetch buffalo_l --from ~/Downloads/buffalo_l.zip --yes
"""

_PATH_HELP = """Print the path of a network's file, for scripts; without NAME, the weights folder.

Examples:

  jadfer models path

  sha256sum "$(jadfer models path default)"
"""

_TERMS = (
    "InsightFace's packs may be used for non-commercial research only. For other uses,\n"
    "get a licence: https://github.com/deepinsight/insightface#license"
)

app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")

_NameArgument = Annotated[str, typer.Argument(help="A name from the list, or a .safetensors file.")]
_NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Names from the list, or .safetensors files."),
]
_OptionalNameArgument = Annotated[
    str | None, typer.Argument(help="A name from the list.", show_default=False)
]
_PackArgument = Annotated[str, typer.Argument(help="Name of the pack.", show_default=False)]
_YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Accept the terms.")]
_FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        "--url",
        metavar="URL|ZIP",
        show_default=False,
        help="Take the zip from this address, mirror or file.",
        envvar="JADFER_PACK_URL",
    ),
]
_Sha256Option = Annotated[
    str | None,
    typer.Option(
        metavar="HEX",
        show_default=False,
        help="Expected sha256 of the zip, in place of the known one.",
    ),
]
_TimeoutOption = Annotated[
    float, typer.Option(min=0.1, help="Give up when the server is silent this long, seconds.")
]
_RefetchOption = Annotated[
    bool, typer.Option("--overwrite", help="Fetch the pack again if it is installed.")
]
_HEX_DIGITS = frozenset("0123456789abcdef")
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

        weights, detectors = networks.weights(), networks.detectors()
        if as_json:
            print_json(
                {
                    "weights": [_plain(item) for item in weights],
                    "detectors": [_plain(item) for item in detectors],
                }
            )
            return
        show(
            title("Weights (--model)"),
            table(("name", "state", "description", "terms"), map(_row, weights)),
            Text(""),
            title("Face detectors (--detector)"),
            table(("name", "state", "description", "terms"), map(_row, detectors)),
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
            present = (d for d in networks.detectors() if networks.FETCHABLE not in d.marks)
            items = [*networks.weights(), *present]
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
    pack: _PackArgument,
    yes: _YesOption = False,
    source: _FromOption = None,
    sha256: _Sha256Option = None,
    timeout: _TimeoutOption = 30.0,
    overwrite: _RefetchOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Download a pack."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.faces.packs import packs_folder
        from jadfer_cli.installation import fetch as fetching
        from jadfer_cli.installation.unpack import is_installed

        wanted = fetching.known_pack(pack)
        folder, console = packs_folder() / pack, stderr_console()
        if not overwrite and is_installed(pack):
            console.print(Text(f"{pack} is already installed; --overwrite fetches it again."))
            print_line(folder)
            return
        url = fetching.source_of(wanted, source)
        if sha256 is not None and (len(sha256) != 64 or set(sha256.lower()) - _HEX_DIGITS):
            raise OptionError(f"--sha256 takes 64 hexadecimal digits, not {sha256}.")
        console.print(Text(_TERMS, style="yellow"))
        _accept(pack, url, yes=yes)
        with _bar(quiet=quiet) as progress:
            fetched = fetching.fetch_pack(
                wanted, url, sha256=sha256, timeout_s=timeout, progress=progress
            )
        if not quiet:
            compared = "as expected" if fetched.expected else "no hash to compare it with"
            text = f"{pack} is installed; the sha256 of its zip is {fetched.sha256} ({compared})."
            console.print(Text(text))
        print_line(fetched.folder)


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
        if item.path is None and item.kind == networks.PACK:
            raise ModelError(
                f"The pack {name} is not installed.", f"Run: jadfer models fetch {name}"
            )
        if item.path is None or not item.path.is_file():
            raise ModelError(
                f"The file of {name} is missing.", "Run `jadfer models verify` for how to fix it."
            )
        print_line(item.path)


def _accept(pack: str, url: str, *, yes: bool) -> None:
    """Asks the user to accept the terms, unless --yes is given.

    Raises:
        OptionError: There is no terminal to ask on.
        ModelError: The user declined.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise OptionError(
            f"{pack} was not fetched: its terms were not accepted.", "Add --yes to accept them."
        )
    stderr_console().print(Text(f"{pack} will be downloaded from {url}"))
    stderr_console().print(Text("Do you accept these terms? (y/N) "), end="")
    # not typer.confirm: it writes a space to stdout, where only data belongs
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ModelError(f"{pack} was not fetched: its terms were not accepted.")


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Any]:
    """Yields a progress callback: a live bar on a terminal, elsewhere one line per stage."""
    console, seen = stderr_console(), set[str]()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    task = bar.add_task("connecting", total=None)

    def report(stage: str, done: int, total: int | None) -> None:
        if stage not in seen and not quiet and not console.is_terminal:
            size = f" ({total / 1e6:.1f} MB)" if total else ""
            console.print(Text(f"{stage}{size}"))
        seen.add(stage)
        bar.update(task, description=escape(stage), completed=done, total=total)

    with bar:
        yield report


def _row(item: Any) -> list[Cell]:
    states = ", ".join(item.marks)
    style = next((_STYLES[mark] for mark in reversed(item.marks) if mark in _STYLES), "dim")
    return [(item.name, "bold"), (states, style), item.summary, item.terms]


def _plain(item: Any) -> dict[str, Any]:
    """An item, JSON-ready."""
    return {
        key: str(value) if isinstance(value, Path) else value for key, value in vars(item).items()
    }
