"""One result at a glance: its video, what made it, how much of it can be used, what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jadfer_cli.analysis.face_table import Annotated, read_faces
from jadfer_cli.analysis.provenance import changed_options
from jadfer_cli.analysis.summary import Summary, summaries
from jadfer_cli.results.load import Result

_FEW_USABLE = 0.5  # below this share of the time with a face, a warning
_FEW_FACES = 0.1  # below this share of the analysed frames, a warning


@dataclass(frozen=True)
class Overview:
    """What `jadfer show` says of one result.

    Attributes:
        result: The opened result.
        annotated: Its rows, for the timeline.
        whole: All tracks together.
        tracks: Each track; empty without a face.
        warnings: What a reader must know first, a sentence each.
    """

    result: Result
    annotated: Annotated
    whole: Summary
    tracks: tuple[Summary, ...]
    warnings: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Everything but the timeline, JSON-ready."""
        m = self.result.metadata
        video, counts = m["video"], m["counts"]
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
            "model": {name: m["model"][name] for name in ("name", "sha256", "preview")},
            "detector": {name: m["detector"][name] for name in ("name", "sha256")},
            "labels": list(self.result.labels),
            "options_changed": changed_options(m),
            "precision": m["precision"],
            "device": m["device"],
            "jadfer_version": m["jadfer_version"],
            "created": m.get("created"),
            "frames_analysed": counts["frames_analysed"],
            "frames_with_face": self.whole.frames,
            "frames_corrupt": counts["frames_corrupt"],
            "frames_repeated": counts["frames_repeated"],
            "face_s": self.whole.face_s,
            "usable_s": self.whole.usable_s,
            "usable_share": self.whole.usable_share,
            "expression_shares": self.whole.shares,
            "tracks": [
                {
                    "track_id": track.track_id,
                    "first_seen_s": track.first_seen_s,
                    "last_seen_s": track.last_seen_s,
                    "seconds_seen": track.seconds_seen,
                    "usable_share": track.usable_share,
                    "expression_shares": track.shares,
                }
                for track in self.tracks
            ],
        }

    def row(self) -> dict[str, Any]:
        """The same as one row of a table."""
        found = self.facts()
        video, shares = found["video"], found["expression_shares"]
        return {
            "video": video["path"],
            "result": found["result"],
            "warnings": " ".join(found["warnings"]),
            **{name: video[name] for name in video if name != "path"},
            "model": found["model"]["name"],
            "model_sha256": found["model"]["sha256"],
            "detector": found["detector"]["name"],
            "detector_sha256": found["detector"]["sha256"],
            "options_changed": " ".join(f"{k} {v}" for k, v in found["options_changed"].items()),
            **{
                name: found[name]
                for name in (
                    "frames_analysed", "frames_with_face", "frames_corrupt", "frames_repeated",
                    "face_s", "usable_s", "usable_share",
                )
            },
            "tracks": len(self.tracks),
            **{
                f"share_{label}": shares.get(label, 0.0) if shares else None
                for label in self.result.labels
            },
        }  # fmt: skip


def overview(result: Result) -> Overview:
    """Reads a result's rows and puts together what there is to say.

    Raises:
        ResultError: It is damaged.
    """
    annotated = read_faces(result)
    name = str(result.path)
    (whole,) = summaries(annotated, name, by="video")
    tracks = summaries(annotated, name) if len(annotated.faces) else ()
    warnings = tuple(_warnings(result.metadata, whole, len(annotated.frame_start_s)))
    return Overview(result, annotated, whole, tracks, warnings)


def _warnings(metadata: Mapping[str, Any], whole: Summary, n_frames: int) -> list[str]:
    found: list[str] = list(metadata.get("warnings", ()))
    counts, video = metadata["counts"], metadata["video"]
    if metadata["model"].get("preview") and not any("preview" in text for text in found):
        name = metadata["model"]["name"]
        found.append(f"The model {name} is a preview; do not publish its scores.")
    if not whole.frames:
        found.append(f"No face was found in any of {n_frames:,} frames.")
    elif whole.frames < _FEW_FACES * n_frames:
        found.append(f"A face was found in {whole.frames:,} of {n_frames:,} frames only.")
    if whole.usable_share is not None and whole.usable_share < _FEW_USABLE:
        found.append(f"Faces are usable in {whole.usable_share:.0%} of the time they are seen.")
    if counts["frames_corrupt"] and not any("corrupt" in text for text in found):
        found.append(
            f"{counts['frames_corrupt']:,} of {n_frames:,} frames are corrupt; "
            "see the column frame_status."
        )
    if counts["frames_repeated"]:
        found.append(
            f"{counts['frames_repeated']:,} of {n_frames:,} frames repeat the picture before them."
        )
    if counts.get("tracks_left_out"):
        found.append(f"--max-faces left out {counts['tracks_left_out']} tracks.")
    if video["variable_frame_rate"]:
        low, high = 1000 * video["frame_gap_min_s"], 1000 * video["frame_gap_max_s"]
        found.append(
            f"The frame rate varies ({low:.0f} to {high:.0f} ms a frame): "
            "use time_s, never frame / fps."
        )
    return found
