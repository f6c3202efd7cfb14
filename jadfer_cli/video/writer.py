"""Write a video with new pictures at the source's times, and with the source's sound.

H.264 in 4:2:0, which every player supports. The time stamps are those of the source, so variable
frame rates are kept and sound stays in sync. Whichever of pictures and sound begins first, begins
at time 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from jadfer_cli.errors import OutputError
from jadfer_cli.records import ImageArray, VideoInfo
from jadfer_cli.video.container import file_url, open_container

ENDINGS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
# Audio codecs that players support in these containers; all others are converted to AAC.
_COPIED = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "opus", "alac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"},
    "matroska": {"aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "pcm_s16le", "mp2", "dts"},
}
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_BT709 = 1  # matrix coefficients, as numbered in H.273
_TICK_DIVISOR = 100  # makes ticks finer if two frames have the same time stamp


class VideoWriter:
    """Writes the frames of one video, in order, with the sound of that video.

    Odd widths and heights grow by one pixel at the right or bottom, because 4:2:0 requires even
    ones. Data streams and subtitles are dropped: cameras store locations in them.

    Args:
        info: The source, from `probe`.
        part: Temporary file to write.
        ending: Extension of the final file, e.g. ".mp4".
        crf: Quality of the pictures, from 0 (lossless) to 51 (worst).
        metadata: Keep the source's title, date, location and so on.

    Attributes:
        notes: One sentence for everything that could not be kept as it was.

    Raises:
        VideoError: The source cannot be opened any more.
        OutputError: The encoder refuses the pictures.
    """

    def __init__(
        self, info: VideoInfo, part: Path, ending: str, *, crf: int, metadata: bool
    ) -> None:
        self._info, self._part, self._kind = info, part, ENDINGS[ending]
        self._crf, self._metadata = crf, metadata
        self.notes: list[str] = []
        if info.width_px % 2 or info.height_px % 2:
            self.notes.append(
                f"{info.width_px}x{info.height_px} became "
                f"{_even(info.width_px)}x{_even(info.height_px)}: H.264 needs even sides."
            )
        tick = Fraction(info.time_base_s).limit_denominator(10_000_000)
        pts = info.pts.astype(np.int64)
        if (np.diff(pts) <= 0).any():
            tick, pts = tick / _TICK_DIVISOR, pts * _TICK_DIVISOR
            # Keep them at least one (finer) tick apart: subtract a slope of one tick per frame,
            # take the running maximum, and add the slope again.
            slope = np.arange(len(pts))
            pts = np.maximum.accumulate(pts - slope) + slope
        self._tick, self._pts = tick, pts
        self._durations: dict[int, int] = {}  # of frames inside the encoder, by time stamp

    def __enter__(self) -> Self:
        import av

        self._source_opened = open_container(self._info.path)
        self._source, video = self._source_opened.__enter__()
        try:
            # Edit lists count in movie ticks; the default of one millisecond would shift the sound.
            mp4_options = {"movflags": "+faststart", "movie_timescale": "90000"}
            options = {} if self._kind == "matroska" else mp4_options
            self._out = av.open(file_url(str(self._part)), "w", format=self._kind, options=options)
            if self._metadata:
                self._out.metadata.update(self._source.metadata)
            self._stream = self._add_video(video)
            self._sounds = {
                s.index: _Sound(s, self._out, self._kind, self.notes, language=self._metadata)
                for s in self._source.streams.audio
                if s.codec_context is not None
            }
            self._start_s = self._earliest()
            self._packets = self._sound_packets()
            self._waiting: Any = next(self._packets, None)
        except BaseException:
            self._source_opened.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import av

        try:
            if kind is None:
                self._mux_pictures(self._stream.encode(None))
                self._mux_sound(np.inf)
                for sound in self._sounds.values():
                    sound.finish()
        except av.error.FFmpegError as failed:
            raise _unwritable(self._part, failed) from failed
        finally:
            self._source_opened.__exit__(None, None, None)
            if kind is None:
                self._close()
            else:  # the file will be deleted, so an error here does not matter
                with contextlib.suppress(Exception):
                    self._out.close()

    def _close(self) -> None:
        import av

        try:
            self._out.close()
        except av.error.FFmpegError as failed:
            raise _unwritable(self._part, failed) from failed

    def write(self, index: int, image_rgb: ImageArray) -> None:
        """Add one frame.

        Args:
            index: Index among the source's shown frames; ascending.
            image_rgb: uint8 (height, width, 3), as displayed.

        Raises:
            OutputError: It cannot be encoded or written.
        """
        import av

        height, width = image_rgb.shape[:2]
        if height % 2 or width % 2:
            image_rgb = np.pad(image_rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_rgb), format="rgb24")
        frame = frame.reformat(
            format="yuv420p",
            dst_colorspace="ITU709" if self._colours[0] == _BT709 else "ITU601",
            dst_color_range="MPEG",
        )
        frame.time_base = self._tick
        frame.pts = int(self._pts[index]) - round(self._start_s / self._tick)
        shown_for = max(round(float(self._info.duration_s[index]) / self._tick), 1)
        self._durations[frame.pts] = shown_for
        try:
            self._mux_pictures(self._stream.encode(frame))
            # Players expect sound and pictures interleaved in the file.
            self._mux_sound(float(self._pts[index] * self._tick))
        except av.error.FFmpegError as error:
            raise _unwritable(self._part, error) from error

    def _add_video(self, source: Any) -> Any:
        rate = Fraction(self._info.nominal_fps or 25).limit_denominator(100_000)
        # Without B-frames, presentation and decoding time stamps are equal.
        stream = self._out.add_stream(
            "libx264", rate=rate, options={"crf": str(self._crf), "preset": "veryfast", "bf": "0"}
        )
        stream.width, stream.height = _even(self._info.width_px), _even(self._info.height_px)
        stream.pix_fmt = "yuv420p"
        stream.time_base = self._tick
        context, source_context = stream.codec_context, source.codec_context
        context.time_base = self._tick
        context.gop_size = max(1, min(round(2 * float(rate)), 250))  # seeks are fast
        ratio = source.sample_aspect_ratio
        if ratio and ratio != 1:
            rotated = self._info.rotation_deg in (90, 270)
            context.sample_aspect_ratio = 1 / ratio if rotated else ratio
        self._colours = (
            source_context.colorspace,
            source_context.color_primaries,
            source_context.color_trc,
        )
        context.colorspace, context.color_primaries, context.color_trc = self._colours
        context.color_range = 1  # limited: 16 to 235
        return stream

    def _earliest(self) -> Fraction:
        """Exact time in seconds at which pictures or sound begin, if not negative, else 0."""
        starts = [int(self._info.pts[0]) * self._source_tick()]
        for stream in self._source.streams.audio:
            if stream.index in self._sounds and stream.start_time is not None:
                starts.append(stream.start_time * stream.time_base)
        return max(min(starts), Fraction(0))

    def _source_tick(self) -> Fraction:
        return Fraction(self._info.time_base_s).limit_denominator(10_000_000)

    def _sound_packets(self) -> Iterator[Any]:
        """Yield the source's audio packets in order, until the end or until one is damaged."""
        import av

        streams = [s for s in self._source.streams.audio if s.index in self._sounds]
        if not streams:
            return
        try:
            for packet in self._source.demux(*streams):
                if packet.dts is not None and packet.pts is not None and packet.size:
                    yield packet
        except av.error.FFmpegError as error:
            self.notes.append(f"The sound of {self._info.path} is damaged ({error.strerror}).")

    def _mux_pictures(self, packets: list[Any]) -> None:
        """Write packets with their true durations; the encoder can only guess the last one's."""
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._out.mux(packet)

    def _mux_sound(self, until_s: float) -> None:
        """Write the sound up to a time in the source."""
        while (packet := self._waiting) is not None:
            if float(packet.dts * packet.time_base) > until_s:
                return
            self._sounds[packet.stream.index].add(packet, self._start_s)
            self._waiting = next(self._packets, None)


class _Sound:
    """Copies or converts one audio stream of the source."""

    def __init__(
        self, source: Any, out: Any, kind: str, notes: list[str], *, language: bool
    ) -> None:
        self._out, self._notes = out, notes
        self._failed = False
        name = source.codec_context.codec.canonical_name
        self._copied = name in _COPIED[kind]
        if self._copied:
            self._stream = out.add_stream_from_template(source)
        else:
            rate = source.codec_context.sample_rate
            n_channels = source.codec_context.channels
            self._stream = out.add_stream(
                "aac",
                rate=rate if rate in _AAC_RATES else 48000,
                layout="mono" if n_channels == 1 else "stereo",
            )
            notes.append(f"The sound ({name}) was converted to AAC.")
        self._stream.metadata.clear()
        if language and "language" in source.metadata:
            self._stream.metadata["language"] = source.metadata["language"]

    def add(self, packet: Any, start_s: Fraction) -> None:
        """Copy a packet, or decode and encode it."""
        shift = round(start_s / packet.time_base)
        if self._copied:
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._stream
            self._out.mux(packet)
            return
        try:
            frames = packet.decode()
        except Exception:  # a damaged packet; later ones may be intact
            if not self._failed:
                self._notes.append("Parts of the sound are damaged and were left out.")
            self._failed = True
            return
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= round(start_s / frame.time_base)
            self._out.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write the audio that is still inside the encoder."""
        if not self._copied:
            self._out.mux(self._stream.encode(None))


def _even(side_px: int) -> int:
    return side_px + side_px % 2


def _unwritable(part: Path, error: Exception) -> OutputError:
    if isinstance(error, OSError) and error.errno:
        raise error  # e.g. a full disk, which `atomic_write` explains
    return OutputError(f"{part} cannot be written: {error}.")
