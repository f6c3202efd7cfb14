"""Find blinks by the eye aspect ratio, complete and incomplete ones, and their rate.

The aspect ratio of an open eye differs between people and with the lids' rest position, so each
eye is compared with itself: closure = 1 - ratio / baseline, where the baseline is the running
upper quartile over 4 s. Both eyes must close, so that a wink is not a blink. Where a baseline is
below 0.12, the eyes are closed or look down for long, and no blink is found. A closure that runs
into a longer gap, or into the begin or end of a track, is left out: nobody saw how long it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jadfer_cli.analysis.actions import seen_faces
from jadfer_cli.analysis.event_rule import Rule, breaks_before, faces_text
from jadfer_cli.analysis.events import EventSet, event_set, events_of
from jadfer_cli.analysis.face_table import FaceTable, read_faces
from jadfer_cli.analysis.frame_times import Floats
from jadfer_cli.results.load import Result

if TYPE_CHECKING:
    from jadfer_cli.analysis.person_rows import People

COMPLETE, INCOMPLETE = "blink", "blink_incomplete"
_COLUMNS = ("ear_left", "ear_right")
_WINDOW = pd.Timedelta("4s")
_QUARTILE = 0.75
_MIN_BASELINE = 0.12  # of closed or lowered eyes: 0.03 to 0.1 on the developers' clips


@dataclass(frozen=True)
class BlinkRule:
    """What counts as a blink.

    Attributes:
        on: A blink begins when the eyes are closed by this share of their baseline.
        off: It ends when they are closed by less than this share.
        complete: A blink is complete if the closure reaches this share.
        max_duration_s: Longer closures are not blinks.
        max_gap_s: Frames that do not count, up to this length, do not interrupt a blink.
        all_faces: Also use faces that are not usable.
    """

    on: float = 0.3
    off: float = 0.2
    complete: float = 0.5
    max_duration_s: float = 0.5
    max_gap_s: float = 0.2
    all_faces: bool = False

    def settings(self) -> dict[str, Any]:
        """Return the rule, JSON-ready, for files that can store it."""
        return {"blinks": asdict(self)}

    def text(self) -> str:
        """Return the rule in words, for a cell of a table."""
        return (
            f"both eyes closed by {self.on:.0%} until below {self.off:.0%} of their baseline, "
            f"complete from {self.complete:.0%}, at most {self.max_duration_s:g} s, gaps up to "
            f"{self.max_gap_s:g} s bridged, {faces_text(self.all_faces)}"
        )

    def nothing_text(self) -> str:
        """Return why there may be no blink, as a clause."""
        return f"both eyes never closed by {self.on:g} for at most {self.max_duration_s:g} s"

    def coarse_text(self, frame_step_s: float) -> str | None:
        """Return a warning if frames are too far apart for blinks, otherwise None."""
        if frame_step_s <= _LONGEST_STEP_S:
            return None
        return (
            f"Frames are {frame_step_s:.3g} s apart, too far for blinks, which last 0.1 to 0.4 s: "
            "many are missed."
        )


_LONGEST_STEP_S = 0.05  # 20 frames per second: a blink of 0.1 s has two frames


def find_blinks(result: Result, rule: BlinkRule, *, people: People | None = None) -> EventSet:
    """Find the blinks of a result.

    Args:
        result: Its rows and actions are read here.
        rule: What counts as a blink.
        people: Who is who in the result, to join the tracks of each person; None for tracks.

    Returns:
        Events with the expression "blink" or "blink_incomplete"; `p_apex` is the largest closure,
        and `p_mean` the mean one.

    Raises:
        ResultError: There are no actions beside the result, or a file is damaged.
    """
    annotated = read_faces(result) if people is None else people.annotated
    counted = annotated.faces.counted(all_faces=rule.all_faces)
    tracks = None if people is None else people.tracks_of(counted)
    faces, ratios = seen_faces(result, counted, _COLUMNS, tracks=tracks)
    trigger = Rule(rule.on, rule.off, 0.0, 0.0)
    breaks = breaks_before(faces, replace(trigger, merge_gap_s=rule.max_gap_s))
    found = events_of(faces, closure(faces, ratios), breaks, COMPLETE, trigger)
    seen_whole = found["truncated"] == ""
    found = found[seen_whole & (found["duration_s"] <= rule.max_duration_s + 1e-6)].copy()
    found.loc[found["p_apex"] < rule.complete, "expression"] = INCOMPLETE
    return event_set(result, annotated, rule, (COMPLETE, INCOMPLETE), [found], people=people)


def closure(faces: FaceTable, ratios: Floats) -> Floats:
    """How far both eyes are closed, 0 to 1, float64 (n,).

    Args:
        faces: n faces, sorted by track and time.
        ratios: (n, 2), the aspect ratios of the eyes.
    """
    closed = np.zeros(len(faces))
    edges = np.flatnonzero(np.diff(faces.track, prepend=-1, append=-1))
    for start, end in pairwise(edges.tolist()):
        one = slice(start, end)
        times = pd.to_timedelta(faces.start_s[one], unit="s")
        rows = pd.DataFrame(ratios[one], index=times)
        baseline = rows.rolling(_WINDOW, center=True, min_periods=1).quantile(_QUARTILE)
        openness = (ratios[one] / np.maximum(baseline.to_numpy(), 1e-6)).max(1)
        is_open = (baseline.to_numpy() >= _MIN_BASELINE).all(1)
        closed[one] = np.where(is_open, 1 - openness, 0.0)
    return np.clip(closed, 0.0, 1.0)


@dataclass(frozen=True)
class BlinkRate:
    """How often a track or a person blinked.

    Attributes:
        track_id: The track; of people, the index in `People.names`.
        complete, incomplete: Numbers of blinks.
        counted_s: Time in which its eyes were measured.
    """

    track_id: int
    complete: int
    incomplete: int
    counted_s: float

    @property
    def per_min(self) -> float | None:
        """Complete blinks per minute; None without counted time."""
        return 60 * self.complete / self.counted_s if self.counted_s else None


def blink_rates(
    found: EventSet, rule: BlinkRule, *, people: People | None = None
) -> list[BlinkRate]:
    """Return the rate of each track or person, by the events of `find_blinks`."""
    annotated = read_faces(found.result) if people is None else people.annotated
    faces = annotated.faces.counted(all_faces=rule.all_faces)
    tracks = None if people is None else people.tracks_of(faces)
    seen, _ = seen_faces(found.result, faces, _COLUMNS, tracks=tracks)
    rates = []
    for number, track in enumerate(found.tracks if people is None else range(len(people.names))):
        names = found.events.loc[found.subject == number, "expression"]
        complete, incomplete = (int((names == name).sum()) for name in (COMPLETE, INCOMPLETE))
        rates.append(
            BlinkRate(track, complete, incomplete, float(seen.span_s[seen.track == track].sum()))
        )
    return rates


def rates_text(found: Sequence[EventSet], rule: BlinkRule) -> str:
    """Return the number of blinks and their rate over all tracks, in words."""
    rates = [rate for each in found for rate in blink_rates(each, rule)]
    complete, incomplete = (sum(getattr(r, k) for r in rates) for k in ("complete", "incomplete"))
    counted_s = sum(rate.counted_s for rate in rates)
    if not counted_s:
        return "no blink: no eyes were measured."
    return (
        f"{complete} complete and {incomplete} incomplete blinks in {counted_s:.1f} s: "
        f"{60 * complete / counted_s:.1f} complete ones per minute."
    )
