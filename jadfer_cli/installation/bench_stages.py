"""Times each stage of the flow alone; in `pipeline/flow.py` they run at the same time."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from jadfer_cli.common import file_sha256
from jadfer_cli.faces.follow import follow
from jadfer_cli.pipeline.networks import Networks
from jadfer_cli.pipeline.result_metadata import result_metadata
from jadfer_cli.pipeline.source import Source, open_video
from jadfer_cli.pipeline.state import RunState
from jadfer_cli.pipeline.steps import crop, in_batches, score, track
from jadfer_cli.records import AnnotatedFrame, Frame, VideoInfo
from jadfer_cli.results.sink import ResultSink

T = TypeVar("T")

STAGES = ("decode", "detect", "track", "align", "express", "write")
OF_FACES = ("align", "express")  # their work grows with the faces, not with the frames
# The output of a stage is kept in memory as the input of the next one: decoded pictures, at most
# this many bytes.
_MAX_PICTURE_BYTES = 512 << 20


@dataclass
class StageTimes:
    """Times of the stages.

    Attributes:
        n_frames: Number of frames they were measured over.
        ms: By stage, "ms" and "core_ms": wall and CPU time per frame.
        n_faces: Number of faces in these frames.
    """

    n_frames: int
    ms: dict[str, dict[str, float]] = field(default_factory=dict)
    n_faces: int = 0

    def run(self, name: str, stage: Iterable[T]) -> list[T]:
        """Runs a stage to its end, and keeps its times and its output."""
        start_s, start_core_s = time.perf_counter(), time.process_time()
        output = list(stage)
        wall_s, core_s = time.perf_counter() - start_s, time.process_time() - start_core_s
        self.ms[name] = {
            "ms": round(1000 * wall_s / self.n_frames, 4),
            "core_ms": round(1000 * core_s / self.n_frames, 4),
        }
        return output


def time_stages(networks: Networks, info: VideoInfo, out: Path, max_frames: int) -> StageTimes:
    """Runs the stages one after the other over the first frames of a video.

    Args:
        networks: Detector and expression network.
        info: The video.
        out: The result that is written, and replaced if it exists.
        max_frames: Most frames; fewer if their pictures would fill the memory.
    """
    options, runtime = networks.options, networks.runtime
    source, state = open_video(info, options), RunState()
    n_in_memory = _MAX_PICTURE_BYTES // max(3 * info.width_px * info.height_px, 1)
    n_frames = max(2, min(max_frames, n_in_memory))
    source = dataclasses.replace(source, indices=source.indices[:n_frames])
    times = StageTimes(source.n_frames)
    frames = times.run("decode", _decode(source, runtime.threads))
    found = follow(
        frames, networks.detector, networks.redetect_s, networks.device_crop_px, networks.motion()
    )
    detections = times.run("detect", found)
    times.n_faces = sum(len(each.faces) for each in detections)
    tracked = times.run("track", track(detections, source, options.faces, state))
    cropped = times.run("align", crop(tracked, networks.predictor.crop_px))
    batches = in_batches(cropped, runtime.batch_size)
    scored = times.run("express", score(batches, networks.predictor, source.size_px))
    sha256 = file_sha256(Path(info.path))  # not timed: it reads the whole file, not these frames
    times.run("write", _write(scored, networks, source, state, out, sha256))
    return times


def _decode(source: Source, threads: int) -> Iterator[Frame]:
    with source.read(threads, 0) as frames:
        yield from frames


def _write(
    batches: Iterable[list[AnnotatedFrame]],
    networks: Networks,
    source: Source,
    state: RunState,
    out: Path,
    sha256: str,
) -> Iterator[None]:
    with ResultSink(out, source.name, networks.labels, overwrite=True) as sink:
        for batch in batches:
            state.add(batch)
            sink.write(batch)
            yield
        sink.commit(result_metadata(networks, source, state, sha256=sha256), source.indices)


def medians(passes: Sequence[StageTimes]) -> dict[str, dict[str, float]]:
    """The median of each time over several passes."""
    return {
        stage: {unit: statistics.median(p.ms[stage][unit] for p in passes) for unit in units}
        for stage, units in passes[0].ms.items()
    }
