"""How fast this machine annotates a video: end to end, and stage by stage."""

from __future__ import annotations

import dataclasses
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jadfer_cli.installation.bench_stages import OF_FACES, StageTimes, medians, time_stages
from jadfer_cli.options import AnnotateOptions, IfExists
from jadfer_cli.pipeline.annotator import Annotator
from jadfer_cli.pipeline.file import annotate_to_file
from jadfer_cli.pipeline.networks import Networks
from jadfer_cli.records import VideoInfo
from jadfer_cli.results.metadata import versions
from jadfer_cli.runtime import settle
from jadfer_cli.video.timeline import probe, select

_WARM_UP_FRAMES = 32
_STAGE_FRAMES = 500

OnStep = Callable[[str], object]


@dataclass
class Configuration:
    """Options that are benchmarked, and what was measured.

    Attributes:
        name: "A" and "B", or "jadfer" if there is only one.
        options: The options.
        load_s: Time to load the networks.
        wall_s: Wall time of each run, from the opened video to the written file.
        core_s: CPU time of each run, of all threads.
        frames, faces: Counts of one run.
        video_s: Duration of the analysed part of the video.
        threads: CPU threads.
        stages: Times of each pass over the stages.
        setup: Device, detector, model and similar facts, JSON-ready.
    """

    name: str
    options: AnnotateOptions
    load_s: float = 0.0
    wall_s: list[float] = field(default_factory=list)
    core_s: list[float] = field(default_factory=list)
    frames: int = 0
    faces: int = 0
    video_s: float = 0.0
    threads: int = 0
    stages: list[StageTimes] = field(default_factory=list)
    setup: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """All figures, JSON-ready. Times and rates are medians over the runs or passes."""
        wall_s = statistics.median(self.wall_s)
        frames_per_s = self.frames / wall_s
        stages = medians(self.stages)
        core_ms = sum(stage["core_ms"] for stage in stages.values())
        of_faces = sum(stages[name]["core_ms"] for name in OF_FACES if name in stages)
        n_frames, n_faces = self.stages[0].n_frames, self.stages[0].n_faces
        # the rate if every core were always busy
        limit = 1000 * self.threads / core_ms if core_ms else math.inf
        return {
            "name": self.name,
            "frames_per_s": round(frames_per_s, 2),
            "frames_per_s_runs": [round(self.frames / s, 2) for s in self.wall_s],
            "times_real_time": round(self.video_s / wall_s, 3),
            "core_ms_per_frame": round(1000 * statistics.median(self.core_s) / self.frames, 3),
            "frames": self.frames,
            "faces": self.faces,
            "threads": self.threads,
            "load_s": round(self.load_s, 3),
            "stages_ms_per_frame": stages,
            "stages_frames": n_frames,
            "stages_faces": n_faces,
            "stages_core_ms_per_frame": round(core_ms, 3),
            "core_ms_of_a_frame": round(core_ms - of_faces, 3),
            "core_ms_of_a_face": round(of_faces * n_frames / n_faces, 3) if n_faces else None,
            "limit_frames_per_s": round(limit, 2),
            "share_of_limit": round(frames_per_s / limit, 3),
            **self.setup,
        }


def measure(
    clip: str,
    configurations: Sequence[Configuration],
    repeats: int,
    on_step: OnStep = lambda text: None,
) -> dict[str, Any]:
    """Times each configuration on a clip, in turn (A B A B), then its stages one by one.

    Args:
        clip: The video.
        configurations: One or more, whose measurements are filled in.
        repeats: Number of runs of each, and of passes over its stages.
        on_step: Called with a text before each step.

    Returns:
        JSON-ready figures: clip, versions, and the summary of each configuration.

    Raises:
        JadferError: Options do not work on this machine, or the video cannot be read.
    """
    info = probe(clip)
    loaded = [(each, _load(each, on_step)) for each in configurations]
    with tempfile.TemporaryDirectory(prefix="jadfer-bench-") as folder:
        out = Path(folder) / "bench.parquet"
        for each, networks in loaded:
            on_step(f"{each.name}: warming up")
            time_stages(networks, info, out, _WARM_UP_FRAMES)
        for run in range(repeats):
            for each, networks in loaded:
                on_step(f"{each.name}: run {run + 1} of {repeats}")
                _time_run(each, networks, info, out)
        peak_mb = _peak_memory_mb()  # before timing the stages, which keeps pictures in memory
        for run in range(repeats):
            for each, networks in loaded:
                on_step(f"{each.name}: each stage alone, {run + 1} of {repeats}")
                settle(each.options.model)
                each.stages.append(time_stages(networks, info, out, _STAGE_FRAMES))
    return {
        "clip": Path(clip).name,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "fps": round(info.nominal_fps, 3),
        "frames": info.n_frames,
        "repeats": repeats,
        "peak_memory_mb": peak_mb,
        "sides": [each.summary() for each in configurations],
        "versions": versions(),
    }


def _load(configuration: Configuration, on_step: OnStep) -> Networks:
    """Loads the networks, and records how long it took and what they run on."""
    on_step(f"{configuration.name}: loading the networks")
    start_s = time.perf_counter()
    networks = Annotator(configuration.options).networks
    configuration.load_s = time.perf_counter() - start_s
    runtime, detector = networks.runtime, networks.detector.info
    configuration.threads = runtime.threads
    configuration.setup = {
        "device": runtime.device,
        "device_name": runtime.device_name,
        "precision": runtime.precision,
        "engine": runtime.engine,
        "model": networks.model.entry.name,
        "detector": detector.name,
        "provider": detector.provider,
        "crops": networks.crops_by,
        "options": dataclasses.asdict(networks.options),
    }
    return networks


def _time_run(configuration: Configuration, networks: Networks, info: VideoInfo, out: Path) -> None:
    """Times one run from the opened video to the written file."""
    settle(configuration.options.model)  # thread counts are shared by the whole process
    start_s, start_core_s = time.perf_counter(), time.process_time()
    metadata = annotate_to_file(networks, info, out, if_exists=IfExists.OVERWRITE)
    configuration.wall_s.append(time.perf_counter() - start_s)
    configuration.core_s.append(time.process_time() - start_core_s)
    assert metadata is not None  # only IfExists.SKIP keeps a result
    configuration.frames = metadata["counts"]["frames_analysed"]
    configuration.faces = metadata["counts"]["faces"]
    indices = select(info, networks.options.video)
    end_s = info.time_s[indices[-1]] + info.duration_s[indices[-1]]
    configuration.video_s = float(end_s - info.time_s[indices[0]])


def _peak_memory_mb() -> float | None:
    """The most memory that this process has used so far; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
