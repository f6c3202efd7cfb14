"""Frames without a new picture repeat the previous one, whether or not that was selected."""

from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import Any

import av
import media
import pytest
from media import numbers_in, read_video, with_status

from jadfer_cli.options import VideoOptions
from jadfer_cli.records import CORRUPT, OK, REPEATED
from jadfer_cli.video import reader as reader_module
from jadfer_cli.video.decode_check import CheckedFrame, check_frames
from jadfer_cli.video.timeline import probe, select

N = 60
GAPS = {20, 30, 31, 32, 47}  # one, a run of three, and the last before the key frame 48


def shown(n: int, gaps: Collection[int]) -> list[int]:
    """The number shown at each index, modulo 256: its own, or that of the previous picture."""
    return [max((j for j in range(k + 1) if j not in gaps), default=0) % 256 for k in range(n)]


def with_gaps(to: Path, n: int, gaps: Collection[int], gop: int = 12) -> Path:
    """Write a video in which some pictures are replaced by filler data, which shows nothing new."""
    # A replaced picture equals the previous one, so that pictures predicted from it stay correct.
    frames = [media.numbered_frame(number, 64, 48) for number in shown(n, gaps)]
    options = {"preset": "ultrafast", "x264-params": "bframes=0:scenecut=0:log-level=none"}
    source = media.make_video(to.with_suffix(".nut"), frames, options=options, gop=gop)
    source = media.run_ffmpeg("-i", str(source), "-c", "copy", to=to.with_stem("whole"))
    with av.open(str(source)) as made, av.open(str(to), "w") as out:
        stream = made.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = (p for p in made.demux(stream) if p.size)
        for k, packet in enumerate(packets):
            if k in gaps:
                full, packet = packet, av.Packet(b"\x00\x00\x00\x04\x0c\xff\xff\x80")
                packet.pts, packet.dts, packet.duration = full.pts, full.dts, full.duration
                packet.time_base = full.time_base
            packet.stream = copy
            out.mux(packet)
    return to


@pytest.fixture(scope="module", params=["gaps.mp4", "gaps.mkv"])
def gaps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_gaps(tmp_path_factory.mktemp("gaps") / request.param, N, GAPS)


@pytest.mark.parametrize(
    "options",
    [
        VideoOptions(),
        VideoOptions(every=2),
        VideoOptions(every=5),
        VideoOptions(every=10),
        VideoOptions(every=31),
        VideoOptions(fps=5),
        VideoOptions(start_s=0.8),  # frame 20, which repeats 19
        VideoOptions(start_s=1.24),  # frame 31, the second of a run
        VideoOptions(start_s=1.28, every=15),  # frames 32 and 47
    ],
)
def test_a_repeat_shows_the_previous_picture_in_any_selection(
    gaps: Path, options: VideoOptions
) -> None:
    wanted = select(probe(str(gaps)), options)
    frames, reader = read_video(gaps, wanted)
    expected = shown(N, GAPS)
    assert numbers_in(frames) == [expected[k] for k in wanted.tolist()]
    assert [frame.index for frame in frames] == wanted.tolist()
    repeats = sorted(GAPS & set(wanted.tolist()))
    assert with_status(frames, REPEATED) == repeats
    assert reader.n_repeated == len(repeats) and reader.n_corrupt == 0


@pytest.mark.parametrize("index", sorted(GAPS))
def test_a_single_repeat_is_attributed_to_its_decoder(gaps: Path, index: int) -> None:
    frames, reader = read_video(gaps, [index])
    assert with_status(frames, REPEATED) == [index]
    assert numbers_in(frames) == [shown(N, GAPS)[index]]
    assert [(at, name.split()[0]) for at, name in reader.decoders] == [(index, "pyav")]


class _Decord:
    """decord without reading ahead, which fails a few pictures before the filler data."""

    def __init__(self, path: str, threads: int) -> None:
        with av.open(path) as opened:
            first = islice(opened.decode(video=0), 17)  # the next packet is the filler data
            self._images = iter([f.to_ndarray(format="rgb24") for f in first])

    def next(self) -> "_Decord":
        self.image = next(self._images)
        return self

    def asnumpy(self) -> Any:
        return self.image


def test_a_repeat_of_decords_picture_is_attributed_to_decord(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_gaps(tmp_path / "gap.mp4", 30, {17})
    wanted = [k for k in range(30) if k != 16]  # frame 16 is decoded but not selected
    for opens, handover in ((_Decord, 18), (reader_module._open_decord, None)):
        monkeypatch.setattr(reader_module, "_open_decord", opens)
        frames, reader = read_video(path, wanted)
        assert with_status(frames, REPEATED) == [17]
        assert numbers_in(frames) == [shown(30, {17})[k] for k in wanted]
        assert [name.split()[0] for _, name in reader.decoders] == ["decord", "pyav"]
        assert handover is None or reader.decoders[1][0] == handover


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_a_late_start_at_a_repeat_finds_the_previous_picture(tmp_path: Path, name: str) -> None:
    # key frames at 0, 50, ...; one run after 300, one in the middle, one before 350
    runs = {301, 302, 320, 321, 322, 348, 349}
    path = with_gaps(tmp_path / name, 360, runs, gop=50)
    expected = shown(360, runs)
    for first in sorted(runs):
        frames, _ = read_video(path, [first])
        assert with_status(frames, REPEATED) == [first]
        assert numbers_in(frames) == [expected[first]], first
    frames, reader = read_video(path, [301, 303, 349, 350])
    assert numbers_in(frames) == [expected[k] for k in (301, 303, 349, 350)]
    assert (reader.n_repeated, reader.n_corrupt) == (2, 0)


def test_a_late_start_if_the_key_frame_itself_is_a_repeat(tmp_path: Path) -> None:
    path = with_gaps(tmp_path / "gap.mp4", 360, {300, 301}, gop=50)
    for first in (300, 301):
        frames, _ = read_video(path, [first])
        assert with_status(frames, REPEATED) == [first]
        assert numbers_in(frames) == [299 % 256]


def test_a_repeat_before_any_picture_has_no_image(tmp_path: Path) -> None:
    frames, reader = read_video(with_gaps(tmp_path / "gap.mp4", 12, {0}, gop=6), range(12))
    assert frames[0].image_rgb is None and frames[0].status == REPEATED
    assert frames[6].status == OK and numbers_in(frames)[6] == 6
    assert reader.n_repeated == 1


class _Picture:
    """A picture that records its index when it is converted to RGB, or cannot be converted."""

    def __init__(self, checked: CheckedFrame, converted: list[int], fails: bool) -> None:
        self._checked, self._converted, self._fails = checked, converted, fails

    def to_ndarray(self, **how: Any) -> Any:
        self._converted.append(self._checked.index)
        if self._fails:
            raise ValueError("cannot convert")
        return self._checked.picture.to_ndarray(**how)


def record_conversions(monkeypatch: pytest.MonkeyPatch, failing: int | None = None) -> list[int]:
    """Makes the reader record which frames it converts, and fail at one of them."""
    converted: list[int] = []

    def recorded(*args: Any) -> Any:
        for checked in check_frames(*args):
            if checked.picture is None:
                yield checked
                continue
            picture = _Picture(checked, converted, checked.index == failing)
            yield CheckedFrame(checked.index, checked.status, picture)

    monkeypatch.setattr(reader_module, "check_frames", recorded)
    return converted


def test_only_pictures_that_are_needed_are_converted(
    gaps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = record_conversions(monkeypatch)
    read_video(gaps, [10, 31, 32, 50])
    assert converted == [10, 29, 50]  # frames 31 and 32 repeat frame 29, which is converted once


def test_one_warning_for_a_picture_that_cannot_be_converted(
    gaps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_conversions(monkeypatch, failing=29)
    frames, reader = read_video(gaps, [29, 30, 31, 33])
    assert [f.status for f in frames] == [CORRUPT, REPEATED, REPEATED, OK]
    assert [f.image_rgb is None for f in frames] == [True, True, True, False]
    assert reader.warnings == ["Frame 29 cannot be converted to RGB."]
