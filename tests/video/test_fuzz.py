"""Damaged videos give frames or a JadferError; tests/bench/attack.py is the long version."""

import os
import signal

import pytest
from fuzzing import FRAMES, MUTATIONS, Child, make_seeds, mutant

KINDS = (
    ("mp4", "libx264"), ("mov", "mpeg4"), ("mkv", "libvpx-vp9"), ("webm", "libvpx"),
    ("avi", "mjpeg"), ("ts", "libx264"),
)  # fmt: skip


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    found = make_seeds(tmp_path_factory.mktemp("seeds"), KINDS, FRAMES + 2)
    assert len(found) == len(KINDS)
    return found


@pytest.fixture(scope="module")
def child():
    with Child(20) as one:
        yield one


@pytest.mark.slow
def test_damaged_videos_give_frames_or_an_error(seeds, child, tmp_path):
    bad = []
    for number in range(2 * len(KINDS) * len(MUTATIONS)):
        kind, seed, data = mutant(seeds, number, run=5)
        path = tmp_path / f"{number}-{kind}-{seed.name}.{seed.suffix}"
        path.write_bytes(data)
        verdict = child.judge(path)
        if verdict.outcome not in ("frames", "error"):
            bad.append((path.name, verdict))
    assert not bad


@pytest.mark.slow
def test_the_child_reports_what_happened(seeds, child, tmp_path):
    """The child itself: an intact file, a missing one, a child that hangs, one that crashes."""
    path = tmp_path / "intact.mp4"
    path.write_bytes(seeds[0].data)
    intact = child.judge(path)
    assert (intact.outcome, intact.detail) == ("frames", str(FRAMES))
    assert child.judge(tmp_path / "none.mp4").outcome == "error"
    os.kill(child._process.pid, signal.SIGSTOP)
    child.limit_s = 0.2
    assert child.judge(path).outcome == "hang" and child._process is None
    child.limit_s = 20
    assert child.judge(path).outcome == "frames"
    os.kill(child._process.pid, signal.SIGSEGV)
    assert (died := child.judge(path)).outcome == "crash" and died.detail == "SIGSEGV"
