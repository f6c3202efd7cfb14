"""jadfer annotates facial expressions in video.

From Python:

    >>> import jadfer_cli
    >>> rows = jadfer_cli.annotate("clip.mp4")               # a pandas.DataFrame
    >>> for piece in jadfer_cli.iter_annotate("long.mp4"):   # the same rows in bounded memory
    ...     ...

For several videos, or for pictures that are in memory, load the networks once:

    >>> annotator = jadfer_cli.Annotator()
    >>> rows = annotator.annotate("clip.mp4")
    >>> rows = annotator.annotate_frames(frames_rgb, fps=25)  # uint8 (n, height, width, 3)
    >>> rows = annotator.annotate_image(image_rgb)            # uint8 (height, width, 3)

What `jadfer annotate` wrote is read with its metadata:

    >>> rows = jadfer_cli.read("clip.parquet")
    >>> rows.attrs["jadfer"]["counts"]

Options are dataclasses (`AnnotateOptions` holds all of them); everything that jadfer raises on
purpose is a `JadferError`, whose subclasses `jadfer_cli.errors` lists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from jadfer_cli._version import __version__
from jadfer_cli.errors import (
    BusyError,
    DeviceError,
    JadferError,
    ModelError,
    OptionError,
    OutputError,
    ResultError,
    SplitMissing,
    TrainingError,
    VideoError,
)
from jadfer_cli.options import (
    AnnotateOptions,
    FaceOptions,
    IfExists,
    ModelOptions,
    OverlayOptions,
    VideoOptions,
)

if TYPE_CHECKING:
    import pandas as pd

    from jadfer_cli.pipeline.annotator import Annotator
    from jadfer_cli.pipeline.progress import Progress

# ONNX Runtime reports usage to its maker unless this is set before it is imported. Recordings of
# faces and hospital machines are no place for that; users who want it can set the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "AnnotateOptions",
    "Annotator",
    "BusyError",
    "DeviceError",
    "FaceOptions",
    "IfExists",
    "JadferError",
    "ModelError",
    "ModelOptions",
    "OptionError",
    "OutputError",
    "OverlayOptions",
    "Progress",
    "ResultError",
    "SplitMissing",
    "TrainingError",
    "VideoError",
    "VideoOptions",
    "__version__",
    "annotate",
    "iter_annotate",
    "read",
]

# Imported on first use: they load torch, the detector and pandas, and `jadfer --help` is quick.
_LAZY = {
    "Annotator": "jadfer_cli.pipeline.annotator",
    "Progress": "jadfer_cli.pipeline.progress",
}


def annotate(
    path: str | os.PathLike[str],
    options: AnnotateOptions | None = None,
    *,
    progress: Callable[[Progress], object] | None = None,
) -> pd.DataFrame:
    """Annotates one video in memory.

    Loads the networks each time; an `Annotator` keeps them.

    Args:
        path: The video.
        options: All options; the defaults are those of the command line.
        progress: Called with a `Progress` several times per second.

    Returns:
        The rows that the command line would write, one per frame and face. With the option
        `landmarks` ten columns of landmarks are added. The metadata is in `.attrs["jadfer"]`.

    Raises:
        JadferError: As for the command line; see `jadfer_cli.errors`.
    """
    from jadfer_cli.pipeline.annotator import Annotator

    return Annotator(options).annotate(path, progress=progress or (lambda now: None))


def iter_annotate(
    path: str | os.PathLike[str], options: AnnotateOptions | None = None
) -> Iterator[pd.DataFrame]:
    """Annotates one video piece by piece, in bounded memory, for long videos.

    Args:
        path: The video.
        options: All options except `faces.max_faces`, which needs the whole video first.

    Yields:
        Consecutive rows, in order; together they are what `annotate` returns, without metadata.

    Raises:
        JadferError: As for `annotate`; OptionError with `max_faces`.
    """
    from jadfer_cli.pipeline.annotator import Annotator
    from jadfer_cli.pipeline.tables import refuse_max_faces

    refuse_max_faces(options or AnnotateOptions())
    yield from Annotator(options).iter_annotate(path)


def read(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Reads a result that `jadfer annotate` wrote.

    Args:
        path: The Parquet file.

    Returns:
        Its rows, sorted by frame and track; the metadata is in `.attrs["jadfer"]`.

    Raises:
        ResultError: The file is missing, damaged, or not a result of jadfer.
    """
    from jadfer_cli.results.load import load

    return load(path).rows()


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
