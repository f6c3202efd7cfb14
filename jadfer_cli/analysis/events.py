"""Events: when a face begins to show an expression, shows it most, and stops showing it.

A Schmitt trigger (hysteresis) on each probability of each track: an event begins with the
first frame in which it reaches the upper threshold and ends before the first one in which it
falls below the lower, so that a value that trembles about one threshold gives one event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.frame_times import frame_spans, usable_rows
from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import Result

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_TICK_S = 1e-6  # containers count in steps of 1/90000 s or longer; less is rounding
_DECIMALS = 6
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Event:
    """One event; its fields are the columns of the table, after `video` and `result`.

    Attributes:
        track_id: Which face.
        expression: What it shows.
        onset_s: Begin of the first frame in it.
        apex_s: Begin of the frame with the highest probability, the first of equals.
        offset_s: End of the last frame in it: what that frame stands for is over.
        duration_s: From onset to offset.
        onset_frame: The first frame.
        apex_frame: That with the highest probability.
        offset_frame: The last frame.
        p_apex: The highest probability.
        p_mean: Mean over the frames in which the face was judged.
        n_frames: How many those are.
        truncated: "start", "end" or "both" where the face was not judged just before or after,
            so that the event may be longer; else "".
    """

    track_id: int
    expression: str
    onset_s: float
    apex_s: float
    offset_s: float
    duration_s: float
    onset_frame: int
    apex_frame: int
    offset_frame: int
    p_apex: float
    p_mean: float
    n_frames: int
    truncated: str


_KINDS = {"int": "int64", "float": "float64", "str": "str"}
_COLUMNS = {field.name: _KINDS[str(field.type)] for field in fields(Event)}
COLUMNS = ("video", "result", *_COLUMNS)


@dataclass(frozen=True)
class Rule:
    """When something is an event.

    Attributes:
        on: An event begins where the probability reaches this.
        off: It ends where the probability falls below this.
        min_duration_s: Shorter events are left out.
        merge_gap_s: Interruptions up to this length do not end an event.
        all_faces: Take faces that are not usable, too.

    Raises:
        OptionError: A value makes no sense.
    """

    on: float = 0.6
    off: float = 0.4
    min_duration_s: float = 0.2
    merge_gap_s: float = 0.1
    all_faces: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.off <= self.on <= 1:
            raise OptionError(
                f"--on {self.on:g} --off {self.off:g}: 0 < off <= on <= 1 must hold.",
                "An event begins at --on or above and ends below --off.",
            )
        for name, value in (
            ("--min-duration", self.min_duration_s),
            ("--merge-gap", self.merge_gap_s),
        ):
            if not 0 <= value < np.inf:
                raise OptionError(f"{name} takes seconds, 0 or more, not {value:g}.")


@dataclass(frozen=True)
class EventSet:
    """The events of one result.

    Attributes:
        result: Where they come from.
        rule: How they were found.
        expressions: Which expressions were looked for, in the order of the labels.
        tracks: All tracks of the result, with or without events, ascending.
        end_s: Where the video ends; no event ends later.
        events: A row an event, columns COLUMNS, sorted by onset, track and label order.
    """

    result: Result
    rule: Rule
    expressions: tuple[str, ...]
    tracks: tuple[int, ...]
    end_s: float
    events: pd.DataFrame

    @property
    def video(self) -> str:
        """The video's path, as it was given."""
        return str(self.result.metadata["video"]["path"])

    def records(self) -> list[Event]:
        """The events, one by one."""
        table = self.events[list(_COLUMNS)]
        return [Event(*values) for values in table.itertuples(index=False, name=None)]


def wanted(names: Sequence[str], result: Result) -> tuple[str, ...]:
    """The labels that names mean; all but neutral if there is no name.

    Args:
        names: Labels, or words for them such as happy; each counts once.
        result: The result that must have them.

    Raises:
        OptionError: The result has no such label.
    """
    if not names:
        return tuple(label for label in result.labels if label != NEUTRAL)
    return result.resolve_labels(names)


def find_events(result: Result, rule: Rule, names: Sequence[str] = ()) -> EventSet:
    """Finds the events of a result.

    Args:
        result: It is read here.
        rule: When something is an event.
        names: Which expressions, as `wanted`.

    Raises:
        OptionError: The result lacks an expression.
        ResultError: Its file is damaged or gone.
    """
    expressions = wanted(names, result)
    needed = ["frame", "time_s", "duration_s", "frame_status", "track_id", "usable"]
    rows = result.rows([*needed, *(f"p_{name}" for name in expressions)])
    spans = frame_spans(rows, result.metadata)
    end_s = float(result.metadata["video"].get("duration_s") or 0.0)
    if len(spans):
        end_s = max(end_s, float(spans["end_s"].iloc[-1]))
    track_ids = rows["track_id"].dropna().unique().astype("int64")
    faces = _judged(rows, spans, rule)
    parts = [_of_expression(faces, name, rule) for name in expressions]
    events = pd.concat([_empty(), *(part for part in parts if len(part))], ignore_index=True)
    if len(events):  # stable: labels of equal onset and track keep their order
        events = events.sort_values(["onset_s", "track_id"], kind="stable", ignore_index=True)
    events = events.astype(_COLUMNS)
    events.insert(0, "video", str(result.metadata["video"]["path"]))
    events.insert(1, "result", str(result.path))  # as in summaries
    tracks = tuple(sorted(track_ids.tolist()))
    return EventSet(result, rule, expressions, tracks, end_s, events)


@dataclass(frozen=True)
class _Faces:
    """The faces that can be judged, by track and time: arrays (n,) and probabilities by label.

    `breaks` marks the first face of each stretch: a new track, or the same one after more than
    the rule's gap.
    """

    track: Ints
    frame: Ints
    start_s: Floats
    end_s: Floats
    breaks: Bools
    p: Mapping[str, Floats]


def _judged(rows: pd.DataFrame, spans: pd.DataFrame, rule: Rule) -> _Faces:
    seen = rows["track_id"].notna().to_numpy(bool)
    good = (rows["frame_status"] != "corrupt").to_numpy(bool)
    keep = seen & good & (usable_rows(rows) | rule.all_faces)
    rows = rows[keep]
    # sorted by frame already, and a stable sort keeps that within each track
    rows = rows.iloc[np.argsort(rows["track_id"].to_numpy("int64"), kind="stable")]
    frame = rows["frame"].to_numpy("int64")
    at = spans.index.get_indexer(pd.Index(frame))
    start, end = (spans[name].to_numpy(np.float64)[at] for name in ("start_s", "end_s"))
    track = rows["track_id"].to_numpy("int64")
    breaks = np.ones(len(rows), bool)
    breaks[1:] = (track[1:] != track[:-1]) | (start[1:] - end[:-1] > rule.merge_gap_s + _TICK_S)
    p = {
        str(name).removeprefix("p_"): rows[name].to_numpy(np.float64)
        for name in rows.columns
        if str(name).startswith("p_")
    }
    return _Faces(track, frame, start, end, breaks, p)


def _of_expression(faces: _Faces, name: str, rule: Rule) -> pd.DataFrame:
    """The events of one expression, all tracks, without `video` and `result`."""
    p, track = faces.p[name], faces.track
    first, last = _runs(_triggered(p, faces.breaks, rule), faces.breaks)  # (e,) each, inclusive
    if not len(first):
        return _empty()
    apart = np.ones(len(first), bool)
    gaps = faces.start_s[first[1:]] - faces.end_s[last[:-1]]
    apart[1:] = (track[first[1:]] != track[last[:-1]]) | (gaps > rule.merge_gap_s + _TICK_S)
    first, last = first[apart], last[np.append(apart[1:], True)]
    long = faces.end_s[last] - faces.start_s[first] >= rule.min_duration_s - _TICK_S
    first, last = first[long], last[long]
    pairs = list(zip(first.tolist(), (last + 1).tolist(), strict=True))
    apex = np.array([a + int(p[a:b].argmax()) for a, b in pairs], np.int64)
    onset, offset = faces.start_s[first].round(_DECIMALS), faces.end_s[last].round(_DECIMALS)
    return pd.DataFrame(
        {
            "track_id": track[first],
            "expression": name,
            "onset_s": onset,
            "apex_s": faces.start_s[apex].round(_DECIMALS),
            "offset_s": offset,
            "duration_s": (offset - onset).round(_DECIMALS),
            "onset_frame": faces.frame[first],
            "apex_frame": faces.frame[apex],
            "offset_frame": faces.frame[last],
            "p_apex": p[apex].round(_DECIMALS),
            "p_mean": np.array([p[a:b].mean() for a, b in pairs], np.float64).round(_DECIMALS),
            "n_frames": last + 1 - first,
            "truncated": _truncated(faces.breaks[first], np.append(faces.breaks[1:], True)[last]),
        }
    )


def _triggered(p: Floats, breaks: Bools, rule: Rule) -> Bools:
    """Which faces are inside an event: on where p >= on, off where p < off, else as before."""
    on = p >= np.float32(rule.on)  # as exact as the stored probabilities
    decided = on | (p < np.float32(rule.off)) | breaks  # nothing is carried over a break
    where = np.maximum.accumulate(np.where(decided, np.arange(len(p)), 0))
    found: Bools = on[where]
    return found


def _runs(inside: Bools, breaks: Bools) -> tuple[Ints, Ints]:
    """First and last place of each unbroken run of True."""
    before, after = np.append(False, inside[:-1]), np.append(inside[1:], False)
    first = inside & (~before | breaks)
    last = inside & (~after | np.append(breaks[1:], True))
    return np.flatnonzero(first), np.flatnonzero(last)


def _truncated(start: Bools, end: Bools) -> npt.NDArray[np.object_]:
    """Which side of each event is cut off, in words."""
    words = np.array(["", "start", "end", "both"], object)
    found: npt.NDArray[np.object_] = words[start + 2 * end.astype(np.int64)]
    return found


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in _COLUMNS.items()})


def joined(found: Sequence[EventSet]) -> pd.DataFrame:
    """The events of all results in one table; the rule is in its `attrs`.

    Args:
        found: At least one; all by the same rule.
    """
    table = pd.concat([each.events for each in found], ignore_index=True)
    table.attrs = {"jadfer_events": settings(found[0])}
    return table


def settings(found: EventSet) -> dict[str, Any]:
    """How events were found, JSON-ready: for files that can say so."""
    rule = found.rule
    return {
        "on": rule.on,
        "off": rule.off,
        "min_duration_s": rule.min_duration_s,
        "merge_gap_s": rule.merge_gap_s,
        "all_faces": rule.all_faces,
        "expressions": list(found.expressions),
    }
