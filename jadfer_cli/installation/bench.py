"""How fast this machine annotates a video: end to end, and stage by stage."""

from __future__ import annotations

import dataclasses
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jadfer_cli.common import file_sha256, seconds_of
from jadfer_cli.errors import OptionError
from jadfer_cli.faces.follow import follow
from jadfer_cli.options import AnnotateOptions, FaceOptions, IfExists, ModelOptions, VideoOptions
from jadfer_cli.pipeline.annotator import Annotator
from jadfer_cli.pipeline.file import annotate_to_file
from jadfer_cli.pipeline.networks import Networks
from jadfer_cli.pipeline.run_metadata import run_metadata
from jadfer_cli.pipeline.source import open_video
from jadfer_cli.pipeline.state import RunState
from jadfer_cli.pipeline.steps import crop, in_batches, score, track
from jadfer_cli.records import Frame, VideoInfo
from jadfer_cli.results.metadata import versions
from jadfer_cli.results.sink import ResultSink
from jadfer_cli.runtime import settle
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.repeat import repeat
from jadfer_cli.video.timeline import probe, select

STAGES = ("decode", "detect", "track", "align", "express", "write")
_WARM_UP_FRAMES = 32
# The stages are timed over pictures that are kept, as many as fit here.
_STAGE_BYTES = 512 << 20
_STAGE_FRAMES = 500

_FIELDS = {
    f.name.removesuffix("_s").removesuffix("_px"): (part, f.name)
    for part, kind in (("video", VideoOptions), ("faces", FaceOptions), ("model", ModelOptions))
    for f in dataclasses.fields(kind)
}


@dataclass
class Side:
    """One configuration and what was measured of it.

    Attributes:
        options: The options.
        load_s: Time to load the networks.
        wall_s: Of each run, from the open video to the file written.
        core_s: CPU time of each run, of all threads.
        frames, faces: Of a run.
        video_s: How long the analysed part of the video is shown.
        threads: CPU threads.
        stages: By stage, wall and core milliseconds a frame, each stage alone; medians.
        stage_frames: Over how many frames those were taken.
    """

    name: str
    options: AnnotateOptions
    load_s: float = 0.0
    wall_s: list[float] = field(default_factory=list)
    core_s: list[float] = field(default_factory=list)
    frames: int = 0
    faces: int = 0
    video_s: float = 0.0  # how long the analysed part of the video is
    threads: int = 0
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    stage_frames: int = 0
    setting: dict[str, Any] = field(default_factory=dict)

    @property
    def frames_per_s(self) -> float:
        """Median over the runs."""
        return self.frames / statistics.median(self.wall_s)

    def summary(self) -> dict[str, Any]:
        """All figures, JSON-ready."""
        core_ms = sum(stage["core_ms"] for stage in self.stages.values())
        limit = 1000 * self.threads / core_ms if core_ms else math.inf
        return {
            "name": self.name,
            "frames_per_s": round(self.frames_per_s, 2),
            "frames_per_s_runs": [round(self.frames / s, 2) for s in self.wall_s],
            "times_real_time": round(self.video_s / statistics.median(self.wall_s), 3),
            "core_ms_per_frame": round(1000 * statistics.median(self.core_s) / self.frames, 3),
            "frames": self.frames,
            "faces": self.faces,
            "threads": self.threads,
            "load_s": round(self.load_s, 3),
            "stages_ms_per_frame": self.stages,
            "stages_frames": self.stage_frames,
            "stages_core_ms_per_frame": round(core_ms, 3),
            # what the cores could do if they never waited
            "limit_frames_per_s": round(limit, 2),
            "share_of_limit": round(self.frames_per_s / limit, 3),
            **self.setting,
        }


def options_of(settings: Sequence[str], base: AnnotateOptions | None = None) -> AnnotateOptions:
    """Options from KEY=VALUE texts, named as those of `jadfer annotate`.

    Raises:
        OptionError: There is no such option, or the value is wrong.
    """
    options = base or AnnotateOptions()
    for text in settings:
        key, sep, value = text.partition("=")
        key = key.strip().removeprefix("--").replace("-", "_")
        if not sep or key not in _FIELDS:
            known = ", ".join(name.replace("_", "-") for name in _FIELDS)
            raise OptionError(f"{text} is not KEY=VALUE with a known key.", f"Keys: {known}.")
        part, name = _FIELDS[key]
        inner = getattr(options, part)
        kind = next(f.type for f in dataclasses.fields(inner) if f.name == name)
        try:
            number: Any = value
            if "int" in str(kind):
                number = int(value)
            elif "float" in str(kind):
                number = seconds_of(value) if name.endswith("_s") else float(value)
        except ValueError as error:
            raise OptionError(f"{text}: {value} is no number.") from error
        changed = dataclasses.replace(inner, **{name: number})
        options = dataclasses.replace(options, **{part: changed})
    return options


def settled(options: AnnotateOptions) -> AnnotateOptions:
    """The options with what this machine makes of device, precision, threads and the like.

    Raises:
        DeviceError: The device is not there, or cannot compute in the precision.
    """
    runtime = settle(options.model)
    model = dataclasses.replace(
        options.model, device=runtime.device, precision=runtime.precision,
        threads=runtime.threads, engine=runtime.engine, batch_size=runtime.batch_size,
    )  # fmt: skip
    return dataclasses.replace(options, model=model)


def measure(
    clip: str,
    sides: Sequence[Side],
    repeats: int,
    progress: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:
    """Times each side on a clip, in turn (A B A B), after a warm-up; then each stage alone.

    Args:
        clip: The video.
        sides: One or more configurations.
        repeats: Runs of each, and passes over its stages.
        progress: Told what is being done.

    Returns:
        JSON-ready figures: machine, versions, and a summary a side.

    Raises:
        JadferError: A side's options do not work here, or the video cannot be read.
    """
    info = probe(clip)
    annotators: list[Networks] = []
    for side in sides:
        progress(f"{side.name}: loading the networks")
        began = time.perf_counter()
        annotators.append(Annotator(side.options).networks)
        side.load_s = time.perf_counter() - began
    with tempfile.TemporaryDirectory(prefix="jadfer-bench-") as folder:
        out = Path(folder) / "bench.parquet"
        for side, annotator in zip(sides, annotators, strict=True):
            progress(f"{side.name}: warming up")
            side.setting = _setting(annotator)
            side.threads = annotator.runtime.threads
            _stages(annotator, info, out, _WARM_UP_FRAMES)
        for run in range(repeats):
            for side, annotator in zip(sides, annotators, strict=True):
                progress(f"{side.name}: run {run + 1} of {repeats}")
                _whole(side, annotator, info, out)
        peak_mb = _peak_memory_mb()  # before pictures are kept for the stages
        passes: list[list[dict[str, dict[str, float]]]] = [[] for _ in sides]
        for run in range(repeats):
            for side, annotator, done in zip(sides, annotators, passes, strict=True):
                progress(f"{side.name}: each stage alone, {run + 1} of {repeats}")
                settle(side.options.model)
                stages, side.stage_frames = _stages(annotator, info, out, _STAGE_FRAMES)
                done.append(stages)
        for side, done in zip(sides, passes, strict=True):
            side.stages = _medians(done)
    return {
        "clip": Path(clip).name,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "fps": round(info.nominal_fps, 3),
        "frames": info.n_frames,
        "repeats": repeats,
        "peak_memory_mb": peak_mb,
        "sides": [side.summary() for side in sides],
        "versions": versions(),
    }


def _whole(side: Side, annotator: Networks, info: VideoInfo, out: Path) -> None:
    """One run from the probed video to the file."""
    settle(side.options.model)  # threads are the whole process's
    began, cores = time.perf_counter(), time.process_time()
    metadata = annotate_to_file(annotator, info, out, if_exists=IfExists.OVERWRITE)
    side.wall_s.append(time.perf_counter() - began)
    side.core_s.append(time.process_time() - cores)
    assert metadata is not None  # only --skip-existing keeps a result
    side.frames = metadata["counts"]["frames_analysed"]
    side.faces = metadata["counts"]["faces"]
    indices = select(info, annotator.options.video)
    end_s = info.time_s[indices[-1]] + info.duration_s[indices[-1]]
    side.video_s = float(end_s - info.time_s[indices[0]])


def _stages(
    annotator: Networks, info: VideoInfo, out: Path, most: int
) -> tuple[dict[str, dict[str, float]], int]:
    """Wall and core milliseconds a frame of each stage alone, over the first frames."""
    source, state = open_video(info, annotator.options), RunState()
    fit = _STAGE_BYTES // max(3 * info.width_px * info.height_px, 1)
    indices = source.indices[: max(2, min(most, fit))]
    source = dataclasses.replace(source, indices=indices)
    crop_px, faces = annotator.predictor.crop_px, annotator.options.faces
    sha256 = file_sha256(Path(info.path))
    result: dict[str, dict[str, float]] = {}

    def timed(name: str, items: Iterable[Any]) -> list[Any]:
        began, cores = time.perf_counter(), time.process_time()
        done = list(items)
        result[name] = {
            "ms": round(1000 * (time.perf_counter() - began) / len(indices), 4),
            "core_ms": round(1000 * (time.process_time() - cores) / len(indices), 4),
        }
        return done

    def decoded() -> Iterator[Frame]:
        with VideoReader(info, indices, threads=annotator.runtime.threads) as reader:
            yield from reader

    def written(frames: list[Any]) -> Iterator[None]:
        with ResultSink(
            out, source.name, annotator.labels, landmarks=False, overwrite=True
        ) as sink:  # fmt: skip
            for some in frames:
                state.add(some)
                sink.write(some)
            sink.commit(run_metadata(annotator, source, state, sha256=sha256), indices)
        yield None

    frames = timed("decode", decoded())
    found = timed(
        "detect", follow(frames, annotator.detector, annotator.redetect_s, annotator.device_crop_px)
    )
    tracked = timed("track", track(found, source, faces, state))
    cropped = timed("align", crop(tracked, crop_px))
    batches = in_batches(cropped, annotator.runtime.batch_size)
    scored = timed("express", score(batches, annotator.predictor, source.size_px))
    timed("write", written(scored))
    return result, len(indices)


def _medians(passes: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Of each stage's figures over several passes."""
    return {
        name: {unit: statistics.median(p[name][unit] for p in passes) for unit in first}
        for name, first in passes[0].items()
    }


def _setting(annotator: Networks) -> dict[str, Any]:
    runtime, detector = annotator.runtime, annotator.detector.info
    return {
        "device": runtime.device,
        "device_name": runtime.device_name,
        "precision": runtime.precision,
        "engine": runtime.engine,
        "model": annotator.model.entry.name,
        "detector": detector.name,
        "provider": detector.provider,
        "crops": annotator.crops_by,
        "options": dataclasses.asdict(annotator.options),
    }


def _peak_memory_mb() -> float | None:
    """The most memory that this process ever had in use, all of it together."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def sample_clip(folder: Path) -> Path:
    """A clip of ten seconds, 640x360: one moving face, from a picture that insightface brings."""
    import cv2

    from jadfer_cli.installation.samples import face_picture
    from jadfer_cli.video.encode import encode

    picture = face_picture()
    height, width = picture.shape[:2]
    frames = []
    for i in range(250):
        x = 0.30 + 0.04 * math.sin(i / 20)
        y = 0.36 + 0.03 * math.sin(i / 13)
        zoom = 1.5 + 0.1 * math.sin(i / 31)
        matrix = np.array([[zoom, 0, 320 - zoom * x * width], [0, zoom, 180 - zoom * y * height]])
        frames.append(cv2.warpAffine(picture, matrix, (640, 360)))
    path = folder / "sample.mp4"
    encode(path, [np.asarray(frame, np.uint8) for frame in frames])
    return path


def repeated(clip: str, n_frames: int, folder: Path) -> Path:
    """The clip end to end, remuxed until it has so many frames.

    Raises:
        VideoError: It cannot be read.
    """
    path = folder / "repeated.mkv"
    repeat(clip, path, n_frames)
    return path
