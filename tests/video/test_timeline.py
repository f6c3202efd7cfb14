"""The times of all shown frames, and the files that are refused."""

import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest

from jadfer_cli.errors import VideoError
from jadfer_cli.video import container
from jadfer_cli.video.timeline import probe

FRAMES = media.numbered_frames(12, 64, 48)


def make(folder: Path, name: str = "clip.mp4", **how: object) -> Path:
    return media.make_video(folder / name, FRAMES, **how)  # type: ignore[arg-type]


# --- times ---


@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001), Fraction(73, 10)])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.ts", "clip.avi"])
def test_constant_rates(tmp_path: Path, name: str, fps: Fraction) -> None:
    seen = probe(str(make(tmp_path, name, fps=fps)))
    expected = np.arange(12) / float(fps)
    # Matroska rounds each time stamp to milliseconds, MPEG-TS to 1/90000 s; errors do not add up
    assert np.abs(seen.time_s - expected).max() < 0.00101
    assert np.abs(seen.duration_s - 1 / float(fps)).max() < 0.00201
    assert seen.time_s[0] == 0.0 and seen.n_frames == seen.n_packets == 12
    assert seen.nominal_fps == pytest.approx(float(fps), rel=0.02)


def test_variable_rate_and_late_start_in_matroska(tmp_path: Path) -> None:
    stamps = [500, 540, 600, 610, 700, 900, 901, 950, 1000, 1500, 1600, 1610]
    seen = probe(str(make(tmp_path, "clip.mkv", pts=stamps)))
    assert seen.start_offset_s == pytest.approx(0.5, abs=1e-9)
    assert seen.time_s == pytest.approx((np.array(stamps) - 500) / 1000, abs=1e-9)
    assert seen.duration_s[:-1] == pytest.approx(np.diff(stamps) / 1000, abs=1e-9)
    assert seen.duration_s[-1] > 0
    assert seen.pts[0] * seen.time_base_s == pytest.approx(0.5)
    assert seen.stamped


def test_an_edit_list_hides_frames(tmp_path: Path) -> None:
    whole = make(tmp_path, "whole.mp4", gop=12)
    # A cut at 0.2 s without encoding keeps the frames from the key frame on, and hides them with an
    # edit list.
    cut = media.run_ffmpeg("-ss", "0.2", "-i", str(whole), "-c", "copy", to=tmp_path / "cut.mp4")
    seen = probe(str(cut))
    assert (seen.n_frames, seen.n_packets) == (7, 12)
    assert seen.time_s == pytest.approx(np.arange(7) / 25, abs=1e-9)


def test_raw_streams_use_the_stated_rate(tmp_path: Path) -> None:
    raw = media.run_ffmpeg("-i", str(make(tmp_path)), "-c", "copy", to=tmp_path / "clip.264")
    seen = probe(str(raw))
    assert not seen.stamped
    assert seen.time_s == pytest.approx(np.arange(12) / 25, abs=1e-6)
    assert "have no time stamps" in " ".join(seen.warnings)


def test_time_stamps_in_decoding_order_do_not_identify_pictures(tmp_path: Path) -> None:
    assert not probe(str(make(tmp_path, "clip.avi"))).stamped  # H.264 with B-frames in AVI
    assert probe(str(make(tmp_path, "clip.mp4"))).stamped


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_swaps_the_displayed_size(tmp_path: Path, rotation: int) -> None:
    seen = probe(str(make(tmp_path, rotation=rotation)))
    assert seen.rotation_deg == rotation
    assert (seen.width_px, seen.height_px) == ((48, 64) if rotation % 180 else (64, 48))


def test_a_single_frame(tmp_path: Path) -> None:
    seen = probe(str(media.make_video(tmp_path / "one.mp4", FRAMES[:1], fps=10)))
    assert seen.time_s.tolist() == [0.0]
    assert seen.duration_s == pytest.approx([0.1], abs=1e-3)


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    media.make_video(tmp_path / "cover.mjpeg", [media.numbered_frame(3, 320, 240)], codec="mjpeg")
    clip = make(tmp_path, "plain.mp4")
    both = media.run_ffmpeg(
        *("-i", str(tmp_path / "cover.mjpeg"), "-i", str(clip), "-map", "0", "-map", "1"),
        *("-c", "copy", "-disposition:v:0", "attached_pic"),
        to=tmp_path / "both.mp4",
    )
    seen = probe(str(both))
    assert (seen.codec, seen.width_px, seen.n_frames) == ("h264", 64, 12)


def test_the_default_stream_of_several_is_the_video(tmp_path: Path) -> None:
    small = make(tmp_path, "small.mkv")
    large = media.make_video(tmp_path / "large.mkv", media.numbered_frames(5, 128, 96))
    both = media.run_ffmpeg(
        *("-i", str(small), "-i", str(large), "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:0", "0", "-disposition:v:1", "default"),
        to=tmp_path / "both.mkv",
    )
    assert probe(str(both)).width_px == 128


def test_names_that_look_like_protocols_are_files(tmp_path: Path) -> None:
    for name in ("2024-01-01T12:30:00.mp4", "concat:a.mp4", "frame%03d.mp4", "Gesicht ü.mp4"):
        shutil.copy(make(tmp_path), tmp_path / name)
        assert probe(str(tmp_path / name)).n_frames == 12


# --- files that are refused ---


def refusal(path: Path) -> str:
    with pytest.raises(VideoError) as caught:
        probe(str(path))
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value.message


def test_missing(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.mp4")
    assert "does not exist" in refusal(make(tmp_path) / "inside.mp4")


def test_directory(tmp_path: Path) -> None:
    folder = tmp_path / "my clips"
    folder.mkdir()
    for path in (str(folder), f"{folder}/"):
        with pytest.raises(VideoError) as caught:
            probe(path)
        assert caught.value.message == f"{path} is a folder, not a video."
        assert "jadfer annotate" in caught.value.hint


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path / "empty.mp4")


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make(tmp_path)
    clip.chmod(0)
    if os.access(clip, os.R_OK):  # root can read everything

        def denied(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(container.Path, "open", denied)
    assert "permission denied" in refusal(clip)


def test_devices_and_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "a device or a pipe" in refusal(tmp_path / "pipe.mp4")  # without waiting for data
    assert "a device or a pipe" in refusal(Path("/dev/null"))


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "garbage.mp4", "garbage.mkv"])
def test_text_and_garbage(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, 5000, np.uint8).tobytes()
    (tmp_path / name).write_bytes(b"hello world\n" * 99 if "notes" in name else noise)
    message = refusal(tmp_path / name)
    assert "not a video" in message


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "still.mp4"])
def test_pictures(tmp_path: Path, name: str) -> None:
    media.make_video(tmp_path / "one.mp4", FRAMES[:1])
    suffix = "still.png" if name == "still.mp4" else name
    media.run_ffmpeg("-i", str(tmp_path / "one.mp4"), "-frames:v", "1", to=tmp_path / suffix)
    (tmp_path / suffix).rename(tmp_path / name)
    assert "is a picture, not a video" in refusal(tmp_path / name)


def test_playlists_open_no_other_file(tmp_path: Path) -> None:
    clip = make(tmp_path, "clip.ts")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n")
    message = refusal(playlist)
    assert "is a playlist" in message or "not a video" in message


def test_truncated_mp4(tmp_path: Path) -> None:
    whole = make(tmp_path).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # the index is at the end
    assert "cut short" in refusal(tmp_path / "cut.mp4")


def test_truncated_matroska_gives_the_remaining_frames(tmp_path: Path) -> None:
    whole = make(tmp_path, "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 9 // 10])
    seen = probe(str(tmp_path / "cut.mkv"))
    assert 1 <= seen.n_frames < 12
    (tmp_path / "head.mkv").write_bytes(whole[:60])
    assert "damaged or cut short" in refusal(tmp_path / "head.mkv")


def test_a_warning_for_a_fast_start_mp4_that_ends_early(tmp_path: Path) -> None:
    whole = media.run_ffmpeg(
        "-i", str(make(tmp_path)), "-c", "copy", "-movflags", "+faststart", to=tmp_path / "f.mp4"
    ).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[:-100])
    seen = probe(str(tmp_path / "cut.mp4"))
    assert seen.n_frames < 12
    assert "announces 12 frames" in " ".join(seen.warnings)


def test_sound_only(tmp_path: Path) -> None:
    assert "no video stream" in refusal(media.make_audio(tmp_path / "sound.mp4"))


def test_a_stream_without_frames(tmp_path: Path) -> None:
    clip = make(tmp_path, "clip.mkv")
    offset, size, _ = media.packet_spans(clip)[0]
    (tmp_path / "none.mkv").write_bytes(clip.read_bytes()[: offset + size // 2])
    assert "video stream without frames" in refusal(tmp_path / "none.mkv")


def test_a_video_in_which_no_frame_can_be_decoded(tmp_path: Path) -> None:
    clip = make(tmp_path)
    content = bytearray(clip.read_bytes())
    for offset, size, _ in media.packet_spans(clip):
        content[offset : offset + size] = bytes(size)
    (tmp_path / "zeros.mp4").write_bytes(content)
    assert "none can be decoded" in refusal(tmp_path / "zeros.mp4")


# --- the developers' clips ---

CLIPS = {
    "asl_thanks.mkv": 51,
    "asl_yes.mkv": 65,
    "carphone.mp4": 120,
    "face_noface.mov": 169,
    "no_face.mp4": 95,
    "pexels_sad_to_joy.mp4": 472,
    "single_face.mp4": 72,
    "two_faces_speech.mp4": 105,
}


@pytest.mark.data
@pytest.mark.parametrize(("name", "n_frames"), CLIPS.items())
def test_times_of_real_clips_are_those_of_the_decoded_frames(
    shared: Path, name: str, n_frames: int
) -> None:
    path = shared / "clips" / name
    seen = probe(str(path))
    with av.open(str(path)) as opened:
        decoded = [(float(f.pts * f.time_base), f.pts) for f in opened.decode(video=0)]
    times = np.array([time for time, _ in decoded])
    assert seen.n_frames == n_frames == len(decoded)
    assert np.abs(seen.time_s - (times - times[0])).max() < 0.001
    assert seen.start_offset_s == pytest.approx(times[0], abs=1e-9)
    assert seen.pts.tolist() == [pts for _, pts in decoded]
    assert seen.warnings == () or name == "carphone.mp4"  # its pixels are not square
