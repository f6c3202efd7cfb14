"""Frames with a time but no new picture: what is shown is the picture before, wanted or not."""

from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest

from jadfer_cli.options import VideoOptions
from jadfer_cli.records import CORRUPT, OK, REPEATED, Frame
from jadfer_cli.video import reader as reader_module
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe, select

N = 60
GAPS = {20, 30, 31, 32, 47}  # one, a run of three, and the last before the key frame 48


def shown(n: int, gaps: Collection[int]) -> list[int]:
    """The number seen at each index: its own, or that of the picture before; below 256."""
    return [max((j for j in range(k + 1) if j not in gaps), default=0) % 256 for k in range(n)]


def with_gaps(to: Path, n: int, gaps: Collection[int], gop: int = 12) -> Path:
    """A video with filler data, which shows nothing new, in the place of some pictures."""
    # The pictures left out are still ones, so that those predicted from them stay right.
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


def read(path: Path, wanted: Any) -> tuple[list[Frame], VideoReader]:
    with VideoReader(probe(str(path)), np.asarray(wanted, np.int64)) as reader:
        return list(reader), reader


def number(frame: Frame) -> int | None:
    return None if frame.image_rgb is None else media.read_number(frame.image_rgb)


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
def test_a_repeat_shows_the_picture_before_at_any_selection(
    gaps: Path, options: VideoOptions
) -> None:
    wanted = select(probe(str(gaps)), options)
    frames, reader = read(gaps, wanted)
    expected = shown(N, GAPS)
    assert [(f.index, number(f)) for f in frames] == [(k, expected[k]) for k in wanted.tolist()]
    repeats = sorted(GAPS & set(wanted.tolist()))
    assert [f.index for f in frames if f.status == REPEATED] == repeats
    assert reader.n_repeated == len(repeats) and reader.n_corrupt == 0


@pytest.mark.parametrize("index", sorted(GAPS))
def test_a_repeat_asked_for_alone_is_attributed_to_its_decoder(gaps: Path, index: int) -> None:
    (frame,), reader = read(gaps, [index])
    assert (frame.status, number(frame)) == (REPEATED, shown(N, GAPS)[index])
    assert [(at, name.split()[0]) for at, name in reader.decoders] == [(index, "pyav")]


class _Decord:
    """decord, without its reading ahead, which fails some pictures before the filler data."""

    def __init__(self, path: str, threads: int) -> None:
        with av.open(path) as opened:
            first = islice(opened.decode(video=0), 17)  # the next packet is the filler data
            self._images = iter([f.to_ndarray(format="rgb24") for f in first])

    def next(self) -> "_Decord":
        self.image = next(self._images)
        return self

    def asnumpy(self) -> Any:
        return self.image


def test_a_repeat_of_decords_picture_is_decords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_gaps(tmp_path / "gap.mp4", 30, {17})
    wanted = [k for k in range(30) if k != 16]  # 16 is decoded, but not given
    for opens, handover in ((_Decord, 18), (reader_module._open_decord, None)):
        monkeypatch.setattr(reader_module, "_open_decord", opens)
        frames, reader = read(path, wanted)
        assert [f.index for f in frames if f.status == REPEATED] == [17]
        assert [number(f) for f in frames] == [shown(30, {17})[k] for k in wanted]
        assert [name.split()[0] for _, name in reader.decoders] == ["decord", "pyav"]
        assert handover is None or reader.decoders[1][0] == handover


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_a_late_start_on_a_repeat_finds_the_picture_before(tmp_path: Path, name: str) -> None:
    # key frames at 0, 50 ...; a run behind 300, a run between, a run before 350
    runs = {301, 302, 320, 321, 322, 348, 349}
    path = with_gaps(tmp_path / name, 360, runs, gop=50)
    expected = shown(360, runs)
    for first in sorted(runs):
        (frame,), _ = read(path, [first])
        assert (frame.status, number(frame)) == (REPEATED, expected[first]), first
    frames, reader = read(path, [301, 303, 349, 350])
    assert [number(f) for f in frames] == [expected[k] for k in (301, 303, 349, 350)]
    assert (reader.n_repeated, reader.n_corrupt) == (2, 0)


def test_a_late_start_where_the_key_frame_itself_is_a_repeat(tmp_path: Path) -> None:
    path = with_gaps(tmp_path / "gap.mp4", 360, {300, 301}, gop=50)
    for first in (300, 301):
        (frame,), _ = read(path, [first])
        assert (frame.status, number(frame)) == (REPEATED, 299 % 256)


def test_a_repeat_before_any_picture_has_none(tmp_path: Path) -> None:
    frames, reader = read(with_gaps(tmp_path / "gap.mp4", 12, {0}, gop=6), range(12))
    assert frames[0].image_rgb is None and frames[0].status == REPEATED
    assert frames[6].status == OK and number(frames[6]) == 6
    assert reader.n_repeated == 1


def test_only_what_is_given_is_converted(gaps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    honest = VideoReader._convert

    def convert(self: VideoReader, frame: Any) -> Any:
        seen.append(frame.index)
        return honest(self, frame)

    monkeypatch.setattr(VideoReader, "_convert", convert)
    read(gaps, [10, 31, 32, 50])
    assert seen == [10, 29, 50]  # the run repeats 29, which is converted once


def test_a_picture_that_cannot_be_converted_is_warned_of_once(
    gaps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unconvertible:
        def to_ndarray(self, **_: object) -> None:
            raise ValueError

    honest = reader_module.check_frames

    def checked(*args: Any) -> Any:
        for frame in honest(*args):
            hit = frame.index == 29
            yield reader_module.CheckedFrame(29, OK, Unconvertible()) if hit else frame

    monkeypatch.setattr(reader_module, "check_frames", checked)
    frames, reader = read(gaps, [29, 30, 31, 33])
    assert [f.status for f in frames] == [CORRUPT, REPEATED, REPEATED, OK]
    assert [f.image_rgb is None for f in frames] == [True, True, True, False]
    assert reader.warnings == ["Frame 29 cannot be converted to RGB."]
