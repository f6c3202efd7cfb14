"""jadfer annotates facial expressions in video.

From Python:

    >>> import jadfer_cli
    >>> rows = jadfer_cli.annotate("clip.mp4")          # pandas.DataFrame
    >>> for part in jadfer_cli.iter_annotate("long.mp4"):  # bounded memory
    ...     ...
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jadfer_cli._version import __version__
from jadfer_cli.errors import JadferError
from jadfer_cli.options import AnnotateOptions, FaceOptions, ModelOptions, VideoOptions

if TYPE_CHECKING:
    from jadfer_cli.pipeline.api import annotate, iter_annotate

# ONNX Runtime reports usage to its maker unless told not to before it is imported. Faces and
# hospital machines are no place for that; somebody who wants it can set the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "AnnotateOptions",
    "FaceOptions",
    "JadferError",
    "ModelOptions",
    "VideoOptions",
    "__version__",
    "annotate",
    "iter_annotate",
]


def __getattr__(name: str) -> Any:
    # torch and the detector load on first use, so that `jadfer --help` is quick
    if name in ("annotate", "iter_annotate"):
        from jadfer_cli.pipeline import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
