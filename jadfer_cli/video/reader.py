"""The pictures of a video, one by one: short clips by decord, all others by PyAV.

decord reads a clip whose decoded pictures take at most 64 MiB together (`_DECORD_BYTES`:
97 pictures of 640x360, 24 of 1280x720); PyAV reads everything longer, so most videos.
The reason is memory: while decord waits for one picture it reads packets without limit,
decodes them all and keeps them (400 pictures of 1280x720, 1 GB, on a slow reader), and has
no setting against it. Only a clip that fits in memory as a whole is safe with it.

decord gives pictures in order but says nothing of damage, puts neighbours in the place of
lost frames, and fails inside some intact files. So PyAV decodes the same frames in
lockstep (`audit`): its stamps say which picture it is, its errors whether to trust it.
decord's picture is taken as long as every frame so far came out undamaged and in order;
from the first that did not, PyAV's, which is decoded already.

Short clips that PyAV reads too, because decord is inexact or crashes the process:

* containers without an index: it rewinds MPEG-TS to 4 frames after the start;
* an announced number of frames far from the packets there are: it reserves memory for them,
  and the C++ exception ends the process;
* a late --start and sparse frames: its seeks are inexact, and it converts every frame to RGB.

PyAV alone reads those, at less cost: decode and conversion take what decord takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import own_process
from jadfer_cli.records import CORRUPT, OK, REPEATED, Frame, ImageArray, ReaderNotes, VideoInfo
from jadfer_cli.video.container import file_url, open_container
from jadfer_cli.video.decode_check import Judged, audit, seeks

# Containers with an index, in which decord's rewind to the first frame is exact.
_DECORD_CONTAINERS = {"mp4", "mov", "matroska", "webm", "avi"}
# The most that decord can keep: all pictures of the video.
_DECORD_BYTES = 64 << 20
# decord's picture is compared with PyAV's at the first and then at each of so many frames.
_COMPARE_EVERY = 64
_SAME_PICTURE = 1.0  # mean difference in 8-bit steps; equal decoders give 0 to 0.3


class VideoReader:
    """Gives exactly the frames asked for, in ascending order, each once.

    A frame that no decoder gives has no image and is CORRUPT. One for which the container
    has a time but no new picture is REPEATED and has the last image shown before it, whether
    that frame was asked for or not; none where no picture came before it.

    Memory does not grow with the video's length. Core time a frame (H.264): 1.0 ms by PyAV
    alone and 1.5 ms with decord at 640x360, 3.8 and 6.1 ms at 1280x720.

    Args:
        info: The video, from `probe`.
        indices: int64 (n,), indices of shown frames, ascending, without repetition.
        threads: Threads for decord; None leaves it to FFmpeg. PyAV always uses one.
        begin: Position in `indices` of the first frame to give. Decoder, pictures and states are
            those that the frames have where all are given; PyAV seeks, decord reads from the
            start.

    Attributes:
        decoders: (index, name) for each decoder that gave pictures and the first frame it
            gave, e.g. [(0, "decord 3.4.0"), (17, "pyav 18.1.0")].
        n_corrupt: Frames given so far with status CORRUPT.
        n_repeated: Frames given so far with status REPEATED.
        noted: What went wrong so far: index of the frame and a sentence each.

    Raises:
        ValueError: The indices are not ascending or out of range.
        VideoError: While iterating: the file cannot be opened any more.
    """

    def __init__(
        self,
        info: VideoInfo,
        indices: npt.NDArray[np.int64],
        threads: int | None = None,
        begin: int = 0,
    ) -> None:
        if len(indices) and (
            indices[0] < 0 or indices[-1] >= info.n_frames or (np.diff(indices) <= 0).any()
        ):
            raise ValueError(f"indices must ascend within 0 to {info.n_frames - 1}")
        self._info = info
        self._indices = indices
        self._threads = threads
        self._begin = begin
        self._decord: Any = None
        self._frames: Iterator[Frame] | None = None
        # The last frame with a picture, wanted or not, and its RGB image once it is needed.
        self._shown: Judged | None = None
        self._image: ImageArray | None = None
        self._image_by = ""
        self.decoders: list[tuple[int, str]] = []
        self.n_corrupt = 0
        self.n_repeated = 0
        self.noted: list[tuple[int, str]] = []
        self._n_sent = 0, 0  # how many of `decoders` and `noted` frames have carried

    @property
    def warnings(self) -> list[str]:
        """What went wrong so far, one sentence each."""
        return [text for _, text in self.noted]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the decoders; the attributes stay."""
        if self._frames is not None:
            self._frames.close()  # type: ignore[attr-defined]  # a generator
        self._frames = self._decord = self._shown = self._image = None

    def __iter__(self) -> Iterator[Frame]:
        """The frames asked for, from the first; a second call starts over."""
        self.close()
        self.decoders, self.noted, self.n_corrupt, self.n_repeated = [], [], 0, 0
        self._n_sent = 0, 0
        self._frames = self._read()
        return self._frames

    def _read(self) -> Iterator[Frame]:
        """Go through the audited frames and give those wanted, each with its picture."""
        if self._begin >= len(self._indices):
            return
        first, last = int(self._indices[0]), int(self._indices[-1])
        wanted = iter(self._indices[self._begin :].tolist())
        index = next(wanted)
        if self._suits_decord(first, last):
            self._decord = _open_decord(self._info.path, self._threads or 0)
            if self._decord is None:
                self.noted.append((first, "decord cannot open the file; PyAV decodes it."))
        if self._decord is None:
            first = index
        with _ahead(audit(self._info, first, last)) as judged_frames:
            for judged in judged_frames:
                decord_image = self._from_decord(judged)
                if judged.picture is not None:
                    self._shown, self._image = judged, decord_image
                    self._image_by = "pyav" if decord_image is None else "decord"
                if judged.index != index:
                    continue
                yield self._frame(judged)
                index = next(wanted, -1)

    def _suits_decord(self, first: int, last: int) -> bool:
        """Whether decord is exact for this file and not slower than PyAV alone."""
        info = self._info
        dense = 2 * len(self._indices) > last
        indexed = bool(_DECORD_CONTAINERS & set(info.container.split(",")))
        n_bytes = 3 * info.width_px * info.height_px * info.n_packets
        if not (dense and indexed) or n_bytes > _DECORD_BYTES or seeks(info, first):
            return False
        with open_container(info.path) as (container, stream):
            # decord takes FFmpeg's best stream, which may be a cover picture.
            best = container.streams.best("video")
            if best is None or best.index != stream.index:
                return False
            # decord reserves memory for the frames announced, or for duration x rate.
            seconds = (container.duration or 0) / 1e6
            announced = stream.frames or seconds * float(stream.average_rate or 0)
            return bool(0 <= announced <= 4 * info.n_packets + 1000)

    def _from_decord(self, judged: Judged) -> ImageArray | None:
        """The picture of this frame by decord; None once it is no longer in step with PyAV."""
        if self._decord is None:
            return None
        if judged.status != OK:
            what = "repeats a picture" if judged.status == REPEATED else "is damaged"
            self._drop_decord(judged.index, f"the frame {what}")
            return None
        try:
            image: ImageArray = self._decord.next().asnumpy()
        except Exception as error:  # DECORDError, its children, StopIteration at a short end
            self._drop_decord(judged.index, f"it gave no picture ({type(error).__name__})")
            return None
        shape = (self._info.height_px, self._info.width_px, 3)
        if image.shape != shape or (
            judged.index % _COMPARE_EVERY == 0 and not _same(image, self._convert(judged))
        ):
            self._drop_decord(judged.index, "its picture differs from PyAV's")
            return None
        return image

    def _drop_decord(self, index: int, why: str) -> None:
        """Let PyAV take over, for good: decord does not tell which frame it gives next."""
        self._decord = None
        self.noted.append((index, f"PyAV took over from decord at frame {index}: {why}."))

    def _frame(self, judged: Judged) -> Frame:
        """The record of one wanted frame, counted and attributed."""
        status, image = judged.status, None
        if judged.picture is not None or status == REPEATED:
            image = self._shown_image()
        if image is not None:
            self._attribute(judged.index, self._image_by)
        elif status == OK:
            status = CORRUPT  # PyAV cannot convert what it decoded
        self.n_corrupt += status == CORRUPT
        self.n_repeated += status == REPEATED
        return Frame(
            judged.index,
            float(self._info.time_s[judged.index]),
            float(self._info.duration_s[judged.index]),
            status,
            image,
            self._new_notes(),
        )

    def _new_notes(self) -> ReaderNotes:
        """What was noted since the previous frame, less what precedes `begin`."""
        decoders = self.decoders[self._n_sent[0] :]
        warnings = self.noted[self._n_sent[1] :]
        self._n_sent = len(self.decoders), len(self.noted)
        # frames before `begin` may be decoded again; the run that analysed them stored their notes
        since = int(self._indices[self._begin]) if self._begin else 0
        return ReaderNotes(
            tuple(note for note in decoders if note[0] >= since),
            tuple(note for note in warnings if note[0] >= since),
        )

    def _shown_image(self) -> ImageArray | None:
        """The last picture shown, converted when first asked for, and once."""
        if self._image is None and self._shown is not None:
            self._image = self._convert(self._shown)
            if self._image is None:
                self._shown = None  # the frames that repeat it shall not warn again
        return self._image

    def _attribute(self, index: int, decoder: str) -> None:
        """Note from which frame on a decoder gives the pictures."""
        if not self.decoders or not self.decoders[-1][1].startswith(decoder):
            self.decoders.append((index, f"{decoder} {_version(decoder)}"))

    def _convert(self, judged: Judged) -> ImageArray | None:
        """PyAV's picture as displayed, or None where it cannot be converted."""
        width, height = self._info.width_px, self._info.height_px
        if self._info.rotation_deg in (90, 270):
            width, height = height, width
        try:
            stored = judged.picture.to_ndarray(format="rgb24", width=width, height=height)
        except Exception:  # a picture of a damaged stream, in a format that swscale refuses
            text = f"Frame {judged.index} cannot be converted to RGB."
            self.noted.append((judged.index, text))
            return None
        # numpy turns counterclockwise
        turned = np.rot90(stored, -self._info.rotation_deg // 90)
        image: ImageArray = np.ascontiguousarray(turned)
        return image


def _same(image: ImageArray, other: ImageArray | None) -> bool:
    """Whether two pictures are the same but for rounding."""
    if other is None or image.shape != other.shape:
        return False
    return float(np.abs(image.astype(np.int16) - other).mean()) <= _SAME_PICTURE


def _open_decord(path: str, threads: int) -> Any:
    """A decord reader at the first frame, or None where it refuses the file."""
    if not own_process():
        import torch  # noqa: F401  # before decord, or the two may clash over shared libraries
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # Any share above zero makes decord raise where it would put a neighbour in.
        return decord.VideoReader(file_url(path), num_threads=threads, fault_tol=1e-9)
    except Exception:  # DECORDError, RuntimeError, AssertionError, UnicodeEncodeError
        return None


def _version(decoder: str) -> str:
    """The installed version of a decoder."""
    if decoder == "decord":
        import decord

        return str(decord.__version__)
    import av

    return str(av.__version__)


@contextmanager
def _ahead(judged_frames: Iterator[Judged]) -> Iterator[Iterator[Judged]]:
    """Audit one frame ahead in a thread of its own, while decord decodes in its own."""
    with ThreadPoolExecutor(1, "jadfer-audit") as pool:
        pending = pool.submit(next, judged_frames, None)

        def step() -> Iterator[Judged]:
            nonlocal pending
            while (judged := pending.result()) is not None:
                pending = pool.submit(next, judged_frames, None)
                yield judged

        try:
            yield step()
        finally:
            pending.exception()  # wait: a generator must not be closed while it runs
            judged_frames.close()  # type: ignore[attr-defined]
