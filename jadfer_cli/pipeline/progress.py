"""Progress through one video, for the code that displays it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from jadfer_cli.faces.follow import Detections


@dataclass(frozen=True)
class Progress:
    """How far one video is.

    Attributes:
        stage: "resuming" (reading what an earlier run stored), "annotating" or "checking".
        frames: Frames in which faces were searched for; some of them are still to be scored.
        frames_total: Frames to analyse.
        faces: Faces found so far, in all frames.
        faces_now: Faces in the last frame searched.
    """

    stage: str
    frames: int
    frames_total: int
    faces: int
    faces_now: int = 0


OnProgress = Callable[[Progress], object]


def ignore(_: object) -> None:
    """The default callback: does nothing."""


class ProgressMeter:
    """Counts frames and faces as they leave detection, and reports changes.

    Args:
        on_progress: Called by `report` if the counts changed since the last call.
        frames_total: Frames to analyse.
        frames, faces: Those that an earlier run analysed.
    """

    def __init__(
        self, on_progress: OnProgress, frames_total: int, frames: int = 0, faces: int = 0
    ) -> None:
        self._on_progress, self._total = on_progress, frames_total
        self._frames, self._faces, self._faces_now = frames, faces, 0
        self._reported: Progress | None = None

    def count(self, detections: Iterable[Detections]) -> Iterator[Detections]:
        """Passes detections on and counts them; runs in the thread of the detector."""
        for found in detections:
            self._frames += 1
            self._faces_now = len(found.faces)
            self._faces += self._faces_now
            yield found

    def report(self) -> None:
        """Reports the counts; called several times per second in the caller's thread."""
        now = Progress("annotating", self._frames, self._total, self._faces, self._faces_now)
        if now != self._reported:
            self._reported = now
            self._on_progress(now)
