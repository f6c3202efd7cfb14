"""Results with derived scores: copies of results, in new files, that every command reads.

The columns that `jadfer annotate` wrote are copied as they are. What was added, and how, is
listed in the metadata under "derived".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli._version import __version__
from jadfer_cli.common import check_writable
from jadfer_cli.errors import OptionError, OutputError, ResultError
from jadfer_cli.results.carried import copied_files
from jadfer_cli.results.columns import DERIVED
from jadfer_cli.results.extended import write_extended
from jadfer_cli.results.load import SUFFIX, Result, load
from jadfer_cli.results.paths import below_inputs, sidecar_path
from jadfer_cli.results.targets import refuse_existing
from jadfer_cli.text import encodable


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
    files = [path, sidecar_path(path), *copied_files(result, path)]
    refuse_existing(files, overwrite=overwrite)


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
    entry = {
        **added.entry,
        "columns": list(added.columns),
        "descriptions": dict(added.descriptions),
        "source": encodable(str(result.path)),
        "jadfer_version": __version__,
    }
    new = pd.DataFrame({name: values.astype(np.float32) for name, values in added.columns.items()})
    descriptions = {name: {"Description": text} for name, text in added.descriptions.items()}
    derived = {DERIVED: [*result.metadata.get(DERIVED, []), entry]}
    write_extended(result, new, out, derived, descriptions)
    return len(new)
