"""How a batch handles its workers and its list of failures; stub workers make it quick."""

import io
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import stub_workers
from forked_workers import forked_workers
from rich.console import Console

from jadfer_cli.batch import failures as lists
from jadfer_cli.batch import local, process, worker
from jadfer_cli.batch.failures import Failures
from jadfer_cli.batch.outcome import Outcome
from jadfer_cli.batch.plan import Task
from jadfer_cli.cli import batch_progress
from jadfer_cli.errors import JadferError, OptionError, OutputError
from jadfer_cli.options import AnnotateOptions


class Notes:
    """A reporter that records."""

    def __init__(self):
        self.notes, self.ends = [], []

    def note(self, text, *, kind):
        self.notes.append(text)

    def worker(self, number, task, progress):
        pass

    def ended(self, task, what, fields):
        self.ends.append((Path(task.video).stem, what))

    def tick(self):
        pass


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """Runs a batch of videos with these names; returns the outcome and the reporter."""
    monkeypatch.setattr(local, "work", stub_workers.work)
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(stub_workers.__file__))

    def start(*names, loads="", jobs=1, stall_s=30.0, **more):
        (tmp_path / "loads").write_text(loads)
        monkeypatch.setenv("STUB_LOADS", str(tmp_path / "loads"))
        notes = Notes()
        tasks = [Task(f"{name}.mp4", tmp_path / "out" / f"{name}.parquet") for name in names]
        options = {"if_exists": "skip", "failures": tmp_path / "out" / "failures.jsonl"} | more
        supervisor = local.LocalBatch(
            AnnotateOptions(), jobs=jobs, stall_s=stall_s, report=notes, **options
        )
        try:
            with forked_workers():
                return supervisor.run(tasks), notes
        finally:
            assert not any(one.process.is_alive() for one in supervisor.workers)

    return start


def stems(tasks):
    return [Path(task.video).stem for task in tasks]


def listed(folder):
    return [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_workers_that_die_or_hang_are_replaced(batch, tmp_path):
    names = ("ok1", "segv", "then dies", "hang", "bad", "ok2")
    outcome, _ = batch(*names, stall_s=1.0)
    assert stems(task for task, _ in outcome.done) == ["ok1", "then dies", "ok2"]
    assert [(f["video"], f["stage"]) for f in listed(tmp_path / "out")] == [
        ("segv.mp4", "crash"), ("hang.mp4", "hang"), ("bad.mp4", "read")
    ]  # fmt: skip
    assert all(set(f) == {"video", "result", "stage", "message", "hint", "time"}
               for f in listed(tmp_path / "out"))  # fmt: skip
    assert not outcome.stopped and not outcome.untried and outcome.listed


def test_a_replacement_that_cannot_load_is_tried_again(batch):
    outcome, notes = batch("segv", "ok1", loads="ready\ndies\nunready\nready\n")
    assert stems(task for task, _ in outcome.done) == ["ok1"] and not notes.notes


def test_it_goes_on_with_fewer_workers_and_ends_without_any():
    """Two workers load; then one and its replacements fail to, and finally the other."""

    class Lost:
        ready, number, load_error = False, 2, JadferError("No such weights.", "Get some.")

        def end(self, grace_s):
            pass

    notes, good, started = Notes(), Lost(), []
    batch = local.LocalBatch(AnnotateOptions(), jobs=2, stall_s=1, if_exists="skip", failures=None,
                             report=notes)  # fmt: skip
    batch._any_loaded, batch.workers = True, [good, Lost()]
    batch._start_worker = lambda number: started.append(number) or Lost()
    for _ in range(3):
        batch.replace(batch.workers[-1])
    assert started == [2, 2] and batch.workers == [good]
    assert notes.notes == ["The batch continues with fewer workers: No such weights."]
    with pytest.raises(JadferError, match="No such weights") as caught:
        batch.replace(good)
    assert caught.value.hint == "Get some."


def test_the_first_worker_must_load(batch):
    with pytest.raises(JadferError, match=r"died while loading the networks \(signal 9\)"):
        batch("ok", loads="dies\n")


def test_a_worker_that_dies_while_it_waits_costs_no_video():
    """The pipe is closed, so the video is not handed out."""
    dead = process.ProcessHandle.__new__(process.ProcessHandle)
    dead.pipe, theirs = process.multiprocessing.Pipe()
    dead.task, dead._output = None, None
    theirs.close()
    assert not dead.give(Task("a.mp4", Path("a.parquet"))) and dead.task is None


@pytest.mark.parametrize("if_exists", ["refuse", "skip"])
def test_a_result_that_another_run_has_just_made_is_no_failure(tmp_path, monkeypatch, if_exists):
    """It appears between handing out and writing; the supervisor then checks again."""

    class Annotator:
        def __init__(self, options):
            self.networks = SimpleNamespace(hint=None, warnings=())

    def made_meanwhile(annotator, task, if_exists, pipe):
        task.target.touch()
        raise OptionError(f"{task.target} exists already.")

    monkeypatch.setattr("jadfer_cli.pipeline.annotator.Annotator", Annotator)
    monkeypatch.setattr(worker, "_annotate", made_meanwhile)
    ours, theirs = process.multiprocessing.Pipe()
    ours.send(Task("a.mp4", tmp_path / "a.parquet"))
    ours.send(None)
    worker.serve(theirs, AnnotateOptions(), if_exists)
    assert [ours.recv()[0] for _ in range(3)] == ["ready", "received", "busy"]


def test_one_line_a_video_also_from_several_runs(tmp_path):
    """Eight threads act as runs: each lists the same videos and one of its own."""
    file = tmp_path / "failures.jsonl"
    file.write_text('{"result": "/other/x.parquet"}\nnot ours\n')

    def one_run(number):
        lines = Failures(file)
        for name in ("a", "b", f"own{number}"):
            task = Task(f"{name}.mp4", tmp_path / f"{name}.parquet")
            lines.add(task, {"stage": "read", "message": "ü", "hint": None})
        assert lines.complete

    threads = [threading.Thread(target=one_run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    lines = file.read_text("utf-8").splitlines()
    assert lines[:2] == ['{"result": "/other/x.parquet"}', "not ours"]
    videos = [json.loads(line)["video"] for line in lines[2:]]
    assert sorted(videos) == ["a.mp4", "b.mp4", *(f"own{n}.mp4" for n in range(8))]
    Failures(file).forget([Task("", tmp_path / f"{Path(video).stem}.parquet") for video in videos])
    assert len(file.read_text("utf-8").splitlines()) == 2
    file.write_text("")
    odd = Task(os.fsdecode(b"\xff.mp4"), tmp_path / "odd.parquet")
    Failures(file).add(odd, {"stage": "read"})
    assert listed(tmp_path)[0]["video"] == odd.video
    Failures(file).forget([odd])
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_cannot_be_written_is_kept_and_written_later(batch, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    lines = Failures(tmp_path / "failures.jsonl")
    a, b = (Task(f"{name}.mp4", tmp_path / f"{name}.parquet") for name in "ab")
    lines.add(a, {"stage": "read"})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"failures\.jsonl.* No space left") as caught:
            lines.add(b, {"stage": "read"})
        assert "disk is full" in caught.value.hint and not lines.complete
        assert [f["video"] for f in listed(tmp_path)] == ["a.mp4"]
        outcome, notes = batch("bad1", "bad2", "ok")
        assert len(outcome.failed) == 2 and len(outcome.done) == 1 and not outcome.listed
        (note,) = notes.notes
        assert "No space left" in note and "listed here only" in note
    lines.save()
    assert [f["video"] for f in listed(tmp_path)] == ["a.mp4", "b.mp4"] and lines.complete


def test_a_full_disk_ends_the_batch_early(batch, tmp_path, monkeypatch):
    outcome, _ = batch("unwritable", "ok1", "ok2")  # only the first cannot be written
    assert len(outcome.done) == 2 and outcome.stopped is None

    def full(dir):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lists.tempfile, "TemporaryFile", full)
    outcome, _ = batch("unwritable", "ok3", "ok4", "ok5")
    assert stems(outcome.untried) == ["ok3", "ok4", "ok5"] and not outcome.done
    assert "3 videos were not tried" in outcome.stopped.message
    assert "disk is full" in outcome.stopped.hint
    assert "if_exists='skip'" in outcome.stopped.hint


def test_the_closing_table_says_what_was_not_tried_and_not_listed():
    def shown(outcome):
        console = Console(file=io.StringIO(), width=200)
        for part in batch_progress.summary(outcome, 60.0, "out/failures.jsonl"):
            console.print(part)
        return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]

    tasks = [Task(f"{i}.mp4", Path(f"out/{i}.parquet")) for i in range(30)]
    error = {"stage": "write", "message": "No room.", "hint": None}
    assert shown(Outcome())[1:] == ["done 0", "failed 0"]
    outcome = Outcome(failed=[(task, error) for task in tasks[:25]], untried=tasks[25:])
    lines = shown(outcome)
    assert "failed 25 out/failures.jsonl" in lines and "not tried 5" in lines
    assert not any("No room." in line for line in lines)  # each was printed when it happened
    outcome.listed = False
    lines = shown(outcome)
    assert "failed 25 out/failures.jsonl could not be written" in lines


def test_a_failure_that_is_listed_already_is_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(lists.time, "strftime", lambda form: "now")
    lines = Failures(tmp_path / "failures.jsonl")
    for _ in range(2):
        lines.add(Task("a.mp4", tmp_path / "a.parquet"), {"stage": "read"})
    assert lines.complete and len(listed(tmp_path)) == 1
