"""Summarise the actions of tracks: left against right, and blinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jadfer_cli.analysis.actions import PAIRED, PREFIX, seen_faces
from jadfer_cli.analysis.blinks import BlinkRule, blink_rates, find_blinks
from jadfer_cli.analysis.face_table import FaceTable
from jadfer_cli.analysis.frame_times import weighted_mean_and_sd
from jadfer_cli.results.carried import has_actions
from jadfer_cli.results.load import Result

if TYPE_CHECKING:
    from jadfer_cli.analysis.person_rows import People

# An eye looks in while the other looks out, so their difference is the direction of gaze.
ASYMMETRIC = tuple(name for name in PAIRED if name not in ("eye_look_in", "eye_look_out"))
BLINK_COLUMNS = ("blinks", "blinks_incomplete", "blinks_per_min")
COLUMNS = (
    "actions_s",
    *(f"asymmetry_{name}_{what}" for name in ASYMMETRIC for what in ("mean", "sd")),
    *BLINK_COLUMNS,
)


def action_summaries(
    result: Result,
    groups: Mapping[int | None, FaceTable],
    *,
    all_faces: bool,
    people: People | None = None,
) -> dict[int | None, dict[str, float | int | None]]:
    """Summarise the actions of each track, or of the whole video.

    Each frame is weighted by the time that it represents, as in `summary`.

    Args:
        result: The result; without actions beside it, there are no summaries.
        groups: All faces of each track by its ID; those of a whole video by None.
        all_faces: Also use faces that are not usable.
        people: Who is who, if `groups` are of people and their keys are indices of them.

    Returns:
        For each group `COLUMNS`: the time with actions, mean and SD of left - right of each
        paired action, the numbers of blinks, and the complete ones per minute.

    Raises:
        ResultError: The file of actions is damaged, or belongs to another run.
    """
    if not has_actions(result):
        return {}
    rule = BlinkRule(all_faces=all_faces)
    rates = blink_rates(find_blinks(result, rule, people=people), rule, people=people)
    sides = [f"{PREFIX}{name}_{side}" for side in ("left", "right") for name in ASYMMETRIC]
    found: dict[int | None, dict[str, float | int | None]] = {}
    for track, faces in groups.items():
        counted = faces.counted(all_faces=all_faces)
        tracks = None if people is None else people.tracks_of(counted)
        seen, values = seen_faces(result, counted, sides, tracks=tracks)
        left, right = values[:, : len(ASYMMETRIC)], values[:, len(ASYMMETRIC) :]
        row: dict[str, float | int | None] = {"actions_s": float(seen.span_s.sum())}
        moments = zip(ASYMMETRIC, *weighted_mean_and_sd(left - right, seen.span_s), strict=True)
        for name, mean, sd in moments:
            row[f"asymmetry_{name}_mean"], row[f"asymmetry_{name}_sd"] = float(mean), float(sd)
        own = [rate for rate in rates if track in (None, rate.track_id)]
        counted_s = sum(rate.counted_s for rate in own)
        complete = sum(rate.complete for rate in own)
        incomplete = sum(rate.incomplete for rate in own)
        per_min = 60 * complete / counted_s if counted_s else None
        found[track] = row | dict(zip(BLINK_COLUMNS, (complete, incomplete, per_min), strict=True))
    return found
