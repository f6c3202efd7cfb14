"""Frames with a time but no new picture: what is shown is the picture before, wanted or not."""

from collections.abc import Collection
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
GAPS = {20, 30, 31, 32, 45}  # one, a run of three, and one before an I-frame at 48
# What is shown at each index: its own number, or that of the picture before.
SHOWN = [max(j for j in range(k + 1) if j not in GAPS) for k in range(N)]


def empty(source: Path, to: Path, gaps: Collection[int], junk: bytes | None = None) -> Path:
    """Put filler data, which shows nothing new, in the place of pictures (or junk)."""
    filler = b"\x00\x00\x00\x04\x0c\xff\xff\x80" if junk is None else junk
    with av.open(str(source)) as made, av.open(str(to), "w") as out:
        stream = made.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = (p for p in made.demux(stream) if p.size)
        for k, packet in enumerate(packets):
            if k in gaps:
                full, packet = packet, av.Packet(filler)
                packet.pts, packet.dts, packet.duration = full.pts, full.dts, full.duration
                packet.time_base = full.time_base
            packet.stream = copy
            out.mux(packet)
    return to


def no_b(folder: Path, n: int, name: str = "whole.mp4", **how: Any) -> Path:
    frames = [media.numbered_frame(k % 256, 64, 48) for k in range(n)]
    options = {"preset": "ultrafast", "x264-params": "bframes=0:scenecut=0:log-level=none"}
    return media.make_video(folder / name, frames, options=options, **how)


@pytest.fixture(scope="module", params=["gaps.mp4", "gaps.mkv"])
def gaps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gaps")
    return empty(no_b(folder, N), folder / request.param, GAPS)


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
        VideoOptions(start_s=1.28, every=13),  # frames 32 and 45
    ],
)
def test_a_repeat_shows_the_picture_before_at_any_selection(
    gaps: Path, options: VideoOptions
) -> None:
    wanted = select(probe(str(gaps)), options)
    frames, reader = read(gaps, wanted)
    assert [(f.index, number(f)) for f in frames] == [(k, SHOWN[k]) for k in wanted.tolist()]
    repeats = sorted(GAPS & set(wanted.tolist()))
    assert [f.index for f in frames if f.status == REPEATED] == repeats
    assert reader.n_repeated == len(repeats) and reader.n_corrupt == 0


@pytest.mark.parametrize("index", sorted(GAPS))
def test_a_repeat_asked_for_alone_is_attributed_to_its_decoder(gaps: Path, index: int) -> None:
    (frame,), reader = read(gaps, [index])
    assert (frame.status, number(frame)) == (REPEATED, SHOWN[index])
    assert [(at, name.split()[0]) for at, name in reader.decoders] == [(index, "pyav")]


def test_a_repeat_of_decords_picture_is_decords(tmp_path: Path) -> None:
    path = empty(no_b(tmp_path, 30), tmp_path / "gap.mp4", {17})
    frames, reader = read(path, [k for k in range(30) if k != 16])  # 16 is decoded, not given
    assert number(frames[16]) == 16 and frames[16].status == REPEATED
    assert [(at, name.split()[0]) for at, name in reader.decoders] == [(0, "decord"), (18, "pyav")]


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_a_late_start_on_a_repeat_finds_the_picture_before(tmp_path: Path, name: str) -> None:
    # key frames at 0, 50 ...; a run behind the key frame 300, one across 350, one before 400
    runs = {301, 302, 349, 350, 351, 398, 399}
    path = empty(no_b(tmp_path, 420, gop=50), tmp_path / name, runs)
    for first in sorted(runs - {351}):
        (frame,), _ = read(path, [first])
        before = max(k for k in range(first) if k not in runs)
        assert (frame.status, number(frame)) == (REPEATED, before % 256), first
    frames, _ = read(path, [301, 303])
    assert [number(f) for f in frames] == [300 % 256, 303 % 256]


def test_a_repeat_before_any_picture_has_none(tmp_path: Path) -> None:
    frames, reader = read(empty(no_b(tmp_path, 12, gop=6), tmp_path / "gap.mp4", {0}), range(12))
    assert frames[0].image_rgb is None and frames[0].status == REPEATED
    assert frames[6].status == OK and number(frames[6]) == 6
    assert reader.n_repeated == 1


def test_only_what_is_given_is_converted(gaps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    honest = VideoReader._convert

    def convert(self: VideoReader, judged: Any) -> Any:
        seen.append(judged.index)
        return honest(self, judged)

    monkeypatch.setattr(VideoReader, "_convert", convert)
    read(gaps, [10, 31, 32, 50])
    assert seen == [10, 29, 50]  # the run repeats 29, which is converted once


def test_a_picture_that_cannot_be_converted_is_warned_of_once(
    gaps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unconvertible:
        def to_ndarray(self, **_: object) -> None:
            raise ValueError

    honest = reader_module.audit

    def audit(*args: Any) -> Any:
        for judged in honest(*args):
            hit = judged.index == 29
            yield reader_module.Judged(29, OK, Unconvertible()) if hit else judged

    monkeypatch.setattr(reader_module, "audit", audit)
    frames, reader = read(gaps, [29, 30, 31, 33])
    assert [f.status for f in frames] == [CORRUPT, REPEATED, REPEATED, OK]
    assert [f.image_rgb is None for f in frames] == [True, True, True, False]
    assert reader.warnings == ["Frame 29 cannot be converted to RGB."]
