"""How one video becomes rows: all steps of the pipeline, in order."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol, TypeVar

from jadfer_cli.faces.follow import follow
from jadfer_cli.pipeline.networks import Networks
from jadfer_cli.pipeline.progress import OnProgress, ProgressMeter, ignore
from jadfer_cli.pipeline.source import Source
from jadfer_cli.pipeline.state import RunState
from jadfer_cli.pipeline.steps import act, crop, in_batches, score, track
from jadfer_cli.pipeline.threads import Stages
from jadfer_cli.records import AnnotatedFrame

# How far one stage may run ahead of the next: pictures and their bytes, then batches.
_FRAMES_AHEAD, _BYTES_AHEAD = 16, 64 << 20
_UNSCORED_AHEAD, _SCORED_AHEAD = 1, 2

T_co = TypeVar("T_co", covariant=True)


class Output(Protocol[T_co]):
    """Where the rows go: a file (`results.sink`) or a table in memory (`tables`)."""

    def write(self, frames: Sequence[AnnotatedFrame]) -> T_co:
        """Adds frames, in ascending order."""


def annotate_video(
    source: Source,
    networks: Networks,
    output: Output[T_co],
    state: RunState,
    on_progress: OnProgress = ignore,
) -> Generator[T_co, None, None]:
    """Annotates one video: read, find, track, crop, score, write.

    Each stage maps a stream of frames to the next one. Reading, finding, cropping and scoring
    run at the same time, each in a thread with a bounded queue; all end with the generator.

    Args:
        source: The video, and which of its frames are analysed.
        networks: Detector and expression network.
        output: Where the rows go.
        state: Where the run begins; accumulates what it finds.
        on_progress: Called several times per second, in the caller's thread.

    Yields:
        What `output.write` returned, once per batch of consecutive frames. Every analysed frame
        from `state.begin` on is written exactly once.
    """
    options, runtime, predictor = networks.options.faces, networks.runtime, networks.predictor
    meter = ProgressMeter(on_progress, source.n_frames, state.begin, state.counts.faces)
    frame_bytes = 3 * source.info.width_px * source.info.height_px
    ahead = max(2, min(_FRAMES_AHEAD, _BYTES_AHEAD // max(frame_bytes, 1)))
    with source.read(runtime.threads, state.begin) as decoded, Stages() as stages:
        meter.report()
        # 1. Read: pictures with their times, their status and the notes of the reader.
        frames = stages.ahead(decoded, ahead, "read")
        # 2. Find: faces with landmarks; on a GPU, their crops as well.
        found = follow(
            frames, networks.detector, networks.redetect_s, networks.device_crop_px,
            networks.motion(),
        )  # fmt: skip
        found = stages.ahead(meter.count(found), ahead, "find")
        # 3. Track: assign each face to a track.
        tracked = track(found, source, options, state)
        # 4. Act: on request, the actions of each face, by a mesh in its picture.
        acted = act(tracked, networks.actions)
        # 5. Crop: faces aligned to a common size; the pictures are no longer needed. A complete
        #    batch waits in the queue, so that finding continues while another is scored.
        cropped = in_batches(crop(acted, predictor.crop_px), runtime.batch_size)
        batches = stages.ahead(cropped, _UNSCORED_AHEAD, "crop")
        # 6. Score: expression probabilities and the quality of each face.
        scored = score(batches, predictor, source.size_px)
        # 7. Write: rows to the file or table.
        for annotated in stages.ahead(scored, _SCORED_AHEAD, "score", meter.report):
            state.add(annotated)
            yield output.write(annotated)
        meter.report()
