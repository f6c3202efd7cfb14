"""What one run has accumulated so far: counts, track statistics, notes, where it began."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from jadfer_cli.faces.track import FaceTracker, TrackStats, lasting_tracks
from jadfer_cli.pipeline.counts import Counts
from jadfer_cli.records import AnnotatedFrame


@dataclass
class RunState:
    """What one run has accumulated so far.

    Attributes:
        begin: Position in the source's `indices` of the first frame that this run analyses.
        counts: What was found, by earlier runs too.
        stats: How long and how large each track is.
        tracker: The tracker after the frames of earlier runs. Created lazily: importing its
            library is slow, and a run from the start overlaps that with decoding.
        decoders, warnings: The reader's notes, see `ReaderNotes`.
        resumed_at: Indices of the frames at which a run resumed.
        earlier_s: Wall time of earlier runs.
        started_s: When this run started, by `time.perf_counter`.
    """

    begin: int = 0
    counts: Counts = field(default_factory=Counts)
    stats: TrackStats = field(default_factory=TrackStats)
    tracker: FaceTracker | None = None
    decoders: list[tuple[int, str]] = field(default_factory=list)
    warnings: list[tuple[int, str]] = field(default_factory=list)
    resumed_at: list[int] = field(default_factory=list)
    earlier_s: float = 0.0
    started_s: float = field(default_factory=time.perf_counter)

    @property
    def wall_s(self) -> float:
        """Wall time spent on the video so far, by all runs."""
        return self.earlier_s + time.perf_counter() - self.started_s

    def add(self, frames: Sequence[AnnotatedFrame]) -> None:
        """Adds finished frames."""
        self.counts.add(frames)
        for frame in frames:
            self.decoders += frame.notes.decoders
            self.warnings += frame.notes.warnings

    def choose_tracks(self, limit: int | None) -> dict[int, int] | None:
        """Chooses the tracks that `--max-faces` keeps.

        Args:
            limit: How many to keep; None keeps all.

        Returns:
            The IDs kept, each with its new ID from 0; None if all are kept.
        """
        if limit is None or len(self.counts.tracks) <= limit:
            return None
        return {old: new for new, old in enumerate(sorted(lasting_tracks(self.stats, limit)))}
