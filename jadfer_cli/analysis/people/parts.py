"""Which faces are recognised, and where a track changes from one person to another.

A track is cut into parts that each show one person. Its sampled faces, in order of time, are
divided so that the sum of costs is smallest (optimal partitioning, Jackson et al. 2005): a part of
n embeddings costs n minus the length of their sum, which is 0 if all are equal, and each part
costs PART_COST. Then neighbouring parts whose mean embeddings are alike are joined again: pose,
light and a hand before the face also change an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.faces.quality import MAX_BLUR
from jadfer_cli.records import FloatArray

MIN_SAMPLES = 8  # per track, if it has as many faces
MAX_SAMPLES = 2000  # per track; the time between samples grows in longer tracks
# A face that is smaller, more blurred or more turned founds no person: it is often missed
# (tests/bench/identity.py: 15 % of faces with eyes 12 px apart, 55 % at 8 px).
MIN_INTEROCULAR_PX = 12.0
MAX_YAW_DEG = 50.0
MIN_PART = 2  # samples: one odd face is no other person
PART_COST = 0.7  # about what two faces of another person cost more in a track with one more part


@dataclass(frozen=True)
class Part:
    """A part of a track that shows one person.

    Attributes:
        result: Index of the result.
        track_id: The track.
        rows: int64 (n,), positions of its rows in the result, ascending.
        vector: float32 (D,), mean embedding, of length 1.
        n_samples: Number of embeddings in it.
        clear: Whether at least one of them is of a face that founds a person; see `clear_faces`.
        start_s: Start of its first frame.
        end_s: End of its last frame.
        seen_s: How long its frames are shown, without gaps.
    """

    result: int
    track_id: int
    rows: Ints
    vector: FloatArray
    n_samples: int
    clear: bool
    start_s: float
    end_s: float
    seen_s: float


def clear_faces(rows: pd.DataFrame) -> Bools:
    """Return which rows hold a face that is large, sharp and frontal enough to found a person."""
    blur = rows["blur"].to_numpy(np.float64, na_value=np.nan)
    size = rows["interocular_px"].to_numpy(np.float64, na_value=np.nan)
    yaw = np.abs(rows["yaw_deg"].to_numpy(np.float64, na_value=np.nan))
    # imported results may lack them
    clear: Bools = ~(size < MIN_INTEROCULAR_PX) & ~(yaw > MAX_YAW_DEG) & ~(blur > MAX_BLUR)
    return clear


def sampled_rows(rows: pd.DataFrame, step_s: float) -> Ints:
    """Choose the faces to recognise: of each track the best one in each step of time.

    Args:
        rows: Of one result, with a default index.
        step_s: Length of a step; shorter in short tracks, to get MIN_SAMPLES faces.

    Returns:
        int64 (n,), positions of the chosen rows, ascending.
    """
    at = np.flatnonzero((rows["face_detected"] & (rows["frame_status"] != "corrupt")).to_numpy())
    faces = rows.iloc[at]
    size = faces["interocular_px"].to_numpy(np.float64, na_value=0.0)
    yaw = faces["yaw_deg"].to_numpy(np.float64, na_value=0.0)
    blur = faces["blur"].to_numpy(np.float64, na_value=0.0)
    quality = size * np.cos(np.radians(np.clip(yaw, -90, 90))) * (1 - blur)
    table = pd.DataFrame({
        "row": at, "track": faces["track_id"].to_numpy(np.int64),
        "time": faces["time_s"].to_numpy(np.float64), "clear": clear_faces(faces),
        "quality": quality,
    })  # fmt: skip
    times = table.groupby("track")["time"]
    first, length = times.transform("min"), times.transform("max") - times.transform("min")
    step = np.clip(step_s, length / MAX_SAMPLES, length / MIN_SAMPLES)
    table["bin"] = np.floor((table["time"] - first) / np.maximum(step, 1e-9))
    best = table.sort_values(["clear", "quality"], kind="stable").groupby(["track", "bin"]).tail(1)
    return np.sort(best["row"].to_numpy(np.int64))


def first_of_parts(vectors: FloatArray, alike: float) -> list[int]:
    """Divide the samples of one track into parts that each show one person.

    Args:
        vectors: float32 (n, D), embeddings of length 1 in order of time; n is at least 1.
        alike: Neighbouring parts whose mean embeddings have at least this cosine are one.

    Returns:
        The index of the first sample of each part; begins with 0.
    """
    starts = _cheapest_partition(vectors.astype(np.float64))
    while len(starts) > 1:
        edges = [*starts, len(vectors)]
        means = [mean_vector(vectors[a:b]) for a, b in pairwise(edges)]
        cosines = [float(one @ two) for one, two in pairwise(means)]
        nearest = int(np.argmax(cosines))
        if cosines[nearest] < alike:
            break
        del starts[nearest + 1]
    return starts


def _cheapest_partition(vectors: Floats) -> list[int]:
    n = len(vectors)
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(vectors, axis=0)])
    squared = (sums**2).sum(axis=1)
    cheapest = np.zeros(n + 1)
    begin = np.zeros(n + 1, np.int64)
    shortest = min(MIN_PART, n)
    cheapest[1:shortest] = np.inf
    for end in range(shortest, n + 1):
        length = np.sqrt(np.maximum(squared[:end] + squared[end] - 2 * (sums[:end] @ sums[end]), 0))
        cost = cheapest[:end] + (end - np.arange(end)) - length + PART_COST
        begin[end] = int(cost[: end - shortest + 1].argmin())
        cheapest[end] = cost[begin[end]]
    starts, end = [], n
    while end:
        end = int(begin[end])
        starts.append(end)
    return starts[::-1]


def mean_vector(vectors: npt.ArrayLike) -> FloatArray:
    """Return the mean direction of embeddings (n, D): float32 (D,), of length 1."""
    mean = np.asarray(vectors, np.float64).mean(axis=0)
    direction: FloatArray = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
    return direction


def best_cut(between: FloatArray, before: FloatArray, after: FloatArray) -> int:
    """Choose where, among the faces between two parts, the person changes.

    Args:
        between: float32 (n, D), their embeddings in order of time; NaN where there is none.
        before: float32 (D,), mean embedding of the part before.
        after: float32 (D,), of the part after.

    Returns:
        How many of them belong to the part before, 0 to n.
    """
    towards = np.nan_to_num(between @ (before - after))
    return int(np.concatenate([[0.0], np.cumsum(towards)]).argmax())
