"""Tables with a JSON sidecar, which says how they were made and what their columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jadfer_cli.analysis.find import TABLE_KEY
from jadfer_cli.analysis.formats.base import Meaning, TextStyle
from jadfer_cli.analysis.tabular import check_target, ending_of, table_endings, write_table
from jadfer_cli.common import already_exists, atomic_write
from jadfer_cli.errors import OutputError
from jadfer_cli.text import json_text, parsed_json

if TYPE_CHECKING:
    import pandas as pd

_JSON = (".json", ".jsonl")


def described_by(out: Path) -> Path:
    """Return the sidecar of a table: x.json for x.csv, x.columns.json for x.json."""
    ending = ending_of(out)
    stem = out.name.removesuffix(ending)
    return out.with_name(f"{stem}{'.columns' if ending in _JSON else ''}.json")


def check_described(out: Path, *, overwrite: bool) -> None:
    """Check early that a table and its sidecar may be written.

    Raises:
        OptionError: The suffix is unknown, or a file exists.
        OutputError: A file belongs to something else, or cannot be written.
    """
    check_target(out, overwrite=overwrite, endings=table_endings())
    sidecar = described_by(out)
    if not sidecar.exists():
        return
    try:
        content = parsed_json(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not (isinstance(content, dict) and TABLE_KEY in content):
        raise OutputError(
            f"{sidecar} exists and does not describe a table of jadfer, so it is not replaced.",
            "The sidecar of the table would have this name; choose another `out`.",
        )
    if not overwrite:
        raise already_exists(sidecar)


def write_described(
    table: pd.DataFrame, out: Path, style: TextStyle, meaning: Meaning, settings: Mapping[str, Any]
) -> None:
    """Write a table and its sidecar; call `check_described` before the work starts.

    Args:
        table: The table.
        out: Its file.
        style: Of .csv and .tsv.
        meaning: Of its columns.
        settings: How it was made, JSON-ready.

    Raises:
        OutputError: A file cannot be written.
    """
    columns = {name: {"Description": text} for name, text in meaning.descriptions.items()}
    text = json_text({TABLE_KEY: dict(settings), **columns}, indent=2)
    with atomic_write(described_by(out)) as part:
        part.write_text(text + "\n", encoding="utf-8", newline="\n")
        write_table(table, out, style, meaning)
