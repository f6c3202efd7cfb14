"""Faults in a batch of the real program: each costs only its video, is listed, leaves nothing.

What breaks is put into the worker processes from outside, by a module that PYTHONPATH names.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import JADFER

from jadfer_cli.batch import durations
from jadfer_cli.errors import ModelError
from jadfer_cli.expression import checkpoint
from jadfer_cli.faces import centerface
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.options import FaceOptions

pytestmark = pytest.mark.slow  # starts processes or trains

# A broken library, and a user who deletes files. `probe` opens each video first, then the reader,
# when the unfinished result exists already.
BROKEN = """
import os, signal, time
import av
opened, times = av.open, {}
def open_(file, *args, **more):
    path = str(file).removeprefix("file:")
    name = os.path.basename(path)
    times[name] = times.get(name, 0) + 1
    if name == "b crash.mp4" and times[name] == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "h hang.mp4" and times[name] == 2:
        time.sleep(1000)
    if name == "crash at once.mp4":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "hang at once.mp4":
        time.sleep(1000)
    if name == "d gone.mp4" and times[name] == 2:
        os.unlink(path)
        os.unlink(path.replace("d gone", "e gone before"))
    return opened(file, *args, **more)
av.open = open_
"""


def broken_environment(folder):
    """An environment with the broken library in every Python process."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BROKEN)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "500"}


def failures(out):
    return [json.loads(line) for line in (out / "failures.jsonl").read_text("utf-8").splitlines()]


def test_many_faults_in_one_batch(jadfer, short_clip, tmp_path):
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    for name in ("a good", "b crash", "h hang", "d gone", "e gone before", "g good"):
        shutil.copy(short_clip, clips / f"{name}.mp4")
    (clips / "f cut.mp4").write_bytes(short_clip.read_bytes()[:3000])
    env = broken_environment(tmp_path / "site") | {"JADFER_TEST_MARK": str(tmp_path)}
    result = jadfer("annotate", clips, "-o", out, "--stall", "8", env=env)
    assert result.returncode == 1, result.stderr
    found = {os.path.basename(f["video"]): f for f in failures(out)}
    assert {name: f["stage"] for name, f in found.items()} == {
        "b crash.mp4": "crash", "h hang.mp4": "hang", "d gone.mp4": "read",
        "e gone before.mp4": "read", "f cut.mp4": "read",
    }  # fmt: skip
    assert "signal 11" in found["b crash.mp4"]["message"]
    assert "no progress for 8 s" in found["h hang.mp4"]["message"]
    assert "cut short" in found["f cut.mp4"]["message"]
    assert "does not exist" in found["e gone before.mp4"]["message"]
    for name, failure in found.items():
        assert failure["hint"] and failure["result"] == str(out / f"{name[:-4]}.parquet")
        assert (
            failure["message"].removeprefix(failure["video"]) in result.stderr
            and "bug in jadfer" not in failure["hint"]
        )
    assert "done    2" in result.stdout and "failed  5" in result.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "a good.json", "a good.parquet", "failures.jsonl", "g good.json", "g good.parquet"
    ]  # fmt: skip
    assert all(len(pd.read_parquet(path)) == 8 for path in out.glob("*.parquet"))
    assert not [p for p in psutil.process_iter(["environ"]) if
                str(tmp_path) in str(p.info["environ"])]  # fmt: skip


def test_planning_outlives_videos_that_crash_or_hang(short_clip, tmp_path, monkeypatch):
    names = ("a", "crash at once", "hang at once", "none", "b")
    for name in names[:3] + names[4:]:
        shutil.copy(short_clip, tmp_path / f"{name}.mp4")
    env = broken_environment(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", env["PYTHONPATH"])
    monkeypatch.setattr(durations, "_VIDEO_LIMIT_S", 3.0)
    found = durations.measure_durations([str(tmp_path / f"{name}.mp4") for name in names])
    assert list(found.values()) == pytest.approx([0.32, 0, 0, 0, 0.32], abs=0.01)  # 8 at 25/s


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, with room for some of the results."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if made.returncode:
        pytest.skip(f"nothing can be mounted here: {made.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True, timeout=30)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_full_disk(jadfer, short_clip, tmp_path, small_disk):
    (tmp_path / "clips").mkdir()
    for i in range(9):
        shutil.copy(short_clip, tmp_path / "clips" / f"{i}.mp4")
    env = {**os.environ, "COLUMNS": "500"}
    result = jadfer("annotate", tmp_path / "clips", "-o", small_disk, env=env)
    assert result.returncode == 1
    finished = sorted(small_disk.glob("*.parquet"))
    assert 1 <= len(finished) < 8 and all(len(pd.read_parquet(path)) == 8 for path in finished)
    assert all(path.with_suffix(".json").is_file() for path in finished)
    n = 9 - len(finished) - 1
    assert f"Error: {small_disk} cannot be written: No space left on device." in result.stderr
    assert f"So the batch was stopped; {n} videos were not tried." in result.stderr
    assert "The disk is full; make room" in result.stderr and "--skip-existing" in result.stderr
    assert "Traceback" not in result.stderr and f"not tried  {n}" in result.stdout
    assert not list(small_disk.rglob("*.parquet.part"))


def give_up_root_powers():
    """Takes away root's right to ignore permissions; runs in the child, before exec."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "prctl")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are others there")
def test_output_folder_turns_read_only(short_clip, tmp_path):
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    for i in range(6):
        shutil.copy(short_clip, clips / f"{i}.mp4")
    command = [str(JADFER), "annotate", str(clips), "-o", str(out), "--log-json"]
    powers = give_up_root_powers if os.geteuid() == 0 else None
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=powers) as process:
        events = []
        for line in process.stderr:
            events.append(json.loads(line))
            if events[-1]["event"] == "result":
                out.chmod(0o555)
        code = process.wait(60)
    out.chmod(0o755)
    assert code == 1
    kinds = [event["event"] for event in events]
    assert {"result", "failure"} <= set(kinds) and kinds[-2:] == ["summary", "error"]
    (failed,) = [event for event in events if event["event"] == "failure"]
    assert failed["stage"] == "write" and "ermission denied" in failed["message"]
    assert "choose another folder" in failed["hint"]
    assert any("listed here only" in e["message"] for e in events if e["event"] == "warning")
    assert "videos were not tried" in events[-1]["message"]
    assert all(len(pd.read_parquet(path)) == 8 for path in out.glob("*.parquet"))


@pytest.fixture(scope="module")
def own_model(tmp_path_factory):
    """The shipped network as a user's own file, which is not in the registry."""
    shipped = checkpoint.load()
    path = tmp_path_factory.mktemp("model") / "own.safetensors"
    checkpoint.save(
        path, shipped.build(), labels=shipped.labels, temperature=shipped.temperature,
        metrics=shipped.metrics,
    )  # fmt: skip
    loaded = checkpoint.load(str(path))
    assert loaded.labels == shipped.labels and loaded.config == shipped.config
    return path


def with_flipped_bit(path, to, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    to.write_bytes(data)
    return to


def test_a_corrupted_model_ends_the_batch_before_it_begins(jadfer, short_clip, tmp_path, own_model):
    for name in "ab":
        shutil.copy(short_clip, tmp_path / f"{name}.mp4")
    bad = with_flipped_bit(own_model, tmp_path / "bad.safetensors", -1000)
    out = tmp_path / "out"
    result = jadfer("annotate", tmp_path, "-o", out, "--model", bad)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "bad.safetensors are damaged: they differ from what was written" in result.stderr
    assert "Hint:" in result.stderr and not out.exists()


def test_every_flipped_bit_of_a_model_is_noticed(tmp_path, own_model):
    size = own_model.stat().st_size
    rng = np.random.default_rng(0)
    for at in (0, 60, *rng.integers(100, 2000, 3), *rng.integers(size, size=2), size - 1):
        bad = with_flipped_bit(own_model, tmp_path / "bad.safetensors", int(at))
        with pytest.raises(ModelError, match=r"bad\.safetensors"):
            checkpoint.load(str(bad))


def test_values_that_are_no_numbers_are_refused(tmp_path, monkeypatch):
    network = checkpoint.load().build()
    next(network.parameters()).data.view(-1)[0] = float("nan")
    with pytest.raises(ModelError, match=r"nan\.safetensors was not written: .*not finite"):
        checkpoint.save(tmp_path / "nan.safetensors", network)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.header, "read", lambda data: None)
        checkpoint.save(tmp_path / "nan.safetensors", network)
    with pytest.raises(ModelError, match=r"nan\.safetensors contain values that are not finite"):
        checkpoint.load(str(tmp_path / "nan.safetensors"))


def test_a_truncated_detector_is_named(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(centerface.weights_path().read_bytes()[:100_000])
    with pytest.raises(ModelError, match=r"cut\.onnx cannot be loaded; it is damaged"):
        load_detector(FaceOptions(detector=str(path)), threads=1)
