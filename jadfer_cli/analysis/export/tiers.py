"""Events as tiers of intervals in integer milliseconds, for programs that show tiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jadfer_cli.analysis.events import EventSet

NO_TRACK = "no track"


@dataclass(frozen=True)
class Interval:
    """One labelled interval of time; `end_ms` is greater than `start_ms`."""

    start_ms: int
    end_ms: int
    label: str


@dataclass(frozen=True)
class Tier:
    """Intervals that do not overlap, in ascending order.

    Attributes:
        name: "track 0", or "track 0 happiness" if expressions of the track overlap.
        subject: "track 0", or a person; the same for all tiers of one subject.
        intervals: May be empty.
    """

    name: str
    subject: str
    intervals: tuple[Interval, ...]


def end_ms(events: EventSet) -> int:
    """Return the end of the video in ms, rounded down, at least 1."""
    return max(int(events.end_s * 1000 + 1e-6), 1)


def tiers(events: EventSet) -> list[Tier]:
    """Arrange events in one tier per subject, which holds all its expressions, as coders do.

    A subject is a track or a person. If expressions of a subject overlap, which one tier cannot
    show, it gets one tier per expression. A subject without events gets an empty tier. A video
    without faces gets one empty tier, because the programs need one. Events that round to less
    than 1 ms, which only --min-duration 0 makes possible, are left out.
    """
    limit_ms, made = end_ms(events), list[Tier]()
    by_subject: dict[str, list[Interval]] = {subject: [] for subject in events.subjects}
    for event, number in zip(events.records(), events.subject.tolist(), strict=True):
        start = round(event.onset_s * 1000)
        end = min(round(event.offset_s * 1000), limit_ms)
        if end > start:
            by_subject[events.subjects[number]].append(Interval(start, end, event.expression))
    for subject, intervals in by_subject.items():
        intervals.sort(key=lambda interval: (interval.start_ms, interval.end_ms))
        if any(b.start_ms < a.end_ms for a, b in pairwise(intervals)):
            for label in events.expressions:
                own = tuple(interval for interval in intervals if interval.label == label)
                if own:
                    made.append(Tier(f"{subject} {label}", subject, own))
        else:
            made.append(Tier(subject, subject, tuple(intervals)))
    return made or [Tier(NO_TRACK, "", ())]


def late_starts(event_sets: Sequence[EventSet]) -> str | None:
    """Return a warning if players may count time from another moment than jadfer does."""
    starts = {
        events.result.name: float(events.result.metadata["video"].get("start_offset_s") or 0.0)
        for events in event_sets
    }
    late = [f"{name} at {start_s:.3f} s" for name, start_s in starts.items() if abs(start_s) > 5e-3]
    if not late:
        return None
    more = f" and {len(late) - 3} more" if len(late) > 3 else ""
    return (
        f"the first picture is not at 0 s of the file: {', '.join(late[:3])}{more}. Times count "
        "from that picture. Check one event in your program, and shift all if it is off."
    )
