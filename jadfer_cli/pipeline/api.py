"""Annotating one video: into a file, into a DataFrame, or piece by piece."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from jadfer_cli.common import clock
from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.pipeline.annotator import Annotator
from jadfer_cli.pipeline.flow import Progress, Run
from jadfer_cli.records import VideoInfo
from jadfer_cli.results import schema
from jadfer_cli.results.row_checks import count_rows, keep_tracks
from jadfer_cli.results.sink import ResultSink


def annotate_to(
    annotator: Annotator,
    video: str | os.PathLike[str] | VideoInfo,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Annotates one video into a Parquet file and its JSON sidecar.

    Goes on where an earlier run with the same settings was interrupted or killed, which leaves
    what it did in a hidden folder beside the result.

    Args:
        annotator: The networks.
        video: Its path, or what `probe` said of it.
        out: The Parquet file; it is there only if all went well.
        overwrite: Replace an earlier result.
        progress: Called some times a second.
        note: Told what becomes of an earlier run's work, in a sentence.

    Returns:
        The metadata that was written.

    Raises:
        VideoError: The video cannot be read.
        OptionError: The result exists.
        BusyError: Another run is writing it.
        OutputError: It cannot be written.
    """
    run = annotator.open(video)
    with ResultSink(
        out, run.video, annotator.labels, landmarks=annotator.options.landmarks,
        overwrite=overwrite, key=run.key(),
    ) as sink:  # fmt: skip
        run = _taken_up(annotator, run, sink, progress, note)
        return _annotate_into(sink, run, progress)


def _taken_up(
    annotator: Annotator,
    run: Run,
    sink: ResultSink,
    progress: Callable[[Progress], None] | None,
    note: Callable[[str], None],
) -> Run:
    """The run, or another one of the same video, at the first frame that is to be done."""
    if sink.discarded:
        note(
            f"What an earlier run did for {sink.out} is dropped; since then changed: "
            f"{', '.join(sink.discarded)}."
        )
    if not run.take_up(sink.stored(), progress):
        sink.start_over()
        note(f"What an earlier run did for {sink.out} does not fit and is dropped.")
        return annotator.open(run.info)
    if run.taken_up:
        index = run.taken_up[-1]
        note(f"{sink.out} goes on at {clock(run.info.time_s[index])}, frame {index}.")
    return run


def _annotate_into(
    sink: ResultSink, run: Run, progress: Callable[[Progress], None] | None
) -> dict[str, Any]:
    """Annotates the rest of a video; gives the metadata written."""
    with run:
        with closing(run.frames(progress)) as batches:
            for frames in batches:
                sink.write(frames, run.told)
        if progress:
            counts = run.counts
            checking = Progress("checking", counts.frames, counts.frames, counts.faces)
            progress(checking)
            run.hashed(partial(progress, checking))
        kept = run.kept_tracks()
        metadata = run.metadata(None if kept is None else sink.keep(kept))
        sink.commit(metadata, run.indices)
    return metadata


def annotate(
    path: str | os.PathLike[str],
    options: AnnotateOptions | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Annotates one video in memory.

    Args:
        path: The video.
        options: All options; with `landmarks` the ten landmark columns are added.
        progress: Called some times a second.

    Returns:
        The rows that the command line would write; metadata in `.attrs["jadfer"]`.

    Raises:
        JadferError: As for the command line; see `jadfer_cli.errors`.
    """
    annotator = Annotator(options)
    tables, landmarks = [], []
    with annotator.open(path) as run, closing(run.frames(progress)) as parts:
        for frames in parts:
            tables.append(schema.result_table(frames, run.video, annotator.labels))
            if annotator.options.landmarks:
                landmarks.append(schema.landmark_table(frames, run.video))
        rows = _joined(tables, landmarks)
        counts, kept = None, run.kept_tracks()
        if kept is not None:
            rows = keep_tracks(rows, kept).reset_index(drop=True)
            counts = count_rows(rows)
        rows.attrs["jadfer"] = run.metadata(counts)
    return rows


def iter_annotate(
    path: str | os.PathLike[str], options: AnnotateOptions | None = None
) -> Iterator[pd.DataFrame]:
    """Annotates one video piece by piece, in bounded memory, for long videos.

    Args:
        path: The video.
        options: All options but `faces.max_faces`, which needs the whole video first.

    Yields:
        Consecutive rows, in order; together they are what `annotate` returns, without
        metadata.

    Raises:
        JadferError: As for `annotate`; OptionError with `max_faces`.
    """
    if options is not None and options.faces.max_faces is not None:
        raise OptionError(
            "max_faces needs the whole video before it can choose.",
            "Use annotate(), or drop tracks afterwards.",
        )
    annotator = Annotator(options)
    run = annotator.open(path)
    with closing(run.frames()) as parts:
        for frames in parts:
            table = schema.result_table(frames, run.video, annotator.labels)
            landmarks = (
                [schema.landmark_table(frames, run.video)] if annotator.options.landmarks else []
            )
            yield _joined([table], landmarks)


def _joined(tables: list[pa.Table], landmarks: list[pa.Table]) -> pd.DataFrame:
    """One DataFrame of some result tables, with the landmark columns beside their faces."""
    rows: pd.DataFrame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    if landmarks:
        points = pa.concat_tables(landmarks).unify_dictionaries().to_pandas()
        columns = list(schema.LANDMARK_COLUMNS)
        rows[columns] = np.float32(np.nan)
        rows.loc[rows["face_detected"], columns] = points[columns].to_numpy()
    return rows
