"""Checkpointed segments of an unfinished result; a later run resumes from them.

    .clip.parquet.parts/
      lock            held by the run that writes the result, until its process ends
      key.json        what decides the rows: video, model, detector, options
      000000.part     Parquet: the rows of consecutive frames, and `Facts` about them
      publishing      present while finished files get their final names

A part appears under its name only when it is complete. The folder is removed once the result
has been published.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.common import atomic_write, explain_os_errors
from jadfer_cli.results.lock import LOCK_NAME, ResultLock
from jadfer_cli.results.paths import parts_folder
from jadfer_cli.results.settings import changed, then_and_now
from jadfer_cli.results.unfinished import (
    FIRST_PART,
    PUBLISHING_MARK,
    clear,
    remove,
    withdraw_published,
)
from jadfer_cli.text import parsed_json

# A kill costs at most this much work, plus the frames since the last restartable one.
PART_S = 5.0
# Row limit per part, so that memory use does not grow with the number of faces.
_MAX_PART_ROWS = 20_000
_KEY_NAME = "key.json"
_PART_NAME = re.compile(r"\d{6}\.part")
_FACTS_KEY = b"jadfer_part"
# Files of jadfer 0.4 have this name for `Facts.resumed_at`.
_RESUMED_AT = "taken_up"


@dataclass(frozen=True)
class Facts:
    """What a part records about its frames.

    Attributes:
        number: Position of the part, from 0.
        end: Source index of the frame after its last one.
        end_s: Time of that frame, seconds.
        wall_s: Time spent on its frames, seconds.
        resumed_at: Source index of its first frame if a run resumed there.
        decoders: (index, name) for each decoder that started to deliver frames in it.
        warnings: (index, text) for each warning of the reader.
    """

    number: int
    end: int
    end_s: float
    wall_s: float
    resumed_at: int | None
    decoders: list[tuple[int, str]]
    warnings: list[tuple[int, str]]

    def to_json(self) -> str:
        """Return the facts as they are stored in the part."""
        content = dataclasses.asdict(self)
        content[_RESUMED_AT] = content.pop("resumed_at")
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str | bytes) -> Facts:
        """Read facts that `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: The text is something else.
        """
        content = parsed_json(text)
        content["resumed_at"] = content.pop(_RESUMED_AT)
        for name in ("decoders", "warnings"):
            content[name] = [(int(index), str(note)) for index, note in content[name]]
        return cls(**content)


@dataclass(frozen=True)
class Part:
    """A part that was read back: its facts, and its rows as `schema.part_table` made them."""

    facts: Facts
    rows: pa.Table


class Parts:
    """The parts of one result, locked against other runs until `close`.

    Args:
        out: The result.
        key: What decides its rows, JSON-ready. Existing parts with another key are discarded;
            with None all are.

    Attributes:
        folder: Where the parts are stored. Other temporary files of the result belong here, too.
        n: Number of parts read back or added so far.
        end_s: Time of the frame after them, seconds; 0 before the first.
        discarded: The settings for which existing parts were discarded, with both values.

    Raises:
        BusyError: Another run holds the lock.
        OutputError: The folder cannot be written.
    """

    def __init__(self, out: Path, key: Mapping[str, Any] | None) -> None:
        self.out, self.folder = out, parts_folder(out)
        self.n, self.end_s = 0, 0.0
        self.discarded: list[str] = []
        with explain_os_errors(out):
            self._lock = ResultLock(out)
            try:
                self._prepare(key)
            except BaseException:
                self.close(keep=True)
                raise

    def _prepare(self, key: Mapping[str, Any] | None) -> None:
        """Keep the existing parts if they have this key, else remove them."""
        withdraw_published(self.out)
        ours = None if key is None else json.loads(json.dumps(key))
        theirs = _read_json(self.folder / _KEY_NAME)
        if ours is not None and ours == theirs:
            return
        if ours and theirs and self._has_parts():
            self.discarded = [
                then_and_now(name, theirs.get(name), ours[name]) for name in changed(ours, theirs)
            ]
        clear(self.folder)
        if ours is not None:
            self._write_file(_KEY_NAME, json.dumps(ours))

    def stored(self) -> Iterator[Part]:
        """Yield the existing parts in order, up to the first that is missing or damaged.

        All later parts are removed.
        """
        self.n, self.end_s = 0, 0.0
        while (part := _read(self._path(self.n))) is not None and part.facts.number == self.n:
            self.n, self.end_s = self.n + 1, part.facts.end_s
            yield part
        self._remove_from(self.n)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows of each part.

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
        """Return whether this many rows, or this much work, justify a new part."""
        return seconds >= PART_S or rows >= _MAX_PART_ROWS

    def add(self, rows: pa.Table, facts: Facts) -> None:
        """Store the next part so that it survives a power cut.

        Raises:
            OutputError: It cannot be written.
        """
        entries = {**(rows.schema.metadata or {}), _FACTS_KEY: facts.to_json()}
        path = self._path(self.n)
        with atomic_write(path, durable=True, reported_as=self.out) as new:
            pq.write_table(
                rows.replace_schema_metadata(entries), new,
                compression="zstd", write_page_checksum=True,
            )  # fmt: skip
            # may be left of a longer run that this one did not resume
            self._path(self.n + 1).unlink(missing_ok=True)
        self.n, self.end_s = self.n + 1, facts.end_s

    def start_over(self) -> None:
        """Remove all parts; the key stays."""
        self.n, self.end_s = 0, 0.0
        with explain_os_errors(self.out):
            self._remove_from(0)

    def mark_publishing(self) -> None:
        """Record that files get their final names from now on, for the run after a kill."""
        with explain_os_errors(self.out):
            self._write_file(PUBLISHING_MARK, "")

    def close(self, *, keep: bool) -> None:
        """Release the lock.

        Args:
            keep: Keep the parts, if there are any, for the next run.
        """
        with contextlib.suppress(OSError):
            (self.folder / PUBLISHING_MARK).unlink(missing_ok=True)
            if not (keep and self._has_parts()):
                clear(self.folder)
            for path in self.folder.iterdir():
                if path.name not in (LOCK_NAME, _KEY_NAME) and not _PART_NAME.fullmatch(path.name):
                    remove(path)
        self._lock.release()

    def _has_parts(self) -> bool:
        return (self.folder / FIRST_PART).exists()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.part"

    def _remove_from(self, number: int) -> None:
        for path in self.folder.glob("*.part"):
            if path.name >= self._path(number).name:
                path.unlink()

    def _write_file(self, name: str, text: str) -> None:
        with atomic_write(self.folder / name, durable=True, reported_as=self.out) as new:
            new.write_text(text, encoding="utf-8", newline="\n")


def _read(path: Path) -> Part | None:
    """Return a part, or None if it is missing or damaged."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = file.read()
        return Part(Facts.from_json(rows.schema.metadata[_FACTS_KEY]), rows)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object; None for a file that is missing or damaged, {} for other JSON."""
    try:
        content = parsed_json(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else {}
