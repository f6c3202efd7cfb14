"""Spans of time in which people are neutral, from a CSV file or the same for every video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jadfer_cli.analysis.study_files import StudyTable, VideoIndex, read_study_table
from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import Result


@dataclass(frozen=True)
class NeutralSpan:
    """One span.

    Attributes:
        start_s: Begin, as `time_s`.
        end_s: End.
        result: The path of the result; None for every result.
        person: The person; None for everyone in the video.
        track_id: The track; None for all.
    """

    start_s: float
    end_s: float
    result: str | None = None
    person: str | None = None
    track_id: int | None = None


def parse_span(text: str, option: str) -> tuple[float, float]:
    """Return begin and end from "0,3", in seconds.

    Args:
        text: As typed.
        option: Its name in messages.

    Raises:
        OptionError: It is not two numbers in ascending order.
    """
    try:
        start, end = (float(part) for part in text.split(","))
    except ValueError:
        start, end = 0.0, float("nan")
    if not (float("-inf") < start < end < float("inf")):
        raise OptionError(
            f"`{option}` {text}: give begin and end in seconds, separated by a comma.", "E.g. 0,3"
        )
    return start, end


def given_spans(neutral: str, results: Sequence[Result]) -> tuple[NeutralSpan, ...]:
    """Return the spans that a user gave.

    Args:
        neutral: "START,END" for every video, or a CSV file with the columns video, start_s and
            end_s, and if needed person or track_id.
        results: The results that they are about.

    Raises:
        OptionError: The text or the file cannot be understood, or names a video without a result.
    """
    if not neutral.lower().endswith((".csv", ".tsv")):
        return (NeutralSpan(*parse_span(neutral, "neutral")),)
    table = read_study_table(
        Path(neutral), texts=("video", "person"), needed=("video", "start_s", "end_s")
    )
    videos = VideoIndex(results)
    spans = [_span(table, i, videos) for i in range(len(table))]
    if not spans:
        raise OptionError(f"{neutral} has no rows.")
    return tuple(spans)


def _span(table: StudyTable, i: int, videos: VideoIndex) -> NeutralSpan:
    video = table.text("video", i)
    found = videos.matching(video or "")
    if len(found) != 1:
        problem = "no result is of" if not found else f"{len(found)} results are of"
        raise OptionError(
            f"{table.place(i)}: {problem} the video {video}.",
            "Name the video as the results do (`jadfer show`), with its folders if necessary.",
        )
    start, end = table.number("start_s", i), table.number("end_s", i)
    if start is None or end is None or start >= end:
        raise OptionError(f"{table.place(i)}: the span must begin before it ends.")
    track = table.number("track_id", i)
    return NeutralSpan(
        start, end, str(found[0].path), table.text("person", i),
        None if track is None else int(track),
    )  # fmt: skip
