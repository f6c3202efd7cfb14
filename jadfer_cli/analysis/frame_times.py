"""How much time each analysed frame represents, and which frames follow one another.

The `duration_s` of a row is how long the source shows its frame. If only some frames were
analysed (--every, --fps), a frame represents the time until the next analysed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def frame_spans(rows: pd.DataFrame, metadata: Mapping[str, Any]) -> pd.DataFrame:
    """Return the analysed frames, each once, with the time that each represents.

    A frame lasts until the next analysed frame begins. The last one lasts as long as the source
    shows it; if frames were skipped, as long as the median of the others, but not beyond the end
    of the video or of --end.

    Args:
        rows: Of one result, sorted; needs `frame`, `time_s` and `duration_s`.
        metadata: Of the result.

    Returns:
        Indexed by `frame`: `start_s`, `end_s` and `span_s`, float64, in seconds.
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


def intact_rows(rows: pd.DataFrame) -> Bools:
    """Return which rows are of an intact frame, bool (n,).

    A corrupt frame may show the face as it was long before, or in pieces, so no measure counts it.
    """
    intact: Bools = (rows["frame_status"] != "corrupt").to_numpy(bool)
    return intact


def usable_rows(rows: pd.DataFrame) -> Bools:
    """Return which rows hold a usable face in an intact frame, bool (n,); null counts as False."""
    usable: Bools = rows["usable"].fillna(False).to_numpy(bool)
    return usable & intact_rows(rows)


def unbroken_runs(frame_positions: Ints) -> list[slice]:
    """Return the runs of consecutive positions in an ascending array, as slices of it.

    Args:
        frame_positions: int64 (n,), ascending: positions of a track's rows in the list of
            analysed frames, so that a frame without the track ends a run.

    Returns:
        Slices in order, which together cover the array.
    """
    if not len(frame_positions):
        return []
    cuts = np.flatnonzero(np.diff(frame_positions) != 1) + 1
    edges = [0, *cuts.tolist(), len(frame_positions)]
    return [slice(a, b) for a, b in pairwise(edges)]


def spans_where(mask: Bools, start_s: Floats, end_s: Floats) -> Floats:
    """Return begin and end of each run of frames in which the mask is true.

    Args:
        mask: bool (n,), one per analysed frame.
        start_s: float64 (n,), start of the time that each represents.
        end_s: float64 (n,), end of that time.

    Returns:
        float64 (m, 2), in seconds.
    """
    runs = unbroken_runs(np.flatnonzero(mask))
    at = np.flatnonzero(mask)
    return np.array(
        [(start_s[at[run.start]], end_s[at[run.stop - 1]]) for run in runs], np.float64
    ).reshape(-1, 2)


def weighted_mean_and_sd(p: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Return mean (K,) and SD (K,) of p (n, K) with the weights w (n,), see `summary`.

    NaN where undefined: the mean without any weight, the SD of a single frame.
    """
    undefined = np.full(p.shape[1], np.nan)
    v1 = w.sum()
    if v1 <= 0:
        return undefined, undefined
    mean = (w[:, None] * p).sum(0) / v1
    denominator = v1 - (w**2).sum() / v1
    if denominator <= 1e-12 * v1:  # the SD of one frame is undefined
        return mean, undefined
    return mean, np.sqrt((w[:, None] * (p - mean) ** 2).sum(0) / denominator)
