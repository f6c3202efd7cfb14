"""Events as tiers of intervals in whole milliseconds, for programs that show them so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from jadfer_cli.analysis.events import EventSet

NO_TRACK = "no track"


@dataclass(frozen=True)
class Span:
    """One interval: from, to (ms, to > from) and what it is called."""

    start_ms: int
    end_ms: int
    label: str


@dataclass(frozen=True)
class Tier:
    """Intervals that do not overlap, ascending.

    Attributes:
        name: "track 0"; "track 0 happiness" where expressions of a track overlap.
        subject: "track 0": what all tiers of a track share.
        spans: May be empty.
    """

    name: str
    subject: str
    spans: tuple[Span, ...]


def subject_name(track: int) -> str:
    """What a track is called in other programs: observers name persons "subjects"."""
    return f"track {track}"


def end_ms(found: EventSet) -> int:
    """The end of the video in whole ms, not beyond it; at least 1."""
    return max(int(found.end_s * 1000 + 1e-6), 1)


def tiers(found: EventSet) -> list[Tier]:
    """A tier a track, in which all its expressions stand, as a coder works.

    Expressions that overlap cannot stand on one tier: a track that has such gets a tier an
    expression. Tracks without events have an empty tier; a video without any track has one
    empty tier, since these programs need one. Events that round to less than 1 ms, possible
    with --min-duration 0 alone, are left out.
    """
    limit_ms, made = end_ms(found), list[Tier]()
    spans_of: dict[int, list[Span]] = {track: [] for track in found.tracks}
    for event in found.records():
        start = round(event.onset_s * 1000)
        end = min(round(event.offset_s * 1000), limit_ms)
        if end > start:
            spans_of[event.track_id].append(Span(start, end, event.expression))
    for track, spans in spans_of.items():
        spans.sort(key=lambda span: (span.start_ms, span.end_ms))
        subject = subject_name(track)
        if any(b.start_ms < a.end_ms for a, b in pairwise(spans)):
            for label in found.expressions:
                own = tuple(span for span in spans if span.label == label)
                if own:
                    made.append(Tier(f"{subject} {label}", subject, own))
        else:
            made.append(Tier(subject, subject, tuple(spans)))
    return made or [Tier(NO_TRACK, "", ())]


def late_starts(found: Sequence[EventSet]) -> str | None:
    """A warning where players may count from another moment than our time 0; else None."""
    starts = {
        each.result.name: float(each.result.metadata["video"].get("start_offset_s") or 0.0)
        for each in found
    }
    late = [f"{name} at {start_s:.3f} s" for name, start_s in starts.items() if abs(start_s) > 5e-3]
    if not late:
        return None
    more = f" and {len(late) - 3} more" if len(late) > 3 else ""
    return (
        f"the first picture is not at 0 s of the file: {', '.join(late[:3])}{more}. Times count "
        "from that picture; look at one event whether your program does so, and shift them if not."
    )
