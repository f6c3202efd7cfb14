"""What a file is by its first bytes, decided before FFmpeg sees it.

FFmpeg opens much more than videos, and some of it makes FFmpeg open other files: playlists (HLS,
DASH, concat), session descriptions (SDP), subtitle indexes (VobSub, whose pictures are in a
second file), numbered pictures ("img%d.jpg"). None of these demuxers is in `DEMUXERS`, and the
tracks that a MOV file keeps in other files (dref) are not read by default.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

from jadfer_cli.errors import VideoError

_HEAD_BYTES = 4096
# FFmpeg's demuxers of videos in one file. Those of sound are here so that the message can say
# that a file contains no video.
DEMUXERS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,asf_o,ogg,mxf,nut,rm,gif,apng,"
    "h264,hevc,vvc,m4v,h261,h263,vc1,vc1test,ivf,av1,obu,evc,dirac,cavsvideo,avs2,avs3,mjpeg,"
    "mpjpeg,mjpeg_2000,smjpeg,ingenient,dnxhd,dv,gxf,wtv,lxf,swf,yuv4mpegpipe,nuv,nsv,pva,pmp,"
    "dhav,moflex,film_cpk,filmstrip,flic,bink,smk,roq,thp,vividas,vivo,xmv,4xm,dxa,amv,r3d,cine,"
    "mp3,wav,w64,flac,aac,ac3,eac3,aiff,au,caf,amr,dts,ape,tta,wv,tak"
)
# For these the demuxer is not guessed, which FFmpeg might do by the file's name.
_FORMATS = {
    "mov": (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"),  # at byte 4
    "matroska": (b"\x1aE\xdf\xa3",),
    "avi": (b"RIFF",),
}
# PyAV's name of a demuxer that was not guessed: FFmpeg's own.
_FULL_NAMES = {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}
_PLAYLISTS = {  # first text of the file, in lower case: kind
    "#extm3u": "HLS or M3U",
    "ffconcat": "ffconcat",
    "[playlist]": "PLS",
    "[reference]": "ASF",
    "<asx": "ASX",
    "<mpd": "DASH",
    "v=0": "SDP",
    "# vobsub": "VobSub index",
}
_PICTURES = (
    b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\x00", b"MM\x00*", b"\x00\x00\x01\x00", b"8BPS",
    b"\x00\x00\x00\x0cjP", b"\xff\x0a", b"\x00\x00\x00\x0cJXL", b"P1", b"P2", b"P3", b"P4", b"P5",
    b"P6", b"v/1\x01",
)  # fmt: skip
# Control characters that occur in text: tab, line breaks, form feed, and ESC of terminal art.
_TEXT_CONTROLS = frozenset("\t\n\r\f\x1b")


def read_head(path: str) -> bytes:
    """Return the first bytes of a file; empty if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def demuxer_of(head: bytes) -> str | None:
    """Return FFmpeg's demuxer for a file that begins like this; None if FFmpeg has to guess."""
    if head[4:8] in _FORMATS["mov"]:
        return "mov"
    if head[:4] in _FORMATS["matroska"]:
        return "matroska"
    return "avi" if head[:4] == b"RIFF" and head[8:11] == b"AVI" else None


def format_name(container: Any) -> str:
    """Return FFmpeg's name of an open container's format."""
    name = str(container.format.name)
    return _FULL_NAMES.get(name, name)


def refuse_text(path: str, head: bytes) -> None:
    """Refuse playlists and other text, from their first bytes.

    Args:
        path: The file, for messages.
        head: Its first bytes.

    Raises:
        VideoError: It is text, or a list that would make FFmpeg open other files.
    """
    text = _as_text(head)
    if text is None or text.startswith("YUV4MPEG2"):
        return
    start = text.lstrip("\ufeff \t\r\n").lower()
    kind = next((kind for first, kind in _PLAYLISTS.items() if start.startswith(first)), None)
    if kind is None and start.startswith("<?xml") and "<mpd" in start:
        kind = "DASH"
    if kind is not None:
        raise VideoError(
            f"{path} is a playlist ({kind}), not a video.",
            "It only refers to other files; give the paths of those that are videos.",
        )
    raise VideoError(f"{path} is text, not a video.", "Give video files only.")


def _as_text(head: bytes) -> str | None:
    """The first bytes as text; None if they are not text."""
    utf16 = head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    decoder = codecs.getincrementaldecoder("utf-16" if utf16 else "utf-8")()
    try:
        text = decoder.decode(head)  # a character that is cut off at the end is no error
    except UnicodeDecodeError:
        # old encodings: what FFmpeg takes for a playlist has an ASCII beginning
        text = head.decode("latin-1")
        return text if any(_starts(text, first) for first in _PLAYLISTS) else None
    controls = any(c < " " and c not in _TEXT_CONTROLS for c in text)
    if controls and not any(_starts(text, first) for first in _PLAYLISTS):
        return None
    return text


def _starts(text: str, first: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").lower().startswith(first)


def unreadable(path: str, head: bytes, reason: str) -> VideoError:
    """The error for a file that FFmpeg cannot open; its first bytes decide the message."""
    if demuxer_of(head) == "mov":
        return VideoError(
            f"{path} is an MP4 or MOV file without a usable index (moov): it was cut short "
            f"or damaged ({reason}).",
            "Copy it again, or repair the recording (e.g. with untrunc).",
        )
    if head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return VideoError(f"{path} is a picture, not a video.", "Give video files only.")
    if head[:4] in (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV\x01"):
        return VideoError(
            f"{path} starts like a video but is damaged or cut short ({reason}).", "Copy it again."
        )
    return VideoError(
        f"{path} is not a video, or has a format that jadfer does not read ({reason}).",
        "Give video files only, or convert it, e.g. `ffmpeg -i INPUT OUTPUT.mp4`.",
    )
