"""Writes rows as Parquet: a part that is checked and then renamed, so that no half file stays."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.records import AnnotatedFrame
from jadfer_cli.results.columns import column_descriptions
from jadfer_cli.results.schema import (
    landmark_schema,
    landmark_table,
    result_schema,
    result_table,
)

_ROWS_A_GROUP = 50_000
_KEY = ("video", "frame", "time_s", "duration_s", "frame_status", "face_detected", "n_faces")
# pandas.read_parquet turns the JSON under this key into DataFrame.attrs
_ATTRS_KEY = b"PANDAS_ATTRS"
_ARROW_KEY = b"ARROW:schema"


def sidecar_path(out: Path) -> Path:
    """Where the JSON sidecar of a result goes: clip.parquet has clip.json."""
    return out.with_suffix(".json")


def landmark_path(out: Path) -> Path:
    """Where the landmarks of a result go: clip.parquet has clip.landmarks.parquet."""
    return out.with_suffix(".landmarks.parquet")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns an OSError about `path` into an OutputError with a hint."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "The disk is full; make room or write elsewhere.",
            errno.EDQUOT: "Your disk quota is used up; make room or write elsewhere.",
            errno.EFBIG: "A limit on file sizes is set here (see `ulimit -f`).",
            errno.EACCES: "You may not write there; choose another folder with -o.",
            errno.EPERM: "You may not write there; choose another folder with -o.",
            errno.EROFS: "That disk is read-only; choose another folder with -o.",
            errno.ENAMETOOLONG: "Choose a shorter name with -o.",
            errno.ENOTDIR: "A part of that path is a file, not a folder.",
        }
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(f"Cannot write {path}: {reason}.", hints.get(error.errno or 0)) from error


class _Part:
    """One Parquet file in the making, beside its final name and locked against other runs."""

    def __init__(self, out: Path, schema: pa.Schema) -> None:
        self.out, self.schema = out, schema
        self.path = out.with_name(out.name + ".part")
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        with _explained(out):
            self._file: BinaryIO = open(self.path, "a+b")
            try:
                _lock(self._file, out)
                self._file.truncate(0)
            except BaseException:
                self._file.close()
                raise
            # the schema is stored by `close`, when the metadata that belong to it are known
            self._writer = pq.ParquetWriter(
                self._file, schema.remove_metadata(), compression="zstd", store_schema=False
            )

    def write(self, table: pa.Table) -> None:
        self._pending.append(table)
        self._pending_rows += len(table)
        if self._pending_rows >= _ROWS_A_GROUP:
            self.flush()

    def flush(self) -> None:
        if self._pending:
            # a frame never spans two row groups: tables hold whole frames
            table = pa.concat_tables(self._pending).unify_dictionaries()
            with _explained(self.out):
                self._writer.write_table(
                    table.replace_schema_metadata(None), row_group_size=max(len(table), 1)
                )
            self._pending, self._pending_rows = [], 0

    def close(self, metadata: Mapping[str, Any]) -> None:
        self.flush()
        attrs = json.dumps({"jadfer": metadata}, ensure_ascii=False).encode()
        entries = {**self.schema.metadata, _ATTRS_KEY: attrs}
        stored = self.schema.with_metadata(entries).serialize()
        # as Arrow's own writer stores a schema; readers take types and metadata from it
        entries[_ARROW_KEY] = base64.b64encode(stored)
        self._writer.add_key_value_metadata(entries)
        with _explained(self.out):
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


def _lock(file: BinaryIO, out: Path) -> None:
    """Holds the part for this process; the lock ends with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows has none; there the last run wins
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"Another run of jadfer is writing {out} now.", "Wait for it, or write elsewhere."
        ) from error


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

    def commit(
        self,
        metadata: Mapping[str, Any],
        expected: npt.NDArray[np.int64],
        keep: Mapping[int, int] | None = None,
    ) -> None:
        """Closes, checks and publishes the files; the Parquet result comes last.

        Args:
            metadata: For the file and the sidecar; JSON-ready.
            expected: Every frame that must be there.
            keep: Track ids to keep, each with its new id; None keeps all as they are.

        Raises:
            OutputError: Writing fails, or the rows do not cover the frames.
        """
        if keep is not None:
            self._parts = [_filtered(part, keep) for part in self._parts]
        for part in self._parts:
            part.close(metadata)
        check_coverage(self._parts[0].path, expected, self.out)
        sidecar = {"jadfer": metadata, **column_descriptions(self.labels)}
        side = sidecar_path(self.out)
        side_part = side.with_name(side.name + ".part")
        with _explained(side):
            try:
                side_part.write_text(json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n")
                os.replace(side_part, side)
            finally:
                side_part.unlink(missing_ok=True)
        for part in reversed(self._parts):
            with _explained(part.out):
                os.replace(part.path, part.out)
        self._committed = True

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
        for part in self._parts:
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
    for path in paths:
        _refuse_existing(path, overwrite=overwrite)


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    with _explained(path):
        if not (path.exists() or path.is_symlink()):
            return
        if not path.is_file():
            raise OutputError(f"{path} exists and is no regular file.", "Choose a file with -o.")
        if not overwrite:
            raise OptionError(
                f"{path} exists already.", "Add --overwrite to replace it, or choose another -o."
            )
        if path.suffix == ".json" and not _is_sidecar(path):
            raise OutputError(
                f"{path} exists and was not written by jadfer, so it is not replaced.",
                "The result's sidecar would have that name; choose another -o.",
            )


def _is_sidecar(path: Path) -> bool:
    try:
        return "jadfer" in json.loads(path.read_text())
    except (OSError, ValueError, TypeError):
        return False


def _make_folders(folder: Path) -> list[Path]:
    """Makes a folder and its parents; gives those that were not there, outermost first."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    made: list[Path] = []
    with _explained(folder):
        for f in reversed(missing):
            f.mkdir(exist_ok=True)
            made.append(f)
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder.", "Choose another place with -o.")
    return made


def check_coverage(path: Path, expected: npt.NDArray[np.int64], out: Path) -> None:
    """Reads keys back and checks them: every frame there, sorted, no key twice.

    Raises:
        OutputError: They are not; nothing is published then.
    """
    keys = pq.read_table(path, columns=["frame", "track_id"])
    frame = keys["frame"].to_numpy()
    track = keys["track_id"].fill_null(-1).to_numpy()
    order = frame.astype(np.int64) * (1 << 32) + track
    if not np.array_equal(np.unique(frame), expected) or (np.diff(order) <= 0).any():
        raise OutputError(
            f"{out}: the rows written do not cover the frames of the video; nothing was kept.",
            "This is a mistake in jadfer; please report it with the file.",
        )


def _filtered(part: _Part, keep: Mapping[int, int]) -> _Part:
    """A part with only the tracks in `keep`, renumbered; frames left empty stay as one row."""
    part.flush()
    with _explained(part.out):
        part._writer.close()
        part._file.flush()
        source = part.path.with_name(part.path.name + "2")
        os.replace(part.path, source)
    try:
        with pq.ParquetFile(source) as file:
            result = _Part(part.out, part.schema)
            for i in range(file.num_row_groups):
                rows = keep_tracks(file.read_row_group(i).to_pandas(), keep)
                result.write(pa.Table.from_pandas(rows, part.schema, preserve_index=False))
    finally:
        part._file.close()
        source.unlink(missing_ok=True)
    return result


def keep_tracks(rows: pd.DataFrame, keep: Mapping[int, int]) -> pd.DataFrame:
    """Rows of some tracks only, renumbered.

    Args:
        rows: Whole frames of a result or of a landmark file.
        keep: Track ids to keep, each with its new id; the order of ids must not change.

    Returns:
        The rows kept; a frame left without a face has one row without a face.
    """
    if "face_detected" not in rows:  # landmarks: a row a face, nothing to blank
        rows = rows[rows["track_id"].isin(list(keep))]
        return rows.assign(track_id=rows["track_id"].map(keep).astype("int32"))
    kept = rows["track_id"].isin(list(keep)).fillna(False).astype(bool)
    n_faces = kept.groupby(rows["frame"]).transform("sum")
    first = ~rows["frame"].duplicated()
    rows = rows[kept | (first & (n_faces == 0))].copy()
    has_face = rows["track_id"].isin(list(keep)).fillna(False).astype(bool)
    rows["n_faces"] = n_faces[rows.index].astype("int16")
    rows["face_detected"] = has_face
    rows["track_id"] = rows["track_id"].map(keep).astype("Int32")
    blank = [str(name) for name in rows.columns if name not in _KEY]
    rows[blank] = rows[blank].where(has_face)
    return rows
