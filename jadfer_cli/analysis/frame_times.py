"""How long each analysed frame stands for, and which rows follow one another.

A row's `duration_s` is how long the source shows that frame. Where only some frames were
analysed (--every, --fps), a frame stands for the time until the next analysed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]


def frame_spans(rows: pd.DataFrame, metadata: Mapping[str, Any]) -> pd.DataFrame:
    """The analysed frames, each once, and the time that each stands for.

    A frame lasts until the next analysed frame begins. The last lasts as long as the source
    shows it, or where frames were left out as long as the median of the others, but not beyond
    the end of the video or of --end.

    Args:
        rows: Of one result, sorted; needs `frame`, `time_s` and `duration_s`.
        metadata: Of the result; its options and its video's length.

    Returns:
        Indexed by `frame`: `start_s`, `end_s` and `span_s`, float64, seconds.
    """
    frames = rows.loc[~rows["frame"].duplicated(), ["frame", "time_s", "duration_s"]]
    start = frames["time_s"].to_numpy(np.float64)
    end = np.append(start[1:], 0.0)
    if len(start):
        end[-1] = start[-1] + _last_span_s(start, frames["duration_s"].to_numpy(), metadata)
    return pd.DataFrame(
        {"start_s": start, "end_s": end, "span_s": end - start},
        index=pd.Index(frames["frame"].to_numpy(), name="frame"),
    )


def _last_span_s(start: Floats, duration: Floats, metadata: Mapping[str, Any]) -> float:
    shown_s = float(duration[-1])
    options = metadata.get("options", {}).get("video", {})
    if len(start) < 2 or (options.get("every", 1) == 1 and options.get("fps") is None):
        return shown_s
    limit_s = min(
        float(metadata.get("video", {}).get("duration_s") or np.inf),
        float(options.get("end_s") or np.inf),
    )
    span_s = min(float(np.median(np.diff(start))), limit_s - float(start[-1]))
    return max(span_s, shown_s)


def usable_rows(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows hold a face that can be judged; bool (n,). Null counts as no."""
    found: npt.NDArray[np.bool_] = rows["usable"].fillna(False).to_numpy(bool)
    return found


def unbroken_runs(frame_positions: npt.NDArray[np.int64]) -> list[slice]:
    """The stretches of consecutive positions in an ascending array, as slices of it.

    Args:
        frame_positions: int64 (n,), ascending: the places of a track's rows in the list of
            analysed frames, so that a frame in which the track is missing breaks the run.

    Returns:
        Slices in order; together they cover the array.
    """
    if not len(frame_positions):
        return []
    cuts = np.flatnonzero(np.diff(frame_positions) != 1) + 1
    edges = [0, *cuts.tolist(), len(frame_positions)]
    return [slice(a, b) for a, b in pairwise(edges)]
