"""One Parquet file in the making: row groups of bounded size, metadata last, then its name."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.common import explain_os_errors

_ROWS_A_GROUP = 50_000
# pandas.read_parquet turns the JSON under this key into DataFrame.attrs
ATTRS_KEY = b"PANDAS_ATTRS"
_ARROW_KEY = b"ARROW:schema"


class ParquetFile:
    """One Parquet file in the making, under a temporary name until `publish`.

    Args:
        out: Its final name.
        folder: Where it is until then, on the same disk.
        schema: Of the tables written, with pandas' metadata.

    Attributes:
        out: As given.
        path: Where it is now.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, out: Path, folder: Path, schema: pa.Schema) -> None:
        self.out, self.schema = out, schema
        self.path = folder / out.name
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        with explain_os_errors(out):
            self._file = open(self.path, "wb")
        # the schema is stored by `finish`, when the metadata that belong to it are known
        self._writer = pq.ParquetWriter(
            self._file, schema.remove_metadata(), compression="zstd", store_schema=False
        )

    def write(self, table: pa.Table) -> None:
        """Adds the rows of some whole frames."""
        if self._pending_rows + len(table) > _ROWS_A_GROUP:
            self._flush()
        self._pending.append(table)
        self._pending_rows += len(table)

    def _flush(self) -> None:
        if self._pending:
            # a frame never spans two row groups: tables hold whole frames
            table = pa.concat_tables(self._pending).unify_dictionaries()
            with explain_os_errors(self.out):
                self._writer.write_table(
                    table.replace_schema_metadata(None), row_group_size=max(len(table), 1)
                )
            self._pending, self._pending_rows = [], 0

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Completes the file, under its temporary name."""
        self._flush()
        attrs = json.dumps({"jadfer": metadata}, ensure_ascii=False).encode()
        entries = {**self.schema.metadata, ATTRS_KEY: attrs}
        stored = self.schema.with_metadata(entries).serialize()
        # as Arrow's own writer stores a schema; readers take types and metadata from it
        entries[_ARROW_KEY] = base64.b64encode(stored)
        self._writer.add_key_value_metadata(entries)
        with explain_os_errors(self.out):
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def publish(self) -> None:
        """Gives the finished file its final name."""
        with explain_os_errors(self.out):
            os.replace(self.path, self.out)

    def discard(self) -> None:
        """Removes it, unless it has its final name."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)
