"""Damaged videos: which frames are reported as corrupt or repeated, and that reading goes on."""

from pathlib import Path

import av
import media
import numpy as np
import pytest
from media import damage_packet, numbers_in, read_video, with_status

from jadfer_cli.errors import VideoError
from jadfer_cli.records import CORRUPT, OK, REPEATED
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

N = 30
FRAMES = media.numbered_frames(N)


def test_a_long_still_picture_is_ok(tmp_path: Path) -> None:
    still = [media.numbered_frame(5)] * 150
    for name, codec in (("a.mp4", "libx264"), ("b.webm", "libvpx-vp9"), ("c.mp4", "libsvtav1")):
        frames, reader = read_video(media.make_video(tmp_path / name, still, codec=codec, gop=250))
        assert with_status(frames, OK) == list(range(150))
        assert reader.warnings == []


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
def test_damage_to_a_key_frame_is_located(
    tmp_path: Path, name: str, codec: str, data: bytes
) -> None:
    options = {"bf": "0"} if codec == "mpeg4" else None
    path = media.make_video(tmp_path / name, FRAMES, codec=codec, gop=10, options=options)
    with av.open(str(path)) as opened:
        keys = [k for k, f in enumerate(opened.decode(video=0)) if f.key_frame]
    target, after = keys[1], keys[2]
    frames, reader = read_video(damage_packet(path, tmp_path / f"hurt{path.suffix}", target, data))
    hurt = with_status(frames, CORRUPT)
    assert [f.index for f in frames] == list(range(N))
    # damage reaches B-frames shown before the key frame, and all frames up to the next one
    assert hurt and hurt[0] >= target - 2 and hurt[-1] < after
    assert target in hurt
    assert reader.n_corrupt == len(hurt)
    fine = [f for f in frames if f.status == OK]  # these show the right picture
    assert numbers_in(fine) == [f.index for f in fine]
    assert any("PyAV took over from decord" in w for w in reader.warnings)


def test_a_flipped_bit_inside_a_slice_is_often_found(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", FRAMES, gop=10)
    clean, _ = read_video(path)
    offset, size, _ = next(s for s in media.packet_spans(path) if s[2] == probe(str(path)).pts[10])
    found = changed = 0
    for at in range(offset + size // 3, offset + size - 4, max(size // 14, 1)):
        byte = path.read_bytes()[at] ^ 0x10
        frames, _ = read_video(media.damage(path, tmp_path / "hurt.mp4", at, bytes([byte])))
        wrong = [
            c.index
            for c, f in zip(clean, frames, strict=True)
            if f.image_rgb is None
            or np.abs(f.image_rgb.astype(int) - np.asarray(c.image_rgb)).mean() > 1
        ]
        changed += bool(wrong)
        found += bool(wrong) and bool(set(wrong) <= set(with_status(frames, CORRUPT)))
        assert set(with_status(frames, CORRUPT)) <= set(range(8, 20))
    assert changed >= 5
    assert found >= 0.5 * changed  # the entropy decoder may resynchronise


def test_a_time_stamp_without_a_picture_is_repeated(tmp_path: Path) -> None:
    """H.264 filler data: the container lists a time stamp, but there is no new picture."""
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
    frames, reader = read_video(tmp_path / "gap.mp4")
    assert with_status(frames, REPEATED) == [17]
    assert reader.n_repeated == 1
    repeated, before = frames[17].image_rgb, frames[16].image_rgb
    assert repeated is not None and before is not None and (repeated == before).all()


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
