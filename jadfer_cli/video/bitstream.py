"""Detect damaged packets from their bytes, without decoding them.

Decoders conceal damage: libavcodec reports most of it in H.264 and MPEG-4, but decodes zeroed
HEVC, VP9 and AV1 payload without an error. Some damage is visible in the bytes:

* H.264 and HEVC forbid the byte strings 00 00 00, 00 00 01 and 00 00 02 inside a NAL unit
  (section 7.4.1 of both standards), and in MP4 and Matroska the lengths of the units must add up
  to the packet's;
* arithmetic and Huffman coded payload contains no long runs of zeros.

The rest goes undetected: in HEVC and VP9 nearly every payload is valid, so flipped bits and short
garbage pass. The table counts files of 320x180 that were damaged in the middle, 15 per damage
and codec: files with changed pictures but no sign of damage / files with changed pictures.

    damage              H.264   MPEG-4  AV1     HEVC    VP9
    one flipped bit     2/14    0/6     0/14    10/11   11/11
    500 bytes garbage   0/15    0/15    0/15    4/15    9/10
    4 kB garbage        0/15    0/15    0/15    0/15    8/11
    500 or more zeros   0/30    0/30    0/30    0/30    0/28
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# No entropy coder writes this many zeros in a row: in VP9's coder, 512 bits encode about 90,000
# symbols of probability 255/256, more than a still frame has.
_ZERO_RUN = bytes(64)
_ZERO_RUN_CODECS = {"vp8", "vp9", "av1", "mpeg4"}
_NAL_CODECS = {"h264", "hevc"}
_FORBIDDEN = (b"\x00\x00\x00", b"\x00\x00\x01", b"\x00\x00\x02")
# An MPEG-4 picture that is "not coded" has only a header; libavcodec's limit is 19 bytes.
_MPEG4_EMPTY_BYTES = 19


@dataclass(frozen=True)
class PacketFacts:
    """What the bytes of one packet reveal.

    Attributes:
        damaged: No encoder can have written these bytes.
        picture: The packet contains a picture; if not, the previous one is shown again.
        reference: Other pictures may depend on this one.
        shown: The picture is displayed (VP8 and VP9 have hidden reference pictures).
    """

    damaged: bool = False
    picture: bool = True
    reference: bool = True
    shown: bool = True


class PacketInspector:
    """Derives `PacketFacts` from the packets of one stream.

    Args:
        codec: libavcodec's name of the codec, e.g. "h264".
        extradata: Codec configuration of the stream, which defines how NAL units are delimited.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._codec = codec
        self._length_bytes = _nal_length_bytes(codec, extradata or b"")

    def inspect(self, data: bytes) -> PacketFacts:
        """Inspect the payload of one packet."""
        if not data:
            return PacketFacts(picture=False, reference=False)
        if self._codec in _NAL_CODECS and self._length_bytes:
            return self._inspect_nals(data)
        damaged = self._codec in _ZERO_RUN_CODECS and _ZERO_RUN in data
        if self._codec == "mpeg4" and len(data) <= _MPEG4_EMPTY_BYTES:
            return PacketFacts(damaged=damaged, picture=False, reference=False)
        return PacketFacts(damaged=damaged, shown=damaged or _is_shown(self._codec, data))

    def _inspect_nals(self, data: bytes) -> PacketFacts:
        """Inspect an H.264 or HEVC packet with length-prefixed NAL units."""
        damaged, picture, reference = False, False, False
        for nal in _split(data, self._length_bytes):
            if nal is None:
                damaged = picture = reference = True
                break
            if self._codec == "h264":
                is_slice, is_reference = 1 <= nal[0] & 31 <= 5, bool(nal[0] & 0x60)
            else:
                is_slice, is_reference = (nal[0] >> 1) & 63 < 32, True
            picture |= is_slice
            reference |= is_slice and is_reference
            if is_slice:
                # Some muxers leave a few zeros of the next start code after the unit.
                body = nal.rstrip(b"\x00")
                damaged |= len(nal) - len(body) >= len(_ZERO_RUN)
                damaged |= any(code in body for code in _FORBIDDEN)
        return PacketFacts(damaged, picture, reference)


def _nal_length_bytes(codec: str, extradata: bytes) -> int:
    """Size of a NAL unit's length prefix (avcC, hvcC); 0 if start codes delimit the units."""
    if codec == "h264" and len(extradata) > 6 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) > 22 and extradata[0] == 1:
        return (extradata[21] & 3) + 1
    return 0


def _split(data: bytes, length_bytes: int) -> Iterator[bytes | None]:
    """Yield the NAL units of a packet; None as the last item if the lengths do not add up."""
    at = 0
    while at < len(data):
        start = at + length_bytes
        at = start + int.from_bytes(data[at:start], "big")
        if at > len(data) or at == start:
            yield None
            return
        yield data[start:at]


def _is_shown(codec: str, data: bytes) -> bool:
    """True if a VP8 or VP9 packet is displayed (RFC 6386, 9.1; VP9 specification, 6.2)."""
    if codec == "vp8":
        return bool(data[0] & 0x10)
    if codec == "vp9" and not _is_superframe(data):  # a superframe ends with a shown one
        bits = f"{int.from_bytes(data[:2], 'big') if len(data) > 1 else data[0] << 8:016b}"
        at = 5 if bits[2:4] == "11" else 4  # frame marker (2), profile (2), reserved in 3
        return bits[at] == "1" or bits[at + 2] == "1"  # show_existing_frame or show_frame
    return True


def _is_superframe(data: bytes) -> bool:
    """True if a VP9 packet contains several frames (VP9 specification, Annex B)."""
    marker = data[-1]
    n_frames, n_size_bytes = (marker & 7) + 1, (marker >> 3 & 3) + 1
    # A single frame may end in any byte; but the index of a superframe begins and ends with the
    # same marker.
    n_index_bytes = 2 + n_frames * n_size_bytes
    is_marker = marker & 0xE0 == 0xC0
    return is_marker and len(data) > n_index_bytes and data[-n_index_bytes] == marker
