"""Seeks that fail: decoding starts at the beginning of the file instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest

from jadfer_cli.records import CORRUPT, OK
from jadfer_cli.video import decode_check
from jadfer_cli.video.decode_check import check_frames
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

N = 320


class _Container:
    """A container whose seek raises an error, or goes to the end of the file."""

    def __init__(self, real: Any, fault: str) -> None:
        self._real, self._fault, self._at_end = real, fault, False

    def seek(self, *_: object, **__: object) -> None:
        if self._fault == "raises":
            raise av.error.PermissionError(1, "Operation not permitted")
        self._at_end = True

    def demux(self, stream: Any) -> Any:
        return iter(()) if self._at_end else self._real.demux(stream)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [media.numbered_frame(k % 256, 64, 48) for k in range(N)]
    return media.make_video(tmp_path_factory.mktemp("checked") / "clip.mp4", frames, gop=50)


@pytest.fixture(params=["raises", "ends"])
def faulty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    real = decode_check.open_container

    @contextmanager
    def opened(path: str) -> Iterator[tuple[Any, Any]]:
        with real(path) as (container, stream):
            yield _Container(container, request.param), stream

    monkeypatch.setattr(decode_check, "open_container", opened)


@pytest.mark.usefixtures("faulty")
def test_after_a_failed_seek_all_frames_are_decoded_from_the_start(clip: Path) -> None:
    checked = list(check_frames(probe(str(clip)), 300, 303))
    assert [frame.index for frame in checked] == list(range(304))
    assert all(frame.status == OK and frame.picture is not None for frame in checked)


@pytest.mark.usefixtures("faulty")
def test_after_a_failed_seek_the_reader_returns_the_right_pictures(clip: Path) -> None:
    with VideoReader(probe(str(clip)), np.array([300, 310])) as reader:
        frames = list(reader)
    assert [media.read_number(np.asarray(f.image_rgb)) for f in frames] == [300 % 256, 310 % 256]


def test_frames_that_are_never_decoded_are_corrupt_after_a_successful_seek(
    clip: Path, tmp_path: Path
) -> None:
    seen = probe(str(clip))
    content = bytearray(clip.read_bytes())
    for offset, size, pts in media.packet_spans(clip):
        if pts >= seen.pts[300]:
            content[offset : offset + size] = bytes(size)
    (tmp_path / "hurt.mp4").write_bytes(content)
    hurt = probe(str(tmp_path / "hurt.mp4"))
    status = {frame.index: frame.status for frame in check_frames(hurt, 290, N - 1)}
    assert status[290] == OK
    assert {status[k] for k in range(302, N)} == {CORRUPT}
    # the key frame of the seek is lost as well, so decoding starts at an earlier one
    checked = list(check_frames(hurt, 305, N - 1))
    assert [frame.status for frame in checked if frame.index >= 305] == [CORRUPT] * (N - 305)
