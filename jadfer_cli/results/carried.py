"""The facial actions of a result, which go with every copy of it that a command writes.

Landmarks and meshes do not: they identify people, and stay where they were written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.common import atomic_write
from jadfer_cli.errors import ResultError
from jadfer_cli.results.columns import action_descriptions
from jadfer_cli.results.companions import ACTIONS, COMPANIONS
from jadfer_cli.results.load import Result
from jadfer_cli.results.parquet import ResultFile
from jadfer_cli.results.paths import collected_path, companion_path, sidecar_path
from jadfer_cli.results.schema import category
from jadfer_cli.text import json_text


def beside(result: Result, name: str) -> Path:
    """Return where a file beside a result is, or would be.

    Args:
        result: The result; if it is part of a dataset, the file lies beside that.
        name: See `companions`.
    """
    if result.dataset is None:
        return companion_path(result.path, name)
    # the dataset may be a folder with this file in it
    folders = (result.dataset, *result.dataset.parents[:-1])
    paths = [collected_path(path, name) for path in folders]
    return next((path for path in paths if path.is_file()), paths[0])


def has_actions(result: Result) -> bool:
    """Whether a file of actions belongs to a result and lies beside it."""
    return ACTIONS in result.metadata and beside(result, ACTIONS).is_file()


def copied_files(result: Result, out: Path) -> list[Path]:
    """Return the files that `copy_actions` writes: actions and their sidecar, or none."""
    if not has_actions(result) or out.resolve() == result.path.resolve():
        return []
    actions = companion_path(out, ACTIONS)
    return [actions, sidecar_path(actions)]


def copy_actions(result: Result, out: Path) -> None:
    """Copy the actions of a result, if it has some, beside its copy `out`.

    Raises:
        ResultError: The actions are damaged.
        OutputError: A file cannot be written.
    """
    if not (files := copied_files(result, out)):
        return
    actions, sidecar = files
    source = beside(result, ACTIONS)
    described = {"jadfer": result.metadata, **action_descriptions()}
    with (
        atomic_write(actions, durable=True) as part,
        atomic_write(sidecar, durable=True) as text,
    ):
        text.write_text(json_text(described, indent=2) + "\n", encoding="utf-8", newline="\n")
        if result.dataset is None:
            shutil.copyfile(source, part)
            return
        schema = COMPANIONS[ACTIONS].schema()
        file = ResultFile(part, part.parent, schema, result.metadata)
        try:
            file.write(_rows_of(result, source, schema))
            file.finish()
        except BaseException:
            file.discard()
            raise


def _rows_of(result: Result, source: Path, schema: pa.Schema) -> pa.Table:
    """The actions of one video of a dataset."""
    name = result.video or ""
    try:
        rows = pq.read_table(source, filters=[("video", "==", name)]).select(schema.names)
        column = category(pa.array([0] * len(rows), pa.int32()), [name])
        return rows.set_column(0, "video", column).cast(schema)
    except (OSError, ValueError, LookupError) as error:  # pyarrow's errors are ValueErrors
        raise ResultError(
            f"{source} is damaged ({error}).", "Collect the results again."
        ) from error
