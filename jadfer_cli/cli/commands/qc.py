"""`jadfer qc`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading, tables
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import (
    errors_as_exit_codes,
    print_json,
    print_note,
    print_warning,
    warning_text,
)
from jadfer_cli.cli.formatting import share_text
from jadfer_cli.cli.tables import Cell
from jadfer_cli.errors import JadferError, OptionError
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jadfer_cli.analysis.qc.page import Thumbnail
    from jadfer_cli.analysis.qc.report import Entry, Report

PANEL = RESULTS_PANEL
HELP = """Check results: which clips are usable, and why not the others.

Finds faces that are small, turned, blurred, badly lit, cut off or covered; dropouts; corrupt and \
repeated frames, variable frame rates, late starts; tracks that may pass to another person; scores \
and facial actions that contradict each other; and clips annotated with other settings. What needs \
attention comes first, each with the command that \
looks closer.

A rule file decides which clips are kept, so that a preregistered rule runs as written:

  \\[keep]

  usable_share_of_video = { min = 0.7 }

  longest_dropout_s = { max = 2 }

  \\[exclude]

  findings = ["identity_switch"]

-o may be repeated. An .html file is a page with all findings. A table (.csv, .tsv, .xlsx, ...) \
has one row per clip: the decision, its reason, the findings, and all measures that rules can name.

Examples:

  jadfer qc results/ -r

  jadfer qc results/ -r -o qc.html -o exclusions.csv

  jadfer qc results/ -r --rules qc.toml -o exclusions.csv

  jadfer qc results/ -r --videos

  jadfer qc results/ -r -o qc.html --thumbnails

Thumbnails show faces: leave them out of pages that you share.
"""

_MAX_CLOSER = 10  # clips whose findings are printed in full
_FINDINGS = 3  # per clip

_OutOption = Annotated[
    list[Path] | None,
    shared.out_option("Write an .html page, or a table with one row per clip; may be repeated."),
]
_RulesOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Decide by this rule file (TOML).", show_default=False),
]
_VideosOption = Annotated[
    bool,
    typer.Option("--videos", help="Decode the videos as well: finds frozen and repeated pictures."),
]
_ThumbnailsOption = Annotated[
    bool,
    typer.Option(
        "--thumbnails",
        help="Show pictures of the moments found in the page; needs the videos.",
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]


def qc(
    inputs: shared.ResultsArgument,
    recursive: shared.RecursiveOption = False,
    rules: _RulesOption = None,
    videos: _VideosOption = False,
    out: _OutOption = None,
    thumbnails: _ThumbnailsOption = False,
    overwrite: shared.OverwriteOption = False,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Check the quality of results."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.qc import page
        from jadfer_cli.analysis.qc.report import check_names, report
        from jadfer_cli.analysis.qc.rules import read_rules
        from jadfer_cli.analysis.tabular import check_target, table_endings, write_table

        targets = out or []
        pages = [path for path in targets if path.suffix in page.ENDINGS]
        if thumbnails and not pages:
            raise OptionError("--thumbnails needs a page.", "Add -o qc.html.")
        for path in targets:
            endings = (*page.ENDINGS, *table_endings())
            check_target(path, overwrite=overwrite, endings=endings)
        read = None if rules is None else read_rules(rules, check_names())
        found = reading.found(inputs, recursive=recursive)
        made = report(
            found, read, read_videos=videos,
            progress=lambda results: reading.each(results, "checking", quiet=quiet),
        )  # fmt: skip
        for note in made.notes:
            print_warning(note)
        pictures = _pictures(made, quiet=quiet) if thumbnails else {}
        for path in targets:
            if path in pages:
                page.write(made, path, pictures)
                reading.wrote(path, count_text(len(made.entries), "clip"), quiet=quiet)
            else:
                write_table(made.table(), path)
                reading.wrote(path, count_text(len(made.entries), "row"), quiet=quiet)
        if as_json:
            print_json([_facts(entry) for entry in made.entries])
        elif not targets:
            tables.show(*_table(made))
        elif not quiet:
            print_note(page.headline(made))


def _pictures(made: Report, *, quiet: bool) -> dict[str, Sequence[Thumbnail]]:
    """Thumbnails by the name of the clip; a video that cannot be shown is a warning."""
    from jadfer_cli.overlay.thumbnails import thumbnails_of

    pictures: dict[str, Sequence[Thumbnail]] = {}
    for entry in reading.each(made.entries, "drawing", quiet=quiet):
        try:
            pictures[entry.name] = thumbnails_of(entry)
        except JadferError as error:
            print_warning(error.message)
    return {name: found for name, found in pictures.items() if found}


def _facts(entry: Entry) -> dict[str, Any]:
    """One clip, JSON-ready."""
    facts = entry.row()
    facts["reason"] = list(entry.reasons)
    facts["findings"] = [
        {
            "check": finding.check, "text": finding.text, "at_s": finding.at_s,
            "command": entry.command(finding),
        }
        for finding in entry.findings
    ]  # fmt: skip
    return facts


def _table(made: Report) -> list[Any]:
    """A table of all clips, and for the first ones what was found and how to look closer."""
    from jadfer_cli.analysis.qc.page import headline

    head = ("clip", "face", "usable", "of video", "decision", "findings")
    rows: list[list[Cell]] = [
        [
            entry.name,
            share_text(entry.measures.get("face_share")),
            share_text(entry.measures.get("usable_share")),
            share_text(entry.measures.get("usable_share_of_video")),
            (entry.decision, {"exclude": "bold red", "look": "yellow"}.get(entry.decision, "")),
            ", ".join(finding.brief for finding in entry.findings) or "-",
        ]
        for entry in made.entries
    ]
    parts: list[Any] = [
        Text(headline(made)), Text(""), tables.figures(head, rows, right=(1, 2, 3))
    ]  # fmt: skip
    marked = [entry for entry in made.entries if entry.findings]
    for entry in marked[:_MAX_CLOSER]:
        parts += [Text(""), tables.title(entry.name)]
        if made.rules and entry.reasons:
            parts.append(warning_text("; ".join(entry.reasons)))
        commands: dict[str, None] = {}
        for finding in entry.findings[:_FINDINGS]:
            parts.append(Text(finding.text))
            commands[entry.command(finding)] = None
        parts += [Text(f"  {command}", style="cyan", no_wrap=True) for command in commands]
    if len(marked) > _MAX_CLOSER:
        more = count_text(len(marked) - _MAX_CLOSER, "more clip")
        parts += [Text(""), Text(f"... and {more} with findings: -o qc.html lists them all.")]
    return parts
