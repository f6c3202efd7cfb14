"""The Parquet files of a result: reading their metadata, and writing one in row groups."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.common import explain_os_errors, fsync_file
from jadfer_cli.text import parsed_json

_MAX_GROUP_ROWS = 50_000
# pandas.read_parquet turns the JSON under this key into DataFrame.attrs.
ATTRS_KEY = b"PANDAS_ATTRS"


def refuse_pipe(path: Path) -> None:
    """Refuse a pipe or a device, where reading may never end.

    Raises:
        OSError: The path is one, or does not exist.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def read_schema(path: Path) -> pa.Schema:
    """Return the schema of a Parquet file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no Parquet file.
    """
    refuse_pipe(path)
    return pq.read_schema(path)


def read_attrs(path: Path) -> dict[str, Any]:
    """Return what pandas would give as `.attrs`; empty if the file has no such metadata.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no Parquet file, or its attrs are not JSON.
    """
    return attrs_of(read_schema(path))


def attrs_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the attrs that are stored in the schema of a Parquet file; {} if there are none.

    Raises:
        ValueError: They are not JSON.
    """
    text = (schema.metadata or {}).get(ATTRS_KEY)
    if text is None:
        return {}
    # NaN and Infinity are not JSON, and no entry can have such a value
    attrs = parsed_json(text, parse_constant=lambda _: None)
    return attrs if isinstance(attrs, dict) else {}


class ResultFile:
    """A Parquet file that is written under a temporary name and published when complete.

    Args:
        out: Its final name.
        folder: Where it is kept until it is published; on the same disk as `out`.
        schema: Of the tables written, including pandas' metadata.
        metadata: Stored under "jadfer" in the file's attrs; JSON-ready.

    Attributes:
        out: As given.
        path: The temporary name.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(
        self, out: Path, folder: Path, schema: pa.Schema, metadata: Mapping[str, Any]
    ) -> None:
        self.out, self.path = out, folder / out.name
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        attrs = json.dumps({"jadfer": metadata}, ensure_ascii=False).encode()
        schema = schema.with_metadata({**schema.metadata, ATTRS_KEY: attrs})
        with explain_os_errors(out):
            self._writer = pq.ParquetWriter(self.path, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        """Add rows; all rows of a frame must come in one table.

        A row group holds whole tables, so no frame is split between two groups.
        """
        if self._pending_rows + len(table) > _MAX_GROUP_ROWS:
            self._flush()
        self._pending.append(table)
        self._pending_rows += len(table)

    def _flush(self) -> None:
        if self._pending:
            table = pa.concat_tables(self._pending).unify_dictionaries()
            with explain_os_errors(self.out):
                self._writer.write_table(table, row_group_size=max(len(table), 1))
            self._pending, self._pending_rows = [], 0

    def finish(self) -> None:
        """Complete the file under its temporary name."""
        self._flush()
        with explain_os_errors(self.out):
            self._writer.close()
            fsync_file(self.path)

    def publish(self) -> None:
        """Give the finished file its final name."""
        with explain_os_errors(self.out):
            os.replace(self.path, self.out)

    def discard(self) -> None:
        """Remove the file, unless it has been published."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        self.path.unlink(missing_ok=True)
