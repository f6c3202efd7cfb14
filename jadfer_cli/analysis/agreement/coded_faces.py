"""Coded spans as faces with labels: what `jadfer tune` learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.agreement.clips import ClipNames, Participants
from jadfer_cli.analysis.agreement.ratings import MACHINE, RatedClip, Ratings
from jadfer_cli.analysis.agreement.study import Material
from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.analysis.source_video import VideoFinder
from jadfer_cli.analysis.video_rows import rows_of_video
from jadfer_cli.common import file_sha256
from jadfer_cli.errors import CodesError, OptionError, VideoError
from jadfer_cli.records import VideoInfo
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import BOX_COLUMNS, UNKNOWN
from jadfer_cli.video.rotation import rotated
from jadfer_cli.video.timeline import probe

_TRACK_WORDS = ("track", *"0123456789")


@dataclass(frozen=True)
class CodedFaces:
    """Faces that machine and coders judged.

    Attributes:
        labels: The model's K labels.
        p: float64 (n, K), the machine's probabilities.
        ratings: int8 (n, C), the label that each coder chose; negative without a judgement.
        person: (n,), who is seen.
        clip: int64 (n,), number of the clip.
        frame: int64 (n,), index of the frame in the video.
        track: int64 (n,).
        results: The result of each clip.
    """

    labels: tuple[str, ...]
    p: Floats
    ratings: Ratings
    person: npt.NDArray[np.str_]
    clip: Ints
    frame: Ints
    track: Ints
    results: tuple[Result, ...]

    def __len__(self) -> int:
        return len(self.p)

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody who is seen, sorted."""
        return tuple(np.unique(self.person).tolist())

    @property
    def votes(self) -> Floats:
        """How many coders chose each label, float64 (n, K)."""
        found = np.zeros(self.p.shape)
        for ratings in self.ratings.T:
            judged = ratings >= 0
            found[np.flatnonzero(judged), ratings[judged]] += 1
        return found

    def take(self, which: Bools) -> CodedFaces:
        """Return some of the faces."""
        return CodedFaces(
            self.labels, self.p[which], self.ratings[which], self.person[which], self.clip[which],
            self.frame[which], self.track[which], self.results,
        )  # fmt: skip


def people_of(
    material: Material, participants: Participants | None, *, clip_is_person: bool = False
) -> list[str]:
    """Return who is seen in each clip.

    The table of participants says so; or else the column `person` of the results, or the person
    whom the coders named.

    Args:
        material: The rated clips.
        participants: The table; None for none.
        clip_is_person: Each clip shows a person of its own.

    Raises:
        OptionError: It is not known who is seen in a clip.
    """
    unique = {clip.result.path: clip.result for clip in material.clips}
    order = {path: index for index, path in enumerate(unique)}
    listed: dict[int, str] = {}
    if participants is not None:
        column = participants.person_column()
        if column is None:
            raise OptionError(
                f"{participants.path} does not say who is seen in a clip.",
                "Add a column participant.",
            )
        listed = participants.values(column, ClipNames(list(unique.values())))
    found = []
    for clip in material.clips:
        name = listed.get(order[clip.result.path]) or _named(clip)
        if not name and clip_is_person:
            name = clip.name
        if not name:
            raise OptionError(
                f"It is not known who is seen in {clip.result.path}.",
                "Name a table with the columns clip and participant with `participants`, so that "
                "nobody is both learned from and tested on; or, if each clip shows another person, "
                "add `each_clip_one_person`.",
            )
        found.append(name)
    return found


def _named(clip: RatedClip) -> str:
    """The person of `jadfer identify`, or the one whom the coders named; may be empty."""
    if "person" in clip.result.columns and len(clip.faces):
        rows = clip.result.rows(["track_id", "person"])
        own = rows[rows["track_id"].isin(set(clip.faces.track.tolist()))]["person"].dropna()
        if own.nunique() == 1 and str(own.iloc[0]) != UNKNOWN:
            return str(own.iloc[0])
    named_by_track = clip.subject.lower().startswith(_TRACK_WORDS)
    return "" if named_by_track else clip.subject


def gather(material: Material, people: Sequence[str], every_s: float) -> CodedFaces:
    """Collect the faces that the machine and at least one coder judged.

    Args:
        material: The rated clips, on a grid of time.
        people: Who is seen in each.
        every_s: Take one face per so many seconds: neighbouring frames look alike.

    Raises:
        CodesError: There is none.
        OptionError: Coders did not tell some expressions apart.
    """
    labels = material.clips[0].result.labels
    if any(len(own) > 1 for own in material.words.members):
        raise OptionError(
            "`map` joins several expressions by +, but a model learns single ones.",
            "Map each code to one expression, or leave it out with =-.",
        )
    stride = max(round(every_s / material.step_s), 1)
    parts: list[tuple[Any, ...]] = []
    for number, (clip, person) in enumerate(zip(material.clips, people, strict=True)):
        ratings = np.stack(
            [
                clip.ratings.get(coder, np.full(len(clip.time_s), -1, np.int8))
                for coder in material.coders
            ],
            axis=1,
        )
        at = np.flatnonzero((ratings >= 0).any(1) & (clip.ratings[MACHINE] >= 0))
        at = at[at % stride == 0]
        order = np.argsort(clip.faces.start_s, kind="stable")
        face = order[np.searchsorted(clip.faces.start_s[order], clip.time_s[at], "right") - 1]
        n = len(at)
        parts.append(
            (
                clip.faces.p[face], ratings[at], np.full(n, person), np.full(n, number),
                clip.faces.frame[face], clip.faces.track[face],
            )
        )  # fmt: skip
    p, chosen, names, clip_number, frame, track = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    results = tuple(clip.result for clip in material.clips)
    found = CodedFaces(labels, p, chosen, names, clip_number, frame, track, results)
    if not len(found):
        raise CodesError(
            "No coded time has a face that the machine judged.",
            "Check the times of the codes, and with `jadfer show` which faces are usable.",
        )
    return found


def boxes(faces: CodedFaces) -> Floats:
    """Return where each face is in its frame, float64 (n, 4): x1, y1, x2, y2 in pixels.

    Raises:
        ResultError: A result is damaged.
    """
    found = np.empty((len(faces), 4))
    for number, result in enumerate(faces.results):
        own = faces.clip == number
        rows = result.rows(["frame", "track_id", *BOX_COLUMNS])
        rows = rows[rows["track_id"].notna()]
        keys = pd.MultiIndex.from_arrays([rows["frame"], rows["track_id"].astype("int64")])
        at = keys.get_indexer(pd.MultiIndex.from_arrays([faces.frame[own], faces.track[own]]))
        found[own] = rows[list(BOX_COLUMNS)].to_numpy(np.float64)[at]
    return found


def videos(faces: CodedFaces) -> tuple[VideoInfo, ...]:
    """Return the video of each clip, turned as it was annotated.

    It is where it was, or beside the result.

    Raises:
        CodesError: One is missing, or is another file than was annotated.
        ResultError: The frames, times or boxes of a result are not those of its video.
        VideoError: One cannot be read.
    """
    return tuple(_video(result) for result in faces.results)


def _video(result: Result) -> VideoInfo:
    recorded = result.metadata["video"]
    try:
        path = VideoFinder().find(result)
    except VideoError as error:
        raise CodesError(
            f"The video {recorded['path']} of {result.path} is missing, and fine-tuning reads its "
            "pictures.",
            "Run this in the folder where you ran `jadfer annotate`, or put the video beside the "
            "result. Recalibration needs no video: `method` recalibrate.",
        ) from error
    same_size = path.stat().st_size == recorded["bytes"]
    if not same_size or (recorded["sha256"] and file_sha256(path) != recorded["sha256"]):
        raise CodesError(
            f"{path} is not the video that {result.path} was made from: its "
            f"{'content' if same_size else 'size'} differs.",
            "Put the annotated video there, or annotate this one.",
        )
    info = rotated(probe(str(path)), result.metadata["options"]["video"].get("rotate"))
    rows_of_video(result, info, ())
    return info
