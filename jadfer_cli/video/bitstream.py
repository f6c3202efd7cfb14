"""What the bytes of one packet prove, without decoding them.

Decoders conceal: libavcodec reports most damage in H.264 and MPEG-4, but decodes zeroed
HEVC, VP9 and AV1 payload without complaint. Some damage can be seen in the bytes:

* H.264 and HEVC forbid the byte strings 00 00 00, 00 00 01 and 00 00 02 inside a NAL unit
  (7.4.1 of both standards), and in MP4 and Matroska the units' lengths must fill the packet;
* arithmetic and Huffman coded payload has no long runs of zeros.

What remains unseen: in HEVC and VP9 nearly every payload is a valid one, so flipped bits and
short garbage pass. Of 15 files each with damage in the middle (320x180), those with changed
pictures and no evidence at all, of those with changed pictures:

    damage              H.264   MPEG-4  AV1     HEVC    VP9
    one flipped bit     2/14    0/6     0/14    10/11   11/11
    500 bytes garbage   0/15    0/15    0/15    4/15    9/10
    4 kB garbage        0/15    0/15    0/15    0/15    8/11
    500 or more zeros   0/30    0/30    0/30    0/30    0/28
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Zeros in a row that no entropy coder writes: 512 bits would hold some 90,000 symbols of
# probability 255/256 in VP9's coder, more than a still frame has.
_ZERO_RUN = bytes(64)
_ZERO_RUN_CODECS = {"vp8", "vp9", "av1", "mpeg4"}
_NAL_CODECS = {"h264", "hevc"}
_FORBIDDEN = (b"\x00\x00\x00", b"\x00\x00\x01", b"\x00\x00\x02")
# An MPEG-4 "not coded" picture is a header only; libavcodec draws the line at 19 bytes.
_MPEG4_EMPTY_BYTES = 19


@dataclass(frozen=True)
class PacketFacts:
    """What one packet proves.

    Attributes:
        damaged: Its bytes cannot be what an encoder wrote.
        picture: It carries a picture; else the container shows the one before again.
        reference: Other pictures may be built on this one.
        shown: The picture is for display (VP8 and VP9 have hidden reference pictures).
    """

    damaged: bool = False
    picture: bool = True
    reference: bool = True
    shown: bool = True


class PacketInspector:
    """Reads `PacketFacts` from the packets of one stream.

    Args:
        codec: libavcodec's name, e.g. "h264".
        extradata: The stream's codec configuration; tells how NAL units are delimited.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._codec = codec
        self._length_bytes = _nal_length_bytes(codec, extradata or b"")

    def inspect(self, data: bytes) -> PacketFacts:
        """The facts of one packet's payload."""
        if not data:
            return PacketFacts(picture=False, reference=False)
        if self._codec in _NAL_CODECS and self._length_bytes:
            return self._inspect_nals(data)
        damaged = self._codec in _ZERO_RUN_CODECS and _ZERO_RUN in data
        if self._codec == "mpeg4" and len(data) <= _MPEG4_EMPTY_BYTES:
            return PacketFacts(damaged=damaged, picture=False, reference=False)
        return PacketFacts(damaged=damaged, shown=damaged or _is_shown(self._codec, data))

    def _inspect_nals(self, data: bytes) -> PacketFacts:
        """The facts of an H.264 or HEVC packet with length-prefixed NAL units."""
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
                # Some muxers leave a few zeros of the next start code behind the unit.
                body = nal.rstrip(b"\x00")
                damaged |= len(nal) - len(body) >= len(_ZERO_RUN)
                damaged |= any(code in body for code in _FORBIDDEN)
        return PacketFacts(damaged, picture, reference)


def _nal_length_bytes(codec: str, extradata: bytes) -> int:
    """Bytes of a NAL unit's length prefix (avcC, hvcC); 0 where start codes delimit them."""
    if codec == "h264" and len(extradata) > 6 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) > 22 and extradata[0] == 1:
        return (extradata[21] & 3) + 1
    return 0


def _split(data: bytes, length_bytes: int) -> Iterator[bytes | None]:
    """The NAL units of a packet; None, and no more, where the lengths do not fit it."""
    at = 0
    while at < len(data):
        start = at + length_bytes
        at = start + int.from_bytes(data[at:start], "big")
        if at > len(data) or at == start:
            yield None
            return
        yield data[start:at]


def _is_shown(codec: str, data: bytes) -> bool:
    """Whether a VP8 or VP9 packet is for display (RFC 6386 9.1; VP9 specification 6.2)."""
    if codec == "vp8":
        return bool(data[0] & 0x10)
    if codec == "vp9" and not _is_superframe(data):  # a superframe always ends in a shown one
        bits = f"{int.from_bytes(data[:2], 'big') if len(data) > 1 else data[0] << 8:016b}"
        at = 5 if bits[2:4] == "11" else 4  # frame marker (2), profile (2), reserved in 3
        return bits[at] == "1" or bits[at + 2] == "1"  # show_existing_frame or show_frame
    return True


def _is_superframe(data: bytes) -> bool:
    """Whether a VP9 packet holds several frames (VP9 specification, Annex B)."""
    marker = data[-1]
    n_frames, n_size_bytes = (marker & 7) + 1, (marker >> 3 & 3) + 1
    # A frame may end in any byte; but the index begins with the same marker as it ends in.
    n_index_bytes = 2 + n_frames * n_size_bytes
    is_marker = marker & 0xE0 == 0xC0
    return is_marker and len(data) > n_index_bytes and data[-n_index_bytes] == marker
