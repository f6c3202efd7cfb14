"""Writes rows as Parquet: in parts, then as a whole that is checked and renamed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from jadfer_cli.common import clock, explain_os_errors
from jadfer_cli.errors import BusyError, JadferError, OptionError, OutputError, VideoError
from jadfer_cli.records import AnnotatedFrame
from jadfer_cli.results.columns import column_descriptions
from jadfer_cli.results.parquet import ParquetFile
from jadfer_cli.results.parts import (
    Facts,
    Part,
    Parts,
    fsync_folder,
    half_published,
    remove_landmarks,
)
from jadfer_cli.results.paths import is_sidecar, landmark_path, sidecar_path
from jadfer_cli.results.row_checks import check_coverage, count_rows, keep_tracks
from jadfer_cli.results.schema import (
    landmark_schema,
    landmarks_of,
    part_schema,
    part_table,
    result_of,
    result_schema,
)


class ResultSink:
    """The result of one video on its way to disk.

    Use as a context manager: unless `commit` was reached, nothing stays but whole parts, from
    which the same run can go on later, and these only after an error that need not come again.

    Args:
        out: The final Parquet file.
        video: What the `video` column says.
        labels: The model's labels.
        landmarks: Also write a file of landmarks.
        overwrite: Replace files of an earlier run.
        key: What decides the rows, see `settings.key`; None neither takes up nor leaves parts.

    Attributes:
        discarded: What differs from the settings of parts that were there and are not taken up.

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
        landmarks: bool,
        overwrite: bool,
        key: Mapping[str, Any] | None = None,
    ) -> None:
        self.out, self.video, self.labels = out, video, tuple(labels)
        self._landmarks, self._key = landmarks, key
        finals = [out, sidecar_path(out), *([landmark_path(out)] if landmarks else [])]
        refuse_existing(finals, overwrite=overwrite)
        self._made_folders = _make_folders(out.parent)
        self._pending: list[AnnotatedFrame] = []
        self._pending_rows = 0
        self._decoders: list[tuple[int, str]] = []  # reader's notes that no part has stored yet
        self._warnings: list[tuple[int, str]] = []
        self._taken_up: int | None = None
        self._since_s = time.monotonic()
        self._files: list[ParquetFile] = []
        self._committed = self._worthless = False
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
                f"Another run of jadfer has just written {out}.", "Look at it."
            ) from error
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)  # Ctrl-C keeps the parts
            raise

    def stored(self) -> Iterator[Part]:
        """The parts of an earlier run, in order; those not taken before `write` are lost."""
        for part in self._parts.stored():
            self._taken_up = part.facts.end
            yield part

    def start_over(self) -> None:
        """Drops the parts of an earlier run."""
        self._parts.start_over()
        self._taken_up = None

    def write(self, frames: Sequence[AnnotatedFrame]) -> None:
        """Adds frames, in ascending order; now and then a part of them goes to disk.

        Args:
            frames: Some frames.

        Raises:
            OutputError: They cannot be written.
        """
        for frame in frames:
            spent_s = time.monotonic() - self._since_s
            # before the cut: it may carry notes about frames skipped before it
            self._decoders += frame.notes.decoders
            self._warnings += frame.notes.warnings
            if frame.restartable and self._pending and self._parts.due(self._pending_rows, spent_s):
                self._cut(frame, spent_s)
            self._pending.append(frame)
            self._pending_rows += max(len(frame.faces), 1)

    def _cut(self, following: AnnotatedFrame, spent_s: float) -> None:
        """Stores the frames up to the following one, at which a later run can resume."""
        end = following.index
        facts = Facts(
            self._parts.n, end, following.time_s, spent_s, self._taken_up,
            [note for note in self._decoders if note[0] < end],
            [note for note in self._warnings if note[0] < end],
        )  # fmt: skip
        self._parts.add(self._pending_table(), facts)
        self._decoders = [note for note in self._decoders if note[0] >= end]
        self._warnings = [note for note in self._warnings if note[0] >= end]
        self._pending, self._pending_rows, self._taken_up = [], 0, None
        self._since_s = time.monotonic()

    def _pending_table(self) -> pa.Table:
        return part_table(self._pending, self.video, self.labels, landmarks=self._landmarks)

    def keep(self, tracks: Mapping[int, int]) -> dict[str, int]:
        """Leaves out all other tracks; frames left empty stay as one row. Call before `commit`.

        Args:
            tracks: Track ids to keep, each with its new id; the order of ids must not change.

        Returns:
            Counts of the rows kept, as `count_rows`.
        """
        schema = part_schema(self.labels, landmarks=self._landmarks)
        counts: Counter[str] = Counter()

        def kept(table: pa.Table) -> pa.Table:
            rows: pd.DataFrame = keep_tracks(table.to_pandas(), tracks)
            counts.update(count_rows(rows))
            return pa.Table.from_pandas(rows, schema, preserve_index=False)

        self._assemble(kept)
        return dict(counts) | {"tracks": len(tracks)}

    def _assemble(self, change: Callable[[pa.Table], pa.Table]) -> None:
        """Writes the files from the parts and the frames since, a part at a time."""
        self._files.append(ParquetFile(self.out, self._parts.folder, result_schema(self.labels)))
        if self._landmarks:
            landmarks = landmark_path(self.out)
            self._files.append(ParquetFile(landmarks, self._parts.folder, landmark_schema()))

        def tables() -> Iterator[pa.Table]:
            yield from self._parts.tables()
            yield self._pending_table()

        for table in tables():
            rows = change(table)
            self._files[0].write(result_of(rows, self.video, self.labels))
            if self._landmarks:
                self._files[1].write(landmarks_of(rows, self.video))

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
        if not self._files:
            self._assemble(lambda table: table)
        for file in self._files:
            file.finish(metadata)
        try:
            check_coverage(self._files[0].path, expected, self.out)
        except OutputError:
            self._worthless = True
            raise
        self._publish(metadata)
        self._committed = True
        if not self._landmarks:
            remove_landmarks(self.out)  # of other rows, and nobody asked for them again
        self._parts.close(keep=False)

    def _publish(self, metadata: Mapping[str, Any]) -> None:
        """Gives the files their names, or takes back those that have them already."""
        sidecar = {"jadfer": metadata, **column_descriptions(self.labels)}
        text = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
        side = sidecar_path(self.out)
        published: list[Path] = []
        try:
            with explain_os_errors(side):
                new = self._parts.folder / side.name
                new.write_text(text, encoding="utf-8")
                self._parts.publishing()
                os.replace(new, side)
            published.append(side)
            for file in reversed(self._files):
                file.publish()
                published.append(file.out)
            with explain_os_errors(self.out):
                fsync_folder(self.out.parent)  # before the parts go
        except BaseException:
            for path in published:
                path.unlink(missing_ok=True)
            raise

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
        for file in self._files:
            file.discard()
        again = self._worthless or isinstance(error, VideoError)  # it would come again
        keep = self._key is not None and error is not None and not again
        self._parts.close(keep=keep)
        if keep and error is not None and self._parts.n:
            _promise(error, self._parts.end_s)
        self._remove_made_folders()

    def _remove_made_folders(self) -> None:
        for folder in reversed(self._made_folders):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _promise(error: BaseException, end_s: float) -> None:
    """Adds to what the user will read where the next run goes on."""
    text = f"Run the same command again: it goes on at {clock(end_s)}."
    if isinstance(error, JadferError):
        error.hint = f"{error.hint} {text}" if error.hint else text
    else:
        error.add_note(text)


def refuse_existing(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Checks that every path may be written: it is new, or ours to replace.

    Args:
        paths: The result, then what goes beside it.
        overwrite: What an earlier run of jadfer wrote may be replaced.

    Raises:
        OptionError: A file exists and `overwrite` is off.
        OutputError: What exists is no regular file, or a JSON file of somebody else.
    """
    for path in paths:  # what no option helps against comes first
        with explain_os_errors(path):
            if path.exists() and not path.is_file():
                raise OutputError(
                    f"{path} exists and is no regular file.", "Choose a file with -o."
                )
            if path.suffix == ".json" and path.exists() and not is_sidecar(path):
                raise OutputError(
                    f"{path} exists and was not written by jadfer, so it is not replaced.",
                    "The result's sidecar would have that name; choose another -o.",
                )
    # what a killed run published beside a result that did not get its name any more
    ours = paths[1:] if half_published(paths[0]) else []
    for path in paths:
        with explain_os_errors(path):
            if not overwrite and path not in ours and (path.exists() or path.is_symlink()):
                raise OptionError(
                    f"{path} exists already.",
                    "Add --overwrite to replace it, or choose another -o.",
                )


def _make_folders(folder: Path) -> list[Path]:
    """Makes a folder and its parents; gives those that were not there, outermost first."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    made: list[Path] = []
    with explain_os_errors(folder):
        for f in reversed(missing):
            f.mkdir(exist_ok=True)
            made.append(f)
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder.", "Choose another place with -o.")
    return made
