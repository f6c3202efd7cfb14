"""Find events: when a face begins to show an expression, shows it most, and stops showing it.

A Schmitt trigger (hysteresis) runs on each probability of each track. An event begins with the
first frame in which the probability reaches the upper threshold, and ends before the first frame
in which it falls below the lower one, so a value that fluctuates around one threshold gives one
event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.frame_times import Bools, Floats, Ints, frame_spans, usable_rows
from jadfer_cli.errors import OptionError
from jadfer_cli.options import EVENT_MERGE_GAP_S, EVENT_MIN_DURATION_S, EVENT_OFF, EVENT_ON
from jadfer_cli.results.load import Result

_TOLERANCE_S = 1e-6  # time bases of containers are 1/90000 s or longer; less is rounding
_DECIMALS = 6
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Event:
    """One event; its fields are the columns of the table, after `video` and `result`.

    Attributes:
        track_id: The face.
        expression: The label that it shows.
        onset_s: Start of the first frame.
        apex_s: Begin of the frame with the highest probability; if several are equal, of the first.
        offset_s: End of the last frame, that is, of the time for which it stands.
        duration_s: Time from onset to offset.
        onset_frame: Index of the first frame.
        apex_frame: Index of the frame with the highest probability.
        offset_frame: Index of the last frame.
        p_apex: The highest probability.
        p_mean: Mean probability over the frames in which the face was judged.
        n_frames: Number of these frames.
        truncated: "start", "end" or "both" if the face was not judged just before or after the
            event, which may then be longer; otherwise "".
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


_DTYPES = {"int": "int64", "float": "float64", "str": "str"}
_EVENT_COLUMNS = {field.name: _DTYPES[str(field.type)] for field in fields(Event)}
COLUMNS = ("video", "result", *_EVENT_COLUMNS)


@dataclass(frozen=True)
class Rule:
    """What counts as an event.

    Attributes:
        on: An event begins when the probability reaches this value.
        off: It ends when the probability falls below this value.
        min_duration_s: Shorter events are dropped.
        merge_gap_s: Interruptions up to this length do not end an event.
        all_faces: Also use faces that are not usable.

    Raises:
        OptionError: A value is out of range.
    """

    on: float = EVENT_ON
    off: float = EVENT_OFF
    min_duration_s: float = EVENT_MIN_DURATION_S
    merge_gap_s: float = EVENT_MERGE_GAP_S
    all_faces: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.off <= self.on <= 1:
            raise OptionError(
                f"An event cannot begin at {self.on:g} and end below {self.off:g}.",
                "Both are probabilities above 0, at most 1, and the second must not exceed the "
                "first: see `on` and `off`.",
            )
        for name, value in (
            ("`min_duration_s`", self.min_duration_s),
            ("`merge_gap_s`", self.merge_gap_s),
        ):
            if not 0 <= value < np.inf:
                raise OptionError(f"{name} takes seconds, 0 or more, not {value:g}.")


@dataclass(frozen=True)
class EventSet:
    """The events of one result.

    Attributes:
        result: The result in which they were found.
        rule: What counted as an event.
        expressions: The expressions that were searched, in the order of the labels.
        tracks: IDs of all tracks of the result, with or without events, ascending.
        end_s: End of the video; no event ends later.
        events: One row per event, with the columns COLUMNS, sorted by onset, track and label.
    """

    result: Result
    rule: Rule
    expressions: tuple[str, ...]
    tracks: tuple[int, ...]
    end_s: float
    events: pd.DataFrame

    @property
    def video(self) -> str:
        """The path of the video as given to `jadfer annotate`."""
        return str(self.result.metadata["video"]["path"])

    def records(self) -> list[Event]:
        """Return the events one by one."""
        table = self.events[list(_EVENT_COLUMNS)]
        return [Event(*values) for values in table.itertuples(index=False, name=None)]

    def settings(self) -> dict[str, Any]:
        """Return how the events were found, JSON-ready, for files that can store it."""
        return {**asdict(self.rule), "expressions": list(self.expressions)}


def select_expressions(names: Sequence[str], result: Result) -> tuple[str, ...]:
    """Return the labels that a user's names stand for; without names, all except neutral.

    Args:
        names: Labels, or synonyms such as happy; duplicates count once.
        result: The result that must have them.

    Raises:
        OptionError: The result has no such label.
    """
    if not names:
        return tuple(label for label in result.labels if label != NEUTRAL)
    return result.resolve_labels(names)


def find_events(result: Result, rule: Rule, names: Sequence[str] = ()) -> EventSet:
    """Find the events of a result.

    Args:
        result: Its rows are read here.
        rule: What counts as an event.
        names: The expressions to search, as for `select_expressions`.

    Raises:
        OptionError: The result lacks an expression.
        ResultError: The file of the result is damaged or missing.
    """
    expressions = select_expressions(names, result)
    columns = ["frame", "time_s", "duration_s", "frame_status", "track_id", "usable"]
    rows = result.rows([*columns, *(f"p_{name}" for name in expressions)])
    spans = frame_spans(rows, result.metadata)
    end_s = float(result.metadata["video"].get("duration_s") or 0.0)
    if len(spans):
        end_s = max(end_s, float(spans["end_s"].iloc[-1]))
    track_ids = rows["track_id"].dropna().unique().astype("int64")
    faces = _judged_faces(rows, spans, rule)
    tables = [_events_of(faces, name, rule) for name in expressions]
    events = pd.concat(
        [_no_events(), *(table for table in tables if len(table))], ignore_index=True
    )
    if len(events):  # stable: events of equal onset and track keep the order of the labels
        events = events.sort_values(["onset_s", "track_id"], kind="stable", ignore_index=True)
    events = events.astype(_EVENT_COLUMNS)
    events.insert(0, "video", str(result.metadata["video"]["path"]))
    events.insert(1, "result", str(result.path))
    tracks = tuple(sorted(track_ids.tolist()))
    return EventSet(result, rule, expressions, tracks, end_s, events)


@dataclass(frozen=True)
class _JudgedFaces:
    """The faces that count, sorted by track and time: arrays (n,) and probabilities by label.

    `breaks` marks each face before which no event can continue: the first of a track, and the
    first after a gap longer than the rule allows.
    """

    track: Ints
    frame: Ints
    start_s: Floats
    end_s: Floats
    breaks: Bools
    p: Mapping[str, Floats]


def _judged_faces(rows: pd.DataFrame, spans: pd.DataFrame, rule: Rule) -> _JudgedFaces:
    has_face = rows["track_id"].notna().to_numpy(bool)
    is_intact = (rows["frame_status"] != "corrupt").to_numpy(bool)
    rows = rows[has_face & is_intact & (usable_rows(rows) | rule.all_faces)]
    # rows are sorted by frame, and a stable sort keeps that order within each track
    rows = rows.iloc[np.argsort(rows["track_id"].to_numpy("int64"), kind="stable")]
    frame = rows["frame"].to_numpy("int64")
    at = spans.index.get_indexer(pd.Index(frame))
    start, end = (spans[name].to_numpy(np.float64)[at] for name in ("start_s", "end_s"))
    track = rows["track_id"].to_numpy("int64")
    breaks = np.ones(len(rows), bool)
    breaks[1:] = (track[1:] != track[:-1]) | (
        start[1:] - end[:-1] > rule.merge_gap_s + _TOLERANCE_S
    )
    p = {
        str(name).removeprefix("p_"): rows[name].to_numpy(np.float64)
        for name in rows.columns
        if str(name).startswith("p_")
    }
    return _JudgedFaces(track, frame, start, end, breaks, p)


def _events_of(faces: _JudgedFaces, name: str, rule: Rule) -> pd.DataFrame:
    """The events of one expression in all tracks, without the columns `video` and `result`."""
    p, track = faces.p[name], faces.track
    first, last = _runs(_triggered(p, faces.breaks, rule), faces.breaks)  # (e,) each, inclusive
    if not len(first):
        return _no_events()
    is_new = np.ones(len(first), bool)  # not to be merged with the event before
    gaps = faces.start_s[first[1:]] - faces.end_s[last[:-1]]
    is_new[1:] = (track[first[1:]] != track[last[:-1]]) | (gaps > rule.merge_gap_s + _TOLERANCE_S)
    first, last = first[is_new], last[np.append(is_new[1:], True)]
    long = faces.end_s[last] - faces.start_s[first] >= rule.min_duration_s - _TOLERANCE_S
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
    """Which faces are in an event: those with p >= on, not those with p < off, else as before."""
    on = p >= np.float32(rule.on)  # in the precision of the stored probabilities
    is_decided = on | (p < np.float32(rule.off)) | breaks  # no state is carried over a break
    decided_at = np.maximum.accumulate(np.where(is_decided, np.arange(len(p)), 0))
    triggered: Bools = on[decided_at]
    return triggered


def _runs(inside: Bools, breaks: Bools) -> tuple[Ints, Ints]:
    """Index of the first and of the last face of each unbroken run of True."""
    before, after = np.append(False, inside[:-1]), np.append(inside[1:], False)
    first = inside & (~before | breaks)
    last = inside & (~after | np.append(breaks[1:], True))
    return np.flatnonzero(first), np.flatnonzero(last)


def _truncated(start: Bools, end: Bools) -> npt.NDArray[np.object_]:
    """Which ends of each event are cut off, in words."""
    words = np.array(["", "start", "end", "both"], object)
    result: npt.NDArray[np.object_] = words[start + 2 * end.astype(np.int64)]
    return result


def _no_events() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in _EVENT_COLUMNS.items()})


def joined(event_sets: Sequence[EventSet]) -> pd.DataFrame:
    """Return the events of all results in one table, with the rule in its `attrs`.

    Args:
        event_sets: At least one; all found with the same rule.
    """
    table = pd.concat([each.events for each in event_sets], ignore_index=True)
    table.attrs = {"jadfer_events": event_sets[0].settings()}
    return table
