"""PyAV's decode of a video: which picture is shown when, and what is proven of each.

libavcodec conceals damage and goes on; its word on each frame, the errors on the way, the
packets' bytes and the frames that never come out are the evidence for `frame_status`.
Equal pixels are none: a screen recording stands still for minutes.
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

# Frames held back until all pictures they may be built on are judged: the deepest
# reordering of H.264 and HEVC is 16, the rest is for files with absurd stamps.
_MAX_HELD = 32
# Frames to skip that are worth a seek; below, decoding from the start is as fast.
_SEEK_FROM = 250


@dataclass
class _Note:
    """What is known of one packet until its frame has been handed on."""

    order: int  # in decoding order
    gop: int  # number of the key frame it follows in decoding order
    leads: bool  # decoded after its key frame but shown before it
    latest: int  # the latest stamp decoded up to here; everything up to it must come first
    facts: PacketFacts
    damaged: bool


@dataclass(frozen=True)
class Judged:
    """A shown frame: its index, its status, and PyAV's picture where there is one."""

    index: int
    status: int
    picture: Any


class SeekError(Exception):
    """The container's seek failed or led astray; decode from the start instead."""


def audit(info: VideoInfo, first: int, last: int) -> Iterator[Judged]:
    """Judge the shown frames of a video from `first`, or somewhat before it, to `last`.

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
            yield from Audit(info, first, last)
            return
        except SeekError:
            pass
    yield from Audit(info, 0, last)


def seeks(info: VideoInfo, first: int) -> bool:
    """Whether `audit` leaves out frames before the first one wanted."""
    return info.stamped and first >= _SEEK_FROM


class Audit:
    """Decodes a video with PyAV in one thread and judges every shown frame.

    A damaged picture passes its damage on: all frames decoded after it, up to the next key
    frame, are built on it and are CORRUPT too, unless its own bits say that nothing refers
    to it. In 89 H.264 files with a damaged middle, 1,568 of 1,604 wrong pictures were called
    CORRUPT, and 116 right ones (320x180, a key frame every 30).

    One thread, because libavcodec's frame threads report errors late and lose them.
    Cost without colour conversion, one core of a 2-core cloud machine: H.264 0.6 ms a
    frame at 640x360 and 2.3 ms at 1280x720, HEVC 0.9 and 2.2, VP9 0.9 and 2.0; leaving out the
    loop filter would save a tenth and spoil the pictures for taking over from decord.

    Args:
        info: The video, as probed.
        seek_to: Index of a frame to seek to before decoding; 0 decodes from the start.
        last: Index of the last frame wanted.

    Raises:
        SeekError: While iterating, before any frame: the seek failed, overshot, or led to
            where no frame comes out.
    """

    def __init__(self, info: VideoInfo, seek_to: int, last: int) -> None:
        self._info = info
        self._last = last
        self._next = 0  # index of the next frame to hand on
        self._first = seek_to
        self._notes: dict[int, _Note] = {}  # by stamp (or by order where unstamped)
        self._held: deque[tuple[int, Any, _Note | None]] = deque()
        self._tainted: dict[int, int] = {}  # key frame number -> order of its first damage
        self._gop, self._order, self._key_pts = 0, 0, -(2**63)
        self._latest = -(2**63)

    def __iter__(self) -> Iterator[Judged]:
        """Every shown frame from (at latest) `seek_to` to `last`, ascending, each once."""
        with open_container(self._info.path) as (container, stream):
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1  # dav1d takes no notice of the line above
            if self._first:
                _seek(container, stream, int(self._info.pts[self._first]))
            for judged in self._judge(container, stream):
                yield judged
                if judged.index >= self._last:
                    return
        if self._first and self._next == 0:  # no frame came out: the seek's fault, or the file's
            raise SeekError
        while self._next <= self._last:  # what the container promised but never gave
            yield self._absent(self._next)

    def _judge(self, container: Any, stream: Any) -> Iterator[Judged]:
        """Feed the decoder packet by packet and hand frames on once they can be judged."""
        inspector = PacketInspector(self._info.codec, stream.codec_context.extradata)
        for packet in _packets(container, stream):
            note = None if packet is None else self._note(packet, inspector)
            if packet is not None and not packet.size:
                frames = []  # an empty packet would tell the decoder that the stream ends
            else:
                frames = self._decode(stream, packet, note)
            for frame in frames:
                yield from self._arrive(frame)
            if not self._info.stamped and note and (note.damaged or not note.facts.picture):
                if not frames and note.facts.shown:
                    yield from self._lost(note)
        while self._held:
            yield from self._release()

    def _note(self, packet: Any, inspector: PacketInspector) -> _Note:
        """Write down a packet before it is decoded; stamps it where the file does not."""
        facts = inspector.inspect(bytes(packet))
        if packet.is_keyframe:
            self._gop += 1
            oldest = self._gop - 4 * _MAX_HELD  # no frame still inside is older
            self._tainted = {g: o for g, o in self._tainted.items() if g >= oldest}
        if not self._info.stamped:
            packet.pts = self._order
        pts = packet.pts if packet.pts is not None else -(2**63)
        if packet.is_keyframe:
            self._key_pts = pts
        self._latest = max(self._latest, pts)
        note = _Note(
            self._order,
            self._gop,
            leads=self._info.stamped and pts < self._key_pts,
            latest=self._latest if self._info.stamped else -(2**63),
            facts=facts,
            damaged=facts.damaged or packet.is_corrupt,
        )
        self._order += 1
        if note.damaged:
            self._taint(note)
        if len(self._notes) > 4 * _MAX_HELD:  # packets that never came out, wild stamps
            del self._notes[next(iter(self._notes))]
        self._notes[pts] = note
        return note

    def _decode(self, stream: Any, packet: Any, note: _Note | None) -> list[Any]:
        """The frames that come out for a packet (None: the end); an error is evidence."""
        try:
            return list(stream.decode(packet))
        except Exception:  # InvalidDataError most often, but any of FFmpeg's codes
            # H.264's decoder also calls a packet without a picture invalid; that is no damage.
            if note is not None and note.facts.picture:
                note.damaged = True
                self._taint(note)
            return []

    def _taint(self, note: _Note) -> None:
        """Everything built on this picture is damaged too."""
        if note.facts.reference and not note.leads:
            self._tainted[note.gop] = min(note.order, self._tainted.get(note.gop, note.order))

    def _arrive(self, frame: Any) -> Iterator[Judged]:
        """Take a frame from the decoder and hand on those that can be judged by now."""
        note = self._notes.pop(frame.pts, None) if frame.pts is not None else None
        if note is not None and frame.is_corrupt:
            note.damaged = True
            self._taint(note)
        index = self._index_of(frame)
        if index is None:
            return
        self._held.append((index, frame, note))
        while self._held:
            head = self._held[0][2]
            waits = head is not None and head.latest > (frame.pts or 0)
            if waits and len(self._held) < _MAX_HELD:
                break
            yield from self._release()

    def _index_of(self, frame: Any) -> int | None:
        """The shown frame's index; None for one that has no place or comes too late."""
        expected = self._held[-1][0] + 1 if self._held else self._next
        if not self._info.stamped:
            return expected if expected < self._info.n_frames else None
        if frame.pts is None:
            return None
        low, high = np.searchsorted(self._info.pts, [frame.pts, frame.pts + 1])
        index = max(int(low), expected)  # several frames may bear one stamp
        return index if index < high else None

    def _release(self) -> Iterator[Judged]:
        """Hand on the first held frame, and before it those that never came out."""
        index, frame, note = self._held.popleft()
        if self._first and self._next == 0:
            if index > self._first:  # the seek went too far: say nothing of frames unseen
                raise SeekError
            self._next = index
        while self._next < index:
            yield self._absent(self._next)
        self._next = index + 1
        yield Judged(index, self._status(note, frame), frame)

    def _status(self, note: _Note | None, frame: Any) -> int:
        """OK, or CORRUPT where the frame or one it is built on is damaged."""
        if note is None:
            return CORRUPT if frame.is_corrupt else OK
        built_on_damage = self._tainted.get(note.gop, note.order) < note.order
        if note.leads:
            built_on_damage |= note.gop - 1 in self._tainted
        return CORRUPT if note.damaged or built_on_damage else OK

    def _absent(self, index: int) -> Judged:
        """A frame that the container shows but no decoder gives: repeated, or lost."""
        self._next = index + 1
        pts = int(self._info.pts[index])
        note = self._notes.pop(pts, None) if self._info.stamped else None
        if note is not None and not note.facts.picture and not note.damaged:
            return Judged(index, REPEATED, None)
        if note is not None:
            self._taint(note)
        return Judged(index, CORRUPT, None)

    def _lost(self, note: _Note) -> Iterator[Judged]:
        """Without stamps: the packet gave no frame, which takes the next place."""
        while self._held:
            yield from self._release()
        if self._next < self._info.n_frames:
            status = REPEATED if not note.facts.picture and not note.damaged else CORRUPT
            yield Judged(self._next, status, None)
            self._next += 1


def _seek(container: Any, stream: Any, pts: int) -> None:
    """Go to the key frame before a stamp, or raise SeekError."""
    try:
        container.seek(pts, stream=stream)
    except Exception:  # a file without an index, or a damaged one; any of FFmpeg's codes
        raise SeekError from None


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets, then None for the end, also where the container breaks off."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except Exception:  # StopIteration, or an error that probe() has warned of
            break
        if packet.size == 0 and packet.pts is None and packet.dts is None:
            break
        yield packet
    yield None
