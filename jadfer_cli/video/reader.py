"""Reads the frames of a video in order: short clips with decord, all others with PyAV.

decord reads clips whose decoded pictures take at most 64 MiB together (`_DECORD_BYTES`: 97
pictures of 640x360, 24 of 1280x720). PyAV reads everything longer, which is most videos. The
reason is memory: while decord waits for one picture, it reads and decodes packets far ahead
and keeps all pictures (400 of 1280x720, 1 GB, with a slow consumer), and no setting prevents
that, nor reading in segments (`tests/bench/decord_segments.py`). It is safe only for clips that
fit in memory completely; the decoder "decord" takes that risk at any length.

decord returns pictures in order, but does not report damage, substitutes neighbours for lost
frames, and fails inside some intact files. So PyAV decodes the same frames in lockstep
(`check_frames`): its time stamps tell which picture it is, its errors whether to trust it.
decord's picture is used as long as every frame so far was undamaged and in order; from the first
one that was not, PyAV's is used, which has been decoded already.

PyAV also reads short clips for which decord is inexact or crashes the process:

* containers without an index: decord rewinds MPEG-TS to 4 frames after the start;
* an announced number of frames far from the number of packets: decord reserves memory for them,
  and a C++ exception ends the process;
* a late --start and sparse frames: decord seeks inexactly and converts every frame to RGB.

PyAV alone costs less there: decoding and conversion take as long as with decord.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import owns_process
from jadfer_cli.records import CORRUPT, OK, REPEATED, Frame, ImageArray, ReaderNotes, VideoInfo
from jadfer_cli.video.container import file_url, open_container
from jadfer_cli.video.decode_check import CheckedFrame, check_frames, seeks

# Containers with an index, in which decord rewinds exactly to the first frame.
_DECORD_CONTAINERS = {"mp4", "mov", "matroska", "webm", "avi"}
_DECORD_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".3g2"}
# Limit for what decord may keep in memory: all pictures of the video.
_DECORD_BYTES = 64 << 20
# decord's picture is compared with PyAV's at the first frame and at every N-th.
_COMPARE_EVERY = 64
_SAME_PICTURE = 1.0  # mean difference in 8-bit steps; decoders that agree differ by 0 to 0.3


class VideoReader:
    """Returns exactly the frames requested, in ascending order, each once.

    A frame that no decoder returns is CORRUPT and has no image. A frame for which the container
    has a time but no new picture is REPEATED and has the image last shown before it, even if that
    frame was not requested; it has no image if there was none before.

    Memory does not grow with the video's length. CPU time per frame (H.264): 1.0 ms with PyAV
    alone and 1.5 ms with decord at 640x360, 3.8 and 6.1 ms at 1280x720.

    Args:
        info: The video, from `probe`.
        indices: int64 (n,), indices of shown frames, ascending, without repetition.
        threads: Threads of decord; None lets FFmpeg decide. PyAV always uses one.
        begin: Position in `indices` of the first frame to return. Its decoder, picture and status
            are the same as if all frames were returned; PyAV seeks, decord reads from the start.
        decoder: "auto"; "decord" at any length; or "pyav" alone.

    Attributes:
        decoders: (index, name) of each decoder used and the first frame it returned, e.g.
            [(0, "decord 3.4.0"), (17, "pyav 18.1.0")].
        n_corrupt: Frames returned so far with status CORRUPT.
        n_repeated: Frames returned so far with status REPEATED.
        noted: (index, sentence) for everything that went wrong so far.

    Raises:
        ValueError: The indices are not ascending or out of range.
        VideoError: While iterating, if the file can no longer be opened.
    """

    def __init__(
        self,
        info: VideoInfo,
        indices: npt.NDArray[np.int64],
        threads: int | None = None,
        begin: int = 0,
        decoder: str = "auto",
    ) -> None:
        if len(indices) and (
            indices[0] < 0 or indices[-1] >= info.n_frames or (np.diff(indices) <= 0).any()
        ):
            raise ValueError(f"indices must ascend within 0 to {info.n_frames - 1}")
        self._info = info
        self._indices = indices
        self._threads = threads
        self._begin = begin
        self._decoder = decoder
        self._decord: Any = None
        self._frames: Iterator[Frame] | None = None
        # The last frame with a picture, requested or not, and its RGB image once needed.
        self._shown: CheckedFrame | None = None
        self._image: ImageArray | None = None
        self._image_by = ""
        self.decoders: list[tuple[int, str]] = []
        self.n_corrupt = 0
        self.n_repeated = 0
        self.noted: list[tuple[int, str]] = []
        self._n_sent = 0, 0  # how many of `decoders` and `noted` frames have carried

    @property
    def warnings(self) -> list[str]:
        """What went wrong so far, in one sentence each."""
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
        """Frees the decoders; the attributes remain."""
        if self._frames is not None:
            self._frames.close()  # type: ignore[attr-defined]  # a generator
        self._frames = self._decord = self._shown = self._image = None

    def __iter__(self) -> Iterator[Frame]:
        """Iterates over the frames requested; a second call starts over."""
        self.close()
        self.decoders, self.noted, self.n_corrupt, self.n_repeated = [], [], 0, 0
        self._n_sent = 0, 0
        self._frames = self._read()
        return self._frames

    def _read(self) -> Iterator[Frame]:
        """Yields those of the checked frames that are wanted, each with its picture."""
        if self._begin >= len(self._indices):
            return
        first, last = int(self._indices[0]), int(self._indices[-1])
        wanted = iter(self._indices[self._begin :].tolist())
        index = next(wanted)
        if self._suits_decord(first, last):
            self._decord = _open_decord(self._info.path, self._threads or 0)
            if self._decord is None:
                self.noted.append((first, "decord cannot open the file; PyAV decodes it."))
        elif self._decoder == "decord":
            self.noted.append((first, "decord does not read this file exactly; PyAV decodes it."))
        if self._decord is None:
            first = index
        with _ahead(check_frames(self._info, first, last)) as checked_frames:
            for checked in checked_frames:
                decord_image = self._from_decord(checked)
                if checked.picture is not None:
                    self._shown, self._image = checked, decord_image
                    self._image_by = "pyav" if decord_image is None else "decord"
                if checked.index != index:
                    continue
                yield self._frame(checked)
                index = next(wanted, -1)

    def _suits_decord(self, first: int, last: int) -> bool:
        """Returns True if decord is exact for this file and not slower than PyAV alone."""
        info = self._info
        if self._decoder == "pyav":
            return False
        dense = 2 * len(self._indices) > last
        indexed = bool(_DECORD_CONTAINERS & set(info.container.split(",")))
        n_bytes = 3 * info.width_px * info.height_px * info.n_packets
        if (
            not (dense and indexed and self._safe_for_decord())
            or (n_bytes > _DECORD_BYTES and self._decoder == "auto")
            or seeks(info, first)
        ):
            return False
        with open_container(info.path) as (container, stream):
            # decord reads FFmpeg's best stream, which may be a cover picture.
            best = container.streams.best("video")
            if best is None or best.index != stream.index:
                return False
            # decord reserves memory for the number of frames announced, or duration x rate.
            seconds = (container.duration or 0) / 1e6
            announced = stream.frames or seconds * float(stream.average_rate or 0)
            return bool(0 <= announced <= 4 * info.n_packets + 1000)

    def _safe_for_decord(self) -> bool:
        """Returns True if decord's FFmpeg takes the file for what it is, and turns it likewise.

        decord cannot be told the format, and FFmpeg guesses pictures by name: "img%d.jpg".
        """
        suffix = os.path.splitext(self._info.path)[1].lower()
        return suffix in _DECORD_SUFFIXES and not self._info.rotation_overridden

    def _from_decord(self, checked: CheckedFrame) -> ImageArray | None:
        """Returns decord's picture of this frame; None once it is out of step with PyAV."""
        if self._decord is None:
            return None
        if checked.status != OK:
            what = "repeats a picture" if checked.status == REPEATED else "is damaged"
            self._drop_decord(checked.index, f"the frame {what}")
            return None
        try:
            image: ImageArray = self._decord.next().asnumpy()
        except Exception as error:  # DECORDError, its children, StopIteration at a short end
            self._drop_decord(checked.index, f"it returned no picture ({type(error).__name__})")
            return None
        shape = (self._info.height_px, self._info.width_px, 3)
        if image.shape != shape or (
            checked.index % _COMPARE_EVERY == 0 and not _same(image, self._convert(checked))
        ):
            self._drop_decord(checked.index, "its picture differs from PyAV's")
            return None
        return image

    def _drop_decord(self, index: int, why: str) -> None:
        """Switches to PyAV for good: decord does not tell which frame it returns next."""
        self._decord = None
        self.noted.append((index, f"PyAV took over from decord at frame {index}: {why}."))

    def _frame(self, checked: CheckedFrame) -> Frame:
        """Makes the record of one wanted frame, and counts and attributes it."""
        status, image = checked.status, None
        if checked.picture is not None or status == REPEATED:
            image = self._shown_image()
        if image is not None:
            self._attribute(checked.index, self._image_by)
        elif status == OK:
            status = CORRUPT  # PyAV cannot convert what it decoded
        self.n_corrupt += status == CORRUPT
        self.n_repeated += status == REPEATED
        return Frame(
            checked.index,
            float(self._info.time_s[checked.index]),
            float(self._info.duration_s[checked.index]),
            status,
            image,
            self._new_notes(),
        )

    def _new_notes(self) -> ReaderNotes:
        """Returns what was noted since the previous frame, without notes from before `begin`."""
        decoders = self.decoders[self._n_sent[0] :]
        warnings = self.noted[self._n_sent[1] :]
        self._n_sent = len(self.decoders), len(self.noted)
        # frames before `begin` are decoded again, but the run that analysed them stored the notes
        since = int(self._indices[self._begin]) if self._begin else 0
        return ReaderNotes(
            tuple(note for note in decoders if note[0] >= since),
            tuple(note for note in warnings if note[0] >= since),
        )

    def _shown_image(self) -> ImageArray | None:
        """Returns the last picture shown; converts it once, when first requested."""
        if self._image is None and self._shown is not None:
            self._image = self._convert(self._shown)
            if self._image is None:
                self._shown = None  # so that frames that repeat it do not warn again
        return self._image

    def _attribute(self, index: int, decoder: str) -> None:
        """Notes from which frame on a decoder returns the pictures."""
        if not self.decoders or not self.decoders[-1][1].startswith(decoder):
            self.decoders.append((index, f"{decoder} {_version(decoder)}"))

    def _convert(self, checked: CheckedFrame) -> ImageArray | None:
        """Returns PyAV's picture as displayed, or None if it cannot be converted."""
        width, height = self._info.width_px, self._info.height_px
        if self._info.rotation_deg in (90, 270):
            width, height = height, width
        try:
            stored = checked.picture.to_ndarray(format="rgb24", width=width, height=height)
        except Exception:  # damaged stream: a pixel format that swscale refuses
            text = f"Frame {checked.index} cannot be converted to RGB."
            self.noted.append((checked.index, text))
            return None
        # NumPy rotates counterclockwise
        turned = np.rot90(stored, -self._info.rotation_deg // 90)
        image: ImageArray = np.ascontiguousarray(turned)
        return image


def _same(image: ImageArray, other: ImageArray | None) -> bool:
    """Returns True if two pictures are the same except for rounding."""
    if other is None or image.shape != other.shape:
        return False
    return float(np.abs(image.astype(np.int16) - other).mean()) <= _SAME_PICTURE


def _open_decord(path: str, threads: int) -> Any:
    """Opens a decord reader at the first frame; returns None if it refuses the file."""
    if not owns_process():
        import torch  # noqa: F401  # before decord, or the two may clash over shared libraries
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # With any tolerance above zero decord raises instead of substituting a neighbour.
        return decord.VideoReader(file_url(path), num_threads=threads, fault_tol=1e-9)
    except Exception:  # DECORDError, RuntimeError, AssertionError, UnicodeEncodeError
        return None


def _version(decoder: str) -> str:
    """Returns the installed version of a decoder."""
    if decoder == "decord":
        import decord

        return str(decord.__version__)
    import av

    return str(av.__version__)


@contextmanager
def _ahead(checked_frames: Iterator[CheckedFrame]) -> Iterator[Iterator[CheckedFrame]]:
    """Decodes and checks one frame ahead in a separate thread, while decord decodes in its own."""
    with ThreadPoolExecutor(1, "jadfer-decode") as pool:
        pending = pool.submit(next, checked_frames, None)

        def step() -> Iterator[CheckedFrame]:
            nonlocal pending
            while (checked := pending.result()) is not None:
                pending = pool.submit(next, checked_frames, None)
                yield checked

        try:
            yield step()
        finally:
            pending.exception()  # wait, because a running generator cannot be closed
            checked_frames.close()  # type: ignore[attr-defined]
