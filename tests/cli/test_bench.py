"""`jadfer bench`: the command, its figures, and the clips that it generates."""

import json
import os
import time

import numpy as np
import pandas as pd
import pytest
from conftest import DEMO

from jadfer_cli.errors import OptionError
from jadfer_cli.installation import bench_stages
from jadfer_cli.installation.bench import Configuration
from jadfer_cli.installation.bench_options import options_from
from jadfer_cli.installation.bench_stages import STAGES, StageTimes, time_stages
from jadfer_cli.installation.samples import sample_clip
from jadfer_cli.options import AnnotateOptions, ModelOptions
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.repeat import repeat
from jadfer_cli.video.timeline import probe


@pytest.mark.slow
@pytest.mark.long
def test_two_configurations_in_turn(jadfer, tmp_path):
    out = tmp_path / "deep" / "bench.json"
    start_s = time.perf_counter()
    result = jadfer("bench", DEMO, "--repeats", "2", "--set", "end=0.8", "--against", "redetect=0",
                    "--json", out)  # fmt: skip
    elapsed_s = time.perf_counter() - start_s
    assert result.returncode == 0, result.stderr
    found = json.loads(out.read_text())
    a, b = found["sides"]
    assert found["clip"] == "demo.mp4" and found["repeats"] == 2 and found["peak_memory_mb"] > 100
    assert [x["options"]["faces"]["redetect_s"] for x in (a, b)] == [0.3, 0]
    assert a["options"]["video"] == b["options"]["video"] and a["frames"] == b["frames"] == 20
    for side in (a, b):
        assert side["faces"] == side["stages_frames"] == 20
        assert list(side["stages_ms_per_frame"]) == list(STAGES)
    # everything that was timed ran one after the other while the command ran
    runs_s = sum(20 / fps for side in (a, b) for fps in side["frames_per_s_runs"])
    stages_ms = sum(s["ms"] for side in (a, b) for s in side["stages_ms_per_frame"].values())
    timed_s = runs_s + 2 * 20 * stages_ms / 1000 + a["load_s"] + b["load_s"]
    assert elapsed_s / 20 < timed_s < elapsed_s
    core_s = 2 * 20 * (a["core_ms_per_frame"] + b["core_ms_per_frame"]) / 1000
    assert 0 < core_s < elapsed_s * (os.cpu_count() or 1)
    ratio = f"{b['frames_per_s'] / a['frames_per_s']:.2f}"
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert f"speed of B relative to A {ratio}" in lines
    steps = [line for line in result.stderr.splitlines() if ": run " in line]
    assert steps == ["A: run 1 of 2", "B: run 1 of 2", "A: run 2 of 2", "B: run 2 of 2"]


def stage_times(**core_ms):
    return StageTimes(10, {name: {"ms": 2 * ms, "core_ms": ms} for name, ms in core_ms.items()})


def test_the_figures_of_a_configuration():
    configuration = Configuration(
        "A", AnnotateOptions(), load_s=1.23456, wall_s=[2.0, 8.0, 3.0], core_s=[4.0, 6.0, 4.5],
        frames=60, faces=7, video_s=6.0, threads=2,
        stages=[stage_times(decode=5, write=20), stage_times(decode=7, write=10),
                stage_times(decode=60, write=13)],
        setup={"device": "cpu"},
    )  # fmt: skip
    found = configuration.summary()
    # the median run took 3 s: 60 / 3 = 20 frames/s, 6 s of video / 3 s = twice real time
    assert (found["frames_per_s"], found["times_real_time"]) == (20.0, 2.0)
    assert found["frames_per_s_runs"] == [30.0, 7.5, 20.0]
    assert found["core_ms_per_frame"] == 75.0  # 4.5 s / 60
    # medians of the stages: decode 7, write 13; two cores give 2000 core-ms per second
    assert found["stages_ms_per_frame"]["decode"] == {"ms": 14, "core_ms": 7}
    assert found["stages_core_ms_per_frame"] == 20
    assert found["limit_frames_per_s"] == 100.0 and found["share_of_limit"] == 0.2
    assert (found["load_s"], found["stages_frames"], found["device"]) == (1.235, 10, "cpu")
    assert (found["core_ms_of_a_frame"], found["core_ms_of_a_face"]) == (20, None)


def test_what_a_frame_and_a_face_cost():
    configuration = Configuration("A", AnnotateOptions(), wall_s=[1.0], core_s=[1.0], frames=10,
                                  stages=[stage_times(decode=2, detect=6, align=1, express=5)],
                                  threads=2)  # fmt: skip
    configuration.stages[0].n_faces = 30
    found = configuration.summary()
    # align and express take 6 core-ms in each of 10 frames, which hold 30 faces
    assert (found["core_ms_of_a_frame"], found["core_ms_of_a_face"]) == (8, 2)


def test_a_stage_is_timed_in_ms_per_frame(monkeypatch):
    clock = iter([100.0, 100.5])  # wall: 500 ms for four frames
    cores = iter([20.0, 21.0])
    monkeypatch.setattr(bench_stages.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(bench_stages.time, "process_time", lambda: next(cores))
    times = StageTimes(4)
    assert times.run("decode", iter("abcd")) == ["a", "b", "c", "d"]
    assert times.ms == {"decode": {"ms": 125.0, "core_ms": 250.0}}


@pytest.mark.slow
def test_the_stages_do_what_a_run_does(short_clip, tmp_path):
    from jadfer_cli import annotate
    from jadfer_cli.pipeline.annotator import Annotator

    networks = Annotator(AnnotateOptions(model=ModelOptions(device="cpu"))).networks
    out = tmp_path / "bench.parquet"
    times = time_stages(networks, probe(str(short_clip)), out, max_frames=5)
    assert times.n_frames == times.n_faces == 5 and tuple(times.ms) == STAGES
    rows = pd.read_parquet(out)
    assert rows["frame"].tolist() == [0, 1, 2, 3, 4] and rows["face_detected"].all()
    expected = annotate(str(short_clip), end_s=0.2, device="cpu")
    columns = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "p_happiness"]
    np.testing.assert_allclose(rows[columns], expected[columns], rtol=1e-4)


@pytest.mark.slow
def test_the_generated_clip(tmp_path):
    info = probe(str(sample_clip(tmp_path)))
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
        (("--set", "batch-size=many"), 2, "many is not a number"),
        (("--set", "end=1:x"), 2, "1:x is not a number"),
        (("--against", "batch-size=16", "--set", "device=cpu"), 2, "--against changes nothing"),
        (("--set", "precision=fp8"), 2, "--precision must be one of"),
        (("--against", "threads=2", "--set", "threads=2"), 2, "--against changes nothing"),
        (("missing.mp4",), 1, "missing.mp4 does not exist"),
        (("--repeats", "0"), 2, "repeats"),
    ],
)
def test_wrong_usage(invoke, arguments, code, message):
    result = invoke("bench", *arguments)
    assert result.exit_code == code and message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_every_option_has_a_key():
    options = options_from(["--detection-size=416", "fps=5", "model=x", "track_gap=2"])
    assert options.faces.detection_size == 416 and options.faces.track_gap_s == 2.0
    assert options.video.fps == 5.0 and options.model.model == "x"
    assert options_from(["end=1:02.5"]).video.end_s == 62.5
    with pytest.raises(OptionError):
        options_from(["landmarks"])
