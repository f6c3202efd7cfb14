"""Decode a video with PyAV, and determine which picture is shown when and which are damaged.

libavcodec conceals damage and continues. So `frame_status` is derived from its flags on each
frame, decoding errors, the bytes of the packets, and frames that are never returned. Equal
pixels do not count: a screen recording may stand still for minutes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jadfer_cli.records import CORRUPT, OK, REPEATED, VideoInfo
from jadfer_cli.video.bitstream import PacketFacts, PacketInspector
from jadfer_cli.video.container import open_container

# Frames held back until the status of all pictures that they may depend on is known. H.264 and
# HEVC reorder over at most 16 pictures; the rest is for files with absurd time stamps.
_MAX_HELD = 32
# Seek if at least this many frames can be skipped; below, decoding from the start is as fast.
_SEEK_FROM = 250
_NO_STAMP = -(2**63)


@dataclass
class _Packet:
    """What is known about one packet until its frame has been released."""

    order: int  # position in decoding order
    gop: int  # number of its group of pictures, i.e. of the preceding key frame
    is_leading: bool  # decoded after its key frame but shown before it
    latest: int  # latest time stamp decoded so far; frames up to it have to be released first
    facts: PacketFacts
    damaged: bool


@dataclass(frozen=True)
class CheckedFrame:
    """One shown frame.

    Attributes:
        index: Index among the shown frames.
        status: OK, CORRUPT or REPEATED.
        picture: PyAV's picture; None if the decoder returned none.
    """

    index: int
    status: int
    picture: Any


class SeekError(Exception):
    """The seek failed or went to the wrong place; decode from the start instead."""


def check_frames(info: VideoInfo, first: int, last: int) -> Iterator[CheckedFrame]:
    """Decode and check the shown frames of a video from `first`, or an earlier one, to `last`.

    Args:
        info: The video, as probed.
        first: Index of the first frame wanted.
        last: Index of the last frame wanted.

    Yields:
        Every frame once, ascending.

    Raises:
        VideoError: The file cannot be opened any more.
    """
    if seeks(info, first):
        try:
            yield from CheckedDecoder(info, first, last)
            return
        except SeekError:
            pass
    yield from CheckedDecoder(info, 0, last)


def seeks(info: VideoInfo, first: int) -> bool:
    """True if `check_frames` skips frames before the first one wanted."""
    return info.stamped and first >= _SEEK_FROM


class CheckedDecoder:
    """Decodes a video with PyAV in one thread, and determines the status of every shown frame.

    Damage propagates: all frames decoded after a damaged picture, up to the next key frame, may
    depend on it and are CORRUPT too, unless its bits say that no other picture refers to it. In
    89 H.264 files that were damaged in the middle (320x180, a key frame every 30), 1,568 of 1,604
    wrong pictures were called CORRUPT, and 116 correct ones.

    One thread, because libavcodec's frame threads report errors late or lose them. Cost without
    colour conversion, on one core of a 2-core cloud machine: H.264 0.6 ms per frame at 640x360 and
    2.3 ms at 1280x720, HEVC 0.9 and 2.2, VP9 0.9 and 2.0. Skipping the loop filter would save a
    tenth, but the pictures could no longer replace decord's.

    Args:
        info: The video, from `probe`.
        seek_to: Index of a frame to seek to before decoding; 0 decodes from the start.
        last: Index of the last frame wanted.

    Raises:
        SeekError: While iterating, before the first frame: the seek failed, went too far, or led
            to a place from which no frame can be decoded.
    """

    def __init__(self, info: VideoInfo, seek_to: int, last: int) -> None:
        self._info = info
        self._last = last
        self._next = 0  # index of the next frame to release
        self._first = seek_to
        # Packets whose frame is inside the decoder, by time stamp (by order if unstamped).
        self._packets: dict[int, _Packet] = {}
        self._held: deque[tuple[int, Any, _Packet | None]] = deque()
        self._damage: dict[int, int] = {}  # group of pictures -> order of its first damaged packet
        self._gop, self._order = 0, 0
        self._key_pts, self._latest = _NO_STAMP, _NO_STAMP

    def __iter__(self) -> Iterator[CheckedFrame]:
        """Yield every shown frame once, ascending, from `seek_to` or earlier to `last`."""
        with open_container(self._info.path) as (container, stream):
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1  # dav1d ignores the line above
            if self._first:
                _seek(container, stream, int(self._info.pts[self._first]))
            for checked in self._decode_all(container, stream):
                yield checked
                if checked.index >= self._last:
                    return
        if self._first and self._next == 0:  # no frame at all: because of the seek, or the file
            raise SeekError
        while self._next <= self._last:  # frames that the container lists but never delivers
            yield self._missing(self._next)

    def _decode_all(self, container: Any, stream: Any) -> Iterator[CheckedFrame]:
        """Feed the decoder packet by packet, and release frames once their status is known."""
        inspector = PacketInspector(self._info.codec, stream.codec_context.extradata)
        for data in _demux(container, stream):
            packet = None if data is None else self._register(data, inspector)
            if data is not None and not data.size:
                frames = []  # the decoder would take an empty packet for the end of the stream
            else:
                frames = self._decode(stream, data, packet)
            for frame in frames:
                yield from self._receive(frame)
            if not self._info.stamped and packet and (packet.damaged or not packet.facts.picture):
                if not frames and packet.facts.shown:
                    yield from self._without_frame(packet)
        while self._held:
            yield from self._release()

    def _register(self, data: Any, inspector: PacketInspector) -> _Packet:
        """Inspect a packet before it is decoded; give it a time stamp if the file has none."""
        facts = inspector.inspect(bytes(data))
        if data.is_keyframe:
            self._gop += 1
            oldest = self._gop - 4 * _MAX_HELD  # no frame inside the decoder is older
            self._damage = {gop: order for gop, order in self._damage.items() if gop >= oldest}
        if not self._info.stamped:
            data.pts = self._order
        pts = data.pts if data.pts is not None else _NO_STAMP
        if data.is_keyframe:
            self._key_pts = pts
        self._latest = max(self._latest, pts)
        packet = _Packet(
            self._order,
            self._gop,
            is_leading=self._info.stamped and pts < self._key_pts,
            latest=self._latest if self._info.stamped else _NO_STAMP,
            facts=facts,
            damaged=facts.damaged or data.is_corrupt,
        )
        self._order += 1
        if packet.damaged:
            self._propagate_damage(packet)
        if len(self._packets) > 4 * _MAX_HELD:  # packets without a frame, absurd time stamps
            del self._packets[next(iter(self._packets))]
        self._packets[pts] = packet
        return packet

    def _decode(self, stream: Any, data: Any, packet: _Packet | None) -> list[Any]:
        """Decode a packet (None: flush); an error marks the packet as damaged."""
        try:
            return list(stream.decode(data))
        except Exception:  # mostly InvalidDataError, but any of FFmpeg's codes is possible
            # H.264's decoder also reports a packet without a picture as invalid; ignore that.
            if packet is not None and packet.facts.picture:
                packet.damaged = True
                self._propagate_damage(packet)
            return []

    def _propagate_damage(self, packet: _Packet) -> None:
        """Mark the rest of the group of pictures as damaged if it may depend on this packet."""
        if packet.facts.reference and not packet.is_leading:
            first = self._damage.get(packet.gop, packet.order)
            self._damage[packet.gop] = min(packet.order, first)

    def _receive(self, frame: Any) -> Iterator[CheckedFrame]:
        """Accept a frame from the decoder, and release those whose status is now known."""
        packet = self._packets.pop(frame.pts, None) if frame.pts is not None else None
        if packet is not None and frame.is_corrupt:
            packet.damaged = True
            self._propagate_damage(packet)
        index = self._index_of(frame)
        if index is None:
            return
        self._held.append((index, frame, packet))
        while self._held:
            head = self._held[0][2]
            waits = head is not None and head.latest > (frame.pts or 0)
            if waits and len(self._held) < _MAX_HELD:
                break
            yield from self._release()

    def _index_of(self, frame: Any) -> int | None:
        """Index among the shown frames; None if the frame is not shown, or arrives too late."""
        expected = self._held[-1][0] + 1 if self._held else self._next
        if not self._info.stamped:
            return expected if expected < self._info.n_frames else None
        if frame.pts is None:
            return None
        low, high = np.searchsorted(self._info.pts, [frame.pts, frame.pts + 1])
        index = max(int(low), expected)  # several frames may have the same time stamp
        return index if index < high else None

    def _release(self) -> Iterator[CheckedFrame]:
        """Yield the first held frame, preceded by those that the decoder never returned."""
        index, frame, packet = self._held.popleft()
        if self._first and self._next == 0:
            if index > self._first:  # the seek went too far; nothing is known of earlier frames
                raise SeekError
            self._next = index
        while self._next < index:
            yield self._missing(self._next)
        self._next = index + 1
        yield CheckedFrame(index, self._status(packet, frame), frame)

    def _status(self, packet: _Packet | None, frame: Any) -> int:
        """CORRUPT if the frame, or one that it may depend on, is damaged; else OK."""
        if packet is None:
            return CORRUPT if frame.is_corrupt else OK
        depends_on_damage = self._damage.get(packet.gop, packet.order) < packet.order
        if packet.is_leading:
            depends_on_damage |= packet.gop - 1 in self._damage
        return CORRUPT if packet.damaged or depends_on_damage else OK

    def _missing(self, index: int) -> CheckedFrame:
        """A frame that the container lists but the decoder never returned: repeated, or lost."""
        self._next = index + 1
        pts = int(self._info.pts[index])
        packet = self._packets.pop(pts, None) if self._info.stamped else None
        if packet is not None and not packet.facts.picture and not packet.damaged:
            return CheckedFrame(index, REPEATED, None)
        if packet is not None:
            self._propagate_damage(packet)
        return CheckedFrame(index, CORRUPT, None)

    def _without_frame(self, packet: _Packet) -> Iterator[CheckedFrame]:
        """Without time stamps: a packet that yielded no frame still takes the next index."""
        while self._held:
            yield from self._release()
        if self._next < self._info.n_frames:
            status = REPEATED if not packet.facts.picture and not packet.damaged else CORRUPT
            yield CheckedFrame(self._next, status, None)
            self._next += 1


def _seek(container: Any, stream: Any, pts: int) -> None:
    """Seek to the key frame before a time stamp.

    Raises:
        SeekError: The container cannot seek.
    """
    try:
        container.seek(pts, stream=stream)
    except Exception:  # a file without an index, or a damaged one; any of FFmpeg's codes
        raise SeekError from None


def _demux(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the stream's packets, then None to flush, even if the container ends with an error."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except Exception:  # StopIteration, or an error that `probe` has warned of
            break
        if packet.size == 0 and packet.pts is None and packet.dts is None:
            break
        yield packet
    yield None
