"""One video into one file: the same steps for the command line, batch workers and Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from jadfer_cli.common import clock
from jadfer_cli.errors import OptionError
from jadfer_cli.expression import checkpoint
from jadfer_cli.options import IfExists
from jadfer_cli.pipeline.flow import annotate_video
from jadfer_cli.pipeline.hashing import VideoHash
from jadfer_cli.pipeline.networks import Networks
from jadfer_cli.pipeline.progress import OnProgress, Progress, ignore
from jadfer_cli.pipeline.result_metadata import result_metadata
from jadfer_cli.pipeline.resume import resume
from jadfer_cli.pipeline.source import ArraySource, Source, open_video
from jadfer_cli.pipeline.state import RunState
from jadfer_cli.records import VideoInfo
from jadfer_cli.results import settings
from jadfer_cli.results.companions import companions_of
from jadfer_cli.results.sink import ResultSink

OnNote = Callable[[str], object]


def annotate_to_file(
    networks: Networks,
    video: str | os.PathLike[str] | VideoInfo | Source,
    out: Path,
    *,
    name: str | None = None,
    if_exists: IfExists = IfExists.REFUSE,
    on_progress: OnProgress = ignore,
    on_note: OnNote = ignore,
) -> dict[str, Any] | None:
    """Annotates one video into a Parquet file and its JSON sidecar.

    Resumes where an earlier run with the same settings was interrupted or killed; such a run
    leaves its work in a hidden folder beside the result.

    Args:
        networks: Detector and expression network.
        video: Its path, the result of `probe`, or an opened source.
        out: The Parquet file; it appears only if everything succeeded.
        name: The value of the column `video`; None for the one that the options give.
        if_exists: What to do if the result exists.
        on_progress: Called several times per second.
        on_note: Called with one sentence about what happens to an earlier run's work.

    Returns:
        The metadata written; None if an existing result was kept: the same settings made it, and
        its rows are of this revision.

    Raises:
        VideoError: The video cannot be read.
        OptionError: The result exists and must not be replaced, or is not named .parquet.
        BusyError: Another run is writing it.
        OutputError: It cannot be written, or the existing result has other settings.
    """
    if_exists = IfExists(if_exists)
    _check_request(video, out)
    skips = if_exists == IfExists.SKIP and out.exists()
    if skips and _keep(out, video, networks, on_note):
        return None
    source = video if isinstance(video, Source) else open_video(video, networks.options, name)
    with ResultSink(
        out, source.name, networks.labels, companions=companions_of(networks.options),
        overwrite=skips or if_exists == IfExists.OVERWRITE,
        key=settings.key(networks.metadata(), source.info.path),
    ) as sink:  # fmt: skip
        state = _resume(source, networks, sink, on_progress, on_note)
        with VideoHash(source.info.path) as video_hash:
            with closing(annotate_video(source, networks, sink, state, on_progress)) as batches:
                for _ in batches:
                    pass
            done = Progress("checking", state.counts.frames, source.n_frames, state.counts.faces)
            on_progress(done)
            sha256 = video_hash.wait(partial(on_progress, done))
            tracks = state.choose_tracks(networks.options.faces.max_faces)
            metadata = result_metadata(
                networks, source, state, sha256=sha256, hash_warning=video_hash.warning,
                kept=None if tracks is None else sink.keep(tracks),
            )  # fmt: skip
            sink.commit(metadata, source.indices)
    return metadata


def _check_request(video: str | os.PathLike[str] | VideoInfo | Source, out: Path) -> None:
    """Refuses what Python callers may ask for and the command line does not pass on."""
    if out.suffix != ".parquet":
        raise OptionError(f"{out} does not end in .parquet.", "Results are Parquet files.")
    if isinstance(video, ArraySource):
        raise OptionError("Frames in memory cannot go to a file.", "Use annotate_frames.")


def _keep(
    out: Path,
    video: str | os.PathLike[str] | VideoInfo | Source,
    networks: Networks,
    on_note: OnNote,
) -> bool:
    """Returns whether an existing result is kept; says why not if it is outdated."""
    path = video.info.path if isinstance(video, Source) else _path_of(video)
    outdated = settings.keep(out, path, networks.metadata(), checkpoint.current_hashes())
    if outdated is not None:
        on_note(f"{out} is annotated again: {outdated}.")
    return outdated is None


def _resume(
    source: Source, networks: Networks, sink: ResultSink, on_progress: OnProgress, on_note: OnNote
) -> RunState:
    """Restores the state of an earlier run, or starts over if its work cannot be used."""
    if sink.discarded:
        on_note(
            f"An unfinished run for {sink.out} is discarded, because these have changed since: "
            f"{'; '.join(sink.discarded)}."
        )
    state = resume(source, sink.stored(), networks.options.faces, on_progress)
    if state is None:
        sink.start_over()
        on_note(f"An unfinished run for {sink.out} is discarded, because it cannot be continued.")
        return RunState()
    if state.resumed_at:
        index = state.resumed_at[-1]
        on_note(f"{sink.out} resumes at {clock(source.info.time_s[index])}, frame {index}.")
    return state


def _path_of(video: str | os.PathLike[str] | VideoInfo) -> str:
    return video.path if isinstance(video, VideoInfo) else os.fspath(video)
