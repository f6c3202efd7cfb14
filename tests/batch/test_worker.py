"""A worker without its process: what it sends, and how it sets up the machine."""

import errno

import pytest

from jadfer_cli.batch import worker
from jadfer_cli.batch.plan import Task
from jadfer_cli.errors import BusyError, ModelError, OutputError, VideoError
from jadfer_cli.explain import explain
from jadfer_cli.options import AnnotateOptions, IfExists, ModelOptions
from jadfer_cli.pipeline import annotator as loading


class Messages(list):
    """A listener that keeps what it is sent."""

    send = list.append


@pytest.mark.parametrize(("engine", "own", "calls"), [
    ("torch", True, 1), ("torch", False, 0), ("onnxruntime", True, 0),
])  # fmt: skip
def test_a_worker_on_pytorch_keeps_freed_memory(monkeypatch, engine, own, calls):
    """As a single run does: without it PyTorch on a CPU is slower. Never in a notebook."""
    called = []
    monkeypatch.setattr(loading, "keep_freed_memory", lambda: called.append(1))
    monkeypatch.setattr(loading, "owns_process", lambda: own)
    messages = Messages()
    options = AnnotateOptions(model=ModelOptions(device="cpu", engine=engine))
    assert worker.load(options, messages) is not None
    assert [kind for kind, _ in messages] == ["ready"] and len(called) == calls


def test_networks_that_cannot_be_loaded_are_reported():
    messages = Messages()
    options = AnnotateOptions(model=ModelOptions(model="missing.safetensors"))
    assert worker.load(options, messages) is None
    ((kind, fields),) = messages
    assert kind == "load_failed" and fields["error"]["stage"] == "load"
    assert "missing.safetensors" in fields["error"]["message"]


class Annotator:
    """An annotator that raises."""

    def __init__(self, error):
        self.error = error

    def annotate_to(self, video, out, **how):
        raise self.error


@pytest.mark.parametrize(
    ("error", "stage", "message"),
    [
        (VideoError("No video.", "Convert it."), "read", "No video."),
        (ModelError("No weights."), "load", "No weights."),
        (OutputError("No room."), "write", "No room."),
        (OSError(errno.ENOSPC, "No space left", "out/x"), "write", "out/x cannot be written"),
        (MemoryError(), "annotate", "The machine ran out of memory."),
        (RuntimeError("std::bad_alloc"), "annotate", "The machine ran out of memory."),
        (KeyError("x"), "annotate", "Something unexpected went wrong: KeyError: 'x'"),
    ],
)
def test_failures_say_where_and_why(tmp_path, error, stage, message):
    messages = Messages()
    task = Task("a.mp4", tmp_path / "a.parquet")
    worker.annotate(Annotator(error), task, IfExists.REFUSE, messages)
    ((kind, fields),) = messages
    assert kind == "failed" and fields["error"]["stage"] == stage
    assert message in fields["error"]["message"]


def test_a_bug_is_called_one_and_says_how_to_report_it():
    explained = explain(KeyError("x"), "annotate the video alone with --debug")
    assert explained.hint == (
        "This is a bug in jadfer; annotate the video alone with --debug and report what it prints."
    )


def test_a_result_that_another_run_writes_is_busy(tmp_path):
    messages = Messages()
    task = Task("a.mp4", tmp_path / "a.parquet")
    worker.annotate(Annotator(BusyError("Busy.")), task, IfExists.REFUSE, messages)
    assert messages == [("busy", {})]
