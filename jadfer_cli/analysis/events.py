"""Find events: when a face begins to show an expression or an action, shows it most, and stops.

What counts as an event is defined in `event_rule`, which faces count in `face_table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.actions import PREFIX, resolve_actions, seen_faces
from jadfer_cli.analysis.event_rule import AnyRule, Rule, breaks_before, stretches
from jadfer_cli.analysis.face_table import Annotated, FaceTable, read_faces, require_expressions
from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import UNKNOWN

if TYPE_CHECKING:
    from jadfer_cli.analysis.person_rows import People

_DECIMALS = 6
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Event:
    """One event; its fields are the columns of the table between `result` and `rule`.

    Attributes:
        track_id: The face.
        expression: The label that it shows, or the action.
        onset_s: Start of the first frame.
        apex_s: Begin of the frame with the highest probability (of an action: coefficient); if
            several are equal, of the first.
        offset_s: End of the last frame, that is, of the time for which it stands.
        duration_s: Time from onset to offset.
        onset_frame: Index of the first frame.
        apex_frame: Index of the frame with the highest probability.
        offset_frame: Index of the last frame.
        p_apex: The highest probability.
        p_mean: Mean probability over the time in which the face was judged.
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
COLUMNS = ("video", "result", *_EVENT_COLUMNS, "rule")


@dataclass(frozen=True)
class EventSet:
    """The events of one result.

    Attributes:
        result: The result in which they were found.
        rule: What counted as an event.
        expressions: The expressions that were searched, in the order of the labels, then the
            actions.
        tracks: IDs of all tracks of the result, with or without events, ascending.
        subjects: Names of those whose events were searched, with or without events: "track 0", or
            of people "P01" and "unknown, track 3".
        end_s: End of the video; no event ends later.
        frame_step_s: Typical time from one analysed frame to the next.
        events: One row per event, with the columns COLUMNS, sorted by onset, track and label.
            Those of people have a column `person` after `result`.
        subject: int64 (e,), index of each event's subject.
    """

    result: Result
    rule: AnyRule
    expressions: tuple[str, ...]
    tracks: tuple[int, ...]
    subjects: tuple[str, ...]
    end_s: float
    frame_step_s: float
    events: pd.DataFrame
    subject: Ints

    @property
    def video(self) -> str:
        """The path of the video as given to `jadfer annotate`."""
        return str(self.result.metadata["video"]["path"])

    @property
    def people(self) -> tuple[str, ...]:
        """The subjects, named so that strangers of several results stay apart."""
        path = self.result.path
        return tuple(
            f"{path}: {n}" if n.startswith(f"{UNKNOWN}, track ") else n for n in self.subjects
        )

    def records(self) -> list[Event]:
        """Return the events one by one."""
        table = self.events[list(_EVENT_COLUMNS)]
        return [Event(*values) for values in table.itertuples(index=False, name=None)]

    def settings(self) -> dict[str, Any]:
        """Return how the events were found, JSON-ready, for files that can store it."""
        return {**self.rule.settings(), "expressions": list(self.expressions)}


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


def find_events(
    result: Result,
    rule: Rule,
    names: Sequence[str] = (),
    actions: Sequence[str] = (),
    *,
    people: People | None = None,
) -> EventSet:
    """Find the events of a result.

    Args:
        result: Its rows are read here.
        rule: What counts as an event.
        names: The expressions to search, as for `select_expressions`; with actions and without
            names, none.
        actions: The actions to search, by their names.
        people: Who is who in the result, to join the tracks of each person; None for tracks.

    Raises:
        OptionError: The result lacks an expression, or there is no such action.
        ResultError: The file of the result or of its actions is damaged or missing.
    """
    actions = resolve_actions(actions)
    expressions = () if actions and not names else select_expressions(names, result)
    if expressions or not actions:
        require_expressions(result)
    annotated = read_faces(result) if people is None else people.annotated
    faces = annotated.faces.counted(all_faces=rule.all_faces)
    breaks = breaks_before(faces, rule)
    tables = [
        events_of(faces, faces.p[:, annotated.labels.index(name)], breaks, name, rule)
        for name in expressions
    ]
    if actions:
        seen, values = seen_faces(
            result, faces, [PREFIX + name for name in actions],
            tracks=None if people is None else people.tracks_of(faces),
        )  # fmt: skip
        breaks = breaks_before(seen, rule)
        pairs = zip(actions, values.T, strict=True)
        tables += [events_of(seen, each, breaks, name, rule) for name, each in pairs]
    return event_set(result, annotated, rule, (*expressions, *actions), tables, people=people)


def event_set(
    result: Result,
    annotated: Annotated,
    rule: AnyRule,
    names: tuple[str, ...],
    tables: Sequence[pd.DataFrame],
    *,
    people: People | None = None,
) -> EventSet:
    """Return the events of several tables as those of one result.

    Args:
        result: The result.
        annotated: Its frames and faces.
        rule: What counted as an event.
        names: What was searched.
        tables: Events with the columns from `track_id` to `truncated`.
        people: Who is who, if `annotated` and `tables` are of people.
    """
    end_s = float(result.metadata["video"].get("duration_s") or 0.0)
    if len(annotated.frame_end_s):
        end_s = max(end_s, float(annotated.frame_end_s[-1]))
    events = pd.concat(
        [_no_events(), *(table for table in tables if len(table))], ignore_index=True
    )
    if len(events):  # stable: events of equal onset and track keep the order of the labels
        events = events.sort_values(["onset_s", "track_id"], kind="stable", ignore_index=True)
    events = events.astype(_EVENT_COLUMNS)
    events.insert(0, "video", str(result.metadata["video"]["path"]))
    events.insert(1, "result", str(result.path))
    events["rule"] = pd.Series(rule.text(), events.index, dtype="str")
    ids = np.unique(annotated.faces.track)
    subjects: tuple[str, ...] = tuple(f"track {i}" for i in ids.tolist())
    subject = np.searchsorted(ids, events["track_id"])
    if people is not None:
        ids, subjects = np.unique(people.tracks_of(annotated.faces)), people.subjects
        who = [people.names[i] for i in subject.tolist()]
        events.insert(2, "person", pd.Series(who, events.index, dtype="str"))
        events["track_id"] = _onset_tracks(events, people)
    return EventSet(
        result, rule, names, tuple(ids.tolist()), subjects, end_s, annotated.frame_step_s, events,
        subject,
    )  # fmt: skip


def _onset_tracks(events: pd.DataFrame, people: People) -> Ints:
    """The track that shows each event's first frame, int64 (e,); the first of several."""
    faces = people.annotated.faces
    tracks = pd.Series(
        people.tracks_of(faces), pd.MultiIndex.from_arrays([faces.track, faces.frame])
    )
    tracks = tracks[~tracks.index.duplicated()]  # edited rows may hold a person twice in a frame
    at = pd.MultiIndex.from_arrays([events["track_id"], events["onset_frame"]])
    found: Ints = tracks.to_numpy(np.int64)[tracks.index.get_indexer(at)]
    return found


def events_of(faces: FaceTable, p: Floats, breaks: Bools, name: str, rule: Rule) -> pd.DataFrame:
    """Return the events of one expression in all tracks, with the columns of `Event`."""
    first, last = stretches(p, faces, breaks, rule)  # (e,) each, inclusive
    if not len(first):
        return _no_events()
    pairs = [slice(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    apex = np.array([each.start + int(p[each].argmax()) for each in pairs], np.int64)
    mean = _weighted_means(p, faces.span_s, first, last)
    onset, offset = faces.start_s[first].round(_DECIMALS), faces.end_s[last].round(_DECIMALS)
    return pd.DataFrame(
        {
            "track_id": faces.track[first],
            "expression": name,
            "onset_s": onset,
            "apex_s": faces.start_s[apex].round(_DECIMALS),
            "offset_s": offset,
            "duration_s": (offset - onset).round(_DECIMALS),
            "onset_frame": faces.frame[first],
            "apex_frame": faces.frame[apex],
            "offset_frame": faces.frame[last],
            "p_apex": p[apex].round(_DECIMALS),
            "p_mean": mean.round(_DECIMALS),
            "n_frames": last + 1 - first,
            "truncated": _truncated(breaks[first], np.append(breaks[1:], True)[last]),
        }
    )


def _weighted_means(p: Floats, span_s: Floats, first: Ints, last: Ints) -> Floats:
    """Mean of p from each first to each last index, weighted by time, float64 (e,)."""
    weight = np.maximum(span_s, 1e-9)  # a frame may be shown for no time at all
    weights, sums = (np.append(0.0, np.cumsum(each)) for each in (weight, weight * p))
    means: Floats = (sums[last + 1] - sums[first]) / (weights[last + 1] - weights[first])
    return means


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
