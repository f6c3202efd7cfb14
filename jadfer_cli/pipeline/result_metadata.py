"""The metadata of one finished run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jadfer_cli.pipeline.networks import Networks
from jadfer_cli.pipeline.source import Source
from jadfer_cli.pipeline.state import RunState
from jadfer_cli.results.metadata import video_metadata


def result_metadata(
    networks: Networks,
    source: Source,
    state: RunState,
    *,
    sha256: str | None,
    hash_warning: str | None = None,
    kept: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Assembles all metadata of a finished run, JSON-ready.

    Args:
        networks: What ran.
        source: The video.
        state: What the run found.
        sha256: SHA-256 of the video file; None if unknown.
        hash_warning: Why the SHA-256 could not be computed.
        kept: Counts of the remaining rows, if `--max-faces` left some tracks out.
    """
    warnings = [*networks.warnings, *source.info.warnings]
    warnings += [hash_warning] if hash_warning else []
    warnings += [text for _, text in state.warnings]
    warnings += networks.memory_warnings()
    if state.counts.corrupt:
        warnings.append(
            f"{state.counts.corrupt} of {state.counts.frames} frames are corrupt; "
            "see the column frame_status."
        )
    warnings += _turned(state.counts.turn_deg(), source.info.rotation_deg)
    video = video_metadata(source.info, sha256)
    video["decoders"] = [
        {"from_frame": index, "name": name}
        for i, (index, name) in enumerate(state.decoders)
        if i == 0 or name != state.decoders[i - 1][1]
    ]
    counts = {"frames_expected": source.n_frames} | state.counts.metadata()
    if kept is not None:
        counts |= kept
        counts["tracks_left_out"] = len(state.counts.tracks) - counts["tracks"]
    wall_s = state.wall_s
    return networks.metadata() | {
        "video": video,
        "counts": counts,
        "warnings": warnings,
        "taken_up": state.resumed_at,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_s": round(wall_s, 3),
        "frames_per_s": round(state.counts.frames / max(wall_s, 1e-9), 2),
    }


def _turned(turn_deg: int, rotation_deg: int) -> list[str]:
    """Warns of a video that seems to be upside down or on its side.

    Args:
        turn_deg: By how much nearly all faces are turned clockwise.
        rotation_deg: The rotation in use.
    """
    if not turn_deg:
        return []
    how = "upside down" if turn_deg == 180 else "on their side"
    better = (rotation_deg - turn_deg) % 360
    return [
        f"Nearly all faces are {how}, and scores of such faces are unreliable. If the video itself "
        f"is turned, annotate it again with `rotate` {better}."
    ]
