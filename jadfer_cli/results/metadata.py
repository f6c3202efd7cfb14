"""The metadata of a result: the video, the networks, the settings and the software."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from typing import Any

from jadfer_cli._version import __version__
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.records import DetectorInfo, VideoInfo
from jadfer_cli.results.revision import RESULTS_REVISION
from jadfer_cli.results.schema import SCHEMA_VERSION
from jadfer_cli.runtime import Runtime
from jadfer_cli.text import encodable

_PACKAGES = (
    "torch",
    "decord2",
    "av",
    "insightface",
    "onnxruntime",
    "trackers",
    "opencv-python",
    "numpy",
    "pandas",
    "pyarrow",
)


def versions() -> dict[str, str | None]:
    """Return the versions of Python, jadfer and the packages that affect a result."""
    found: dict[str, str | None] = {"python": platform.python_version(), "jadfer-cli": __version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def video_metadata(info: VideoInfo, sha256: str | None) -> dict[str, Any]:
    """Describe the source: its format, its timing and its identity.

    Args:
        info: The video.
        sha256: Of the file; None if it could not be read again.
    """
    gaps = info.duration_s[:-1] if info.n_frames > 1 else info.duration_s
    shortest, longest = (float(gaps.min()), float(gaps.max())) if len(gaps) else (0.0, 0.0)
    return {
        "path": encodable(info.path),
        "sha256": sha256,
        "bytes": info.file_bytes,
        "container": info.container,
        "codec": info.codec,
        "pixel_format": info.pixel_format,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "rotation_deg": info.rotation_deg,
        "nominal_fps": info.nominal_fps,
        # Rounding explains a jitter of one tick of the time base; more is a variable rate.
        "variable_frame_rate": bool(longest - shortest > 1.5 * info.time_base_s + 1e-9),
        "frame_gap_min_s": shortest,
        "frame_gap_max_s": longest,
        "start_offset_s": info.start_offset_s,
        "duration_s": float(info.duration_s.sum()),
        "frames_in_source": info.n_frames,
    }


def run_metadata(
    options: AnnotateOptions,
    runtime: Runtime,
    detector: DetectorInfo,
    model: dict[str, Any],
    labels: tuple[str, ...],
) -> dict[str, Any]:
    """Describe a run: the metadata that all its videos share.

    Args:
        options: All options, as given.
        runtime: The device and precision in use.
        detector: The face detector.
        model: Name, sha256, terms and figures of the model.
        labels: The model's labels.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "results_revision": RESULTS_REVISION,
        "jadfer_version": __version__,
        "labels": list(labels),
        "model": model,
        "detector": {k: v for k, v in dataclasses.asdict(detector).items() if k != "hint"},
        "options": dataclasses.asdict(options),
        "device": runtime.device,
        "device_name": runtime.device_name,
        "precision": runtime.precision,
        "engine": runtime.engine,
        "threads": runtime.threads,
        "batch_size": runtime.batch_size,
        "platform": platform.platform(),
        "versions": versions(),
    }
