"""Write a result again with more columns; the original stays as it is, unless that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from jadfer_cli.common import atomic_write
from jadfer_cli.results.carried import copy_actions
from jadfer_cli.results.columns import descriptions_of
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

    Columns of a result get the types that they always have. Actions beside the original are copied
    first, see `carried`.

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
    copy_actions(result, out)
    described = _descriptions(result)  # first, since `out` may be the original
    rows = rows.assign(**{str(name): added[name] for name in added})
    table = _table(rows, result)
    full = {**result.metadata, **metadata}
    text = json_text({"jadfer": full, **described, **descriptions}, indent=2) + "\n"
    with (
        atomic_write(out, durable=True) as part,
        atomic_write(sidecar_path(out), durable=True) as beside,
    ):
        beside.write_text(text, encoding="utf-8", newline="\n")
        file = ResultFile(part, part.parent, table.schema, full)
        try:
            file.write(table)
            file.finish()
        except BaseException:
            file.discard()
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
    standard: dict[str, Any] = dict(descriptions_of(result.metadata, result.columns))
    try:
        stored = parsed_json(sidecar_path(result.path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return standard
    if isinstance(stored, dict):
        standard |= {k: v for k, v in stored.items() if k in result.columns}
    return standard
