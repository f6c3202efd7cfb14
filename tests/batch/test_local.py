"""Batches as users start them: whatever happens to one video, the others are annotated."""

import functools
import json
import os
import shutil
import signal
import subprocess
import time

import pandas as pd
import psutil
import pytest
from conftest import JADFER
from tolerances import SAME_MACHINE

pytestmark = pytest.mark.slow  # starts processes or trains

WIDE = {**os.environ, "COLUMNS": "500"}  # wide enough that no table wraps


def leftovers(folder):
    return [p.name for p in folder.rglob("*") if ".part" in p.name]


def failures(out):
    file = out / "failures.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def clips(tmp_path, short_clip):
    for name in ("b.mp4", "deep/er/a.mp4"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(short_clip, tmp_path / "clips" / name)
    return tmp_path / "clips"


def test_a_tree_with_a_broken_file(jadfer, invoke, clips, short_clip, tmp_path):
    """The first run is the installed command; the others, in this process, have real workers."""
    invoke = functools.partial(invoke, width=500)
    (clips / "broken.mp4").write_bytes(short_clip.read_bytes()[:3000])
    out = tmp_path / "out"
    single = tmp_path / "single.parquet"
    assert invoke("annotate", short_clip, "-o", single).exit_code == 0
    arguments = ("annotate", clips, "-r", "-o", out)

    plan = invoke(*arguments, "--dry-run")
    assert plan.exit_code == 0 and "3 videos" in plan.stdout and not out.exists()

    first = jadfer(*arguments, "--jobs", "2", env=WIDE)
    assert first.returncode == 1, first.stderr
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.*")} == {
        "b.parquet", "b.json", "deep/er/a.parquet", "deep/er/a.json", "failures.jsonl"
    }  # fmt: skip
    (failure,) = failures(out)
    assert failure["video"] == str(clips / "broken.mp4") and failure["stage"] == "read"
    assert failure["hint"] and "without a usable index" in first.stderr
    assert "done    2  16 frames" in first.stdout
    expected, found = pd.read_parquet(single), pd.read_parquet(out / "deep/er/a.parquet")
    pd.testing.assert_frame_equal(
        expected.drop(columns="video"), found.drop(columns="video"), atol=SAME_MACHINE
    )

    again = invoke(*arguments)
    assert again.exit_code == 2 and "2 of 3 results exist already" in again.stderr
    kept = invoke(*arguments, "--skip-existing")
    assert kept.exit_code == 1 and "kept    2" in kept.stdout and len(failures(out)) == 1
    other = invoke(*arguments, "--skip-existing", "--redetect", "0", "--fps", "10")
    assert other.exit_code == 1 and len(failures(out)) == 3
    assert "made with other settings: redetect (then 0.3, now 0); fps (then none, now 10)." in (
        other.stderr
    )

    shutil.copy(short_clip, clips / "broken.mp4")
    mended = invoke(*arguments, "--skip-existing")
    assert mended.exit_code == 0 and "done    1" in mended.stdout
    assert not (out / "failures.jsonl").exists() and not leftovers(out)
    # the result of a single video is kept too
    alone = invoke("annotate", short_clip, "-o", single, "--skip-existing")
    assert alone.exit_code == 0 and "is kept" in alone.stderr
    assert "annotating" not in alone.stderr and "CenterFace" not in alone.stderr


def processes(mark):
    return [p for p in psutil.process_iter(["cmdline", "environ"]) if
            mark in str(p.info["environ"] or {})]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_in_the_middle_nothing_stays(clips, short_clip, tmp_path, number):
    for i in range(6):
        shutil.copy(short_clip, clips / f"c{i}.mp4")
    out, mark = tmp_path / "out", f"run-{tmp_path.name}"
    command = [str(JADFER), "annotate", str(clips), "-r", "-o", str(out), "--log-json"]
    env = {**os.environ, "JADFER_TEST_MARK": mark}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        for line in process.stderr:
            if json.loads(line)["event"] == "result":
                process.send_signal(number)
                break
        rest = process.stderr.read()
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in rest
    deadline = time.monotonic() + 15
    while processes(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not processes(mark)
    if number != signal.SIGKILL:
        assert not leftovers(out)
        assert "--skip-existing" in json.loads(rest.splitlines()[-1])["hint"]
    finished = list(out.rglob("*.parquet"))
    assert 1 <= len(finished) < 8
    for path in finished:
        assert len(pd.read_parquet(path)) == 8


def test_two_runs_share_the_work(clips, short_clip, tmp_path):
    for i in range(6):
        shutil.copy(short_clip, clips / f"c{i}.mp4")
    out = tmp_path / "out"
    command = [str(JADFER), "annotate", str(clips), "-r", "-o", str(out), "--log-json"]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        told = [run.communicate(timeout=120)[1] for run in runs]
    finally:
        for run in runs:
            run.kill()
    events = [json.loads(line) for each in told for line in each.splitlines()]
    assert [run.returncode for run in runs] == [0, 0], told
    done = [event["video"] for event in events if event.get("status") == "done"]
    assert sorted(done) == sorted(str(path) for path in clips.rglob("*.mp4")) and len(done) == 8
    assert not [event for event in events if event["event"] in ("failure", "error")]
    assert len(list(out.rglob("*.parquet"))) == 8
    assert not leftovers(out) and not failures(out)


def test_shards_and_paths_on_stdin(jadfer, clips, tmp_path):
    paths = b"\0".join(os.fsencode(p) for p in sorted(clips.rglob("*.mp4")))
    plans = [
        jadfer("annotate", "-0", "-", "-o", tmp_path / "out", "--shard", f"{k}/2", "--dry-run",
               input=paths, text=False, env=WIDE).stdout.decode()
        for k in (1, 2)
    ]  # fmt: skip
    assert ["1 video" in plan for plan in plans] == [True, True]
    assert ("deep/er/a.mp4" in plans[0]) != ("deep/er/a.mp4" in plans[1])
