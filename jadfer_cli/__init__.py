"""jadfer annotates facial expressions in video.

From Python:

    >>> import jadfer_cli
    >>> rows = jadfer_cli.annotate("clip.mp4", fps=5)   # a pandas.DataFrame
    >>> rows[["time_s", "expression"]].values.tolist()
    [[0.0, 'happiness'], [0.2, 'happiness']]
    >>> for piece in jadfer_cli.iter_annotate("clip.mp4"):   # the rows in bounded memory
    ...     columns = list(piece)

For several videos, or for pictures that are in memory, load the networks once:

    >>> annotator = jadfer_cli.Annotator()
    >>> rows = annotator.annotate("clip.mp4")
    >>> import numpy as np
    >>> frames_rgb = np.zeros((3, 120, 160, 3), np.uint8)     # n, height, width, RGB
    >>> rows = annotator.annotate_frames(frames_rgb, fps=25)
    >>> rows["face_detected"].tolist()
    [False, False, False]
    >>> rows = annotator.annotate_image(frames_rgb[0])

What `jadfer annotate` wrote is read with its metadata:

    >>> metadata = annotator.annotate_to("clip.mp4", "clip.parquet")
    >>> rows = jadfer_cli.read("clip.parquet")
    >>> rows.attrs["jadfer"]["counts"]["frames_analysed"]
    8

Options are keywords, or dataclasses (`AnnotateOptions` holds all of them); everything that jadfer
raises on purpose is a `JadferError`, whose subclasses `jadfer_cli.errors` lists.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from jadfer_cli._version import __version__
from jadfer_cli.errors import (
    BusyError,
    CodesError,
    DamagedResult,
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
    OptionKeywords,
    OverlayOptions,
    VideoOptions,
    combined,
    takes_options,
)

if TYPE_CHECKING:
    import pandas as pd

    from jadfer_cli.pipeline.annotator import Annotator
    from jadfer_cli.pipeline.progress import Progress
    from jadfer_cli.pipeline.tables import Pieces

# ONNX Runtime reports usage to its maker unless this is set before it is imported. Recordings of
# faces and hospital machines are no place for that; users who want it can set the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "AnnotateOptions",
    "Annotator",
    "BusyError",
    "CodesError",
    "DamagedResult",
    "DeviceError",
    "FaceOptions",
    "IfExists",
    "JadferError",
    "ModelError",
    "ModelOptions",
    "OptionError",
    "OptionKeywords",
    "OutputError",
    "OverlayOptions",
    "Pieces",
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
    "Pieces": "jadfer_cli.pipeline.tables",
    "Progress": "jadfer_cli.pipeline.progress",
}


@takes_options
def annotate(
    path: str | os.PathLike[str],
    options: AnnotateOptions | None = None,
    *,
    progress: Callable[[Progress], object] | None = None,
    **keywords: Unpack[OptionKeywords],
) -> pd.DataFrame:
    """Annotates one video in memory.

    Loads the networks each time; an `Annotator` keeps them.

        >>> rows = jadfer_cli.annotate("clip.mp4", start_s=0.1, max_faces=1)
        >>> rows["frame"].tolist()
        [3, 4, 5, 6, 7]

    Args:
        path: The video.
        options: All options; the defaults are those of the command line.
        progress: Called with a `Progress` several times per second.
        **keywords: Single options, instead of those in `options`: `fps=5`, `max_faces=1`.

    Returns:
        The rows that the command line would write, one per frame and face. With the option
        `landmarks` ten columns of landmarks are added. The metadata is in `.attrs["jadfer"]`.

    Raises:
        JadferError: As for the command line; see `jadfer_cli.errors`.
    """
    from jadfer_cli.pipeline.annotator import Annotator

    annotator = Annotator(combined(options, keywords))
    return annotator.annotate(path, progress=progress or (lambda now: None))


@takes_options
def iter_annotate(
    path: str | os.PathLike[str],
    options: AnnotateOptions | None = None,
    **keywords: Unpack[OptionKeywords],
) -> Pieces:
    """Annotates one video piece by piece, in bounded memory, for long videos.

        >>> pieces = jadfer_cli.iter_annotate("clip.mp4")
        >>> sum(len(rows) for rows in pieces)
        8
        >>> pieces.metadata["counts"]["faces"]
        8

    Args:
        path: The video.
        options: All options except `faces.max_faces`, which needs the whole video first.
        **keywords: Single options, instead of those in `options`.

    Returns:
        An iterator of consecutive rows, in order; together they are what `annotate` returns. After
        the last, its `metadata` holds the metadata.

    Raises:
        JadferError: As for `annotate`; OptionError with `max_faces`.
    """
    from jadfer_cli.pipeline.annotator import Annotator
    from jadfer_cli.pipeline.tables import refuse_max_faces

    options = combined(options, keywords)
    refuse_max_faces(options)
    return Annotator(options).iter_annotate(path)


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

    result = load(path)
    rows = result.rows()
    rows.attrs["jadfer"] = result.metadata
    return rows


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
