"""Files that would make FFmpeg open others are refused before it opens anything."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import media
import numpy as np
import pytest

from jadfer_cli.errors import VideoError
from jadfer_cli.video import edits, kinds
from jadfer_cli.video.rotation import rotated, rotation_of_matrix
from jadfer_cli.video.timeline import probe

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "demo.mp4"
LISTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n",
    "bom.m3u": "\ufeff#EXTM3U\n{other}\n",
    "list.txt": "ffconcat version 1.0\nfile {other}\n",
    "sub.idx": "# VobSub index file, v7\nsize: 720x480\nid: en, index: 0\n",
    "live.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n",
    "dash.mpd": '<?xml version="1.0"?>\n<MPD type="static"><BaseURL>{other}</BaseURL></MPD>',
    "win.asx": '<asx version="3.0"><entry><ref href="{other}"/></entry></asx>',
    "win.pls": "[playlist]\nFile1={other}\n",
}
# Reports every file that Python or FFmpeg opens in the folder; a FIFO there would block.
TRACED = """
import sys
from jadfer_cli.video.timeline import probe
try:
    print(probe(sys.argv[1]).n_frames)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_other_files(tmp_path, name):
    """The other file is a pipe: opening it would take for ever."""
    os.mkfifo(tmp_path / "other.mp4")
    os.mkfifo(tmp_path / "sub.sub")
    (tmp_path / name).write_text(LISTS[name].format(other="other.mp4"), encoding="utf-8")
    with pytest.raises(VideoError, match=r"is a playlist \(.*\), not a video"):
        probe(str(tmp_path / name))


def test_a_movie_with_its_pictures_elsewhere(tmp_path):
    """A MOV file may keep its pictures in another one (dref); that one is not opened."""
    data = bytearray(DEMO.read_bytes())
    at = data.index(b"url \x00\x00\x00\x01")
    data[at + 7] = 0  # "in this file" no more
    (tmp_path / "ref.mov").write_bytes(data)
    os.mkfifo(tmp_path / "other.mp4")
    probe(str(tmp_path / "ref.mov"))


def test_a_name_with_a_pattern_is_one_file(tmp_path):
    """FFmpeg would take it for numbered pictures and open img1.jpg."""
    shutil.copy(DEMO, tmp_path / "img%d.jpg")
    os.mkfifo(tmp_path / "img1.jpg")
    assert probe(str(tmp_path / "img%d.jpg")).n_frames == 225


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("name", ["hls.m3u8", "list.txt", "sub.idx", "img%d.jpg", "demo.mp4"])
def test_no_other_file_and_no_socket_is_opened(tmp_path, name):
    shutil.copy(DEMO, tmp_path / "other.mp4")
    shutil.copy(DEMO, tmp_path / "img1.jpg")
    (tmp_path / "sub.sub").write_bytes(bytes(100))
    if name in LISTS:
        (tmp_path / name).write_text(LISTS[name].format(other="other.mp4"))
    else:
        shutil.copy(DEMO, tmp_path / name)
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-o", str(trace), "-e", "trace=open,openat,socket,connect",
               sys.executable, "-c", TRACED, name]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    calls = trace.read_text().splitlines()
    assert any(f'{name}"' in call for call in calls)
    assert not any("socket(" in call or "connect(" in call for call in calls)
    others = {"other.mp4", "img1.jpg", "sub.sub"} - {name}
    assert not [call for call in calls for other in others if f'{other}"' in call]


@pytest.mark.parametrize(
    ("head", "is_text"),
    [
        (b"hello\n", True),
        ("Gru\u00df\n".encode(), True),
        ("hello".encode("utf-16"), True),
        (b"\x1b[31mred", True),
        (b"YUV4MPEG2 W64 H48\nFRAME\n", False),
        (b"\x00\x00\x00\x18ftypmp42", False),
        (b"\x47\x40\x11\x10\x00", False),
        (bytes(4096), False),
    ],
)
def test_what_counts_as_text(head, is_text):
    try:
        kinds.refuse_text("x", head)
    except VideoError as error:
        assert is_text and "is text" in error.message
    else:
        assert not is_text


def test_a_character_cut_off_at_the_end_of_the_head_is_no_error():
    with pytest.raises(VideoError, match="is text"):
        kinds.refuse_text("x", "é".encode() * 10 + "é".encode()[:1])


def boxes(*content):
    """An MP4 box: its kind, then bytes."""
    kind, *rest = content
    body = b"".join(rest)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def edit_list(n):
    return boxes(b"elst", struct.pack(">II", 0, n), struct.pack(">IiI", 1, 0, 1 << 16) * n)


def test_an_endless_edit_list_is_refused_unread(tmp_path):
    def movie(n):
        trak = boxes(b"trak", boxes(b"edts", edit_list(n)))
        path = tmp_path / f"{n}.mp4"
        path.write_bytes(boxes(b"ftyp", b"isom") + boxes(b"mdat", bytes(99)) + boxes(b"moov", trak))
        return str(path)

    edits.refuse_long_edit_list(movie(1000))
    with pytest.raises(VideoError, match=r"300,000 entries; at most 1,000 are read"):
        probe(movie(300_000))


def with_edit_list(data, new):
    """A video with another edit list instead of its own; the boxes around it grow."""
    at = data.index(b"elst") - 4
    old = int.from_bytes(data[at : at + 4], "big")
    data = data[:at] + new + data[at + old :]
    for kind in (b"moov", b"trak", b"edts"):
        at = data.index(kind) - 4
        size = int.from_bytes(data[at : at + 4], "big") + len(new) - old
        data = data[:at] + struct.pack(">I", size) + data[at + 4 :]
    return data


@pytest.mark.parametrize(("n_edits", "n_frames"), [(3, 30), (1000, None)])
def test_an_edit_list_may_repeat_a_video_but_not_without_end(tmp_path, n_edits, n_frames):
    """Each entry shows ten frames again: with 1,000 entries, a short clip would take minutes."""
    clip = media.make_video(tmp_path / "clip.mp4", media.numbered_frames(12))
    new = boxes(
        b"elst", struct.pack(">II", 0, n_edits), struct.pack(">IiI", 480, 0, 1 << 16) * n_edits
    )
    path = tmp_path / "again.mp4"
    path.write_bytes(with_edit_list(clip.read_bytes(), new))
    if n_frames:
        assert probe(str(path)).n_frames == n_frames
    else:
        with pytest.raises(VideoError, match="over and over: its packets are more than 20 times"):
            probe(str(path))


@pytest.mark.parametrize("inside", [b"edts", b"mdia", b"udta", b"traf"])
def test_an_edit_list_is_found_wherever_ffmpeg_finds_it(tmp_path, inside):
    """Also behind 10,001 empty boxes, and in boxes where the standard has none."""
    path = tmp_path / "hidden.mp4"
    movie = boxes(b"moov", boxes(b"trak", boxes(inside, edit_list(2000))))
    path.write_bytes(boxes(b"ftyp", b"isom") + boxes(b"free") * 10_001 + movie)
    with pytest.raises(VideoError, match=r"2,000 entries"):
        edits.refuse_long_edit_list(str(path))


def test_a_file_with_too_many_boxes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(edits, "_MAX_BOXES", 100)
    path = tmp_path / "many.mp4"
    path.write_bytes(boxes(b"free") * 100)
    edits.refuse_long_edit_list(str(path))
    path.write_bytes(boxes(b"free") * 101)
    with pytest.raises(VideoError, match="more than 100 boxes"):
        edits.refuse_long_edit_list(str(path))


def test_damaged_boxes_end_the_search(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 4000, np.uint8).tobytes()
    for i, data in enumerate((noise, b"\0\0\0\x08moov" * 500, struct.pack(">I4sQ", 1, b"moov", 3))):
        (tmp_path / f"{i}.mp4").write_bytes(data)
        edits.refuse_long_edit_list(str(tmp_path / f"{i}.mp4"))


def matrix(a, b, c, d):
    return np.array([a, b, 0, c, d, 0, 0, 0, 1 << 14], np.int32).tobytes()


@pytest.mark.parametrize(
    ("numbers", "clockwise", "warning"),
    [
        ((1, 0, 0, 1), 0, None),
        ((0, 1, -1, 0), 90, None),
        ((-1, 0, 0, -1), 180, None),
        ((0, -1, 1, 0), 270, None),
        ((0, 0, 0, 0), 0, "is invalid"),
        ((1, 1, 1, 1), 0, "is invalid"),
        ((-1, 0, 0, 1), 0, "mirrored"),  # FFmpeg's own rotation is 180: upside down
        ((1, 0, 0, -1), 180, "mirrored"),
        ((1, 1, -1, 1), 0, "45 degrees"),
    ],
)
def test_display_matrices(numbers, clockwise, warning):
    found, as_stated, warnings = rotation_of_matrix(matrix(*(65536 * n for n in numbers)))
    assert found == clockwise and as_stated == (warning is None)
    assert (warning or "") in " ".join(warnings) and len(warnings) == (warning is not None)


def test_a_rotation_that_the_user_gives(tmp_path):
    info = probe(str(media.make_video(tmp_path / "a.mp4", media.numbered_frames(4))))
    turned = rotated(info, 90)
    assert (turned.width_px, turned.height_px) == (info.height_px, info.width_px)
    assert turned.rotation_deg == 90 and turned.rotation_overridden
    assert rotated(turned, 0).width_px == info.width_px and rotated(info, None) is info
