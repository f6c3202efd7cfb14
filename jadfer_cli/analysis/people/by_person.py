"""Measures per person: the tracks of one person count as one."""

from __future__ import annotations

from dataclasses import replace

from jadfer_cli.analysis.action_summary import action_summaries
from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.analysis.face_table import FaceTable, require_expressions
from jadfer_cli.analysis.person_rows import People, read_people
from jadfer_cli.analysis.summary import Summary, summaries
from jadfer_cli.results.load import Result


def summarise_people(
    result: Result, rule: Rule, *, raw_changes: bool = False
) -> tuple[Summary, ...]:
    """Summarise one result: one summary per person, and one per track of somebody unknown.

    Args: as of `analysis.summary.summarise`.

    Raises:
        ResultError: The result is damaged, or has no column `person`.
    """
    require_expressions(result)
    people = read_people(result)
    found = summaries(people.annotated, result, rule=rule, raw_changes=raw_changes)
    faces = people.annotated.faces
    groups: dict[int | None, FaceTable] = {i: own for i, own in faces.by_track().items()}
    groups = groups or {None: faces}
    acted = action_summaries(result, groups, all_faces=rule.all_faces, people=people)
    found = tuple(replace(item, actions=acted.get(item.track_id, {})) for item in found)
    return tuple(
        # without any face there is one summary, of nobody
        item if item.track_id is None else _named(item, item.track_id, people)
        for item in found
    )


def _named(item: Summary, person: int, people: People) -> Summary:
    tracks = people.track_ids[person]
    only = tracks[0] if len(tracks) == 1 else None
    return replace(item, person=people.names[person], tracks=len(tracks), track_id=only)
