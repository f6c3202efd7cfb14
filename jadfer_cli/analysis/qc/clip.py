"""One result as quality control sees it, and its measures, which rules refer to by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from jadfer_cli.analysis.face_table import UNEXPLAINED, Annotated, as_faces, reason_column
from jadfer_cli.analysis.frame_times import Bools, Floats, spans_where, unbroken_runs
from jadfer_cli.records import UNUSABLE_REASONS
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import BOX_COLUMNS

MIN_DROPOUT_S = 0.5  # shorter intervals without a face are blinks of the detector


@dataclass(frozen=True)
class Gap:
    """An interval without any face, between frames with faces.

    Attributes:
        start_s: Its begin.
        end_s: Its end.
    """

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Its length."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Clip:
    """One result with its rows.

    Attributes:
        result: The opened result.
        name: A short name, unique in the report.
        rows: Its rows, sorted by frame and track.
        annotated: The same as arrays.
        repeated: Whether each analysed frame repeats the picture before by its pixels, bool (F,);
            None if they were not compared.
    """

    result: Result
    name: str
    rows: pd.DataFrame
    annotated: Annotated
    repeated: Bools | None = None

    @property
    def span_s(self) -> Floats:
        """The time that each analysed frame represents, float64 (F,)."""
        return self.annotated.frame_end_s - self.annotated.frame_start_s

    @property
    def frames_per_s(self) -> float | None:
        """Analysed frames per second of analysed time; None with fewer than two.

        The mean: times in whole milliseconds, and `fps` that does not divide the video's rate, make
        steps of two lengths, so that the median step of 30 frames per second is that of 30.3.
        """
        n, analysed_s = len(self.span_s), self.annotated.analysed_s
        # 24 in a table, and for a rule, not the 23.9998 that a container's time base leaves
        return round(n / analysed_s, 2) if n > 1 and analysed_s > 0 else None

    @cached_property
    def faces(self) -> pd.DataFrame:
        """The rows with a face, sorted by track and time, with `start_s`, `span_s`, `position`.

        `position` is that of the face's frame among the analysed ones. `reason` is why the face
        is not usable; "" for a usable one. No face in a corrupt frame is usable.
        """
        table = self.annotated.faces
        rows = self.rows[self.rows["track_id"].notna()]
        order = np.lexsort((rows["frame"], rows["track_id"].to_numpy(np.int64)))
        return rows.iloc[order].assign(
            start_s=table.start_s,
            span_s=table.span_s,
            position=table.position,
            reason=table.reason,
        )

    @cached_property
    def gaps(self) -> list[Gap]:
        """The intervals without any face, between faces, of at least `MIN_DROPOUT_S`."""
        has_face = self.annotated.has_face
        seen = np.flatnonzero(has_face)
        if not len(seen):
            return []
        missing = ~has_face
        missing[: seen[0]] = missing[seen[-1] :] = False
        spans = spans_where(missing, self.annotated.frame_start_s, self.annotated.frame_end_s)
        gaps = [Gap(float(a), float(b)) for a, b in spans]
        return [gap for gap in gaps if gap.length_s >= MIN_DROPOUT_S - 1e-6]

    @cached_property
    def is_still(self) -> Bools:
        """Whether each analysed frame shows the picture of the one before, bool (F,).

        The decoder says so (`frame_status`), or the pixels, if they were compared.
        """
        frames = self.rows[~self.rows["frame"].duplicated()]
        still: Bools = (frames["frame_status"].astype(str) == "repeated").to_numpy(bool)
        return still if self.repeated is None else still | self.repeated

    def by_track(self) -> Iterator[tuple[int, pd.DataFrame]]:
        """Yield each track's ID and faces, in order."""
        for track, own in self.faces.groupby("track_id", sort=True, observed=True):
            yield int(str(track)), own

    def first_s(self, mask: Bools) -> float:
        """Return when the longest run of analysed frames in which the mask is true begins.

        Args:
            mask: bool (F,), true somewhere.
        """
        at = np.flatnonzero(mask)
        longest = max(unbroken_runs(at), key=lambda run: run.stop - run.start)
        return float(self.annotated.frame_start_s[at[longest.start]])


def read_clip(result: Result, name: str) -> Clip:
    """Read the rows of a result.

    Raises:
        ResultError: The result is damaged.
    """
    columns = [
        "video", "frame", "time_s", "duration_s", "frame_status", "face_detected", "n_faces",
        "track_id", *BOX_COLUMNS, "det_score", "interocular_px", "blur", "yaw_deg", "pitch_deg",
        "roll_deg", "usable", "expression", *result.probabilities,
        *reason_column(result), *(["person"] if "person" in result.columns else []),
    ]  # fmt: skip
    rows = result.rows(columns)
    return Clip(result, name, rows, as_faces(rows, result.labels, result.metadata))


# What rules may refer to, in the order of tables. Shares are from 0 to 1; of time, where it says.
MEASURES = {
    "analysed_s": "time that was analysed, s",
    "frames_per_s": "analysed frames per second of analysed time (mean)",
    "face_share": "part of the analysed time with a face",
    "usable_share": "part of the time with a face in which it is usable",
    "usable_share_of_video": "part of the analysed time with a usable face",
    **{
        f"{reason}_share": f"part of the time with a face in which it is {reason}"
        for reason in (*UNUSABLE_REASONS, UNEXPLAINED)
    },
    "dropouts": f"intervals of {MIN_DROPOUT_S:g} s or more without a face, between faces",
    "longest_dropout_s": "the longest of them, s",
    "corrupt_share": "part of the analysed frames that are corrupt",
    "repeated_share": "part of the analysed frames that show the picture of the one before",
    "variable_frame_rate": "1 if the frame rate varies, else 0",
    "longest_gap_s": "longest time from one frame of the video to the next, s",
    "start_offset_s": "time at which the container shows the first frame, s",
    "tracks": "number of track IDs",
    "most_faces": "most faces in one frame",
    "suspected_switches": "moments at which a track may pass to another person",
}


def measured(clip: Clip, n_switches: int) -> dict[str, float | None]:
    """Return the measures of a clip; None where there is nothing to measure.

    Args:
        clip: The clip.
        n_switches: Number of suspected identity switches.
    """
    faces, spans = clip.faces, clip.span_s
    analysed_s, face_s = float(spans.sum()), float(faces["span_s"].sum())
    usable = clip.annotated.faces.counted()
    video = clip.result.metadata["video"]
    frames = clip.rows[~clip.rows["frame"].duplicated()]
    by_reason = clip.annotated.faces.unusable_shares() if len(faces) else None

    def part(seconds: float, whole: float) -> float | None:
        return float(seconds / whole) if whole else None

    return {
        "analysed_s": analysed_s,
        "frames_per_s": clip.frames_per_s,
        "face_share": part(float(spans[clip.annotated.has_face].sum()), analysed_s),
        "usable_share": part(float(usable.span_s.sum()), face_s),
        "usable_share_of_video": part(clip.annotated.seconds_with(usable), analysed_s),
        **{
            f"{reason}_share": None if by_reason is None else by_reason.get(reason, 0.0)
            for reason in (*UNUSABLE_REASONS, UNEXPLAINED)
        },
        "dropouts": float(len(clip.gaps)),
        "longest_dropout_s": max((gap.length_s for gap in clip.gaps), default=0.0),
        "corrupt_share": part(float((frames["frame_status"] == "corrupt").sum()), len(frames)),
        "repeated_share": part(float(clip.is_still.sum()), len(frames)),
        "variable_frame_rate": float(video["variable_frame_rate"]),
        "longest_gap_s": video.get("frame_gap_max_s"),
        "start_offset_s": video.get("start_offset_s"),
        "tracks": float(faces["track_id"].nunique()),
        "most_faces": float(clip.rows["n_faces"].max()) if len(clip.rows) else 0.0,
        "suspected_switches": float(n_switches),
    }
