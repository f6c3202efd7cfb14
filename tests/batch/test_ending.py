"""How workers are ended: one limit for all, nothing left behind, and no traceback of a child."""

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from jadfer_cli.batch import durations, process, single
from jadfer_cli.batch.handle import end_all
from jadfer_cli.batch.local import LocalBatch
from jadfer_cli.batch.plan import Task
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.results.paths import parts_folder
from jadfer_cli.stopping import ignored_by_children


class Worker:
    """Takes some time to end; Ctrl-C is pressed while it does, if `interrupted`."""

    def __init__(self, *, task=None, interrupted=False):
        self.task, self.interrupted, self.graces = task, interrupted, []

    def end(self, grace_s):
        self.graces.append(grace_s)
        if grace_s and self.interrupted:
            raise KeyboardInterrupt
        time.sleep(0.01)


def unfinished(folder):
    """A task of which a killed worker has left something."""
    task = Task("a.mp4", folder / "a.parquet")
    parts_folder(task.target).mkdir()
    for name in ("key.json", "lock"):
        (parts_folder(task.target) / name).touch()
    return task


def test_the_limit_is_one_for_all_workers():
    workers = [Worker() for _ in range(3)]
    end_all(workers, 5.0)
    (first,), (second,), (third,) = (worker.graces for worker in workers)
    assert 5.0 >= first > second > third > 0


def test_a_second_ctrl_c_kills_every_worker_at_once():
    workers = [Worker(interrupted=True), Worker(), Worker()]
    end_all(workers, 5.0)
    assert [worker.graces[-1] for worker in workers] == [0, 0, 0]
    assert [len(worker.graces) for worker in workers] == [2, 1, 1]


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_killed_worker_leaves_nothing(tmp_path, interrupted):
    end_all([Worker(task=unfinished(tmp_path), interrupted=interrupted)], 5.0)
    assert list(tmp_path.iterdir()) == []


class Handle(Worker):
    """In the place of a worker process."""

    ready, number, load_error, silent_s = True, 1, None, 0.0
    process = SimpleNamespace(is_alive=lambda: True)

    def __init__(self, *arguments, **more):
        super().__init__(interrupted=True)

    def messages(self):
        return ()

    def waitables(self):
        raise KeyboardInterrupt  # pressed again

    def terminate(self):
        pass


class Report:
    """A reporter; Ctrl-C is pressed when it is called the first time."""

    def note(self, text, *, kind):
        pass

    def worker(self, number, task, progress):
        pass

    def tick(self):
        raise KeyboardInterrupt


def test_two_ctrl_c_leave_nothing_of_a_single_run(tmp_path, monkeypatch):
    monkeypatch.setattr(single, "ProcessHandle", Handle)
    run = single.SingleRun(AnnotateOptions(), stall_s=1, if_exists="refuse", report=Report())
    with pytest.raises(KeyboardInterrupt):
        run.run(unfinished(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_two_ctrl_c_leave_nothing_of_a_batch(tmp_path, monkeypatch):
    task = unfinished(tmp_path)
    batch = LocalBatch(AnnotateOptions(), jobs=1, stall_s=1, if_exists="refuse", failures=None,
                       report=Report())  # fmt: skip

    def start(number):
        worker = Handle()
        worker.task, worker.progress = task, None
        return worker

    monkeypatch.setattr(batch, "_start_worker", start)
    with pytest.raises(KeyboardInterrupt):
        batch.run([task])
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_starts_meanwhile_ignores_ctrl_c_and_its_parent_gets_it_later():
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    # jadfer's own handler would remember the signal for the tests that follow
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), ignored_by_children():
        said = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
        # to this thread: another one, such as that of a time limit, would take it at once
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        arrived_late = True
    signal.signal(signal.SIGINT, before)
    assert said.stdout == "True\n" and arrived_late
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize(
    "start",
    [lambda: process.ProcessHandle(1, print, (), capture=False), durations._MeasuringProcess],
    ids=["worker", "durations"],
)
def test_every_process_is_started_so(monkeypatch, start):
    seen = []

    class Process:
        def __init__(self, **settings):
            pass

        def start(self):
            seen.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))

    context = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=Process)
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)
    start()
    assert seen == [True]


def test_a_failure_in_a_batch_names_the_file_as_it_is(tmp_path):
    batch = LocalBatch(AnnotateOptions(), jobs=1, stall_s=1, if_exists="refuse", failures=None,
                       report=SimpleNamespace(ended=lambda *how: None))  # fmt: skip
    task = Task("my `out` film.mp4", Path("out.parquet"))
    batch._failed(task, {"stage": "read", "message": f"{task.video} is empty; see `stall`."})
    assert batch.outcome.failed[0][1]["message"] == "my `out` film.mp4 is empty; see --stall."
