"""`--ray` as a user starts it: a local cluster does what a plain batch does."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
from conftest import JADFER
from tolerances import SAME_MACHINE

from jadfer_cli.batch import ray as on_ray
from jadfer_cli.batch import worker_options
from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.ray import Slots
from jadfer_cli.batch.ray_worker import RayWorker
from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions, IfExists, ModelOptions

# injected into every process by PYTHONPATH: a library that crashes once, or always
CRASHES = """
import os, signal
import av
opened = av.open
def open_(file, *args, **more):
    name = os.path.basename(str(file))
    crashed = os.path.join(os.path.dirname(__file__), name)
    if name == "always.mp4" or name == "once.mp4" and not os.path.exists(crashed):
        open(crashed, "a").close()
        os.kill(os.getpid(), signal.SIGSEGV)
    return opened(file, *args, **more)
av.open = open_
"""


def processes(mark):
    found = []
    for process in psutil.process_iter(["environ"]):
        if mark in str(process.info["environ"] or {}):
            found.append(process.name())
    return found


def wait_for_the_end_of(mark):
    deadline = time.monotonic() + 15
    while processes(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    return processes(mark)


def ray_folders():
    return {path for path in Path("/tmp").glob("jadfer-*") if path.is_dir()}


def test_a_local_cluster_gives_the_same_rows_and_survives_crashes(jadfer, short_clip, tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CRASHES)
    (tmp_path / "clips").mkdir()
    for name in ("always", "good", "once"):
        shutil.copy(short_clip, tmp_path / "clips" / f"{name}.mp4")
    (tmp_path / "clips" / "broken.mp4").write_bytes(short_clip.read_bytes()[:3000])
    mark, before = f"ray-{tmp_path.name}", ray_folders()
    env = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}",
           "JADFER_TEST_MARK": mark}  # fmt: skip
    result = jadfer("annotate", "clips", "-o", "out", "--ray", "--jobs", "2", "--log-json",
                    cwd=tmp_path, env=env, timeout=200)  # fmt: skip
    assert result.returncode == 1, result.stderr
    events = [json.loads(line) for line in result.stderr.splitlines()]  # and nothing printed by Ray
    ends = {e["video"]: e for e in events if e["event"] in ("result", "failure")}
    assert {video: e["event"] for video, e in ends.items()} == {
        "clips/always.mp4": "failure", "clips/broken.mp4": "failure", "clips/good.mp4": "result",
        "clips/once.mp4": "result",
    }  # fmt: skip
    lines = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    stages = {(line := json.loads(text))["video"]: line["stage"] for text in lines}
    assert stages == {"clips/always.mp4": "crash", "clips/broken.mp4": "read"}
    assert "and again when Ray retried" in ends["clips/always.mp4"]["message"]
    assert not wait_for_the_end_of(mark) and ray_folders() <= before
    assert not list((tmp_path / "out").glob("*.part"))

    plain = jadfer("annotate", "clips/good.mp4", "-o", "plain.parquet", cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr
    expected = pd.read_parquet(tmp_path / "plain.parquet")
    for name in ("good", "once"):
        rows = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
        assert set(rows.pop("video")) == {f"clips/{name}.mp4"}
        pd.testing.assert_frame_equal(expected.drop(columns="video"), rows, atol=SAME_MACHINE)


def test_sigterm_ends_the_cluster_and_leaves_nothing(short_clip, tmp_path):
    pytest.importorskip("ray")
    for i in range(20):
        shutil.copy(short_clip, tmp_path / f"{i}.mp4")
    mark, before = f"ray-{tmp_path.name}", ray_folders()
    command = [str(JADFER), "annotate", str(tmp_path), "-o", str(tmp_path / "out"), "--ray",
               "--log-json"]  # fmt: skip
    env = {**os.environ, "JADFER_TEST_MARK": mark}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        for line in process.stderr:
            if json.loads(line)["event"] == "result":
                process.send_signal(signal.SIGTERM)
                break
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in rest
    assert not wait_for_the_end_of(mark) and ray_folders() <= before
    assert not list((tmp_path / "out").glob("*.part"))
    assert 1 <= len(list((tmp_path / "out").glob("*.parquet"))) < 20


def test_without_ray_it_says_what_to_install(jadfer, short_clip, tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError(\"No module named 'ray'\")\n")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    result = jadfer("annotate", short_clip, "-o", f"{tmp_path / 'out'}/", "--ray",
                    env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    assert result.returncode == 2 and "pip install 'jadfer-cli[ray]'" in result.stderr
    assert "Traceback" not in result.stderr and not (tmp_path / "out").exists()


def test_a_cluster_that_is_not_there(tmp_path):
    pytest.importorskip("ray")
    with (
        pytest.raises(OptionError, match="no Ray cluster at nowhere"),
        on_ray._cluster("nowhere", 1),
    ):
        raise AssertionError
    batch = on_ray.RayBatch(
        AnnotateOptions(model=ModelOptions(device="cuda:1")), address=None, jobs=1, stall_s=1,
        if_exists="skip", failures=None, report=None,
    )  # fmt: skip
    with pytest.raises(OptionError, match="Ray assigns the GPUs"):
        batch.run([])


def test_machines_of_a_cluster_must_be_alike(tmp_path):
    actor = RayWorker(AnnotateOptions(), "skip", str(tmp_path / "missing"), on_ray.__version__)
    ((kind, fields),) = actor.load()
    assert (
        kind == "load_failed" and f"no folder {tmp_path / 'missing'}" in fields["error"]["message"]
    )
    ((kind, fields),) = RayWorker(AnnotateOptions(), "skip", str(tmp_path), "0.0.1").load()
    assert kind == "load_failed" and "this machine 0.0.1" in fields["error"]["message"]
    assert "same version" in fields["error"]["hint"]


CPU, GPU = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("model", "nodes", "wanted", "expected"),
    [
        ({}, [CPU, CPU], None, Slots(16, 1, 0, 1)),  # one actor per CPU
        ({"threads": 3}, [CPU, CPU], None, Slots(4, 3, 0, 3)),  # 2 of 3 CPUs fit in 8
        ({}, [CPU, CPU], 5, Slots(5, 1, 0, 1)),
        ({}, [CPU, GPU, GPU], None, Slots(8, 4, 1, 4)),  # one GPU each, with 16 / 4 CPUs
        ({"threads": 8}, [GPU], None, Slots(4, 4, 1, 8)),
        ({"device": "cpu"}, [CPU, GPU], None, Slots(24, 1, 0, 1)),
    ],
)
def test_slots_of_a_cluster(model, nodes, wanted, expected):
    assert on_ray.slots_of(ModelOptions(**model), nodes, wanted) == expected


def test_a_cluster_without_room():
    with pytest.raises(OptionError, match="no room for an actor with 9 CPUs"):
        on_ray.slots_of(ModelOptions(threads=9), [CPU], None)


def test_slots_on_this_machine(monkeypatch):
    monkeypatch.setattr(on_ray, "usable_cores", lambda: 8)
    assert on_ray.slots_here(ModelOptions(), CPU, 3) == Slots(3, 1, 0, 2)
    # 5 actors on 2 GPUs: 3 share one
    assert on_ray.slots_here(ModelOptions(), {"GPU": 2.0}, 5) == Slots(5, 1, 0.3333, 1)
    assert on_ray.slots_here(ModelOptions(device="cpu"), {"GPU": 2.0}, 2).gpus == 0


@pytest.mark.parametrize(
    ("given", "n_gpus", "expected"),
    [
        ({}, 3, ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]),
        ({"device": "cuda"}, 2, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        ({"device": "cuda:1"}, 3, ["cuda:1"] * 4),
        ({"device": "cpu"}, 3, ["cpu"] * 4),
        ({}, 1, ["auto"] * 4),
        ({}, 0, ["auto"] * 4),
    ],
)
def test_workers_of_a_plain_batch_share_gpus_and_cores(monkeypatch, given, n_gpus, expected):
    monkeypatch.setattr(worker_options, "n_gpus", lambda: n_gpus)
    monkeypatch.setattr(worker_options, "usable_cores", lambda: 10)
    options = AnnotateOptions(model=ModelOptions(**given))
    shares = [worker_options.worker_options(options, number, 4).model for number in (1, 2, 3, 4)]
    assert [model.device for model in shares] == expected
    assert [model.threads for model in shares] == [2] * 4
    assert (
        worker_options.worker_options(options, 1, 1) == options
    )  # a single worker gets the whole machine
    own = dataclasses.replace(options, model=dataclasses.replace(options.model, threads=7))
    assert worker_options.worker_options(own, 2, 4).model.threads == 7


class FakeRay(SimpleNamespace):
    """As much of Ray as a batch uses; calls run at once, in this process."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self):
        super().__init__(killed=[], nodes=lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])

    def remote(self, kind):
        def called(method):
            def remote(*args):
                try:
                    return ("value", method(*args))
                except Exception as error:
                    return ("error", error)

            call = SimpleNamespace(remote=remote)
            call.options = lambda **how: call
            return call

        def made(*args):
            names = ("load", "annotate", "new_messages", "stop")
            actor = kind(*args)
            return SimpleNamespace(**{name: called(getattr(actor, name)) for name in names})

        return SimpleNamespace(options=lambda **how: SimpleNamespace(remote=made))

    def wait(self, calls, timeout):
        return calls, []

    def get(self, call):
        how, value = call
        if how == "error":
            raise value
        return value

    def kill(self, actor):
        self.killed.append(actor)


class StubWorker(RayWorker):
    """Annotates nothing: fails at "dies", and is done with the others."""

    def load(self):
        return [("ready", {"hint": None, "warnings": []})]

    def annotate(self, task):
        if "dies" in task.video:
            raise FakeRay.exceptions.RayError("The actor died.\nMore lines.")
        counts = {"frames_analysed": 8, "faces": 8}
        return [("received", {}), ("progress", {"frames": 8, "total": 8, "faces": 8}),
                ("done", {"counts": counts, "wall_s": 0.1, "warnings": []})]  # fmt: skip


def test_actors_are_supervised_and_one_that_dies_is_replaced(tmp_path, monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, "ray.exceptions", fake.exceptions)
    monkeypatch.setattr(on_ray, "_cluster", lambda address, jobs: contextlib.nullcontext())
    monkeypatch.setattr(on_ray, "RayWorker", StubWorker)
    progress, ends = [], []
    report = SimpleNamespace(
        note=lambda text, kind: None, tick=lambda: None,
        worker=lambda number, task, now: progress.append((now.frames, now.total)),
        ended=lambda task, what, fields: ends.append((task.video, what)),
    )  # fmt: skip
    batch = on_ray.RayBatch(
        AnnotateOptions(), address=None, jobs=1, stall_s=30, if_exists=IfExists.SKIP,
        failures=tmp_path / "failures.jsonl", report=report,
    )  # fmt: skip
    tasks = [Task(f"{name}.mp4", tmp_path / f"{name}.parquet") for name in ("a", "dies", "b")]
    outcome = batch.run(tasks)
    assert ends == [("a.mp4", "done"), ("dies.mp4", "failed"), ("b.mp4", "done")]
    ((_, error),) = outcome.failed
    assert error["stage"] == "crash" and "again when Ray retried" in error["message"]
    assert (8, 8) in progress and len({id(actor) for actor in fake.killed}) == 2
