"""A single video in a worker process: limits, crashes, output of libraries, stopped processes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
import stub_workers
from forked_workers import forked_workers

from jadfer_cli.batch import awake, single
from jadfer_cli.batch.plan import Task
from jadfer_cli.errors import JadferError, VideoError
from jadfer_cli.options import AnnotateOptions

pytestmark = pytest.mark.slow  # starts processes


class Notes:
    """A reporter that records."""

    def __init__(self):
        self.notes, self.ends, self.stages = [], [], []

    def note(self, text, *, kind):
        self.notes.append(text)

    def worker(self, number, task, progress):
        pass

    def stage(self, task, text):
        self.stages.append(text)

    def ended(self, task, what, fields):
        self.ends.append(what)

    def tick(self):
        pass


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the stub on a video of this name; returns what was reported."""
    monkeypatch.setattr(single, "work_single", stub_workers.work_single)
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(stub_workers.__file__))

    def start(name, stall_s=30.0):
        report = Notes()
        one = single.SingleRun(
            AnnotateOptions(), stall_s=stall_s, if_exists="refuse", report=report
        )
        with forked_workers():
            one.run(Task(f"{name}.mp4", tmp_path / "out.parquet"))
        return report

    return start


def test_a_decoder_that_hangs_is_given_up(run):
    with pytest.raises(JadferError, match=r"no progress on hang\.mp4 for 1 s") as caught:
        run("hang", stall_s=1.0)
    assert caught.value.stage == "hang" and "stall" in caught.value.hint


def test_a_crash_is_an_error_that_says_what_the_library_printed(run):
    with pytest.raises(JadferError, match=r"signal 11; last output: terminate called"):
        run("segv")


def test_output_of_c_libraries_does_not_reach_the_terminal(run, capfd):
    assert run("prints").ends == ["done"]
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_was_stopped_loses_nothing(run):
    """It is stopped for longer than the limit, then continues."""

    def continue_it():
        time.sleep(4)
        for child in psutil.Process().children(recursive=True):
            if child.status() == psutil.STATUS_STOPPED:
                child.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=continue_it)
    thread.start()
    assert run("stops", stall_s=1.5).ends == ["done"]
    thread.join()


def test_a_stopped_process_group_loses_nothing(tmp_path):
    """As by Ctrl-Z: the supervisor and its worker stop for longer than the limit."""
    code = f"""
        import sys
        sys.path[:0] = {[str(Path(stub_workers.__file__).parent)]!r}
        import stub_workers
        from pathlib import Path
        from test_single_report import Report
        from jadfer_cli.batch import single
        from jadfer_cli.batch.plan import Task
        from jadfer_cli.options import AnnotateOptions
        single.work_single = stub_workers.work_single
        run = single.SingleRun(
            AnnotateOptions(), stall_s=6.0, if_exists="refuse", report=Report()
        )
        if __name__ == "__main__":
            run.run(Task("slow.mp4", Path("out.parquet")))
    """
    report = """
        class Report:
            def note(self, text, *, kind): pass
            def stage(self, task, text): pass
            def tick(self): pass
            def worker(self, number, task, progress): print("progress", flush=True)
            def ended(self, task, what, fields): print(what, flush=True)
    """
    (tmp_path / "test_single_report.py").write_text(textwrap.dedent(report))
    (tmp_path / "main.py").write_text(textwrap.dedent(code))
    with subprocess.Popen(
        [sys.executable, "main.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "progress\n"
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(8)
        os.killpg(process.pid, signal.SIGCONT)
        assert process.stdout.read() == "done\n"
    assert process.returncode == 0


def test_a_pause_of_the_clock_counts_as_two_seconds(monkeypatch):
    now = iter([0.0, 0.25, 1000.25, 1000.5])
    monkeypatch.setattr(awake.time, "monotonic", lambda: next(now))
    clock = awake.AwakeClock()
    assert [clock.step() for _ in range(3)] == [0.25, 2.0, 0.25]


@pytest.mark.parametrize("when", ["loading", "annotating"])
def test_ctrl_c_is_acknowledged_at_once(tmp_path, when):
    from conftest import DEMO, JADFER

    command = [str(JADFER), "annotate", str(DEMO), "-o", str(tmp_path / "c.parquet"), "--log-json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            event = json.loads(line)
            stages = [each["stage"] for each in event.get("running", [])]
            if (event["event"] == "start" and when == "loading") or when in stages:
                process.send_signal(signal.SIGINT)
                sent_s = time.monotonic()
                break
        said = json.loads(process.stderr.readline())
        waited_s = time.monotonic() - sent_s
        rest = process.stderr.read()
    assert process.returncode == 130 and "Traceback" not in rest
    assert "Stopping" in said.get("message", "") or said["event"] in ("summary", "error")
    assert waited_s < 5  # 0.3 s on an idle machine
    assert list(tmp_path.iterdir()) == []


def test_pipes_and_links_that_lead_nowhere_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    one = single.SingleRun(AnnotateOptions(), stall_s=1, if_exists="refuse", report=Notes())
    with pytest.raises(VideoError, match="a device or a pipe"):
        one.check(Task(str(tmp_path / "pipe.mp4"), tmp_path / "a.parquet"))
    with pytest.raises(VideoError, match=r"a symbolic link to .*gone\.mp4, which does not exist"):
        one.check(Task(str(tmp_path / "link.mp4"), tmp_path / "a.parquet"))
