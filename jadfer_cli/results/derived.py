"""Results with derived scores: copies of results, in new files, that every command reads.

The columns that `jadfer annotate` wrote are copied as they are. What was added, and how, is
listed in the metadata under "derived".
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from jadfer_cli._version import __version__
from jadfer_cli.common import atomic_write, check_writable
from jadfer_cli.errors import OptionError, OutputError, ResultError
from jadfer_cli.results.columns import column_descriptions
from jadfer_cli.results.load import SUFFIX, Result, load
from jadfer_cli.results.parquet import ResultFile
from jadfer_cli.results.paths import below_inputs, sidecar_path
from jadfer_cli.results.schema import result_schema
from jadfer_cli.results.targets import refuse_existing
from jadfer_cli.text import encodable, json_text

DERIVED = "derived"  # metadata entry: a list with one entry per set of added columns


@dataclass(frozen=True)
class Added:
    """Columns to add to a result.

    Attributes:
        columns: By name, float64 (n,), one value per row; NaN where there is none.
        descriptions: By name, what the column means.
        entry: What the metadata say of them, JSON-ready; needs `columns`, filled in here.
    """

    columns: Mapping[str, npt.NDArray[np.float64]]
    descriptions: Mapping[str, str]
    entry: dict[str, Any] = field(default_factory=dict)


def output_paths(
    results: Sequence[Result], inputs: Sequence[str], out: str, *, overwrite: bool
) -> dict[Path, Result]:
    """Return the file to write for each result, checked early.

    Args:
        results: At least one.
        inputs: As the user gave them; the tree below a folder among them is mirrored.
        out: A file that ends in .parquet for one result, or a folder.
        overwrite: Replace results that this wrote before; never those of `jadfer annotate`.

    Raises:
        OptionError: A file exists, or two results would have one output.
        OutputError: A file belongs to an original result, or cannot be written.
    """
    is_folder = not out.endswith(SUFFIX) or Path(out).is_dir()
    if not is_folder and len(results) > 1:
        raise OptionError(
            f"`out` {out} names one file, but there are {len(results)} results.",
            "Name a folder for the new results.",
        )
    paths: dict[Path, Result] = {}
    for result in results:
        path = Path(out) / below_inputs(result.path, inputs) if is_folder else Path(out)
        path = path.with_suffix(SUFFIX)
        if path in paths:
            raise OptionError(
                f"{paths[path].path} and {result.path} would both be written to {path}.",
                "Name the folder that holds both, with `recursive`; its subfolders are kept apart.",
            )
        _check(path, result, overwrite=overwrite)
        paths[path] = result
    return paths


def _check(path: Path, result: Result, *, overwrite: bool) -> None:
    if path.exists() and path.resolve() in (
        result.path.resolve(), (result.dataset or result.path).resolve(),
    ):  # fmt: skip
        raise OutputError(
            f"{path} is the result that is read, so it is not replaced.",
            "Choose another name or folder with `out`.",
        )
    check_writable(path)
    if path.is_file() and not _is_derived(path):
        raise OutputError(
            f"{path} exists and was not written by this command, so it is not replaced.",
            "Choose another name or folder with `out`.",
        )
    refuse_existing([path, sidecar_path(path)], overwrite=overwrite)


def _is_derived(path: Path) -> bool:
    try:
        return bool(load(path).metadata.get(DERIVED))
    except ResultError:
        return False


def write_derived(result: Result, out: Path, added: Added) -> int:
    """Write a copy of a result with further columns, and its sidecar.

    Args:
        result: The result; it is not changed.
        out: The new file; check it with `output_paths`.
        added: The columns.

    Returns:
        The number of rows.

    Raises:
        OptionError: The result has a column of this name; no column is ever replaced.
        ResultError: The result is damaged.
        OutputError: A file cannot be written.
    """
    if same := [name for name in added.columns if name in result.columns]:
        raise OptionError(
            f"{result.path} has the column {same[0]} already, and no column is replaced.",
            "Give the new columns another name with `name`.",
        )
    rows = result.rows()
    metadata = copy.deepcopy(result.metadata)
    metadata[DERIVED] = [
        *metadata.get(DERIVED, []),
        {
            **added.entry,
            "columns": list(added.columns),
            "descriptions": dict(added.descriptions),
            "source": encodable(str(result.path)),
            "jadfer_version": __version__,
        },
    ]
    new = {name: values.astype(np.float32) for name, values in added.columns.items()}
    rows = pd.concat([rows, pd.DataFrame(new, index=rows.index)], axis=1)
    meaning = result.metadata["model"].get("scores")
    descriptions = column_descriptions(result.labels, meaning) | _earlier(result) | {
        name: {"Description": text} for name, text in added.descriptions.items()
    }  # fmt: skip
    table = _typed(rows, result)
    with atomic_write(out) as part, atomic_write(sidecar_path(out)) as beside:
        text = json_text({"jadfer": metadata, **descriptions}, indent=2)
        beside.write_text(text + "\n", encoding="utf-8")
        file = ResultFile(part, part.parent, table.schema, metadata)
        try:
            file.write(table)
            file.finish()
        except BaseException:
            file.discard()
            raise
    return len(rows)


def _earlier(result: Result) -> dict[str, dict[str, str]]:
    """Descriptions of the columns that were added before."""
    return {
        name: {"Description": str(text)}
        for entry in result.metadata.get(DERIVED, [])
        for name, text in entry.get("descriptions", {}).items()
    }


def _typed(rows: pd.DataFrame, result: Result) -> pa.Table:
    """The rows as a table in which the columns of a result have the types that they always have."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    fixed = {field.name: field for field in result_schema(result.labels)}
    fields = [fixed.get(field.name, field) for field in table.schema]
    for i, wanted in enumerate(fields):
        # other programs turn categories into texts, which Arrow does not cast back
        if pa.types.is_dictionary(wanted.type) and not pa.types.is_dictionary(table.field(i).type):
            texts = table.column(i).cast(pa.string()).dictionary_encode()
            table = table.set_column(i, wanted.name, texts)
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))
