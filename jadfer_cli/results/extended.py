"""Write a result again with more columns; the original stays as it is, unless that is asked for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from jadfer_cli.common import explain_os_errors, fsync_folder
from jadfer_cli.results.columns import column_descriptions
from jadfer_cli.results.load import Result
from jadfer_cli.results.parquet import ResultFile
from jadfer_cli.results.paths import sidecar_path
from jadfer_cli.results.schema import person_schema, result_schema
from jadfer_cli.text import json_text, parsed_json


def write_extended(
    result: Result,
    added: pd.DataFrame,
    out: Path,
    metadata: Mapping[str, Any],
    descriptions: Mapping[str, Mapping[str, str]],
) -> None:
    """Write a result and its sidecar, with columns added or replaced; completely or not at all.

    Args:
        result: The original, which may be `out` itself.
        added: The columns, one row per row of the result.
        out: The new result.
        metadata: What is stored under "jadfer" beside the original's metadata.
        descriptions: Of the added columns, as `columns.column_descriptions` gives them.

    Raises:
        ResultError: The original is damaged.
        OutputError: A file cannot be written.
    """
    rows = result.rows().reset_index(drop=True)
    described = _descriptions(result)
    rows = rows.assign(**{str(name): added[name] for name in added})
    table = _table(rows, result)
    full = {**result.metadata, **metadata}
    with explain_os_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    # hidden, so that no command takes an unfinished file for a result
    file = ResultFile(out.with_name(f".{out.name}"), out.parent, table.schema, full)
    temporary = sidecar_path(out).with_name(f".{sidecar_path(out).name}")
    try:
        file.write(table)
        file.finish()
        text = json_text({"jadfer": full, **described, **descriptions}, indent=2) + "\n"
        with explain_os_errors(out):
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, sidecar_path(out))
            os.replace(file.path, out)
            fsync_folder(out.parent)
    except BaseException:
        file.discard()
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _table(rows: pd.DataFrame, result: Result) -> pa.Table:
    """The rows with the types that a result has; unknown columns keep those that pandas gives."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    known = {field.name: field.type for field in (*result_schema(result.labels), *person_schema())}
    fields = [pa.field(f.name, known.get(f.name, f.type)) for f in table.schema]
    metadata = {key: value for key, value in table.schema.metadata.items() if key == b"pandas"}
    columns = [_cast(table[field.name], field.type) for field in fields]
    return pa.table(columns, schema=pa.schema(fields, metadata))


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    """A column with that type; of a category, all values it may have are kept."""
    values = column.combine_chunks()
    if not pa.types.is_dictionary(kind):
        return values.cast(kind)
    if not pa.types.is_dictionary(values.type):
        values = values.cast(kind.value_type).dictionary_encode()
    texts = values.dictionary.cast(kind.value_type)
    return pa.DictionaryArray.from_arrays(values.indices.cast(kind.index_type), texts)


def _descriptions(result: Result) -> dict[str, Any]:
    """The descriptions of a result's columns: those in its sidecar, or else the standard ones."""
    standard: dict[str, Any] = dict(
        column_descriptions(result.labels, result.metadata["model"].get("scores"))
    )
    try:
        stored = parsed_json(sidecar_path(result.path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return standard
    if isinstance(stored, dict):
        standard |= {k: v for k, v in stored.items() if k in result.columns}
    return standard
