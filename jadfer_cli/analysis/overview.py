"""One result at a glance: its video, what made it, how much is usable, and what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jadfer_cli.analysis.face_table import Annotated, read_faces
from jadfer_cli.analysis.provenance import changed_options
from jadfer_cli.analysis.summary import Summary, summaries
from jadfer_cli.analysis.witness import Contradiction, contradictions
from jadfer_cli.results.load import Result
from jadfer_cli.text import count_text

_MIN_USABLE = 0.5  # of the time with a face; below, a warning
_MIN_WITH_FACE = 0.1  # of the analysed frames; below, a warning


@dataclass(frozen=True)
class Overview:
    """What `jadfer show` prints about one result.

    Attributes:
        result: The opened result.
        annotated: Its frames and faces, for the timeline.
        whole: The summary of all tracks together.
        tracks: The summary of each track; empty without a face.
        warnings: What a reader must know first, one sentence each.
        contradictions: Faces whose scores and actions contradict each other.
    """

    result: Result
    annotated: Annotated
    whole: Summary
    tracks: tuple[Summary, ...]
    warnings: tuple[str, ...]
    contradictions: tuple[Contradiction, ...] = ()

    @property
    def people(self) -> tuple[str, ...] | None:
        """The people that `jadfer identify` found in the result; None if it was not run."""
        identified = self.result.metadata.get("people")
        return None if identified is None else tuple(identified.get("persons", ()))

    def people_of_tracks(self) -> dict[int, str]:
        """Who each track shows, in the order of time; empty if `jadfer identify` was not run."""
        if "person" not in self.result.columns:
            return {}
        rows = self.result.rows(["track_id", "person"]).dropna().drop_duplicates()
        names = rows["person"].astype(str).groupby(rows["track_id"].astype(int)).agg(", ".join)
        return {int(str(track)): name for track, name in names.items()}

    def facts(self) -> dict[str, Any]:
        """Return everything except the timeline, JSON-ready."""
        metadata = self.result.metadata
        video, counts = metadata["video"], metadata["counts"]
        return {
            "result": str(self.result.path),
            "warnings": list(self.warnings),
            "video": {
                "path": self.annotated.video,
                "sha256": video["sha256"],
                "codec": video["codec"],
                "width_px": video["width_px"],
                "height_px": video["height_px"],
                "duration_s": video["duration_s"],
                "nominal_fps": video["nominal_fps"],
                "variable_frame_rate": video["variable_frame_rate"],
            },
            "model": {name: metadata["model"][name] for name in ("name", "sha256", "preview")},
            "detector": {name: metadata["detector"][name] for name in ("name", "sha256")},
            "labels": list(self.result.labels),
            "options_changed": changed_options(metadata),
            "precision": metadata["precision"],
            "device": metadata["device"],
            "jadfer_version": metadata["jadfer_version"],
            "created": metadata.get("created"),
            "frames_analysed": counts["frames_analysed"],
            "frames_with_face": self.whole.frames,
            "frames_corrupt": counts["frames_corrupt"],
            "frames_repeated": counts["frames_repeated"],
            "analysed_s": self.whole.analysed_s,
            "face_share": self.whole.face_share,
            "face_s": self.whole.face_s,
            "usable_s": self.whole.usable_s,
            "usable_share": self.whole.usable_share,
            "usable_share_of_video": self.whole.usable_share_of_video,
            "unusable_shares": self.annotated.faces.unusable_shares(),
            "expression_shares": self.whole.shares,
            "people": None if self.people is None else list(self.people),
            "contradictions": [each.facts() for each in self.contradictions],
            "tracks": [
                {
                    "track_id": track.track_id,
                    "first_seen_s": track.first_seen_s,
                    "last_seen_s": track.last_seen_s,
                    "seconds_seen": track.seconds_seen,
                    "usable_share": track.usable_share,
                    "usable_share_of_video": track.usable_share_of_video,
                    "expression_shares": track.shares,
                }
                for track in self.tracks
            ],
        }

    def row(self) -> dict[str, Any]:
        """Return the facts as one row of a table; of the tracks only their number."""
        facts = self.facts()
        video, shares = facts["video"], facts["expression_shares"]
        return {
            "video": video["path"],
            "result": facts["result"],
            "warnings": " ".join(facts["warnings"]),
            **{name: video[name] for name in video if name != "path"},
            "model": facts["model"]["name"],
            "model_sha256": facts["model"]["sha256"],
            "detector": facts["detector"]["name"],
            "detector_sha256": facts["detector"]["sha256"],
            "options_changed": " ".join(f"{k} {v}" for k, v in facts["options_changed"].items()),
            **{
                name: facts[name]
                for name in (
                    "frames_analysed", "frames_with_face", "frames_corrupt", "frames_repeated",
                    "analysed_s", "face_share", "face_s", "usable_s", "usable_share",
                    "usable_share_of_video",
                )
            },
            "tracks": len(self.tracks),
            "people": None if self.people is None else "; ".join(self.people),
            **{
                f"share_{label}": shares.get(label, 0.0) if shares else None
                for label in self.result.labels
            },
        }  # fmt: skip


def overview(result: Result) -> Overview:
    """Read the rows of a result and collect what `jadfer show` prints about it.

    Raises:
        ResultError: The result is damaged.
    """
    annotated = read_faces(result)
    (whole,) = summaries(annotated, result, by="video")
    tracks = summaries(annotated, result) if len(annotated.faces) else ()
    found = contradictions(result, annotated)
    warnings = [
        *_warnings(result.metadata, whole, len(annotated.frame_start_s)),
        *(each.sentence() for each in found),
    ]
    return Overview(result, annotated, whole, tracks, tuple(warnings), found)


def _warnings(metadata: Mapping[str, Any], whole: Summary, n_frames: int) -> list[str]:
    warnings: list[str] = list(metadata.get("warnings", ()))
    counts, video = metadata["counts"], metadata["video"]
    if metadata["model"].get("preview") and not any("preview" in text for text in warnings):
        name = metadata["model"]["name"]
        warnings.append(f"The model {name} is a preview; do not publish its scores.")
    if not whole.frames:
        warnings.append(f"No face was found in any of {count_text(n_frames, 'frame')}.")
    elif whole.frames < _MIN_WITH_FACE * n_frames:
        warnings.append(
            f"A face was found in only {whole.frames:,} of {count_text(n_frames, 'frame')}."
        )
    if whole.usable_share is not None and whole.usable_share < _MIN_USABLE:
        warnings.append(f"Only {whole.usable_share:.0%} of the time with a face is usable.")
    if counts["frames_corrupt"] and not any("corrupt" in text for text in warnings):
        warnings.append(
            f"{counts['frames_corrupt']:,} of {n_frames:,} frames are corrupt; "
            "see the column frame_status."
        )
    if counts["frames_repeated"]:
        warnings.append(
            f"{counts['frames_repeated']:,} of {n_frames:,} frames repeat the previous picture."
        )
    if counts.get("tracks_left_out"):
        warnings.append(f"`max_faces` left out {count_text(counts['tracks_left_out'], 'track')}.")
    if video["variable_frame_rate"]:
        low, high = 1000 * video["frame_gap_min_s"], 1000 * video["frame_gap_max_s"]
        warnings.append(
            f"The frame rate varies ({low:.0f} to {high:.0f} ms per frame): "
            "use time_s, never frame / fps."
        )
    return warnings
