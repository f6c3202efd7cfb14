"""The facial actions of all results of a dataset, in one file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli._version import __version__
from jadfer_cli.analysis.actions import COLLECTED, all_rows, origin
from jadfer_cli.analysis.dataset.check import Dataset
from jadfer_cli.common import already_exists, atomic_write, check_writable
from jadfer_cli.errors import OutputError
from jadfer_cli.results.carried import has_actions
from jadfer_cli.results.companions import ACTIONS, COMPANIONS
from jadfer_cli.results.members import is_collected
from jadfer_cli.results.parquet import ATTRS_KEY
from jadfer_cli.results.paths import collected_path


def check_actions_out(out: Path, *, overwrite: bool) -> None:
    """Check early that the actions beside a dataset may be written.

    Args:
        out: The dataset, a file or a folder.
        overwrite: Replace those of an earlier dataset, never another file.

    Raises:
        OptionError: They exist, and `overwrite` is off.
        OutputError: Another file exists, or it cannot be written.
    """
    path = collected_path(out, ACTIONS)
    check_writable(path)
    if not path.exists():
        return
    if not is_collected(path, COLLECTED):
        raise OutputError(
            f"{path} exists and does not hold the actions of a dataset, so it is not replaced.",
            "Choose another name with `out`.",
        )
    if not overwrite:
        raise already_exists(path)


def write_actions(dataset: Dataset, out: Path) -> tuple[Path, int, int] | None:
    """Write the actions of all results that have some, and remove those of an earlier dataset.

    Args:
        dataset: The results.
        out: The dataset, a file or a folder; check it with `check_actions_out`.

    Returns:
        The file, its number of videos and that of its rows; None if no result has actions.

    Raises:
        ResultError: A file of actions is damaged, or belongs to another run than its result.
        OutputError: The file cannot be written.
    """
    path = collected_path(out, ACTIONS)
    sources = [source for source in dataset.sources if has_actions(source.result)]
    if not sources:
        if path.exists() and is_collected(path, COLLECTED):
            path.unlink()
        return None
    kept: dict[str, Any] = {source.video: origin(source.result.metadata) for source in sources}
    attrs = {"jadfer": {"jadfer_version": __version__, COLLECTED: kept}}
    plain = COMPANIONS[ACTIONS].schema()
    header = {**plain.metadata, ATTRS_KEY: json.dumps(attrs, ensure_ascii=False).encode()}
    n_rows = 0
    with (
        atomic_write(path) as part,
        pq.ParquetWriter(part, plain.with_metadata(header), compression="zstd") as writer,
    ):
        for source in sources:
            rows = all_rows(source.result)
            rows.insert(0, "video", source.video)
            table = pa.Table.from_pandas(rows, plain, preserve_index=False)
            writer.write_table(table.replace_schema_metadata(header), max(len(table), 1))
            n_rows += len(table)
    return path, len(sources), n_rows
