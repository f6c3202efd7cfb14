"""`jadfer models`: which weights and face detectors there are, and whether they are whole."""

from __future__ import annotations

import json
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

from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console, stdout_console
from jadfer_cli.cli.tables import Cell, flat, show, table, title
from jadfer_cli.errors import ModelError, OptionError

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

_VERIFY_HELP = """Read weights and detectors again, compare their sha256, and load them.

Without a NAME: all shipped weights, the embedded detector and the installed packs. \
One line each; the exit code is 1 if any is damaged or missing.

Examples:

  jadfer models verify

  jadfer models verify default buffalo_l
"""

_FETCH_HELP = """Download an InsightFace pack for its face detector (SCRFD).

The packs' terms (non-commercial research only) are shown first. The zip is compared with \
its known sha256 and nothing is left behind where something fails. This is the only command \
that uses the network; on a machine without one, download the zip elsewhere and give --from.

Packs: buffalo_l (289 MB), buffalo_m (276 MB), buffalo_s (128 MB), buffalo_sc (15 MB), \
antelopev2 (361 MB). The detectors: 10 GFLOPs in buffalo_l and antelopev2, 2.5 in buffalo_m, \
0.5 (the fastest) in buffalo_s and buffalo_sc.

Examples:

  jadfer models fetch buffalo_sc

  jadfer models fetch buffalo_l --yes

  jadfer models fetch buffalo_l --from ~/Downloads/buffalo_l.zip --yes
"""

_PATH_HELP = """Print the path of a network's file, for scripts; without NAME the weights folder.

Examples:

  jadfer models path

  sha256sum "$(jadfer models path default)"
"""

_TERMS = (
    "InsightFace's packs may be used for non-commercial research only. For anything\n"
    "else get a licence: https://github.com/deepinsight/insightface#license"
)

app = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode="rich")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
_STYLES = {
    "default": "green",
    "embedded": "green",
    "installed": "green",
    "preview": "yellow",
    "missing": "bold red",
}


@app.command("list", help=_LIST_HELP)
def list_models(as_json: _Json = False, debug: _Debug = False) -> None:
    """List weights and detectors."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.installation import models as catalogue

        weights, detectors = catalogue.weights(), catalogue.detectors()
        if as_json:
            _print_json(
                {
                    "weights": [_plain(item) for item in weights],
                    "detectors": [_plain(item) for item in detectors],
                }
            )
            return
        show(
            title("Weights (--model)"),
            table(("name", "state", "what it is", "terms"), map(_row, weights)),
            Text(""),
            title("Face detectors (--detector)"),
            table(("name", "state", "what it is", "terms"), map(_row, detectors)),
        )


@app.command("info", help=_INFO_HELP)
def info(
    name: Annotated[str, typer.Argument(help="A name from the list, or a .safetensors file.")],
    as_json: _Json = False,
    debug: _Debug = False,
) -> None:
    """Show one network."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.installation import models as catalogue

        facts = catalogue.describe(catalogue.find(name))
        if as_json:
            _print_json(facts)
            return
        show(table((), [((key, "bold"), value) for key, value in flat(facts)]))


@app.command("verify", help=_VERIFY_HELP)
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Names from the list, or .safetensors files."),
    ] = None,
    debug: _Debug = False,
) -> None:
    """Verify networks."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.installation import models as catalogue

        items = [catalogue.find(name) for name in names or ()]
        if not names:
            present = (d for d in catalogue.detectors() if catalogue.FETCHABLE not in d.marks)
            items = [*catalogue.weights(), *present]
        bad = 0
        for item in items:
            try:
                word, style, said = "ok", "green", catalogue.verify(item)
            except ModelError as error:
                word, style, said = "PROBLEM", "bold red", str(error)
                bad += 1
            line = Text.assemble((f"{word:<8}", style), (item.name, "bold"), f": {said}")
            stdout_console().print(line, soft_wrap=True)
        if bad:
            raise ModelError(f"{bad} of {len(items)} failed; see above for the way out.")


@app.command("fetch", help=_FETCH_HELP)
def fetch(
    pack: Annotated[str, typer.Argument(help="Name of the pack.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the terms.")] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            "--url",
            metavar="URL|ZIP",
            show_default=False,
            help="Take the zip from this address, mirror or file.",
            envvar="JADFER_PACK_URL",
        ),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            show_default=False,
            help="What the zip must hash to, instead of the known sha256.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Give up when the server is silent this long, seconds.")
    ] = 30.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Fetch again what is installed.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    debug: _Debug = False,
) -> None:
    """Download a pack."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.faces.packs import packs_folder
        from jadfer_cli.installation import fetch as fetching
        from jadfer_cli.installation.unpack import is_installed

        wanted = fetching.known_pack(pack)
        folder, console = packs_folder() / pack, stderr_console()
        if not overwrite and is_installed(pack):
            console.print(Text(f"{pack} is installed already; --overwrite fetches it again."))
            typer.echo(folder)
            return
        place = fetching.source_of(wanted, source)
        if sha256 is not None and (len(sha256) != 64 or set(sha256.lower()) - _HEX):
            raise OptionError(f"--sha256 takes 64 hexadecimal digits, not {sha256}.")
        console.print(Text(_TERMS, style="yellow"))
        _accept(pack, place, yes=yes)
        with _bar(quiet=quiet) as progress:
            got = fetching.fetch_pack(
                wanted, place, sha256=sha256, timeout_s=timeout, progress=progress
            )
        if not quiet:
            known = "as expected" if got.expected else "no hash is known to compare it with"
            console.print(Text(f"{pack} is installed; sha256 of its zip {got.sha256} ({known})."))
        typer.echo(got.folder)


@app.command("path", help=_PATH_HELP)
def path(
    name: Annotated[
        str | None, typer.Argument(help="A name from the list.", show_default=False)
    ] = None,
    debug: _Debug = False,
) -> None:
    """Print a path."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.expression.checkpoint import weights_dir
        from jadfer_cli.installation import models as catalogue

        if name is None:
            typer.echo(weights_dir())
            return
        item = catalogue.find(name)
        if item.path is None and item.kind == catalogue.PACK:
            raise ModelError(
                f"The pack {name} is not installed.", f"Run: jadfer models fetch {name}"
            )
        if item.path is None or not item.path.is_file():
            raise ModelError(
                f"The file of {name} is missing.", "Run `jadfer models verify` for the way out."
            )
        typer.echo(item.path)


_HEX = frozenset("0123456789abcdef")


def _accept(pack: str, place: str, *, yes: bool) -> None:
    """Goes on only with the user's consent.

    Raises:
        OptionError: There is none, and nobody to ask.
        ModelError: The user said no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise OptionError(
            f"{pack} was not fetched: its terms were not accepted.", "Add --yes to accept them."
        )
    stderr_console().print(Text(f"{pack} will come from {place}"))
    stderr_console().print(Text("Do you accept these terms? (y/N) "), end="")
    # not typer.confirm: it writes a space to stdout, where only data belongs
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ModelError(f"{pack} was not fetched: its terms were not accepted.")


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Any]:
    """A live bar on a terminal, one line a stage elsewhere; gives the callback for it."""
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

    def tell(stage: str, done: int, total: int | None) -> None:
        if stage not in seen and not quiet and not console.is_terminal:
            size = f" ({total / 1e6:.1f} MB)" if total else ""
            console.print(Text(f"{stage}{size}"))
        seen.add(stage)
        bar.update(task, description=escape(stage), completed=done, total=total)

    with bar:
        yield tell


def _row(item: Any) -> list[Cell]:
    states = ", ".join(item.marks)
    style = next((_STYLES[mark] for mark in reversed(item.marks) if mark in _STYLES), "dim")
    return [(item.name, "bold"), (states, style), item.summary, item.terms]


def _plain(item: Any) -> dict[str, Any]:
    """A catalogue item, JSON-ready."""
    return {
        key: str(value) if isinstance(value, Path) else value for key, value in vars(item).items()
    }


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
