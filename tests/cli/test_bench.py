"""`jadfer bench` as a user starts it, and the longer clips it makes."""

import json

import numpy as np
import pytest
from conftest import DEMO

from jadfer_cli.errors import OptionError
from jadfer_cli.installation import bench
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.repeat import repeat
from jadfer_cli.video.timeline import probe


def test_two_configurations_in_turn(jadfer, tmp_path):
    out = tmp_path / "deep" / "bench.json"
    result = jadfer("bench", DEMO, "--repeats", "2", "--set", "end=1.6", "--against", "redetect=0",
                    "--json", out)  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(out.read_text())
    a, b = found["sides"]
    assert found["clip"] == "demo.mp4" and found["repeats"] == 2 and found["peak_memory_mb"] > 100
    assert a["options"]["faces"]["redetect_s"] is None and b["options"]["faces"]["redetect_s"] == 0
    assert a["options"]["video"] == b["options"]["video"] and a["frames"] == b["frames"] == 40
    for side in (a, b):
        assert len(side["frames_per_s_runs"]) == 2 and side["faces"] == 40
        low, high = sorted(side["frames_per_s_runs"])
        assert 0 < low <= side["frames_per_s"] <= high
        stages = side["stages_ms_per_frame"]
        assert list(stages) == list(bench.STAGES)
        core_ms = [stage["core_ms"] for stage in stages.values()]
        assert side["stages_core_ms_per_frame"] == pytest.approx(sum(core_ms), abs=0.01)
        limit = 1000 * side["threads"] / sum(core_ms)
        assert side["limit_frames_per_s"] == pytest.approx(limit, rel=0.01)
        assert side["share_of_limit"] == pytest.approx(side["frames_per_s"] / limit, rel=0.01)
    assert "B is faster than A by the factor" in result.stdout
    ratio = f"{b['frames_per_s'] / a['frames_per_s']:.2f}"
    assert ratio in result.stdout and "A: run 1 of 2\nB: run 1 of 2\nA: run 2" in result.stderr


def test_without_a_clip_one_is_made(tmp_path):
    info = probe(str(bench.sample_clip(tmp_path)))
    assert (info.n_frames, info.width_px, info.height_px) == (250, 640, 360)


def test_a_clip_is_repeated_end_to_end(tmp_path):
    path = tmp_path / "long.mkv"
    repeat(str(DEMO), path, 500)
    once, long = probe(str(DEMO)), probe(str(path))
    assert long.n_frames == 3 * once.n_frames
    assert np.diff(long.time_s) == pytest.approx(0.04, abs=0.002)
    wanted = np.array([5, 5 + once.n_frames, 5 + 2 * once.n_frames])
    with VideoReader(long, wanted, threads=1) as reader:
        pictures = [frame.image_rgb for frame in reader]
    assert (pictures[0] == pictures[1]).all() and (pictures[0] == pictures[2]).all()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--set", "speed=9"), 2, "speed=9 is not KEY=VALUE with a known key"),
        (("--set", "redetect"), 2, "redetect is not KEY=VALUE"),
        (("--set", "batch-size=many"), 2, "many is no number"),
        (("--set", "end=1:x"), 2, "1:x is no number"),
        (("--against", "batch-size=16", "--set", "device=cpu"), 2, "--against changes nothing"),
        (("--set", "precision=fp8"), 2, "--precision must be one of"),
        (("--against", "threads=2", "--set", "threads=2"), 2, "--against changes nothing"),
        (("missing.mp4",), 1, "missing.mp4 does not exist"),
        (("--repeats", "0"), 2, "repeats"),
    ],
)
def test_wrong_usage(jadfer, arguments, code, message):
    result = jadfer("bench", *arguments)
    assert result.returncode == code and message in result.stderr
    assert "Traceback" not in result.stderr


def test_every_option_has_a_key():
    options = bench.options_of(["--detection-size=416", "fps=5", "model=x", "track_gap=2"])
    assert options.faces.detection_size == 416 and options.faces.track_gap_s == 2.0
    assert options.video.fps == 5.0 and options.model.model == "x"
    assert bench.options_of(["end=1:02.5"]).video.end_s == 62.5
    with pytest.raises(OptionError):
        bench.options_of(["landmarks"])
