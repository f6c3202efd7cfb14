"""One video on its way: frames, faces, tracks, crops, probabilities, in threads side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from jadfer_cli.common import file_sha256
from jadfer_cli.faces import align, quality
from jadfer_cli.faces.follow import Detections, follow
from jadfer_cli.faces.track import FaceTracker, TrackStats, lasting_tracks
from jadfer_cli.pipeline.resume import Counts, frames_of, replay
from jadfer_cli.pipeline.threads import Stages
from jadfer_cli.records import AnnotatedFrame, Crops, Faces, Frame, IntArray, VideoInfo
from jadfer_cli.results import metadata as sidecar
from jadfer_cli.results import settings
from jadfer_cli.results.parts import Part
from jadfer_cli.video.reader import VideoReader

if TYPE_CHECKING:
    from jadfer_cli.pipeline.annotator import Annotator

# Frames scored together at most, so that a video without faces is also written bit by bit.
_MAX_FRAMES_A_BATCH = 128
# How far one stage may be ahead of the next: pictures, their bytes, batches before and after
# scoring.
_FRAMES_AHEAD = 16
_BYTES_AHEAD = 64 << 20
_UNSCORED_AHEAD, _BATCHES_AHEAD = 1, 2
_WAKE_S = 0.2


@dataclass(frozen=True)
class Progress:
    """How far one video is.

    Attributes:
        stage: "taking up" (what an earlier run did), "annotating" or "checking".
        frames: Frames in which faces were looked for; some of them are still to be scored.
        frames_total: Frames to do.
        faces: Faces found so far.
    """

    stage: str
    frames: int
    frames_total: int
    faces: int


class Tracked(NamedTuple):
    """One frame with its faces and who they are."""

    frame: Frame
    faces: Faces
    track_ids: IntArray
    fresh: bool  # see `faces.follow.Detections`
    crops: Crops | None  # where the detector made them


@dataclass(frozen=True)
class Seen:
    """One frame between looking and scoring."""

    frame: Frame  # without its picture
    faces: Faces
    track_ids: IntArray
    fresh: bool
    crops: Crops


class Run:
    """One video on its way through the stages.

    Use as a context manager: the video's sha256 is computed beside the work.

    Args:
        annotator: The networks.
        info: The video's timeline.
        indices: The frames analysed, ascending.

    Attributes:
        counts: What was found so far.
        stats: How long and how large each track is so far.
        taken_up: Indices of the frames at which the run was taken up from an earlier one.
    """

    def __init__(self, annotator: Annotator, info: VideoInfo, indices: Any) -> None:
        self.annotator, self.info, self.indices = annotator, info, indices
        self.counts = Counts()
        self.stats = TrackStats()
        options = annotator.options
        name = Path(info.path).name if options.relative_paths else info.path
        self.video = sidecar.printable(name)
        self.started_s = time.perf_counter()
        self.taken_up: list[int] = []
        self._begin = self._seam = 0  # place in `indices`, and index, of the first frame to do
        self._before_s = 0.0  # what the frames before it took
        self._tracker: FaceTracker | None = None
        self._decoders: list[tuple[int, str]] = []
        self._noted: list[tuple[int, str]] = []
        self._reader: VideoReader | None = None
        self._warnings: list[str] = [*annotator.warnings, *info.warnings]
        self._sha256: str | None = None
        self._found = self._faces_found = 0
        self._stop = threading.Event()
        self._hashing = threading.Thread(target=self._hash)

    def __enter__(self) -> Self:
        self._hashing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._hashing.join()

    def key(self) -> dict[str, Any]:
        """What decides the rows, for the parts of a result.

        Raises:
            VideoError: The video is gone.
        """
        return settings.key(self.annotator.metadata(), self.info.path)

    def take_up(
        self, parts: Iterable[Part], progress: Callable[[Progress], None] | None = None
    ) -> bool:
        """Goes to where an earlier run was; call before `frames`, at most once.

        Args:
            parts: What it left, from the first on.
            progress: Called after each.

        Returns:
            False where they are not the beginning of this run: drop them, and start a new `Run`.
        """
        for part in parts:
            # loads its library, which a run from the beginning does beside reading
            tracker = self._tracker or FaceTracker(
                self.annotator.options.faces, self._analysed_fps()
            )
            facts, frames = part.facts, list(frames_of(part.rows))
            end = self._begin + len(frames)
            done = [frame.index for frame in frames] + [facts.end]
            same = np.array_equal(self.indices[self._begin : end + 1], done)
            if not same or not replay(frames, tracker, self.stats):
                return False
            self.counts.add_rows(part.rows)
            self._begin, self._seam, self._tracker = end, facts.end, tracker
            self._before_s += facts.wall_s
            self._decoders += facts.decoders
            self._noted += facts.warnings
            self.taken_up += [] if facts.resumed_at is None else [facts.resumed_at]
            self._found, self._faces_found = end, self.counts.faces
            if progress:
                progress(Progress("taking up", end, len(self.indices), self.counts.faces))
        self.taken_up += [self._seam] if self._begin else []
        return True

    def frames(
        self, progress: Callable[[Progress], None] | None = None
    ) -> Generator[list[AnnotatedFrame], None, None]:
        """Annotates the video, some frames at a time; call once.

        Reading, finding, cropping and scoring run at the same time, in threads of their own,
        which end with the generator.

        Args:
            progress: Called some times a second, in the caller's thread.

        Yields:
            Consecutive frames; every analysed frame comes exactly once, but for those taken up.
        """
        said = None

        def report() -> None:
            nonlocal said
            now = Progress("annotating", self._found, len(self.indices), self._faces_found)
            if progress and now != said:
                said = now
                progress(now)

        kept = max(2, min(_FRAMES_AHEAD, _BYTES_AHEAD // max(self._frame_bytes(), 1)))
        with (
            VideoReader(
                self.info, self.indices, self.annotator.runtime.threads, self._begin
            ) as reader,
            Stages() as stages,
        ):
            self._reader = reader
            pictures = stages.ahead(reader, kept, "read")
            found = stages.ahead(self.find(pictures), kept, "find")
            # whole batches wait here, so that finding goes on while one is scored
            crops = self.crop(self.track(found))
            batches = stages.ahead(self.batches(crops), _UNSCORED_AHEAD, "crop")
            scored = stages.ahead(self.score(batches), _BATCHES_AHEAD, "score", report)
            for frames in scored:
                self.counts.add(frames)
                yield frames
            report()

    def told(self, first: int, end: int) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """What the reader came upon between two frames: decoders and warnings, by index."""
        reader = self._reader
        # of frames before the seam, which it may have read again, the earlier run has told
        first = max(first, self._seam)
        decoders, noted = (reader.decoders, reader.noted) if reader else ([], [])
        return (
            [(index, name) for index, name in decoders if first <= index < end],
            [(index, text) for index, text in noted if first <= index < end],
        )

    def find(self, frames: Iterable[Frame]) -> Iterator[Detections]:
        """Detection: the faces of every frame, in order; on a GPU with their crops."""
        annotator = self.annotator
        crop_px = annotator.predictor.crop_px if annotator.crops_in_torch else None
        for found in follow(frames, annotator.detector, annotator.redetect_s, crop_px):
            self._found += 1
            self._faces_found += len(found.faces)
            yield found

    def track(self, found: Iterable[Detections]) -> Iterator[Tracked]:
        """Who is who, frame by frame, in order; the faces sorted by track id."""
        tracker = self._tracker or FaceTracker(self.annotator.options.faces, self._analysed_fps())
        for frame, faces, fresh, crops in found:
            placed = faces.order()  # the detector's order depends on what was before
            faces = faces.take(placed)
            ids = tracker.update(faces, frame.time_s)
            order = np.argsort(ids)
            if crops is not None:
                crops = crops.take(placed[order])
            yield Tracked(frame, faces.take(order), ids[order], fresh, crops)

    def crop(self, tracked: Iterable[Tracked]) -> Iterator[Seen]:
        """Aligned crops, of faces that have none yet."""
        for frame, faces, ids, fresh, crops in tracked:
            if crops is None:
                image = frame.image_rgb
                if image is None:
                    image = np.zeros((1, 1, 3), np.uint8)
                crop_px = self.annotator.predictor.crop_px
                crops = Crops(align.crop(image, faces.landmarks_px, crop_px))
            self.stats.add(ids, faces.boxes_px, frame.duration_s)
            bare = Frame(frame.index, frame.time_s, frame.duration_s, frame.status, None)
            yield Seen(bare, faces, ids, fresh, crops)

    def batches(self, seen: Iterable[Seen]) -> Iterator[list[Seen]]:
        """Consecutive frames that are scored together."""
        batch: list[Seen] = []
        faces = 0
        for one in seen:
            batch.append(one)
            faces += len(one.faces)
            full = faces >= self.annotator.runtime.batch_size
            if full or len(batch) >= _MAX_FRAMES_A_BATCH:
                yield batch
                batch, faces = [], 0
        if batch:
            yield batch

    def score(self, batches: Iterable[list[Seen]]) -> Iterator[list[AnnotatedFrame]]:
        """Probabilities and quality, for the faces of several frames at once."""
        return map(self._score, batches)

    def _frame_bytes(self) -> int:
        return 3 * self.info.width_px * self.info.height_px

    def _analysed_fps(self) -> float:
        """Mean rate of the frames analysed, which --every and --fps make lower."""
        times = self.info.time_s[self.indices]
        span_s = float(times[-1] - times[0])
        return (len(times) - 1) / span_s if span_s > 0 else self.info.nominal_fps

    def _score(self, batch: list[Seen]) -> list[AnnotatedFrame]:
        """Probabilities and quality for the faces of several frames at once."""
        crops = Crops.join([seen.crops for seen in batch])
        there = crops.rgb if crops.on_device is None else crops.on_device  # (m, S, S, 3)
        scores = self.annotator.predictor.probabilities(there)  # (m, K)
        faces = Faces.join([seen.faces for seen in batch])
        judged = quality.assess(crops.rgb, faces, (self.info.width_px, self.info.height_px))
        ends = np.cumsum([0, *(len(seen.faces) for seen in batch)])
        return [
            AnnotatedFrame(
                seen.frame.index,
                seen.frame.time_s,
                seen.frame.duration_s,
                seen.frame.status,
                seen.faces,
                seen.track_ids,
                judged.take(slice(first, end)),
                scores[first:end],
                seen.fresh,
            )
            for seen, (first, end) in zip(batch, pairwise(ends), strict=True)
        ]

    def kept_tracks(self) -> dict[int, int] | None:
        """For --max-faces: the ids kept, each with its new id from 0; None keeps all."""
        limit = self.annotator.options.faces.max_faces
        if limit is None or len(self.counts.tracks) <= limit:
            return None
        return {old: new for new, old in enumerate(sorted(lasting_tracks(self.stats, limit)))}

    def hashed(self, waiting: Callable[[], None] = lambda: None) -> None:
        """Waits for the video's sha256, which a slow disk may give long after the last frame.

        Args:
            waiting: Called some times a second, so that nobody takes the run for stuck.
        """
        while self._hashing.is_alive():
            self._hashing.join(_WAKE_S)
            waiting()

    def metadata(self, kept: Mapping[str, int] | None = None) -> dict[str, Any]:
        """All metadata of the finished run, JSON-ready; inside the `with` of the run.

        Args:
            kept: Counts of the rows kept, where some tracks were left out.
        """
        self._hashing.join()
        decoders, noted = self.told(0, self.info.n_frames)
        decoders = [*self._decoders, *decoders]
        warnings = [*self._warnings, *(text for _, text in [*self._noted, *noted])]
        annotator = self.annotator
        warnings += annotator.memory_warnings()
        if self.counts.corrupt:
            warnings.append(
                f"{self.counts.corrupt} of {self.counts.frames} frames are corrupt; "
                "see the column frame_status."
            )
        wall_s = self._before_s + time.perf_counter() - self.started_s
        video = sidecar.video_metadata(self.info, self._sha256)
        video["decoders"] = [
            {"from_frame": index, "name": name}
            for i, (index, name) in enumerate(decoders)
            if i == 0 or name != decoders[i - 1][1]
        ]
        counts = {"frames_expected": len(self.indices)} | self.counts.metadata()
        if kept is not None:
            counts |= kept
            counts["tracks_left_out"] = len(self.counts.tracks) - counts["tracks"]
        return self.annotator.metadata() | {
            "video": video,
            "counts": counts,
            "warnings": warnings,
            "taken_up": self.taken_up,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_s": round(wall_s, 3),
            "frames_per_s": round(self.counts.frames / max(wall_s, 1e-9), 2),
        }

    def _hash(self) -> None:
        try:
            self._sha256 = file_sha256(Path(self.info.path), self._stop.is_set)
        except OSError:
            self._warnings.append("The video could not be read again for its sha256.")
