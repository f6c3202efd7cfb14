"""The rows of a result, once it is certain that they describe the video at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import DamagedResult, ResultError
from jadfer_cli.options import FaceOptions
from jadfer_cli.records import VideoInfo
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import BOX_COLUMNS

# Containers round times differently, by up to 1 ms, but two frames are never that close.
_MAX_TIME_ERROR_S, _MAX_SHARE_OF_GAP = 0.0015, 0.4
_EDGE_PX = 2.0  # how far a box may extend beyond the picture
_NAME_THE_VIDEO = "Name the video that was annotated."
_ANNOTATE_AGAIN = "Annotate the video again."


def rows_of_video(
    result: Result, info: VideoInfo, more: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read the rows that are drawn over a video, with the times of the video itself.

    Args:
        result: The result.
        info: The video.
        more: Other columns to read; the probabilities by default.

    Raises:
        ResultError: The rows are damaged, or are not of this video: it lacks their frames, or
            shows them at other times, or their boxes do not fit into its picture.
    """
    columns = ["frame", "time_s", "duration_s", "frame_status", "face_detected", "track_id",
               "usable"]  # fmt: skip
    more = result.probabilities if more is None else more
    rows = result.rows([*columns, *BOX_COLUMNS, *more]).reset_index(drop=True)
    if not len(rows):
        raise ResultError(f"{result.path} has no rows.", _ANNOTATE_AGAIN)
    last = int(rows["frame"].iloc[-1])
    if last >= info.n_frames:
        raise ResultError(
            f"{result.path} has a frame {last}, but {info.path} shows only {info.n_frames} frames.",
            _NAME_THE_VIDEO,
        )
    frame = rows["frame"].to_numpy(np.int64)
    _check_times(result, info, frame, rows["time_s"].to_numpy(np.float64))
    _check_boxes(result, info, rows)
    # From here on, only the frame index decides where a row belongs.
    return rows.assign(time_s=info.time_s[frame], duration_s=info.duration_s[frame])


def _check_times(
    result: Result, info: VideoInfo, frame: npt.NDArray[np.int64], time_s: npt.NDArray[np.float64]
) -> None:
    gaps = np.diff(info.time_s)
    shortest_s = float(gaps[gaps > 0].min()) if (gaps > 0).any() else np.inf
    tolerance_s = min(_MAX_TIME_ERROR_S, _MAX_SHARE_OF_GAP * shortest_s)
    wrong = np.flatnonzero(np.abs(time_s - info.time_s[frame]) > tolerance_s)
    if not len(wrong):
        return
    row = int(wrong[0])
    n_frames, n_wrong = len(np.unique(frame)), len(np.unique(frame[wrong]))
    raise ResultError(
        f"The times of {result.path} are not those of {info.path}: row {row} puts frame "
        f"{frame[row]} at {time_s[row]:.6g} s, where the video shows it at "
        f"{info.time_s[frame[row]]:.6g} s. This is so in {n_wrong:,} of {n_frames:,} frames.",
        "Name the video that was annotated. If the times were changed on purpose, keep the "
        "original result for this command.",
    )


def _check_boxes(result: Result, info: VideoInfo, rows: pd.DataFrame) -> None:
    """Refuse boxes that cannot be pixels of this picture: another size, a turned picture."""
    video = result.metadata["video"]
    noted = video["width_px"], video["height_px"]
    if noted != (info.width_px, info.height_px):
        raise ResultError(
            f"{result.path} is of a picture of {noted[0]}x{noted[1]} px, but {info.path} shows "
            f"{info.width_px}x{info.height_px} px.",
            _NAME_THE_VIDEO,
        )
    box = rows.loc[rows["face_detected"], list(BOX_COLUMNS)].to_numpy(np.float64)
    limit = np.array([info.width_px, info.height_px]) + _EDGE_PX
    outside = (box[:, :2] < -_EDGE_PX).any(1) | (box[:, 2:] > limit).any(1)
    tiny = ((box[:, 2:] - box[:, :2]) < 1).any(1)
    for wrong, text in ((outside, "outside the picture"), (tiny, "smaller than one pixel")):
        if wrong.any():
            first = rows[rows["face_detected"]].iloc[int(np.flatnonzero(wrong)[0])]
            raise DamagedResult(
                f"{result.path} has a box {text} of {info.width_px}x{info.height_px} px: frame "
                f"{first['frame']}, track {first['track_id']}; and {int(wrong.sum()) - 1:,} more.",
                "Boxes are in pixels of the picture as displayed: x1, y1, x2, y2. "
                + _ANNOTATE_AGAIN,
            )


def check_same_video(video: Path, result: Result) -> None:
    """Refuse the result of another video, because its boxes would miss the faces.

    Raises:
        ResultError: The file differs from the one that was annotated.
    """
    recorded = result.metadata["video"]
    differs = recorded["bytes"] not in (None, video.stat().st_size)
    if not differs and recorded["sha256"]:
        differs = file_sha256(video) != recorded["sha256"]
    if differs:
        raise ResultError(
            f"{result.path} belongs to another video ({recorded['path']}), not to {video}.",
            "Name the video that was annotated. If the file was only remuxed and shows the same "
            "frames, add `force`.",
        )


def check_complete(result: Result, rows: pd.DataFrame) -> None:
    """Refuse to blur with a result that lacks faces, because of its options or by later changes.

    Raises:
        ResultError: It omits faces, or its rows are not as many as `jadfer annotate` wrote.
    """
    faces, counts = result.metadata["options"]["faces"], result.metadata["counts"]
    causes = []
    if counts.get("tracks_left_out"):
        causes.append(f"`max_faces` {faces.get('max_faces')}")
    if (faces.get("min_face_px") or 0) > FaceOptions().min_face_px:
        causes.append(f"`min_face_px` {faces['min_face_px']:g}")
    if causes:
        names = " and ".join(cause.split()[0] for cause in causes)
        raise ResultError(
            f"{result.path} omits faces ({', '.join(causes)}), so they would not be blurred.",
            f"Annotate again without {names}. With `force`, only the check of the blurred video "
            "decides.",
        )
    found = {"frames_analysed": rows["frame"].nunique(), "faces": int(rows["face_detected"].sum())}
    for name, what in (("frames_analysed", "frames"), ("faces", "faces")):
        if counts[name] != found[name]:
            raise DamagedResult(
                f"{result.path} has rows of {found[name]:,} {what}, but jadfer annotate wrote "
                f"{counts[name]:,}: rows were removed, added or changed.",
                f"{_ANNOTATE_AGAIN} If you corrected them on purpose, add `force`: the blurred "
                "video is checked in any case.",
            )
