"""What the page of `jadfer view` needs to know, as JSON."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli._version import __version__
from jadfer_cli.analysis.frame_times import frame_spans
from jadfer_cli.analysis.plots.colours import (
    ABSENT,
    CASING,
    UNUSABLE,
    colours_of,
    needs_casing,
)
from jadfer_cli.analysis.plots.timelines import Timeline, timelines, track_title
from jadfer_cli.overlay.view_moments import doubtful_moments
from jadfer_cli.records import VideoInfo
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import BOX_COLUMNS
from jadfer_cli.text import count_text, json_text, one_line


def page_data(info: VideoInfo, result: Result, rows: pd.DataFrame) -> dict[str, Any]:
    """Return everything about a result that the page shows, but where its video is.

    Arrays are base64 text of little-endian numbers. Times are seconds from the first shown frame.

    Args:
        info: The video.
        result: Its result.
        rows: The rows, from `rows_of_video`.
    """
    spans = frame_spans(rows, result.metadata)
    tracks = timelines(rows, spans, result.labels)
    colours = colours_of(result.labels)
    return {
        "version": __version__,
        "title": one_line(result.name),
        "subtitle": _subtitle(result, len(spans), info.n_frames, tracks),
        "width_px": info.width_px,
        "height_px": info.height_px,
        "frame_start_s": _packed(info.time_s, "<f8"),
        "frame_end_s": _packed(info.time_s + info.duration_s, "<f8"),
        "analysed": _packed(spans.index.to_numpy(), "<i4"),
        "analysed_end_s": _packed(spans["end_s"].to_numpy(), "<f8"),
        "labels": [one_line(label) for label in result.labels],
        "colours": [colours[label] for label in result.labels],
        "casings": [CASING if needs_casing(colours[x]) else None for x in result.labels],
        "unusable_colour": UNUSABLE,
        "absent_colour": ABSENT,
        "tracks": [_track(track, rows) for track in tracks],
        "moments": [asdict(kind) for kind in doubtful_moments(tracks, result.labels, rows, spans)],
    }


def _subtitle(
    result: Result, n_analysed: int, n_frames: int, tracks: Sequence[Timeline]
) -> str:  # fmt: skip
    frames = count_text(n_frames, "frame")
    return " · ".join(
        (
            one_line(str(result.metadata["model"]["name"])),
            frames if n_analysed == n_frames else f"{n_analysed:,} of {frames} analysed",
            count_text(len(tracks), "track"),
        )
    )


def _track(track: Timeline, rows: pd.DataFrame) -> dict[str, Any]:
    own = rows[(rows["track_id"] == track.track_id).fillna(False)]
    return {
        "id": track.track_id,
        "title": track_title(track),
        "frame": _packed(track.frame, "<i4"),
        "start_s": _packed(track.start_s, "<f8"),
        "end_s": _packed(track.end_s, "<f8"),
        "box_px": _packed(own[list(BOX_COLUMNS)].to_numpy(), "<f4"),
        "p": _packed(track.probabilities, "<f4"),
        "usable": _packed(track.usable, "u1"),
        "run_stops": [run.stop for run in track.runs],
        "unusable_s": _packed(track.unusable_s, "<f8"),
        "absent_s": _packed(track.absent_s, "<f8"),
    }


def _packed(values: npt.NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode("ascii")


def script_json(value: Any) -> str:
    """Return JSON that may stand in an HTML script element, whatever its texts contain."""
    # "<" occurs only inside strings: this covers "</script" and "<!--"
    return json_text(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
