"""The pictures: the right one at every index, in order, once; and what is said of damage."""

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

from jadfer_cli.errors import VideoError
from jadfer_cli.records import CORRUPT, OK, REPEATED, Frame
from jadfer_cli.video import reader as reader_module
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

N = 30
FRAMES = media.numbered_frames(N)


def read(path: Path, indices: Any = None) -> tuple[list[Frame], VideoReader]:
    info = probe(str(path))
    wanted = np.arange(info.n_frames) if indices is None else np.array(indices, np.int64)
    with VideoReader(info, wanted) as reader:
        return list(reader), reader


def numbers(frames: list[Frame]) -> list[int | None]:
    return [None if f.image_rgb is None else media.read_number(f.image_rgb) for f in frames]


def statuses(frames: list[Frame], status: int) -> list[int]:
    return [f.index for f in frames if f.status == status]


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
    frames, reader = read(path)
    assert [f.index for f in frames] == list(range(N))
    assert numbers(frames) == list(range(N))
    assert statuses(frames, OK) == list(range(N))
    assert reader.n_corrupt == reader.n_repeated == 0
    info = probe(str(path))
    assert [f.time_s for f in frames] == info.time_s.tolist()
    assert [f.duration_s for f in frames] == info.duration_s.tolist()
    by = "pyav" if name.endswith(".ts") else "decord"
    assert reader.decoders[0][0] == 0 and reader.decoders[0][1].startswith(by + " ")


def test_raw_streams_are_read_in_decoder_order(tmp_path: Path) -> None:
    clip = media.make_video(tmp_path / "clip.mp4", FRAMES)
    frames, _ = read(media.run_ffmpeg("-i", str(clip), "-c", "copy", to=tmp_path / "clip.264"))
    assert numbers(frames) == list(range(N))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])  # decord turns the one, we the other
def test_pictures_are_turned_as_displayed(tmp_path: Path, name: str, rotation: int) -> None:
    made = media.make_video(tmp_path / "made.mp4", media.numbered_frames(4, 128, 64))
    turn = ["-display_rotation", str(-rotation)] if rotation else []
    path = media.run_ffmpeg(*turn, "-i", str(made), "-c", "copy", to=tmp_path / "turned.mp4")
    info = probe(str(path))
    assert info.rotation_deg == rotation
    wanted = np.arange(2, 4) if name.endswith("ts") else np.arange(4)
    with VideoReader(info, wanted) as reader:
        if name.endswith("ts"):
            reader._suits_decord = lambda first, last: False  # type: ignore[method-assign]
        frames = list(reader)
    assert reader.decoders[0][1].startswith("pyav" if name.endswith("ts") else "decord")
    for frame in frames:
        assert frame.image_rgb is not None
        assert frame.image_rgb.shape == ((128, 64, 3) if rotation % 180 else (64, 128, 3))
        upright = np.rot90(frame.image_rgb, rotation // 90)  # counterclockwise: turns it back
        assert media.read_number(upright) == frame.index
        red = upright[2:12, 4:28].mean(axis=(0, 1))
        assert red[0] > 180 and red[1] < 80  # RGB, and the corner where it was drawn


def test_an_edit_list_shows_what_it_leaves(tmp_path: Path) -> None:
    whole = media.make_video(tmp_path / "whole.mp4", FRAMES, gop=30)
    cut = media.run_ffmpeg("-ss", "0.4", "-i", str(whole), "-c", "copy", to=tmp_path / "cut.mp4")
    frames, reader = read(cut)
    assert numbers(frames) == list(range(10, N))
    assert reader.n_corrupt == 0


@pytest.mark.parametrize("indices", [[0], [N - 1], [3, 4, 5], [0, 7, 14, 21], list(range(1, N, 2))])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
def test_exactly_the_indices_asked_for(tmp_path: Path, name: str, indices: list[int]) -> None:
    path = media.make_video(tmp_path / name, FRAMES)
    frames, _ = read(path, indices)
    assert [f.index for f in frames] == indices
    assert numbers(frames) == indices


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
    frames, reader = read(path, [333, 334, 410])
    assert numbers(frames) == [333 % 256, 334 % 256, 410 % 256]
    assert reader.n_corrupt == 0


def test_reading_again_and_stopping_early(tmp_path: Path) -> None:
    info = probe(str(media.make_video(tmp_path / "clip.mp4", FRAMES)))
    with VideoReader(info, np.arange(N)) as reader:
        assert next(iter(reader)).index == 0
        assert numbers(list(reader)) == list(range(N))
        assert len(reader.decoders) == 1


def test_a_file_that_vanishes_is_a_video_error(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", FRAMES)
    info = probe(str(path))
    path.unlink()
    with VideoReader(info, np.arange(N)) as reader, pytest.raises(VideoError):
        list(reader)


# --- status ---


def test_a_long_still_is_only_ok(tmp_path: Path) -> None:
    still = [media.numbered_frame(5)] * 150
    for name, codec in (("a.mp4", "libx264"), ("b.webm", "libvpx-vp9"), ("c.mp4", "libsvtav1")):
        frames, reader = read(media.make_video(tmp_path / name, still, codec=codec, gop=250))
        assert statuses(frames, OK) == list(range(150))
        assert reader.warnings == []


def hit(path: Path, number: int, to: Path, data: bytes, skip: int = 12) -> Path:
    """Damage the packet of the frame shown as `number`, behind its first `skip` bytes."""
    info = probe(str(path))
    spans = {pts: (offset, size) for offset, size, pts in media.packet_spans(path)}
    offset, size = spans[int(info.pts[number])]
    return media.damage(path, to, offset + skip, data[: size - skip - 2])


NOISE = np.random.default_rng(3).integers(0, 256, 4000, np.uint8).tobytes()


@pytest.mark.parametrize(
    ("name", "codec", "data"),
    [
        ("clip.mp4", "libx264", bytes(300)),
        ("clip.mp4", "libx264", NOISE),
        ("clip.mkv", "libx264", NOISE[:300]),
        ("clip.mp4", "libx265", bytes(300)),
        ("clip.webm", "libvpx-vp9", bytes(300)),
        ("clip.mp4", "libsvtav1", NOISE[:300]),
        ("clip.avi", "mpeg4", NOISE[:300]),
    ],
)
def test_a_damaged_key_frame_says_where(tmp_path: Path, name: str, codec: str, data: bytes) -> None:
    options = {"bf": "0"} if codec == "mpeg4" else None
    path = media.make_video(tmp_path / name, FRAMES, codec=codec, gop=10, options=options)
    with av.open(str(path)) as opened:
        keys = [k for k, f in enumerate(opened.decode(video=0)) if f.key_frame]
    target, after = keys[1], keys[2]
    frames, reader = read(hit(path, target, tmp_path / f"hurt{path.suffix}", data))
    hurt = statuses(frames, CORRUPT)
    assert [f.index for f in frames] == list(range(N))
    # The damage reaches B-frames shown before it, and everything up to the next key frame.
    assert hurt and hurt[0] >= target - 2 and hurt[-1] < after
    assert target in hurt
    assert reader.n_corrupt == len(hurt)
    fine = [f for f in frames if f.status == OK]
    assert numbers(fine) == [f.index for f in fine]  # what is called ok shows the right picture
    assert any("PyAV took over from decord" in w for w in reader.warnings)


def test_one_flipped_bit_inside_a_slice_is_found(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", FRAMES, gop=10)
    clean, _ = read(path)
    offset, size, _ = next(s for s in media.packet_spans(path) if s[2] == probe(str(path)).pts[10])
    found = changed = 0
    for at in range(offset + size // 3, offset + size - 4, max(size // 14, 1)):
        byte = path.read_bytes()[at] ^ 0x10
        frames, _ = read(media.damage(path, tmp_path / "hurt.mp4", at, bytes([byte])))
        wrong = [
            c.index
            for c, f in zip(clean, frames, strict=True)
            if f.image_rgb is None
            or np.abs(f.image_rgb.astype(int) - np.asarray(c.image_rgb)).mean() > 1
        ]
        changed += bool(wrong)
        found += bool(wrong) and bool(set(wrong) <= set(statuses(frames, CORRUPT)))
        assert set(statuses(frames, CORRUPT)) <= set(range(8, 20))
    assert changed >= 5
    assert found >= 0.5 * changed  # the entropy decoder may find its way back


def test_a_time_without_a_picture_is_repeated(tmp_path: Path) -> None:
    """An H.264 sample of filler data only: the container shows a time, but no new picture."""
    path = media.make_video(tmp_path / "clip.mp4", FRAMES, options={"x264-params": "bframes=0"})
    with av.open(str(path)) as source, av.open(str(tmp_path / "gap.mp4"), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for k, packet in enumerate(source.demux(stream)):
            if not packet.size:
                continue
            if k == 17:
                filler = av.Packet(b"\x00\x00\x00\x04\x0c\xff\xff\x80")
                filler.pts, filler.dts, filler.duration = packet.pts, packet.dts, packet.duration
                filler.time_base = packet.time_base
                packet = filler
            packet.stream = copy
            out.mux(packet)
    frames, reader = read(tmp_path / "gap.mp4")
    assert statuses(frames, REPEATED) == [17]
    assert reader.n_repeated == 1
    repeated, before = frames[17].image_rgb, frames[16].image_rgb
    assert repeated is not None and before is not None and (repeated == before).all()


# --- decord: where it is not to be trusted ---


class _Lying:
    """A decord reader that gives the pictures from the fourth on, as it does in MPEG-TS."""

    def __init__(self, real: Any) -> None:
        self._real = real
        for _ in range(4):
            real.next()

    def next(self) -> Any:
        return self._real.next()


def test_pictures_that_differ_from_pyav_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.make_video(tmp_path / "clip.mp4", FRAMES)
    honest = reader_module._open_decord
    monkeypatch.setattr(reader_module, "_open_decord", lambda p, t: _Lying(honest(p, t)))
    frames, reader = read(path)
    assert numbers(frames) == list(range(N))
    assert [name.split()[0] for _, name in reader.decoders] == ["pyav"]
    assert "differs from PyAV's" in reader.warnings[0]


def test_a_refusing_decord_leaves_the_file_to_pyav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_open_decord", lambda p, t: None)
    frames, reader = read(media.make_video(tmp_path / "clip.mp4", FRAMES))
    assert numbers(frames) == list(range(N))
    assert reader.decoders[0][1].startswith("pyav")


def test_an_absurd_number_of_frames_does_not_reach_decord(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.avi", FRAMES, codec="mpeg4")
    content = path.read_bytes()
    # dwLength of the stream header lies 32 bytes behind the stream's type, "vids"
    at = content.index(b"vids") + 32
    assert int.from_bytes(content[at : at + 4], "little") == N
    hurt = media.damage(path, tmp_path / "hurt.avi", at, b"\xf0\xff\xff\x7f")
    frames, reader = read(hurt)  # decord would end the process here
    assert len(frames) == N and reader.decoders[0][1].startswith("pyav")


def test_memory_is_bounded_by_size_not_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_DECORD_BYTES", 20 * 640 * 360 * 3)
    frame = media.numbered_frame(9, 640, 360)
    path = media.make_video(tmp_path / "clip.mp4", [frame] * 400, gop=50)
    info = probe(str(path))
    process, seen = psutil.Process(), []
    with VideoReader(info, np.arange(info.n_frames)) as reader:
        seen = [process.memory_info().rss for _ in reader]
    assert [name.split()[0] for _, name in reader.decoders] == ["pyav"]
    assert max(seen) - seen[40] < 60 * 640 * 360 * 3  # of 400 pictures


# --- mutated files ---


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("b.mkv", "libx265"),
        ("c.webm", "libvpx-vp9"),
        ("d.avi", "mpeg4"),
        ("e.ts", "libx264"),
    ],
)
def test_mutated_files_give_frames_or_a_video_error(tmp_path: Path, name: str, codec: str) -> None:
    path = media.make_video(tmp_path / name, media.numbered_frames(12, 64, 48), codec=codec)
    whole, rng = path.read_bytes(), np.random.default_rng(len(name) + ord(name[0]))
    outcomes = set()
    for round_ in range(24):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), rng.integers(1, 20)):
            content[at] ^= 1 << rng.integers(8)
        if round_ % 3 == 0:
            content = content[: rng.integers(1, len(content))]
        path.write_bytes(content)
        try:
            info = probe(str(path))
            wanted = np.arange(min(info.n_frames, 20))
            with VideoReader(info, wanted) as reader:
                assert [f.index for f in reader] == wanted.tolist()
            outcomes.add("frames")
        except VideoError as error:
            assert str(path) in error.message and error.hint
            outcomes.add("error")
    assert "frames" in outcomes


# --- from outside ---


def test_nothing_reaches_stderr_and_nothing_is_imported_early(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", FRAMES, gop=10)
    hurt = hit(path, 10, tmp_path / "hurt.mp4", NOISE)
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
def test_pictures_of_real_clips_are_those_of_pyav(
    shared: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With decord at any length, so that its pictures and its failures are seen on all."""
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
