"""Rows in memory: outputs of the flow that make DataFrames instead of a file."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from typing import Any, Self

import pandas as pd
import pyarrow as pa

from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.pipeline.flow import annotate_video
from jadfer_cli.pipeline.hashing import VideoHash
from jadfer_cli.pipeline.networks import Networks
from jadfer_cli.pipeline.progress import OnProgress, ignore
from jadfer_cli.pipeline.result_metadata import result_metadata
from jadfer_cli.pipeline.source import ArraySource, Source
from jadfer_cli.pipeline.state import RunState
from jadfer_cli.records import AnnotatedFrame
from jadfer_cli.results.companions import companions_of, part_table
from jadfer_cli.results.row_checks import count_rows, keep_tracks


class TableOutput:
    """Turns batches of frames into Arrow tables, with the columns of companions if asked for.

    Args:
        source: The video.
        networks: What annotates it.
    """

    def __init__(self, source: Source, networks: Networks) -> None:
        self._name, self._labels = source.name, networks.labels
        self._companions = companions_of(networks.options)

    def write(self, frames: Sequence[AnnotatedFrame]) -> pa.Table:
        """Returns the rows of some frames."""
        return part_table(frames, self._name, self._labels, self._companions)


def annotate_to_table(
    source: Source, networks: Networks, on_progress: OnProgress = ignore
) -> pd.DataFrame:
    """Annotates one video in memory.

    Args:
        source: The video.
        networks: Detector and expression network.
        on_progress: Called several times per second.

    Returns:
        All rows; the metadata is in `.attrs["jadfer"]`.
    """
    state, output = RunState(), TableOutput(source, networks)
    in_memory = isinstance(source, ArraySource)
    with nullcontext() if in_memory else VideoHash(source.info.path) as video_hash:
        with closing(annotate_video(source, networks, output, state, on_progress)) as tables:
            rows = _to_pandas(list(tables))
        tracks, kept = state.choose_tracks(networks.options.faces.max_faces), None
        if tracks is not None:
            rows = keep_tracks(rows, tracks).reset_index(drop=True)
            kept = count_rows(rows)
        rows.attrs["jadfer"] = result_metadata(
            networks, source, state, kept=kept,
            sha256=video_hash.wait() if video_hash else None,
            hash_warning=video_hash.warning if video_hash else None,
        )  # fmt: skip
    return rows


class Pieces(Iterator[pd.DataFrame]):
    """The rows of one video, piece by piece in order, in bounded memory.

    Args:
        source: The video.
        networks: Detector and expression network.

    Attributes:
        metadata: What `annotate` gives in `.attrs["jadfer"]`; None until the last piece is read,
            because it counts what was found.

    Raises:
        OptionError: `max_faces` is set.
    """

    def __init__(self, source: Source, networks: Networks) -> None:
        refuse_max_faces(networks.options)
        self.metadata: dict[str, Any] | None = None
        self._rows = self._read(source, networks)

    def _read(self, source: Source, networks: Networks) -> Generator[pd.DataFrame, None, None]:
        state, output = RunState(), TableOutput(source, networks)
        with VideoHash(source.info.path) as video_hash:
            with closing(annotate_video(source, networks, output, state)) as tables:
                for table in tables:
                    yield _to_pandas([table])
            sha256 = video_hash.wait()
        self.metadata = result_metadata(
            networks, source, state, sha256=sha256, hash_warning=video_hash.warning
        )

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pd.DataFrame:
        return next(self._rows)

    def close(self) -> None:
        """Ends reading early; frees the video and the threads."""
        self._rows.close()


def refuse_max_faces(options: AnnotateOptions) -> None:
    """Checks options for `Pieces`, before the networks are loaded.

    Raises:
        OptionError: `max_faces` is set.
    """
    if options.faces.max_faces is not None:
        raise OptionError(
            "max_faces needs the whole video before it can choose.",
            "Use annotate(), or drop tracks afterwards.",
        )


def _to_pandas(tables: list[pa.Table]) -> pd.DataFrame:
    rows: pd.DataFrame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    return rows
