"""Writes rows as Parquet: a part that is checked and then renamed, so that no half file stays."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.common import explained
from jadfer_cli.errors import BusyError, OptionError, OutputError
from jadfer_cli.records import AnnotatedFrame
from jadfer_cli.results.columns import column_descriptions
from jadfer_cli.results.places import landmark_path, sidecar_path
from jadfer_cli.results.rows import check_coverage, count_rows, keep_tracks
from jadfer_cli.results.schema import (
    landmark_schema,
    landmark_table,
    result_schema,
    result_table,
)

_ROWS_A_GROUP = 50_000
# pandas.read_parquet turns the JSON under this key into DataFrame.attrs
_ATTRS_KEY = b"PANDAS_ATTRS"
_ARROW_KEY = b"ARROW:schema"


class _Part:
    """One Parquet file in the making, beside its final name and locked against other runs.

    The lock is that of the open file, so it ends with the process, however that ends; the file
    stays open until it has its final name.
    """

    def __init__(self, out: Path, schema: pa.Schema, suffix: str = ".part") -> None:
        self.out, self.schema = out, schema
        self.path = out.with_name(out.name + suffix)
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        with explained(out):
            self._file: BinaryIO = open(self.path, "a+b")
            try:
                _lock(self._file, self.path, out)
                self._file.truncate(0)
            except BaseException:
                self._file.close()
                raise
            # the schema is stored by `finish`, when the metadata that belong to it are known
            self._writer = pq.ParquetWriter(
                self._file, schema.remove_metadata(), compression="zstd", store_schema=False
            )

    def write(self, table: pa.Table) -> None:
        self._pending.append(table)
        self._pending_rows += len(table)
        if self._pending_rows >= _ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            # a frame never spans two row groups: tables hold whole frames
            table = pa.concat_tables(self._pending).unify_dictionaries()
            with explained(self.out):
                self._writer.write_table(
                    table.replace_schema_metadata(None), row_group_size=max(len(table), 1)
                )
            self._pending, self._pending_rows = [], 0

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Completes the file; it keeps its lock and its temporary name."""
        self._flush()
        attrs = json.dumps({"jadfer": metadata}, ensure_ascii=False).encode()
        entries = {**self.schema.metadata, _ATTRS_KEY: attrs}
        stored = self.schema.with_metadata(entries).serialize()
        # as Arrow's own writer stores a schema; readers take types and metadata from it
        entries[_ARROW_KEY] = base64.b64encode(stored)
        self._writer.add_key_value_metadata(entries)
        with explained(self.out):
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())

    def publish(self) -> None:
        """Gives the finished file its final name."""
        if os.name == "nt":  # where an open file cannot be renamed, and none is locked
            self._file.close()
        with explained(self.out):
            os.replace(self.path, self.out)
        self._file.close()

    def discard(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        if os.name == "nt":
            self._file.close()
        self.path.unlink(missing_ok=True)  # before the lock goes: the name is ours until then
        with contextlib.suppress(OSError):
            self._file.close()


def _lock(file: BinaryIO, path: Path, out: Path) -> None:
    """Holds `file`, which was opened at `path`, for this process."""
    try:
        import fcntl
    except ImportError:  # Windows has none; there the last run wins
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # another run may have renamed or removed it since it was opened
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise BusyError(
        f"Another run of jadfer is writing {out} now.", "Wait for it, or write elsewhere."
    )


def is_being_written(out: Path) -> bool:
    """Whether another process is writing this result now."""
    try:
        import fcntl

        with open(out.with_name(out.name + ".part"), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # Windows has no such locks; or there is no such file
        return False
    return False


def remove_leftovers(out: Path) -> None:
    """Removes the parts that a killed process left of a result, unless somebody writes them."""
    if is_being_written(out):
        return
    side = sidecar_path(out)
    for final in (out, landmark_path(out)):
        for suffix in (".part", ".kept.part"):
            final.with_name(final.name + suffix).unlink(missing_ok=True)
    side.with_name(side.name + ".part").unlink(missing_ok=True)


class ResultSink:
    """The result of one video on its way to disk.

    Use as a context manager: unless `commit` was reached, everything is removed again.

    Args:
        out: The final Parquet file.
        video: What the `video` column says.
        labels: The model's labels.
        landmarks: Also write a file of landmarks.
        overwrite: Replace files of an earlier run.

    Raises:
        OptionError: A file exists and `overwrite` is off.
        OutputError: A file cannot be written.
    """

    def __init__(
        self, out: Path, video: str, labels: Sequence[str], *, landmarks: bool, overwrite: bool
    ) -> None:
        self.out, self.video, self.labels = out, video, tuple(labels)
        self._finals = [out, sidecar_path(out), *([landmark_path(out)] if landmarks else [])]
        refuse_existing(self._finals, overwrite=overwrite)
        self._made_folders = _make_folders(out.parent)
        self._parts: list[_Part] = []
        self._kept: list[_Part] = []
        self._committed = False
        try:
            self._parts.append(_Part(out, result_schema(labels)))
            if landmarks:
                self._parts.append(_Part(landmark_path(out), landmark_schema()))
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def write(self, frames: Sequence[AnnotatedFrame]) -> None:
        """Adds frames, in ascending order.

        Raises:
            OutputError: They cannot be written.
        """
        self._parts[0].write(result_table(frames, self.video, self.labels))
        if len(self._parts) > 1:
            self._parts[1].write(landmark_table(frames, self.video))

    def keep(self, tracks: Mapping[int, int]) -> dict[str, int]:
        """Leaves out all other tracks; frames left empty stay as one row. Call before `commit`.

        Args:
            tracks: Track ids to keep, each with its new id; the order of ids must not change.

        Returns:
            Counts of the rows kept, as `count_rows`.
        """
        counts: Counter[str] = Counter()
        for part in self._parts:
            part.finish({})
            kept = _Part(part.out, part.schema, ".kept.part")
            self._kept.append(kept)
            with pq.ParquetFile(part.path) as file:
                for i in range(file.num_row_groups):
                    rows = keep_tracks(file.read_row_group(i).to_pandas(), tracks)
                    kept.write(pa.Table.from_pandas(rows, part.schema, preserve_index=False))
                    if part is self._parts[0]:
                        counts.update(count_rows(rows))
        return dict(counts) | {"tracks": len(tracks)}

    def commit(
        self,
        metadata: Mapping[str, Any],
        expected: npt.NDArray[np.int64],
    ) -> None:
        """Closes, checks and publishes the files; the Parquet result comes last.

        Args:
            metadata: For the file and the sidecar; JSON-ready.
            expected: Every frame that must be there.

        Raises:
            OutputError: Writing fails, or the rows do not cover the frames.
        """
        parts = self._kept or self._parts
        for part in parts:
            part.finish(metadata)
        check_coverage(parts[0].path, expected, self.out)
        sidecar = {"jadfer": metadata, **column_descriptions(self.labels)}
        text = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
        side = sidecar_path(self.out)
        side_part = side.with_name(side.name + ".part")
        published: list[Path] = []
        try:
            with explained(side):
                side_part.write_text(text, encoding="utf-8")
                os.replace(side_part, side)
            published.append(side)
            for part in reversed(parts):
                part.publish()
                published.append(part.out)
        except BaseException:
            for path in (side_part, *published):
                path.unlink(missing_ok=True)
            raise
        self._committed = True
        if self._kept:
            for part in self._parts:  # the rows of everybody
                part.discard()
        if len(parts) == 1:
            _remove_old_landmarks(landmark_path(self.out))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._committed:
            return
        for part in (*self._parts, *self._kept):
            part.discard()
        for folder in reversed(self._made_folders):
            with contextlib.suppress(OSError):
                folder.rmdir()


def refuse_existing(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Checks that every path may be written: it is new, or ours to replace.

    Raises:
        OptionError: A file exists and `overwrite` is off.
        OutputError: What exists is no regular file, or a JSON file of somebody else.
    """
    for path in paths:  # what no option helps against comes first
        with explained(path):
            if path.exists() and not path.is_file():
                raise OutputError(
                    f"{path} exists and is no regular file.", "Choose a file with -o."
                )
            if path.suffix == ".json" and path.exists() and not _is_sidecar(path):
                raise OutputError(
                    f"{path} exists and was not written by jadfer, so it is not replaced.",
                    "The result's sidecar would have that name; choose another -o.",
                )
    for path in paths:
        with explained(path):
            if not overwrite and (path.exists() or path.is_symlink()):
                raise OptionError(
                    f"{path} exists already.",
                    "Add --overwrite to replace it, or choose another -o.",
                )


def _is_sidecar(path: Path) -> bool:
    try:
        return "jadfer" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _make_folders(folder: Path) -> list[Path]:
    """Makes a folder and its parents; gives those that were not there, outermost first."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    made: list[Path] = []
    with explained(folder):
        for f in reversed(missing):
            f.mkdir(exist_ok=True)
            made.append(f)
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder.", "Choose another place with -o.")
    return made


def _remove_old_landmarks(path: Path) -> None:
    """Landmarks of an earlier run belong to other rows now, and nobody asked for them again."""
    with contextlib.suppress(OSError, pa.ArrowException):
        if path.is_file() and _ATTRS_KEY in (pq.read_schema(path).metadata or {}):
            path.unlink()
