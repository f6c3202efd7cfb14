"""`jadfer doctor`."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from jadfer_cli.cli import options as shared
from jadfer_cli.cli.commands import INSTALLATION_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_json, stderr_console
from jadfer_cli.cli.tables import Cell, show, table, title
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from jadfer_cli.installation.findings import Finding

PANEL = INSTALLATION_PANEL
RUNS_WITHOUT_ARGUMENTS = True
HELP = """Check this installation, with a short test of every stage.

Lists versions, machine, CUDA, decoders, detectors and weights, and what to do about anything that \
is wrong. The exit code is 1 if there is a problem, else 0, also with warnings.

Examples:

  jadfer doctor

  jadfer doctor --json > doctor.json
"""

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(as_json: shared.JsonOption = False, debug: shared.DebugOption = False) -> None:
    """Check the installation."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.installation.doctor import examine
        from jadfer_cli.installation.findings import PROBLEM

        console = stderr_console()
        console.file = sys.stderr  # the checks redirect sys.stderr while they run
        with console.status("starting") as status:
            findings = list(examine(lambda group: status.update(f"checking: {group.lower()}")))
        n_problems = sum(finding.status == PROBLEM for finding in findings)
        if as_json:
            report = {"ok": not n_problems, "findings": [asdict(f) for f in findings]}
            print_json(report)
        else:
            _print(findings)
        if n_problems:
            raise typer.Exit(1)


def _print(findings: list[Finding]) -> None:
    """Prints the report: one heading per group, one line per finding, its remedy below."""
    width = max(len(finding.name) for finding in findings)
    parts: list[Table | Text] = []
    for group in dict.fromkeys(finding.group for finding in findings):
        rows: list[list[Cell]] = []
        for finding in (f for f in findings if f.group == group):
            style = _STYLES[finding.status]
            detail = Text(finding.detail)
            if finding.remedy:
                detail.append(f"\n-> {finding.remedy}", style=style)
            rows.append([(f"{finding.status:<7}", style), finding.name.ljust(width), detail])
        parts += [title(group), table((), rows), Text("")]
    show(*parts, _verdict(findings))


def _verdict(findings: list[Finding]) -> Text:
    counts = Counter(finding.status for finding in findings)
    bad = [status for status in ("problem", "warning") if counts[status]]
    if not bad:
        return Text("Everything works.", style="bold green")
    text = ", ".join(count_text(counts[status], status) for status in bad)
    return Text(f"{text}; see the lines with -> above.", style=_STYLES[bad[0]])
