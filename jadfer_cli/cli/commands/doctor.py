"""`jadfer doctor`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.tables import Cell, show, table, title

HELP = """Check this installation, with a short test of every stage.

Versions, machine, CUDA, decoders, detectors and weights, each with what to do where something \
is amiss. The exit code is 0 if there is no problem (warnings are none), else 1.

Examples:

  jadfer doctor

  jadfer doctor --json > doctor.json
"""

if TYPE_CHECKING:
    from jadfer_cli.installation.doctor import Finding

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Check the installation."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.installation.doctor import PROBLEM, examine

        console = stderr_console()
        console.file = sys.stderr  # the checks divert sys.stderr while they run
        with console.status("starting") as status:
            findings = list(examine(lambda group: status.update(f"checking: {group.lower()}")))
        count = Counter(finding.status for finding in findings)
        if as_json:
            report = {"ok": not count[PROBLEM], "findings": [asdict(f) for f in findings]}
            typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        else:
            _print(findings)
        if count[PROBLEM]:
            raise typer.Exit(1)


def _print(findings: list[Finding]) -> None:
    """The report: a heading and a line a finding, what to do about it below the line."""
    width = max(len(finding.name) for finding in findings)
    parts: list[Table | Text] = []
    for group in dict.fromkeys(finding.group for finding in findings):
        rows: list[list[Cell]] = []
        for finding in (f for f in findings if f.group == group):
            style = _STYLES[finding.status]
            told = Text(finding.detail)
            if finding.remedy:
                told.append(f"\n-> {finding.remedy}", style=style)
            rows.append([(f"{finding.status:<7}", style), finding.name.ljust(width), told])
        parts += [title(group), table((), rows), Text("")]
    show(*parts, _verdict(findings))


def _verdict(findings: list[Finding]) -> Text:
    count = Counter(finding.status for finding in findings)
    told = [
        f"{count[status]} {status}{'s' if count[status] > 1 else ''}"
        for status in ("problem", "warning")
        if count[status]
    ]
    if not told:
        return Text("All is well.", style="bold green")
    style = _STYLES["problem" if count["problem"] else "warning"]
    return Text(f"{', '.join(told)}; see the lines with -> above.", style=style)
