"""Participants and trials of a study, from the tables that a user wrote, joined and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from jadfer_cli.analysis.study_files import StudyTable, VideoIndex, read_study_table
from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import Result

_TEXTS = ("participant", "trial", "video", "person")
_OWN = ("participant", "trial", "video", "person", "track_id", "onset_s", "duration_s")


@dataclass(frozen=True)
class Trial:
    """One trial of one participant.

    Attributes:
        participant: The participant.
        trial: The trial.
        video: Its video, as the user named it.
        onset_s: When the stimulus begins, as `time_s` of the video.
        duration_s: How long the trial lasts; None if the tables do not say.
        person: The person in the result's column `person`; None if not said.
        track_id: The track; None if not said.
        carried: The other columns of both tables.
        result: The result of the video; None if there is none.
    """

    participant: str
    trial: str
    video: str
    onset_s: float
    duration_s: float | None
    person: str | None
    track_id: int | None
    carried: Mapping[str, Any]
    result: Result | None


@dataclass(frozen=True)
class Study:
    """The trials of a study.

    Attributes:
        trials: In the order of the table.
        carried: The names of the columns that are carried on, trials' first.
        without_trials: Participants without any trial.
    """

    trials: tuple[Trial, ...]
    carried: tuple[str, ...]
    without_trials: tuple[str, ...]


def read_study(
    trials: Path, participants: Path | None, results: Sequence[Result], *, reserved: Collection[str]
) -> Study:
    """Read the tables of a study, join them, and find the result of each trial.

    Args:
        trials: Columns participant, trial, onset_s; video (or in `participants`); optionally
            duration_s, person and track_id; others are carried on.
        participants: A column participant; optionally video, person and track_id; others are
            carried on. None if there is no such table.
        results: Of the videos.
        reserved: Names that columns carried on must not have.

    Raises:
        OptionError: A table cannot be read, a column is missing or in both, a participant or trial
            occurs twice or is unknown, or a name fits several videos.
    """
    needed = ("participant", "trial", "onset_s")
    table = read_study_table(trials, texts=_TEXTS, needed=needed)
    people = None
    if participants is not None:
        people = read_study_table(participants, texts=_TEXTS, needed=("participant",))
    carried = _carried(table, people, reserved)
    _check_unique(table, ("participant", "trial"))
    index: dict[str, int] = {}
    if people is not None:
        _check_unique(people, ("participant",))
        index = {people.text("participant", i) or "": i for i in range(len(people))}
        _check_known(table, people, index)
    if not len(table):
        raise OptionError(f"{trials} has no rows.")
    videos = VideoIndex(results)
    found: dict[str, Result | None] = {}
    made = []
    for i in range(len(table)):
        participant = table.text("participant", i) or ""
        made.append(_trial(table, i, people, index.get(participant), carried, videos, found))
    if all(each.result is None for each in made):
        raise OptionError(
            f"{trials}: no result is of any of its videos, such as {made[0].video}.",
            "Name the videos as the results do, e.g. "
            f"{Path(str(results[0].metadata['video']['path'])).name}.",
        )
    with_trials = {each.participant for each in made}
    missing = tuple(name for name in index if name not in with_trials)
    return Study(tuple(made), carried, missing)


def _carried(
    table: StudyTable, people: StudyTable | None, reserved: Collection[str]
) -> tuple[str, ...]:
    own = [name for name in table.columns if name not in _OWN]
    others = [name for name in people.columns if name not in _OWN] if people else []
    for name in others:
        if name in own:
            raise OptionError(
                f"The column {name} is in both {table.path} and {people.path if people else ''}.",
                "Remove or rename one of them.",
            )
    for name in (*own, *others):
        if name in reserved:
            raise OptionError(
                f"A column called {name} cannot be carried on, because the table has one of its "
                "own.",
                "Rename it.",
            )
    return (*own, *others)


def _check_unique(table: StudyTable, columns: Sequence[str]) -> None:
    seen: dict[tuple[str | None, ...], int] = {}
    for i in range(len(table)):
        key = tuple(table.text(name, i) for name in columns)
        if None in key:
            empty = columns[key.index(None)]
            raise OptionError(f"{table.place(i)}: {empty} is empty.")
        if key in seen:
            named = ", ".join(f"{name} {value}" for name, value in zip(columns, key, strict=True))
            raise OptionError(
                f"{table.place(i)}: {named} is on line {table.lines[seen[key]]} as well.",
                "Number the trials of each participant, whatever their condition."
                if "trial" in columns else "Give one row per participant.",
            )  # fmt: skip
        seen[key] = i


def _check_known(table: StudyTable, people: StudyTable, index: Mapping[str, int]) -> None:
    for i in range(len(table)):
        name = table.text("participant", i) or ""
        if name not in index:
            raise OptionError(
                f"{table.place(i)}: participant {name} is not in {people.path}.",
                "Names must be equal to the letter: 01 is not 1.",
            )


def _trial(
    table: StudyTable, i: int, people: StudyTable | None, at: int | None,
    carried: Sequence[str], videos: VideoIndex, found: dict[str, Result | None],
) -> Trial:  # fmt: skip
    def own_or_persons(column: str) -> str | None:
        text = table.text(column, i)
        if text is None and people is not None and at is not None:
            text = people.text(column, at)
        return text

    video = own_or_persons("video")
    if video is None:
        raise OptionError(
            f"{table.place(i)}: there is no video.",
            "Name it in a column video, of the trials or of the participants.",
        )
    if video not in found:
        matching = videos.matching(video)
        if len(matching) > 1:
            raise OptionError(
                f"{table.place(i)}: {video} is the name of {len(matching)} videos, such as "
                f"{matching[0].path} and {matching[1].path}.",
                "Name the video with its folder.",
            )
        found[video] = matching[0] if matching else None
    onset, duration = table.number("onset_s", i), table.number("duration_s", i)
    if onset is None:
        raise OptionError(f"{table.place(i)}: onset_s is empty.", "Remove the row, or give a time.")
    if duration is not None and duration <= 0:
        raise OptionError(f"{table.place(i)}: duration_s is {duration:g}, but must be above 0.")
    track = own_or_persons("track_id")
    if track is not None and not track.isdecimal():
        raise OptionError(f"{table.place(i)}: track_id {track} is not a whole number from 0.")
    rest: dict[str, Any] = {}
    for name in carried:
        if name in table.rows:
            rest[name] = table.rows[name].iloc[i]
        elif people is not None and at is not None:
            rest[name] = people.rows[name].iloc[at]
    return Trial(
        table.text("participant", i) or "", table.text("trial", i) or "", video, onset, duration,
        own_or_persons("person"), None if track is None else int(track), rest, found[video],
    )  # fmt: skip


def with_types(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return a table in which the columns carried on have the narrowest fitting type."""
    kinds = {name: table[name].infer_objects().convert_dtypes() for name in columns}
    return table.assign(**{n: v.astype(object) if v.dtype == "string" else v
                           for n, v in kinds.items()})  # fmt: skip
