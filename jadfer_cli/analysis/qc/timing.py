"""Are the frames intact, and shown when an experiment expects them?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jadfer_cli.analysis.qc.clip import Clip
from jadfer_cli.analysis.qc.finding import Check, Finding
from jadfer_cli.common import short_time

MAX_REPEATED_SHARE = 0.02  # of the analysed frames
MAX_OFFSET_S = 0.1  # a video that starts later is out of step with what was recorded beside it
MIN_FRAMES_PER_S = 10.0  # expressions begin and end within a few tenths of a second


def _corrupt(clip: Clip) -> Iterator[Finding]:
    frames = clip.rows[~clip.rows["frame"].duplicated()]
    corrupt = (frames["frame_status"] == "corrupt").to_numpy(bool)
    if not corrupt.any():
        return
    n, share = int(corrupt.sum()), float(corrupt.mean())
    text = f"{n:,} of {len(corrupt):,} frames are corrupt; no command counts their faces."
    yield Finding("corrupt", f"corrupt {share:.0%}", text, clip.first_s(corrupt))


def _repeated(clip: Clip) -> Iterator[Finding]:
    still = clip.is_still
    share = float(still.mean()) if len(still) else 0.0
    if share <= MAX_REPEATED_SHARE:
        return
    at_s = clip.first_s(still)
    text = (
        f"{int(still.sum()):,} of {len(still):,} frames show the picture of the frame before: a "
        f"frozen recording, or a rate that was raised; longest from {short_time(at_s)}."
    )
    yield Finding("repeated", f"repeated {share:.0%}", text, at_s)


def _variable(clip: Clip) -> Iterator[Finding]:
    video = clip.result.metadata["video"]
    if not video["variable_frame_rate"]:
        return
    low, high = 1000 * video["frame_gap_min_s"], 1000 * video["frame_gap_max_s"]
    starts = clip.annotated.frame_start_s
    at_s = float(starts[int(np.diff(starts).argmax())]) if len(starts) > 1 else None
    text = f"The frame rate varies ({low:.0f} to {high:.0f} ms per frame): use time_s, never " \
        "frame / fps."  # fmt: skip
    yield Finding("variable_frame_rate", "variable rate", text, at_s)


def _offset(clip: Clip) -> Iterator[Finding]:
    offset_s = clip.result.metadata["video"].get("start_offset_s") or 0.0
    if abs(offset_s) > MAX_OFFSET_S:
        text = (
            f"The container shows the first frame at {offset_s:.3f} s, and time_s counts from "
            "there: add it before you compare with times of the sound or of another recording."
        )
        yield Finding("start_offset", f"offset {offset_s:.2f} s", text, look="show")


def _slow(clip: Clip) -> Iterator[Finding]:
    rate = clip.frames_per_s
    if rate is not None and rate < MIN_FRAMES_PER_S:
        text = f"Only {rate:.3g} frames per second were analysed: short expressions are missed."
        yield Finding("few_frames", f"{rate:.3g} frames/s", text, look="show")


CHECKS = (
    Check("corrupt", "frames are corrupt", _corrupt),
    Check("repeated", "frames repeat the picture before", _repeated),
    Check("variable_frame_rate", "the frame rate varies", _variable),
    Check("start_offset", f"the video starts later than {MAX_OFFSET_S:g} s", _offset),
    Check("few_frames", f"fewer than {MIN_FRAMES_PER_S:g} frames per second", _slow),
)
