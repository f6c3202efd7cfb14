"""Does a track stay with one person?

A switch shows as a jump of the box, or as a sudden change of its size. Two people who cross
closely, at the same size, can swap their IDs without either: overlapping tracks are reported.
`jadfer identify` compares the faces themselves. In its results, a track that changes from one
person to another is a switch, and the tracks of one person are no fragments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from jadfer_cli.analysis.qc.clip import Clip
from jadfer_cli.analysis.qc.finding import Check, Finding
from jadfer_cli.common import short_time
from jadfer_cli.geometry import iou
from jadfer_cli.results.schema import BOX_COLUMNS, UNKNOWN
from jadfer_cli.text import count_text

# In ten clips (1,191 pairs of frames), no box moved by more than 0.12 of its size from one frame
# to the next, and no size changed by more than a factor of 1.10.
MAX_JUMP = 0.5  # in box sizes (square root of the area), between frames up to 0.1 s apart
MAX_JUMP_PER_S = 2.0  # allowed in addition, for each second beyond that
MAX_SIZE_RATIO = 1.5
_MAX_STEP_S = 0.5  # frames farther apart are not compared
_SHORT_STEP_S = 0.1
MIN_OVERLAP = 0.3  # IoU of the boxes of two tracks


@dataclass(frozen=True)
class Switch:
    """A moment at which a track may pass to another person.

    Attributes:
        track: The track.
        at_s: Time of the first frame after the change.
        position: Of that frame among the analysed ones.
        jump: How far the box moved, in box sizes.
        ratio: Larger size over smaller size.
        people: Before and after, by `jadfer identify`; None if the boxes raised the suspicion.
    """

    track: int
    at_s: float
    position: int
    jump: float
    ratio: float
    people: tuple[str, str] | None = None


def suspected_switches(clip: Clip) -> list[Switch]:
    """Return all moments at which a track jumps, changes its size or its person, by time."""
    found = [switch for track, own in clip.by_track() for switch in _of_track(track, own)]
    return sorted(found, key=lambda switch: (switch.at_s, switch.track))


def _of_track(track: int, own: pd.DataFrame) -> Iterator[Switch]:
    box = own[list(BOX_COLUMNS)].to_numpy(np.float64)  # (n, 4)
    start_s = own["start_s"].to_numpy(np.float64)
    position = own["position"].to_numpy(np.int64)
    size = np.sqrt(np.maximum(np.prod(box[:, 2:] - box[:, :2], axis=1), 1.0))  # (n,)
    centre = (box[:, :2] + box[:, 2:]) / 2
    step_s = np.diff(start_s)
    jump = np.linalg.norm(np.diff(centre, axis=0), axis=1) / np.minimum(size[1:], size[:-1])
    ratio = np.maximum(size[1:] / size[:-1], size[:-1] / size[1:])
    allowed = MAX_JUMP + MAX_JUMP_PER_S * np.maximum(step_s - _SHORT_STEP_S, 0)
    suspect = (step_s <= _MAX_STEP_S) & ((jump > allowed) | (ratio > MAX_SIZE_RATIO))
    people = [str(name) for name in own["person"].dropna()] if "person" in own else []
    # a person is missing in damaged results only, and then nothing is said of people
    changes = np.array([a != b for a, b in pairwise(people)], bool)
    if len(people) != len(own):
        changes = np.zeros(len(own) - 1, bool)
    for i in np.flatnonzero(suspect | changes):
        yield Switch(
            track, float(start_s[i + 1]), int(position[i + 1]), float(jump[i]), float(ratio[i]),
            (people[i], people[i + 1]) if changes[i] else None,
        )  # fmt: skip


def _switches(clip: Clip) -> Iterator[Finding]:
    found = suspected_switches(clip)
    if not found:
        return
    first = found[0]
    more = len({switch.position for switch in found}) - 1
    also = f", and {count_text(more, 'more such moment')}" if more else ""
    ask = "is it still the same person?"
    if first.people:
        ask = "`jadfer identify` saw it, so use the column person."
    text = f"{_what(found)} at {short_time(first.at_s)}{also}: {ask}"
    brief = f"{count_text(more + 1, 'switch') if not more else f'{more + 1} switches'}?"
    yield Finding("identity_switch", brief, text, first.at_s)


def _what(found: list[Switch]) -> str:
    """What happens at the first of these moments, in words."""
    first = found[0]
    together = sorted({switch.track for switch in found if switch.position == first.position})
    if len(together) > 1:
        return f"Tracks {', '.join(map(str, together[:-1]))} and {together[-1]} change places"
    if first.people:
        return f"Track {first.track} passes from {first.people[0]} to {first.people[1]}"
    if first.jump > MAX_JUMP:
        return f"Track {first.track} jumps by {first.jump:.1f} box sizes"
    return f"Track {first.track} changes its size by a factor of {first.ratio:.1f}"


def _crossings(clip: Clip) -> Iterator[Finding]:
    several = clip.faces.groupby("position").filter(lambda own: len(own) > 1)
    for _, own in several.groupby("position", sort=True):
        boxes = own[list(BOX_COLUMNS)].to_numpy(np.float32)
        overlap = np.triu(iou(boxes, boxes), 1)
        if overlap.max(initial=0.0) < MIN_OVERLAP:
            continue
        a, b = np.unravel_index(int(overlap.argmax()), overlap.shape)
        tracks, at_s = own["track_id"].to_numpy(np.int64), float(own["start_s"].iloc[0])
        text = (
            f"Tracks {tracks[a]} and {tracks[b]} overlap at {short_time(at_s)}: are they the same "
            "people before and after?"
        )
        yield Finding("overlap", "tracks overlap", text, at_s)
        return


def _fragments(clip: Clip) -> Iterator[Finding]:
    n, most = clip.faces["track_id"].nunique(), int(clip.rows["n_faces"].max())
    if most and n > most and n_people(clip) > most:
        text = (
            f"There are {n} tracks, but never more than {count_text(most, 'face')} in one frame: "
            "one person may have several IDs."
        )
        yield Finding("fragments", f"{n} tracks, {count_text(most, 'face')}", text, look="show")


def n_people(clip: Clip) -> int:
    """How many people the tracks may be: those of `jadfer identify`, and each other track."""
    faces = clip.faces
    if "person" not in faces:
        return int(faces["track_id"].nunique())
    known = faces["person"].notna() & (faces["person"].astype(object) != UNKNOWN)
    people = faces.loc[known, "person"].astype(object).nunique()
    return int(people + faces.loc[~known, "track_id"].nunique())


CHECKS = (
    Check("identity_switch", "a track may pass to another person", _switches),
    Check("overlap", "the boxes of two tracks overlap", _crossings),
    Check("fragments", "more tracks than faces at once", _fragments),
)
