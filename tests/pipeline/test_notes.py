"""What the reader notes travels with the frames, each note once."""

import numpy as np
import pytest
from media import make_video, numbered_frames

from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

N, LOST = 30, 15


@pytest.fixture
def info(tmp_path, monkeypatch):
    """A clip in which decord gives up at frame 15, and PyAV takes over."""
    from_decord = VideoReader._from_decord

    def gives_up(self, judged):
        if judged.index == LOST and self._decord is not None:
            self._drop_decord(LOST, "as the test wants")
        return from_decord(self, judged)

    monkeypatch.setattr(VideoReader, "_from_decord", gives_up)
    return probe(str(make_video(tmp_path / "clip.mp4", numbered_frames(N))))


def read(info, indices, begin=0):
    with VideoReader(info, np.array(indices, np.int64), 1, begin) as reader:
        frames = list(reader)
    return frames, reader


@pytest.mark.parametrize(("every", "carrier"), [(1, 15), (2, 16)])
def test_a_note_travels_with_its_frame_or_the_next_one_returned(info, every, carrier):
    frames, reader = read(info, range(0, N, every))
    noted = {frame.index: frame.notes for frame in frames if frame.notes.warnings}
    text = "PyAV took over from decord at frame 15: as the test wants."
    assert list(noted) == [carrier] and noted[carrier].warnings == ((LOST, text),)
    assert reader.noted == [(LOST, text)]
    decoders = [note for frame in frames for note in frame.notes.decoders]
    assert decoders == reader.decoders and [index for index, _ in decoders] == [0, carrier]


def test_a_resumed_reader_leaves_out_notes_about_frames_before_it(info):
    indices = range(0, N, 2)
    after, reader = read(info, indices, begin=8)  # from frame 16: decord rereads frame 15
    assert after[0].index == 16 and [index for index, _ in reader.noted] == [LOST]
    assert not any(frame.notes.warnings for frame in after)
    assert [index for index, _ in after[0].notes.decoders] == [16]
    before, _ = read(info, indices, begin=7)  # from frame 14: decord has yet to give up
    assert before[1].notes.warnings[0][0] == LOST
