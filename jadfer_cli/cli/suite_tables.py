"""`jadfer evaluate --suite`: one table of several tests and models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.common import atomic_write, check_writable
from jadfer_cli.options import ModelOptions
from jadfer_cli.text import json_text

if TYPE_CHECKING:
    from jadfer_cli.training.suite import Row, Value

_NOTE = (
    "In brackets: 95 % bootstrap interval over images. Frames of a clip depend on each other, so "
    "their shares have none; a frame without a face counts as wrong. Label changes are between "
    "consecutive frames of a range in which the expression is the same. Labels changed: by a "
    "change to the picture that leaves the expression as it is."
)


def run_suite(
    file: Path,
    models: Sequence[str],
    machine: ModelOptions,
    json_file: Path | None,
    report: ConsoleReporter,
) -> None:
    """Measures the models, shows the table and writes it as JSON if a file is given."""
    from jadfer_cli.runtime import settle
    from jadfer_cli.training import suite

    if json_file is not None:
        check_writable(json_file)
    rows = suite.run(suite.read(file), models, settle(machine), report)
    head = ["test", "n", *models]
    lines = [
        [
            row.test,
            f"{row.n:,} s" if row.unit == "per second" else f"{row.n:,}",
            *(_cell(row, row.values.get(model)) for model in models),
        ]
        for row in rows
    ]
    show(title(file.name), table(head, lines), Text(_NOTE))
    if json_file is not None:
        with atomic_write(json_file) as part:
            tables = [dataclasses.asdict(row) for row in rows]
            part.write_text(json_text(tables, indent=1) + "\n", "utf-8", newline="\n")


def _cell(row: Row, found: Value | None) -> str:
    if found is None:
        return "-"
    if row.unit == "per second":
        return f"{found.value:.2f} / s"
    if row.unit == "error":
        low, high = found.interval or (0.0, 0.0)
        return f"{found.value:.3f} [{low:.3f}, {high:.3f}]"
    if found.interval is None:
        return f"{100 * found.value:.1f} %"
    low, high = found.interval
    return f"{100 * found.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
