"""A result in the making: parts of it in a hidden folder beside it, from which a run goes on.

    .clip.parquet.parts/
      lock            held by the run that is at it, for as long as its process lives
      key.json        what decides the rows: video, model, detector, options
      000000.part     Parquet: the rows of consecutive frames, and what else to remember of them
      publishing      there while finished files get their final names

A part is written whole and then named, so each is there or is not. The folder goes when the
result has its name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.common import explain_os_errors
from jadfer_cli.errors import BusyError
from jadfer_cli.results.parquet import ATTRS_KEY
from jadfer_cli.results.paths import landmark_path, sidecar_path
from jadfer_cli.results.schema import landmark_schema

# A kill costs at most so much work, and the frames since the last look at a whole one.
PART_S = 5.0
# Or so many rows, so that memory does not grow with the number of faces.
_ROWS_A_PART = 20_000
_LOCK, _KEY, _PUBLISHING = "lock", "key.json", "publishing"
_FACTS = b"jadfer_part"
# Somebody who only asks whether the lock is held holds it for a moment himself.
_TRY_AGAIN_S = (0.02, 0.05, 0.1)
# How network disks say that they cannot lock files, or make names in a folder outlast all.
_NOT_HERE = {
    errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF,
    errno.EACCES, errno.EPERM,
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What a part says of itself.

    Attributes:
        number: Its place, from 0.
        end: Index in the source of the frame after it.
        end_s: That frame's time.
        wall_s: What its frames took, seconds.
        taken_up: The index of its first frame, if a run was taken up there.
        decoders: (index, name) for each decoder that came to give pictures in it.
        warnings: (index, text) for what the reader had to say.
    """

    number: int
    end: int
    end_s: float
    wall_s: float
    taken_up: int | None
    decoders: list[tuple[int, str]]
    warnings: list[tuple[int, str]]


@dataclass(frozen=True)
class Part:
    """A part read back: its facts, and its rows as of `schema.part_table`."""

    facts: Facts
    rows: pa.Table


class Parts:
    """The parts of one result, held against other runs until `close`.

    Args:
        out: The result.
        key: What decides its rows, JSON-ready; parts of another key are discarded. None
            discards all.

    Attributes:
        folder: Where they are; for other files that belong to the making, too.
        n: Parts read back or added so far.
        end, end_s: Index and time of the frame after those; 0 before the first.
        discarded: What differs between the key and that of parts that were there.

    Raises:
        BusyError: Another run holds them.
        OutputError: The folder cannot be written.
    """

    def __init__(self, out: Path, key: Mapping[str, Any] | None) -> None:
        self.out, self.folder = out, parts_folder(out)
        self.n, self.end, self.end_s = 0, 0, 0.0
        self.discarded: list[str] = []
        with explain_os_errors(out):
            self._lock = _hold(out)
            try:
                self._begin(key)
            except BaseException:
                self.close(keep=True)
                raise

    def _begin(self, key: Mapping[str, Any] | None) -> None:
        _take_back(self.out)
        ours = None if key is None else json.loads(json.dumps(key))
        theirs = _read_json(self.folder / _KEY)
        if ours is not None and ours == theirs:
            return
        if ours and theirs and self._any():
            self.discarded = [name for name in ours if ours[name] != theirs.get(name)]
        self._clear()
        if ours is not None:
            self._write(_KEY, json.dumps(ours).encode())

    def stored(self) -> Iterator[Part]:
        """The parts there are, in order, up to the first that is missing or damaged."""
        self.n, self.end, self.end_s = 0, 0, 0.0
        while (part := _read(self._path(self.n))) is not None and part.facts.number == self.n:
            self.n, self.end, self.end_s = self.n + 1, part.facts.end, part.facts.end_s
            yield part
        self._drop_from(self.n)

    def tables(self) -> Iterator[pa.Table]:
        """The rows of each part.

        Raises:
            OutputError: A part cannot be read back.
        """
        for number in range(self.n):
            part = _read(self._path(number))
            if part is None:
                with explain_os_errors(self.out):
                    raise OSError("a part of it could not be read back")
            else:
                yield part.rows

    def due(self, rows: int, seconds: float) -> bool:
        """Whether so many rows, or so much work, are worth a part."""
        return seconds >= PART_S or rows >= _ROWS_A_PART

    def add(self, rows: pa.Table, facts: Facts) -> None:
        """Stores the next part; it outlasts a power cut.

        Raises:
            OutputError: It cannot be written.
        """
        entries = {**(rows.schema.metadata or {}), _FACTS: json.dumps(dataclasses.asdict(facts))}
        with explain_os_errors(self.out):
            new = self.folder / "new"
            with new.open("wb") as file:
                pq.write_table(
                    rows.replace_schema_metadata(entries), file,
                    compression="zstd", write_page_checksum=True,
                )  # fmt: skip
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self._path(self.n))
            self._path(self.n + 1).unlink(missing_ok=True)  # of a run that was not taken up
            fsync_folder(self.folder)
        self.n, self.end, self.end_s = self.n + 1, facts.end, facts.end_s

    def start_over(self) -> None:
        """Drops all parts; new ones have the same key."""
        self.n, self.end, self.end_s = 0, 0, 0.0
        with explain_os_errors(self.out):
            self._drop_from(0)

    def _clear(self) -> None:
        """Removes all but the lock."""
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                _remove(path)

    def publishing(self) -> None:
        """From now on files get their final names; a run after a kill will know."""
        with explain_os_errors(self.out):
            self._write(_PUBLISHING, b"")

    def close(self, *, keep: bool) -> None:
        """Lets others at the result.

        Args:
            keep: Leave whole parts for the next run, if there is any.
        """
        with contextlib.suppress(OSError):
            (self.folder / _PUBLISHING).unlink(missing_ok=True)
            if not (keep and self._any()):
                self._clear()
            for path in self.folder.iterdir():
                if path.suffix != ".part" and path.name not in (_LOCK, _KEY):
                    _remove(path)
        _let_go(self.folder, self._lock)

    def _any(self) -> bool:
        return self._path(0).exists()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.part"

    def _drop_from(self, number: int) -> None:
        for path in self.folder.glob("*.part"):
            if path.name >= self._path(number).name:
                path.unlink()

    def _write(self, name: str, data: bytes) -> None:
        with (self.folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fsync_folder(self.folder)


def parts_folder(out: Path) -> Path:
    """Where the parts of a result are."""
    return out.with_name(f".{out.name}.parts")


def result_of_parts(path: Path) -> Path | None:
    """The result whose parts are in this folder; None for every other path."""
    name = path.name.removeprefix(".").removesuffix(".parts")
    result = path.with_name(name) if name else path
    return result if path.is_dir() and parts_folder(result).name == path.name else None


def is_being_written(out: Path) -> bool:
    """Whether another process is writing this result now."""
    try:
        import fcntl

        with open(parts_folder(out) / _LOCK, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # Windows has no such locks; or there is no such file
        return False
    return False


def remove_leftovers(out: Path, *, parts: bool = False) -> None:
    """Removes what a killed process left of a result, unless somebody writes it.

    Args:
        out: The result.
        parts: Also those from which a run could go on.
    """
    folder = parts_folder(out)
    if not folder.is_dir():
        return
    with contextlib.suppress(OSError, BusyError):
        lock = _hold(out)
        _take_back(out)
        if parts or not (folder / "000000.part").exists():
            for path in folder.iterdir():
                if path.name != _LOCK:
                    _remove(path)
        _let_go(folder, lock)


def half_published(out: Path) -> bool:
    """Whether a run was killed, or is, while it gave files their names: they are its own."""
    return (parts_folder(out) / _PUBLISHING).exists()


def remove_landmarks(out: Path) -> None:
    """Removes the landmarks beside a result; a file of that name but of somebody else stays."""
    path = landmark_path(out)
    with contextlib.suppress(OSError, pa.ArrowException):
        schema = pq.read_schema(path)
        ours = json.loads((schema.metadata or {}).get(ATTRS_KEY, b"{}"))
        if "jadfer" in ours and schema.names == landmark_schema().names:
            path.unlink()


def fsync_folder(folder: Path) -> None:
    """Makes new names in a folder outlast a power cut, where the system can."""
    if os.name == "nt":  # where folders cannot be opened
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:  # network disks often have no such thing
        if error.errno not in _NOT_HERE:
            raise


def _hold(out: Path) -> BinaryIO:
    """The open and locked lock file; the lock ends with the process, however that ends."""
    folder = parts_folder(out)
    for wait_s in (*_TRY_AGAIN_S, 0.0):
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # its last owner removed the folder
            file: BinaryIO = open(folder / _LOCK, "a+b")
            if _locked(file, folder / _LOCK):
                return file
            file.close()
        time.sleep(wait_s)
    raise BusyError(
        f"Another run of jadfer is writing {out} now.", "Wait for it, or write elsewhere."
    )


def _locked(file: BinaryIO, path: Path) -> bool:
    """Whether this process holds the lock `path`, which `file` was opened as."""
    try:
        import fcntl
    except ImportError:  # Windows has none; there the last run wins
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # its last owner may have removed it since it was opened
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.ENOENT):  # EACCES: held, on SMB
            return False
        if error.errno in _NOT_HERE:  # as without fcntl
            return True
        raise


def _let_go(folder: Path, lock: BinaryIO) -> None:
    """Ends the lock; the folder goes if nothing else is in it."""
    if os.name == "nt":  # where an open file cannot be removed
        lock.close()
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()  # while we hold it: the name is ours until then
            folder.rmdir()
    lock.close()


def _take_back(out: Path) -> None:
    """Removes what a killed run published beside a result that did not get its name any more."""
    if half_published(out):
        if not out.exists():
            sidecar_path(out).unlink(missing_ok=True)
            remove_landmarks(out)
        (parts_folder(out) / _PUBLISHING).unlink()


def _read(path: Path) -> Part | None:
    """A part; None where there is none, or a damaged one."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = file.read()
        facts = json.loads(rows.schema.metadata[_FACTS])
        for name in ("decoders", "warnings"):
            facts[name] = [(int(index), str(text)) for index, text in facts[name]]
        return Part(Facts(**facts), rows)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else {}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
