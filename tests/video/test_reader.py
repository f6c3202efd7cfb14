"""Reading video: every frame asked for, in order, once, with the right picture."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import psutil
import pytest
from media import damage_packet, numbers_in, read_video, with_status

from jadfer_cli.errors import VideoError
from jadfer_cli.records import OK
from jadfer_cli.video import reader as reader_module
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

N = 30
FRAMES = media.numbered_frames(N)


FORMATS: list[tuple[str, str, dict[str, Any]]] = [
    ("clip.mp4", "libx264", {}),
    ("clip.mkv", "libx264", {}),
    ("clip.mov", "libx264", {"audio": True}),
    ("clip.avi", "libx264", {}),
    ("clip.ts", "libx264", {}),
    ("clip.mp4", "libx265", {}),
    ("clip.mkv", "libx265", {"pix_fmt": "yuv420p10le"}),
    ("clip.webm", "libvpx-vp9", {}),
    ("clip.mp4", "libsvtav1", {}),
    ("clip.avi", "mpeg4", {}),
    ("clip.mov", "mjpeg", {}),
    ("clip.mov", "prores_ks", {"pix_fmt": "yuv422p10le"}),
    ("clip.mp4", "libx264", {"fps": Fraction(30000, 1001)}),
    ("clip.mp4", "libx264", {"fps": Fraction(73, 10)}),
    ("clip.mkv", "libx264", {"pts": [500 + 40 * k + 13 * (k % 3) for k in range(N)]}),
]


@pytest.mark.parametrize(("name", "codec", "how"), FORMATS)
def test_every_picture_at_its_index(
    tmp_path: Path, name: str, codec: str, how: dict[str, Any]
) -> None:
    path = media.make_video(tmp_path / name, FRAMES, codec=codec, **how)
    frames, reader = read_video(path)
    assert [f.index for f in frames] == list(range(N))
    assert numbers_in(frames) == list(range(N))
    assert with_status(frames, OK) == list(range(N))
    assert reader.n_corrupt == reader.n_repeated == 0
    info = probe(str(path))
    assert [f.time_s for f in frames] == info.time_s.tolist()
    assert [f.duration_s for f in frames] == info.duration_s.tolist()
    by = "pyav" if name.endswith(".ts") else "decord"
    assert reader.decoders[0][0] == 0 and reader.decoders[0][1].startswith(by + " ")


def test_raw_streams_are_read_in_the_order_of_the_decoder(tmp_path: Path) -> None:
    clip = media.make_video(tmp_path / "clip.mp4", FRAMES)
    raw = media.run_ffmpeg("-i", str(clip), "-c", "copy", to=tmp_path / "clip.264")
    frames, _ = read_video(raw)
    assert numbers_in(frames) == list(range(N))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(("decoder", "indices"), [("decord", [0, 1, 2, 3]), ("pyav", [3])])
def test_pictures_are_rotated_for_display(
    tmp_path: Path, decoder: str, indices: list[int], rotation: int
) -> None:
    made = media.make_video(tmp_path / "made.mp4", media.numbered_frames(4, 128, 64))
    options = ["-display_rotation", str(-rotation)] if rotation else []
    path = media.run_ffmpeg(*options, "-i", str(made), "-c", "copy", to=tmp_path / "rotated.mp4")
    assert probe(str(path)).rotation_deg == rotation
    frames, reader = read_video(path, indices)  # PyAV reads sparse frames
    assert reader.decoders[0][1].startswith(decoder)
    for frame in frames:
        assert frame.image_rgb is not None
        assert frame.image_rgb.shape == ((128, 64, 3) if rotation % 180 else (64, 128, 3))
        upright = np.rot90(frame.image_rgb, rotation // 90)  # counterclockwise
        assert media.read_number(upright) == frame.index
        red = upright[2:12, 4:28].mean(axis=(0, 1))
        assert red[0] > 180 and red[1] < 80  # the marked corner, in RGB


def test_an_edit_list_hides_frames(tmp_path: Path) -> None:
    whole = media.make_video(tmp_path / "whole.mp4", FRAMES, gop=30)
    cut = media.run_ffmpeg("-ss", "0.4", "-i", str(whole), "-c", "copy", to=tmp_path / "cut.mp4")
    frames, reader = read_video(cut)
    assert numbers_in(frames) == list(range(10, N))
    assert reader.n_corrupt == 0


@pytest.mark.parametrize("indices", [[0], [N - 1], [3, 4, 5], [0, 7, 14, 21], list(range(1, N, 2))])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
def test_exactly_the_indices_asked_for(tmp_path: Path, name: str, indices: list[int]) -> None:
    path = media.make_video(tmp_path / name, FRAMES)
    frames, _ = read_video(path, indices)
    assert [f.index for f in frames] == indices
    assert numbers_in(frames) == indices


def test_indices_are_checked(tmp_path: Path) -> None:
    info = probe(str(media.make_video(tmp_path / "clip.mp4", FRAMES)))
    for wrong in ([3, 2], [1, 1], [-1, 2], [N]):
        with pytest.raises(ValueError, match="ascend within 0 to 29"):
            VideoReader(info, np.array(wrong, np.int64))
    with VideoReader(info, np.array([], np.int64)) as reader:
        assert list(reader) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_late_start_seeks_to_the_same_pictures(tmp_path: Path, name: str) -> None:
    many = [media.numbered_frame(k % 256, 64, 48) for k in range(420)]
    path = media.make_video(tmp_path / name, many, gop=50)
    frames, reader = read_video(path, [333, 334, 410])
    assert numbers_in(frames) == [333 % 256, 334 % 256, 410 % 256]
    assert reader.n_corrupt == 0


def test_reading_again_and_stopping_early(tmp_path: Path) -> None:
    info = probe(str(media.make_video(tmp_path / "clip.mp4", FRAMES)))
    with VideoReader(info, np.arange(N)) as reader:
        assert next(iter(reader)).index == 0
        assert numbers_in(list(reader)) == list(range(N))
        assert len(reader.decoders) == 1


def test_a_file_that_vanishes_is_a_video_error(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", FRAMES)
    info = probe(str(path))
    path.unlink()
    with VideoReader(info, np.arange(N)) as reader, pytest.raises(VideoError):
        list(reader)


# --- decord: when it must not be trusted ---


class _WrongStart:
    """A decord reader that skips the first four pictures, as it does in MPEG-TS."""

    def __init__(self, real: Any) -> None:
        self._real = real
        for _ in range(4):
            real.next()

    def next(self) -> Any:
        return self._real.next()


def test_pictures_that_differ_from_pyav_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.make_video(tmp_path / "clip.mp4", FRAMES)
    real = reader_module._open_decord
    monkeypatch.setattr(reader_module, "_open_decord", lambda p, t: _WrongStart(real(p, t)))
    frames, reader = read_video(path)
    assert numbers_in(frames) == list(range(N))
    assert [name.split()[0] for _, name in reader.decoders] == ["pyav"]
    assert "differs from PyAV's" in reader.warnings[0]


def test_pyav_reads_a_file_that_decord_cannot_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_open_decord", lambda p, t: None)
    frames, reader = read_video(media.make_video(tmp_path / "clip.mp4", FRAMES))
    assert numbers_in(frames) == list(range(N))
    assert reader.decoders[0][1].startswith("pyav")


def test_an_absurd_number_of_frames_does_not_reach_decord(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.avi", FRAMES, codec="mpeg4")
    content = path.read_bytes()
    # the field dwLength of the stream header is 32 bytes after the stream's type, "vids"
    at = content.index(b"vids") + 32
    assert int.from_bytes(content[at : at + 4], "little") == N
    hurt = media.damage(path, tmp_path / "hurt.avi", at, b"\xf0\xff\xff\x7f")
    frames, reader = read_video(hurt)  # decord would crash the process
    assert len(frames) == N and reader.decoders[0][1].startswith("pyav")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    frame = media.numbered_frame(9, 640, 360)
    path = media.make_video(tmp_path / "clip.mp4", [frame] * 400, gop=50)
    info = probe(str(path))
    process, seen = psutil.Process(), []
    with VideoReader(info, np.arange(info.n_frames)) as reader:
        seen = [process.memory_info().rss for _ in reader]
    assert [name.split()[0] for _, name in reader.decoders] == ["pyav"]
    assert max(seen) - seen[40] < 60 * 640 * 360 * 3  # of 400 pictures


# --- from outside ---


@pytest.mark.slow
def test_nothing_reaches_stderr_and_nothing_is_imported_early(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", FRAMES, gop=10)
    hurt = damage_packet(path, tmp_path / "hurt.mp4", 10, np.random.default_rng(3).bytes(4000))
    code = (
        "import sys, numpy as np\n"
        "from jadfer_cli.video.timeline import probe\n"
        "from jadfer_cli.video.reader import VideoReader\n"
        "assert not {'av', 'decord', 'torch'} & set(sys.modules)\n"
        f"info = probe({str(hurt)!r})\n"
        "print(sum(1 for _ in VideoReader(info, np.arange(info.n_frames))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("30\n", "", 0)


# --- the developers' clips ---


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "asl_thanks.mkv",
        "asl_yes.mkv",
        "carphone.mp4",
        "face_noface.mov",
        "no_face.mp4",
        "pexels_sad_to_joy.mp4",
        "single_face.mp4",
        "two_faces_speech.mp4",
    ],
)
def test_pictures_of_real_clips_equal_those_of_pyav(
    shared: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """decord at any length, so that its pictures and its failures are compared in all clips."""
    monkeypatch.setattr(reader_module, "_DECORD_BYTES", 1 << 40)
    path = shared / "clips" / name
    info = probe(str(path))
    with av.open(str(path)) as opened, VideoReader(info, np.arange(info.n_frames)) as reader:
        for expected, frame in zip(opened.decode(video=0), reader, strict=True):
            assert expected.pts == info.pts[frame.index]
            assert frame.status == OK and frame.image_rgb is not None
            difference = np.abs(
                frame.image_rgb.astype(np.int16) - expected.to_ndarray(format="rgb24")
            )
            assert difference.mean() < 0.5
    assert reader.decoders[0][1].startswith("decord")
    if name == "face_noface.mov":
        assert len(reader.decoders) == 2 and reader.decoders[1][1].startswith("pyav")


@pytest.mark.data
def test_short_real_clips_are_read_by_decord_and_long_ones_in_bounded_memory(shared: Path) -> None:
    for name, decoder in (("single_face.mp4", "decord"), ("pexels_sad_to_joy.mp4", "pyav")):
        info = probe(str(shared / "clips" / name))
        with VideoReader(info, np.arange(info.n_frames)) as reader:
            first = next(iter(reader))
        assert first.status == OK
        assert reader.decoders[0][1].startswith(decoder)


def test_the_decoder_can_be_chosen(shared: Path) -> None:
    def by(name: str, decoder: str) -> tuple[list[str], list[str]]:
        info = probe(str(shared / "clips" / name))
        with VideoReader(info, np.arange(min(info.n_frames, 40)), 1, 0, decoder) as reader:
            assert all(frame.image_rgb is not None for frame in reader)
        return [name.split()[0] for _, name in reader.decoders], reader.warnings

    assert by("single_face.mp4", "auto") == (["decord"], [])
    assert by("single_face.mp4", "pyav") == (["pyav"], [])
    assert by("pexels_sad_to_joy.mp4", "decord") == (["decord"], [])  # auto: too long
    decoders, (warning,) = by("grid_bbaf2n.mpg", "decord")  # no index
    assert decoders == ["pyav"]
    assert "decord does not read this file exactly" in warning
