"""Scores on a regular grid of N values per second, for programs that need one.

A value stands for its cell of the grid, [k / N, (k + 1) / N), and is the mean over the time for
which frames with a score were shown in it. So a fast video is averaged rather than thinned out,
in a slow one a value is repeated, and a variable frame rate does no harm. With `linear`, it is the
straight line between the two frames around the cell's start instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jadfer_cli.analysis.actions import seen_faces
from jadfer_cli.analysis.face_table import FaceTable
from jadfer_cli.analysis.formats.base import Meaning
from jadfer_cli.analysis.frame_times import Floats, Ints
from jadfer_cli.analysis.score_columns import (
    RAW,
    Names,
    ScoredFaces,
    read_scores,
    score_set,
    unbroken,
)
from jadfer_cli.errors import OptionError
from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS
from jadfer_cli.results.columns import action_descriptions
from jadfer_cli.results.load import Result

METHODS = ("mean", "linear")
_MAX_RATE = 1000
_TOLERANCE = 1e-6  # of a cell, for times that were rounded


@dataclass(frozen=True)
class GridRule:
    """How scores are brought onto the grid.

    Attributes:
        rate: Values per second.
        method: "mean" or "linear".
        min_share: A cell of which less has a score is empty; for "mean" only.
        scores: Which scores, by name.
        scale: "probability" or "logit"; None for that of the scores.
        all_faces: Also use faces that are not usable.
        actions: Add the facial actions, from the file beside each result.

    Raises:
        OptionError: A value is out of range.
    """

    rate: float
    method: str = "mean"
    min_share: float = 0.5
    scores: str = RAW
    scale: str | None = None
    all_faces: bool = False
    actions: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.rate <= _MAX_RATE:
            raise OptionError(
                f"`rate` must be above 0 and at most {_MAX_RATE} values per second, not "
                f"{self.rate:g}."
            )
        if self.method not in METHODS:
            raise OptionError(f"`method` must be one of {', '.join(METHODS)}, not {self.method}.")
        if not 0 < self.min_share <= 1:
            raise OptionError(f"`min_share` must be above 0 and at most 1, not {self.min_share:g}.")


def resample(result: Result, rule: GridRule) -> pd.DataFrame:
    """Return the scores of one result on the grid: one row per track and cell.

    The rows of a track go from the first cell in which it has a score to the last one, without
    gaps; cells without a score are empty.

    Returns:
        Columns video, result, track_id, person (if known), time_s (start of the cell), seen_share
        (the part of the cell with a score), then one column per label, then the actions.

    Raises:
        OptionError: The result lacks the scores.
        ResultError: The result is damaged, or lacks the actions.
    """
    scored = read_scores(result, rule.scores, rule.scale)
    faces, values, person = scored.take(scored.counted(all_faces=rule.all_faces))
    tables = [
        _track(track, faces.take(own), values[own], person[own], rule)
        for track, own in _tracks(faces)
    ]
    names = ["track_id", "person", "time_s", "seen_share", *_columns(scored)]
    if tables:
        table = pd.concat([each.set_axis(names, axis=1) for each in tables], ignore_index=True)
    else:
        table = pd.DataFrame({name: pd.Series([], dtype="float64") for name in names})
    table = table.astype({"track_id": "Int64", "person": object})
    if not table["person"].astype(bool).any():
        table = table.drop(columns="person")
    if rule.actions:
        acted = _actions(result, scored.faces.counted(all_faces=rule.all_faces), rule)
        table = table.merge(acted, "left", on=["track_id", "time_s"])
    table.insert(0, "video", scored.annotated.video)
    table.insert(1, "result", str(result.path))
    return table


def grid_table(results: Iterable[Result], rule: GridRule) -> tuple[pd.DataFrame, Meaning]:
    """Return the rows of all results in one table, its rule in `attrs`, and what columns mean."""
    tables, sets = [], []
    for result in results:
        tables.append(resample(result, rule))
        sets.append(score_set(result, rule.scores, rule.scale))
    table = pd.concat(tables, ignore_index=True)
    used = sets[0]
    table.attrs = {
        "jadfer_grid": {
            "rate_per_s": rule.rate, "method": rule.method, "min_share": rule.min_share,
            "all_faces": rule.all_faces, "actions": rule.actions, **used.settings(),
        }
    }  # fmt: skip
    what = f"{used.scale} ({used.name} scores), {rule.method} per 1/{rule.rate:g} s"
    scores = [str(name) for name in table.columns if str(name).startswith(("p_", "logit_"))]
    descriptions = {
        "time_s": "Start of the grid cell, from the start of the video, s",
        "seen_share": "Part of the cell for which there is a score",
        **{name: f"{name}: {what}" for name in scores},
    }
    if rule.actions:
        texts = {name: text["Description"] for name, text in action_descriptions().items()}
        averaged = f"{rule.method} per 1/{rule.rate:g} s"
        for name in (*ACTION_COLUMNS, *MEASURE_COLUMNS):
            descriptions[name] = f"{texts[name]} ({averaged})"
    return table, Meaning(descriptions, title="Scores on a grid by jadfer")


def _actions(result: Result, faces: FaceTable, rule: GridRule) -> pd.DataFrame:
    """The actions of faces on the grid: track_id, time_s, then one column each."""
    columns = [*ACTION_COLUMNS, *MEASURE_COLUMNS]
    seen, values = seen_faces(result, faces, columns)
    nobody = np.full(len(seen), "", object)
    tables = [
        _track(track, seen.take(own), values[own], nobody[own], rule)
        for track, own in _tracks(seen)
        if own.stop > own.start
    ]
    names = ["track_id", "person", "time_s", "seen_share", *columns]
    empty = pd.DataFrame(columns=names, dtype="float64")
    table = pd.concat([each.set_axis(names, axis=1) for each in tables] or [empty])
    return table.drop(columns=["person", "seen_share"]).astype({"track_id": "Int64"})


def _columns(scored: ScoredFaces) -> list[str]:
    if scored.set.name != RAW:
        return list(scored.set.columns)
    return [name.removesuffix("_") for name in scored.set.derived_columns("")]


def _tracks(faces: FaceTable) -> Iterator[tuple[int, slice]]:
    ids, first = np.unique(faces.track, return_index=True)
    edges = [*first.tolist(), len(faces)]
    for track, a, b in zip(ids.tolist(), edges[:-1], edges[1:], strict=True):
        yield int(track), slice(a, b)


def _track(
    track: int, faces: FaceTable, values: Floats, person: Names, rule: GridRule
) -> pd.DataFrame:
    start, end = faces.start_s * rule.rate, faces.end_s * rule.rate  # in cells
    first = int(np.floor(start[0] + _TOLERANCE))
    last = int(np.ceil(end[-1] - _TOLERANCE))
    n = max(last - first, 1)
    cell, face, share = _overlaps(start - first, end - first, n)
    who = np.full(n, "", object)
    who[cell[::-1]] = person[face[::-1]]  # the first face in each cell
    share = np.where(person[face] == who[cell], share, 0.0)  # nobody else counts there
    seen = np.bincount(cell, share, n)
    if rule.method == "mean":
        means = np.stack(
            [np.bincount(cell, share * column[face], n) for column in values.T], 1
        ) / np.where(seen > 0, seen, 1)[:, None]  # fmt: skip
        means[seen < rule.min_share - _TOLERANCE] = np.nan
    else:
        means = _linear((first + np.arange(n)) / rule.rate, faces, values, person, rule.rate)
    table = pd.DataFrame(
        {"track": track, "person": who, "time": (first + np.arange(n)) / rule.rate,
         "seen": np.minimum(seen, 1).round(6)}
    )  # fmt: skip
    return pd.concat([table, pd.DataFrame(means)], axis=1)


def _overlaps(start: Floats, end: Floats, n: int) -> tuple[Ints, Ints, Floats]:
    """Return each pair of a cell and a face that overlap, and by how much of the cell.

    Args:
        start: float64 (m,), in cells.
        end: float64 (m,), in cells.
        n: Number of cells.
    """
    first = np.clip(np.floor(start + _TOLERANCE).astype(np.int64), 0, n - 1)
    last = np.clip(np.ceil(end - _TOLERANCE).astype(np.int64), first + 1, n)
    counts = last - first
    face = np.repeat(np.arange(len(start)), counts)
    cell = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[face]
    share = np.minimum(end[face], cell + 1) - np.maximum(start[face], cell)
    return cell, face, np.maximum(share, 0)


def _linear(time_s: Floats, faces: FaceTable, values: Floats, person: Names, rate: float) -> Floats:
    """Interpolate between the frames of each run; a frame alone is held for its time."""
    found = np.full((len(time_s), values.shape[1]), np.nan)
    for run in unbroken(faces, person):
        at = faces.start_s[run]
        tolerance = _TOLERANCE / rate
        inside = (time_s >= at[0] - tolerance) & (time_s < faces.end_s[run][-1] - tolerance)
        for k, column in enumerate(values[run].T):
            found[inside, k] = np.interp(time_s[inside], at, column)
    return found
