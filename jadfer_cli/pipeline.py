"""The whole flow of one video: frames, faces, tracks, crops, probabilities, rows, Parquet."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from jadfer_cli.common import file_sha256
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.faces import align, quality
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.follow import follow
from jadfer_cli.faces.track import FaceTracker, TrackStats, lasting_tracks, preload
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.records import (
    CORRUPT,
    REPEATED,
    AnnotatedFrame,
    Faces,
    Frame,
    ImageArray,
    IntArray,
    VideoInfo,
)
from jadfer_cli.results import sidecar
from jadfer_cli.runtime import Runtime, settle
from jadfer_cli.stages import Stages
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe, select

# Between looks at the whole frame on a CPU; a GPU looks at every frame in about the same time.
_REDETECT_S = 0.3
# Frames scored together at most, so that a video without faces is also written bit by bit.
_MAX_FRAMES_A_BATCH = 128
# How far one stage may be ahead of the next: pictures, their bytes, and scored batches.
_FRAMES_AHEAD = 16
_BYTES_AHEAD = 64 << 20
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Progress:
    """How far one video is.

    Attributes:
        stage: "annotating" or "checking".
        frames: Frames in which faces were looked for; some of them are still to be scored.
        frames_total: Frames to do.
        faces: Faces found so far.
    """

    stage: str
    frames: int
    frames_total: int
    faces: int


@dataclass
class Counts:
    """What was found so far in one video."""

    frames: int = 0
    corrupt: int = 0
    repeated: int = 0
    without_face: int = 0
    faces: int = 0
    usable: int = 0
    tracks: set[int] = field(default_factory=set)

    def add(self, frames: Iterable[AnnotatedFrame]) -> None:
        """Counts some more frames."""
        for frame in frames:
            self.frames += 1
            self.corrupt += frame.status == CORRUPT
            self.repeated += frame.status == REPEATED
            self.without_face += not len(frame.faces)
            self.faces += len(frame.faces)
            self.usable += int(frame.quality.usable.sum())
            self.tracks.update(frame.track_ids.tolist())

    def metadata(self) -> dict[str, int]:
        """The counts under the names of the metadata."""
        return {
            "frames_analysed": self.frames,
            "frames_corrupt": self.corrupt,
            "frames_repeated": self.repeated,
            "frames_without_face": self.without_face,
            "faces": self.faces,
            "faces_usable": self.usable,
            "tracks": len(self.tracks),
            "tracks_left_out": 0,
        }


class Tracked(NamedTuple):
    """One frame with its faces and who they are."""

    frame: Frame
    faces: Faces
    track_ids: IntArray


@dataclass(frozen=True)
class Seen:
    """One frame between looking and scoring."""

    frame: Frame  # without its picture
    faces: Faces
    track_ids: IntArray
    crops_rgb: ImageArray  # (n, S, S, 3)


class Annotator:
    """The networks, loaded once, for any number of videos.

    Args:
        options: All options; the defaults are those of the command line.

    Attributes:
        runtime: Device, precision and threads in use.
        labels: The model's labels, in the order of its probabilities.
        redetect_s: Longest time between looks at the whole frame; 0 for each.
        warnings: What the user should know about this set-up.

    Raises:
        DeviceError: The device or precision is not to be had here.
        ModelError: Weights or detector are missing or damaged.
    """

    def __init__(self, options: AnnotateOptions | None = None) -> None:
        self.options = options or AnnotateOptions()
        preload()
        self.runtime: Runtime = settle(self.options.model)
        self.model = checkpoint.load(self.options.model.model)
        self.labels = self.model.labels
        self.predictor = Predictor(self.model, self.runtime, self.options.model.batch_size)
        self.detector = load_detector(self.options.faces, self.runtime.threads, self.runtime.device)
        asked_s = self.options.faces.redetect_s
        on_gpu = self.runtime.device != "cpu"
        self.redetect_s = (0.0 if on_gpu else _REDETECT_S) if asked_s is None else asked_s
        self.warnings: list[str] = []
        if self.model.entry.preview:
            self.warnings.append(
                f"The model {self.model.entry.name} is a preview, trained briefly; "
                "do not publish its scores."
            )

    def open(self, video: str | os.PathLike[str] | VideoInfo) -> Run:
        """Prepares the annotation of a video.

        Args:
            video: Its path, or what `probe` said of it.

        Raises:
            VideoError: It cannot be read, or no frame is left to analyse.
        """
        info = video if isinstance(video, VideoInfo) else probe(os.fspath(video))
        return Run(self, info, select(info, self.options.video))

    def metadata(self) -> dict[str, Any]:
        """What ran, JSON-ready; the same for every video."""
        model = {
            "name": self.model.entry.name,
            "sha256": self.model.sha256,
            "preview": self.model.entry.preview,
            "terms": self.model.entry.terms,
            "temperature": self.model.temperature,
            "metrics": self.model.metrics,
        }
        found = sidecar.run_metadata(
            self.options, self.runtime, self.detector.info, model, self.labels
        )
        return found | {"redetect_s": self.redetect_s}


class Run:
    """One video on its way through the stages.

    Use as a context manager: the video's sha256 is computed beside the work.

    Args:
        annotator: The networks.
        info: The video's timeline.
        indices: The frames analysed, ascending.
    """

    def __init__(self, annotator: Annotator, info: VideoInfo, indices: Any) -> None:
        self.annotator, self.info, self.indices = annotator, info, indices
        self.counts = Counts()
        self.stats = TrackStats()
        options = annotator.options
        name = Path(info.path).name if options.relative_paths else info.path
        self.video = sidecar.printable(name)
        self.started_s = time.perf_counter()
        self._decoders: list[tuple[int, str]] = []
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

    def frames(
        self, progress: Callable[[Progress], None] | None = None
    ) -> Generator[list[AnnotatedFrame], None, None]:
        """Annotates the video, some frames at a time; call once.

        Reading, finding and scoring run at the same time, in threads of their own, which end
        with the generator.

        Args:
            progress: Called some times a second, in the caller's thread.

        Yields:
            Consecutive frames; every analysed frame comes exactly once.
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
            VideoReader(self.info, self.indices, threads=self.annotator.runtime.threads) as reader,
            Stages() as stages,
        ):
            pictures = stages.ahead(reader, kept, "read")
            found = stages.ahead(self.find(pictures), kept, "find")
            scored = stages.ahead(
                self.score(self.crop(self.track(found))), _BATCHES_AHEAD, "score", report
            )
            for frames in scored:
                self.counts.add(frames)
                yield frames
            report()
            self._decoders = reader.decoders
            self._warnings += reader.warnings

    def find(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Faces]]:
        """Detection: the faces of every frame, in order."""
        annotator = self.annotator
        for found in follow(frames, annotator.detector, annotator.redetect_s):
            self._found += 1
            self._faces_found += len(found[1])
            yield found

    def track(self, found: Iterable[tuple[Frame, Faces]]) -> Iterator[Tracked]:
        """Who is who, frame by frame, in order; the faces sorted by track id."""
        tracker = FaceTracker(self.annotator.options.faces, self._analysed_fps())
        for frame, faces in found:
            ids = tracker.update(faces, frame.time_s)
            order = np.argsort(ids)
            yield Tracked(frame, faces.take(order), ids[order])

    def crop(self, tracked: Iterable[Tracked]) -> Iterator[Seen]:
        """Aligned crops."""
        for frame, faces, ids in tracked:
            image = frame.image_rgb
            if image is None:
                image = np.zeros((1, 1, 3), np.uint8)
            crops = align.crop(image, faces.landmarks_px, self.annotator.predictor.crop_px)
            self.stats.add(ids, faces.boxes_px, frame.duration_s)
            bare = Frame(frame.index, frame.time_s, frame.duration_s, frame.status, None)
            yield Seen(bare, faces, ids, crops)

    def score(self, seen: Iterable[Seen]) -> Iterator[list[AnnotatedFrame]]:
        """Probabilities and quality, for the faces of several frames at once."""
        batch: list[Seen] = []
        faces = 0
        for one in seen:
            batch.append(one)
            faces += len(one.faces)
            full = faces >= self.annotator.options.model.batch_size
            if full or len(batch) >= _MAX_FRAMES_A_BATCH:
                yield self._score(batch)
                batch, faces = [], 0
        if batch:
            yield self._score(batch)

    def _frame_bytes(self) -> int:
        return 3 * self.info.width_px * self.info.height_px

    def _analysed_fps(self) -> float:
        """Mean rate of the frames analysed, which --every and --fps make lower."""
        times = self.info.time_s[self.indices]
        span_s = float(times[-1] - times[0])
        return (len(times) - 1) / span_s if span_s > 0 else self.info.nominal_fps

    def _score(self, batch: list[Seen]) -> list[AnnotatedFrame]:
        """Probabilities and quality for the faces of several frames at once."""
        crops = np.concatenate([seen.crops_rgb for seen in batch])  # (m, S, S, 3)
        scores = self.annotator.predictor.probabilities(crops)  # (m, K)
        faces = Faces.join([seen.faces for seen in batch])
        judged = quality.assess(crops, faces, (self.info.width_px, self.info.height_px))
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
            )
            for seen, (first, end) in zip(batch, pairwise(ends), strict=True)
        ]

    def kept_tracks(self) -> dict[int, int] | None:
        """For --max-faces: the ids kept, each with its new id from 0; None keeps all."""
        limit = self.annotator.options.faces.max_faces
        if limit is None or len(self.counts.tracks) <= limit:
            return None
        return {old: new for new, old in enumerate(sorted(lasting_tracks(self.stats, limit)))}

    def metadata(self, kept: Mapping[str, int] | None = None) -> dict[str, Any]:
        """All metadata of the finished run, JSON-ready; inside the `with` of the run.

        Args:
            kept: Counts of the rows kept, where some tracks were left out.
        """
        self._hashing.join()
        warnings = list(self._warnings)
        if self.counts.corrupt:
            warnings.append(
                f"{self.counts.corrupt} of {self.counts.frames} frames are corrupt; "
                "see the column frame_status."
            )
        wall_s = time.perf_counter() - self.started_s
        video = sidecar.video_metadata(self.info, self._sha256)
        video["decoders"] = [{"from_frame": first, "name": name} for first, name in self._decoders]
        counts = {"frames_expected": len(self.indices)} | self.counts.metadata()
        if kept is not None:
            counts |= kept
            counts["tracks_left_out"] = len(self.counts.tracks) - counts["tracks"]
        return self.annotator.metadata() | {
            "video": video,
            "counts": counts,
            "warnings": warnings,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_s": round(wall_s, 3),
            "frames_per_s": round(self.counts.frames / max(wall_s, 1e-9), 2),
        }

    def _hash(self) -> None:
        try:
            self._sha256 = file_sha256(Path(self.info.path), self._stop.is_set)
        except OSError:
            self._warnings.append("The video could not be read again for its sha256.")
