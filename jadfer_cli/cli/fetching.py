"""What `jadfer models fetch` and `add` share: terms, consent, and a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

from jadfer_cli.cli.console import print_line, stderr_console
from jadfer_cli.errors import ModelError, OptionError

_PACK_TERMS = (
    "InsightFace's packs may be used for non-commercial research only. For other uses,\n"
    "get a licence: https://github.com/deepinsight/insightface#license"
)
_LANDMARKER_TERMS = (
    "The face landmarker is part of Google's MediaPipe, under the Apache License 2.0:\n"
    "https://www.apache.org/licenses/LICENSE-2.0"
)
_HEX_DIGITS = frozenset("0123456789abcdef")


def check_sha256(sha256: str | None) -> None:
    """Checks the value of --sha256.

    Raises:
        OptionError: It is no hash.
    """
    if sha256 is not None and (len(sha256) != 64 or set(sha256.lower()) - _HEX_DIGITS):
        raise OptionError(f"--sha256 takes 64 hexadecimal digits, not {sha256}.")


def install_landmarker(
    source: str | None, sha256: str | None, timeout_s: float, *, overwrite: bool, quiet: bool
) -> None:
    """Installs the face landmarker from its address or a file, and prints its path.

    Raises:
        ModelError: It cannot be installed.
        OptionError: A value is wrong.
    """
    from jadfer_cli.faces.landmarker import MODEL_NAME
    from jadfer_cli.installation import model_file as files

    console = stderr_console()
    if not overwrite and files.has_landmarker():
        text = f"{MODEL_NAME} is already installed; --overwrite installs it again."
        console.print(Text(text))
        print_line(files.landmarker_path())
        return
    check_sha256(sha256)
    console.print(Text(_LANDMARKER_TERMS, style="yellow"))
    with _bar(quiet=quiet) as progress:
        fetched = files.install_landmarker(
            source or files.LANDMARKER_URL, sha256=sha256, timeout_s=timeout_s, progress=progress
        )
    if not quiet:
        text = f"{MODEL_NAME} is installed; its sha256 is {fetched.sha256} (as expected)."
        console.print(Text(text))
    print_line(fetched.folder)


def install_pack(
    pack: str,
    source: str | None,
    sha256: str | None,
    timeout_s: float,
    *,
    yes: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Installs an InsightFace pack from its address or a file, and prints its folder.

    Raises:
        ModelError: It cannot be installed, or its terms were declined.
        OptionError: A value is wrong, or there is no terminal to accept the terms on.
    """
    from jadfer_cli.faces.packs import packs_folder
    from jadfer_cli.installation import fetch as fetching
    from jadfer_cli.installation.unpack import is_installed

    wanted = fetching.known_pack(pack)
    folder, console = packs_folder() / pack, stderr_console()
    if not overwrite and is_installed(pack):
        console.print(Text(f"{pack} is already installed; --overwrite fetches it again."))
        print_line(folder)
        return
    url = source if source and Path(source).is_file() else fetching.source_of(wanted, source)
    check_sha256(sha256)
    console.print(Text(_PACK_TERMS, style="yellow"))
    _accept(pack, url, yes=yes)
    with _bar(quiet=quiet) as progress:
        fetched = fetching.fetch_pack(
            wanted, url, sha256=sha256, timeout_s=timeout_s, progress=progress
        )
    if not quiet:
        compared = "as expected" if fetched.expected else "no hash to compare it with"
        text = f"{pack} is installed; the sha256 of its zip is {fetched.sha256} ({compared})."
        console.print(Text(text))
    print_line(fetched.folder)


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
