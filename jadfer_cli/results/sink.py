"""Writes the rows of one video: first in parts, then as a checked and complete result."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from jadfer_cli.common import clock
from jadfer_cli.errors import BusyError, JadferError, OptionError, OutputError, VideoError
from jadfer_cli.records import AnnotatedFrame
from jadfer_cli.results.companions import part_schema, part_table
from jadfer_cli.results.parts import Facts, Part, Parts
from jadfer_cli.results.paths import result_files
from jadfer_cli.results.publish import FinalFiles
from jadfer_cli.results.row_checks import check_coverage, count_rows, keep_tracks
from jadfer_cli.results.targets import make_folders, refuse_existing
from jadfer_cli.results.unfinished import remove_companions


class ResultSink:
    """The result of one video while it is being written.

    Use as a context manager. Unless `commit` succeeds, only complete parts remain, from
    which the same run can resume later, and these only after an error that may not recur.

    Args:
        out: The final Parquet file.
        video: Content of the `video` column.
        labels: The model's labels.
        companions: Names of files to write beside the result, see `companions`.
        overwrite: Replace files of an earlier run.
        key: What decides the rows, see `settings.key`. With None the sink neither resumes from
            parts nor leaves any.

    Attributes:
        discarded: The settings for which parts of an earlier run were discarded, both values.

    Raises:
        OptionError: A file exists and `overwrite` is off.
        BusyError: Another run is writing the result.
        OutputError: A file cannot be written.
    """

    def __init__(
        self,
        out: Path,
        video: str,
        labels: Sequence[str],
        *,
        companions: Sequence[str] = (),
        overwrite: bool,
        key: Mapping[str, Any] | None = None,
    ) -> None:
        self.out, self.video, self.labels = out, video, tuple(labels)
        self._companions, self._key = tuple(companions), key
        finals = result_files(out, self._companions)
        refuse_existing(finals, overwrite=overwrite)
        self._made_folders = make_folders(out.parent)
        self._pending: list[AnnotatedFrame] = []
        self._pending_rows = 0
        self._decoders: list[tuple[int, str]] = []  # reader's notes that no part has stored yet
        self._warnings: list[tuple[int, str]] = []
        self._resumed_at: int | None = None
        self._since_s = time.monotonic()
        self._kept_tracks: Mapping[int, int] | None = None
        self._files: FinalFiles | None = None
        self._committed = self._would_recur = False
        try:
            self._parts = Parts(out, key)
        except BaseException:
            self._remove_made_folders()
            raise
        self.discarded = self._parts.discarded
        try:
            refuse_existing(finals, overwrite=overwrite)
        except OptionError as error:
            self.__exit__(None, None, None)
            raise BusyError(
                f"Another run of jadfer has just written {out}.", "Check that result."
            ) from error
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)  # Ctrl-C keeps the parts
            raise

    def stored(self) -> Iterator[Part]:
        """Yield the parts of an earlier run; those not consumed before `write` are lost."""
        for part in self._parts.stored():
            self._resumed_at = part.facts.end
            yield part

    def start_over(self) -> None:
        """Remove the parts of an earlier run."""
        self._parts.start_over()
        self._resumed_at = None

    def write(self, frames: Sequence[AnnotatedFrame]) -> None:
        """Add consecutive frames; from time to time those so far are stored as a part.

        Args:
            frames: Frames that follow those of the last call, in ascending order.

        Raises:
            OutputError: A part cannot be written.
        """
        for frame in frames:
            spent_s = time.monotonic() - self._since_s
            # Before the part is stored: the notes may be about frames skipped before this one.
            self._decoders += frame.notes.decoders
            self._warnings += frame.notes.warnings
            if frame.restartable and self._pending and self._parts.due(self._pending_rows, spent_s):
                self._store_part(frame, spent_s)
            self._pending.append(frame)
            self._pending_rows += max(len(frame.faces), 1)

    def _store_part(self, following: AnnotatedFrame, spent_s: float) -> None:
        """Store the frames before the following one, at which a later run can resume."""
        end = following.index
        facts = Facts(
            self._parts.n, end, following.time_s, spent_s, self._resumed_at,
            [note for note in self._decoders if note[0] < end],
            [note for note in self._warnings if note[0] < end],
        )  # fmt: skip
        self._parts.add(self._pending_table(), facts)
        self._decoders = [note for note in self._decoders if note[0] >= end]
        self._warnings = [note for note in self._warnings if note[0] >= end]
        self._pending, self._pending_rows, self._resumed_at = [], 0, None
        self._since_s = time.monotonic()

    def _pending_table(self) -> pa.Table:
        return part_table(self._pending, self.video, self.labels, self._companions)

    def keep(self, tracks: Mapping[int, int]) -> dict[str, int]:
        """Leave out all other tracks; frames without a track left stay as one row each.

        Call it after the last `write` and before `commit`.

        Args:
            tracks: Track IDs to keep, each with its new ID; the order of IDs must not change.

        Returns:
            Counts of the rows kept, as from `count_rows`.
        """
        self._kept_tracks = tracks
        counts: Counter[str] = Counter()
        for table in self._tables():
            counts.update(count_rows(table.to_pandas()))
        return dict(counts) | {"tracks": len(tracks)}

    def _tables(self) -> Iterator[pa.Table]:
        """Yield all rows that belong in the result, one part at a time."""
        schema = part_schema(self.labels, self._companions)
        for table in itertools.chain(self._parts.tables(), [self._pending_table()]):
            if self._kept_tracks is None:
                yield table
            else:
                rows: pd.DataFrame = keep_tracks(table.to_pandas(), self._kept_tracks)
                yield pa.Table.from_pandas(rows, schema, preserve_index=False)

    def commit(self, metadata: Mapping[str, Any], expected: npt.NDArray[np.int64]) -> None:
        """Write, check and publish the files of the result.

        Args:
            metadata: For the file and the sidecar; JSON-ready.
            expected: Indices of all frames that the result must cover.

        Raises:
            OutputError: Writing failed, or the rows do not cover the frames.
        """
        self._files = FinalFiles(
            self.out, self._parts.folder, self.video, self.labels, self._companions, metadata
        )  # fmt: skip
        for table in self._tables():
            self._files.write(table)
        self._files.finish()
        try:
            check_coverage(self._files.rows_path, expected, self.out)
        except OutputError:
            self._would_recur = True
            raise
        self._files.publish(self._parts.mark_publishing)
        self._committed = True
        # those of an earlier result, which this one replaced
        remove_companions(self.out, keep=self._companions)
        self._parts.close(keep=False)

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
        if self._files:
            self._files.discard()
        would_recur = self._would_recur or isinstance(error, VideoError)
        keep = self._key is not None and error is not None and not would_recur
        self._parts.close(keep=keep)
        if keep and error is not None and self._parts.n:
            _add_resume_hint(error, self._parts.end_s)
        self._remove_made_folders()

    def _remove_made_folders(self) -> None:
        for folder in reversed(self._made_folders):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _add_resume_hint(error: BaseException, end_s: float) -> None:
    """Add to an error the time at which the next run resumes."""
    text = f"Run the same command again: it resumes at {clock(end_s)}."
    if isinstance(error, JadferError):
        error.hint = f"{error.hint} {text}" if error.hint else text
    else:
        error.add_note(text)
