"""One worker process: loads the networks once, then annotates the videos it is given.

It reports to its parent through a pipe, in messages (kind, fields):

    ready        hint, warnings         the networks are loaded
    load_failed  error                  they cannot be loaded
    received                            the worker has the next video
    stage        text                   what a worker for a single video does before "ready"
    progress     stage, frames, total, faces, faces_now
    warning      message                about the machine, not the video
    note         text                   what the user should know about this video
    done         counts, wall_s, warnings
    skipped      why                    a result with the same settings exists
    busy                                another run is writing the result, or has just written it
    failed       error

An error is {"stage", "message", "hint"}. The worker ends when the pipe is closed, and at once when
its parent dies.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Protocol

from jadfer_cli import stopping
from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.worker_options import worker_options
from jadfer_cli.common import claim_process
from jadfer_cli.errors import (
    BusyError,
    JadferError,
    ModelError,
    OptionError,
    OutputError,
    VideoError,
)
from jadfer_cli.explain import explain
from jadfer_cli.options import AnnotateOptions, IfExists

if TYPE_CHECKING:
    from jadfer_cli.pipeline.annotator import Annotator
    from jadfer_cli.pipeline.progress import Progress
    from jadfer_cli.pipeline.source import Source

Message = tuple[str, dict[str, Any]]

_PROGRESS_EVERY_S = 0.2
_STAGES: tuple[tuple[type[JadferError], str], ...] = (
    (VideoError, "read"),
    (ModelError, "load"),
    (OutputError, "write"),
)


class Listener(Protocol):
    """Receives a worker's messages: the pipe to its parent, or a substitute."""

    def send(self, message: Message) -> None:
        """Takes one message."""


def work(
    pipe: Connection, options: AnnotateOptions, if_exists: IfExists, number: int = 1, jobs: int = 1
) -> None:
    """Runs a worker until its pipe is closed; the target of its process.

    Args:
        pipe: Connection to the parent.
        options: Options for every video.
        if_exists: What to do if a result exists.
        number: Which of the workers this is, from 1.
        jobs: How many workers share the machine.
    """
    with _worker_process():
        serve(pipe, worker_options(options, number, jobs), if_exists)


def work_single(
    pipe: Connection, options: AnnotateOptions, if_exists: IfExists, task: Task, debug: bool
) -> None:
    """Annotates a single video; the target of its process.

    The timeline is read before the networks load, so that a file that is no video is refused soon.

    Args:
        pipe: Connection to the parent.
        options: All options.
        if_exists: What to do if a result exists.
        task: The video and its result.
        debug: Print the traceback of an error.
    """
    with _worker_process():
        try:
            pipe.send(_annotate_single(pipe, options, if_exists, task))
        except KeyboardInterrupt as error:
            pipe.send(("interrupted", {"notes": getattr(error, "__notes__", [])}))
            raise
        except Exception as error:
            if debug:
                traceback.print_exc()
            fields = error_fields(error)
            fields["exit_code"] = error.exit_code if isinstance(error, JadferError) else 1
            pipe.send(("failed", {"error": fields}))


def _annotate_single(
    pipe: Connection, options: AnnotateOptions, if_exists: IfExists, task: Task
) -> Message:
    """Annotates a single video; returns the message that says how it ended."""
    from jadfer_cli.pipeline.source import open_video

    source = None
    if if_exists != IfExists.SKIP or not os.path.exists(task.target):
        pipe.send(("stage", {"text": "reading the timeline"}))
        source = open_video(task.video, options, task.name)
    pipe.send(("stage", {"text": "loading the networks"}))
    from jadfer_cli.pipeline.annotator import Annotator

    annotator = Annotator(options)
    networks = annotator.networks
    pipe.send(("ready", {"hint": networks.hint, "warnings": list(networks.warnings)}))
    return _annotate(annotator, task, if_exists, pipe, source)


@contextlib.contextmanager
def _worker_process() -> Iterator[None]:
    """Ends this process with its parent, and cleanly when the parent asks for it."""
    threading.Thread(target=_die_with_the_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    stopping.install()
    claim_process()
    try:
        yield
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the interpreter is shutting down


def serve(pipe: Connection, options: AnnotateOptions, if_exists: IfExists) -> None:
    """Loads the networks, then annotates what the pipe delivers until it delivers None."""
    annotator = load(options, pipe)
    if annotator is None:
        return
    while (task := pipe.recv()) is not None:
        pipe.send(("received", {}))
        annotate(annotator, task, if_exists, pipe)


def load(options: AnnotateOptions, listener: Listener) -> Annotator | None:
    """Loads the networks and reports whether that succeeded.

    Returns:
        The annotator, or None if the networks cannot be loaded.
    """
    from jadfer_cli.pipeline.annotator import Annotator

    try:
        annotator = Annotator(options)
    except Exception as error:
        listener.send(("load_failed", {"error": error_fields(error)}))
        return None
    networks = annotator.networks
    listener.send(("ready", {"hint": networks.hint, "warnings": list(networks.warnings)}))
    return annotator


def annotate(annotator: Annotator, task: Task, if_exists: IfExists, listener: Listener) -> None:
    """Annotates one video, or keeps its result, and reports the outcome."""
    try:
        listener.send(_annotate(annotator, task, if_exists, listener))
    except BusyError:
        listener.send(("busy", {}))
    except OptionError as error:
        if if_exists != IfExists.OVERWRITE and os.path.exists(task.target):
            listener.send(("busy", {}))  # another run wrote it after the video was handed out
        else:
            listener.send(("failed", {"error": error_fields(error)}))
    except Exception as error:
        listener.send(("failed", {"error": error_fields(error)}))


def _annotate(
    annotator: Annotator,
    task: Task,
    if_exists: IfExists,
    listener: Listener,
    source: Source | None = None,
) -> Message:
    """Annotates one video; returns the message that says how it ended."""
    last_s = float("-inf")

    def progress(now: Progress) -> None:
        nonlocal last_s
        stopping.raise_if_stopped()
        last = now.stage == "annotating" and now.frames == now.frames_total
        if last or time.monotonic() - last_s >= _PROGRESS_EVERY_S:
            last_s = time.monotonic()
            fields = {"stage": now.stage, "frames": now.frames, "total": now.frames_total,
                      "faces": now.faces, "faces_now": now.faces_now}  # fmt: skip
            listener.send(("progress", fields))

    def note(text: str) -> None:
        listener.send(("note", {"text": text}))

    metadata = annotator.annotate_to(
        source or task.video,
        task.target,
        name=task.name,
        if_exists=if_exists,
        progress=progress,
        note=note,
    )
    if metadata is None:
        from jadfer_cli.results.settings import kept_text

        return "skipped", {"why": kept_text(task.target)}
    for text in annotator.networks.memory_warnings():
        listener.send(("warning", {"message": text}))
    return "done", {name: metadata[name] for name in ("counts", "wall_s", "warnings")}


def error_fields(error: Exception) -> dict[str, Any]:
    """Describes an error as it goes through the pipe and into failures.jsonl."""
    explained = explain(error, "annotate the video alone with `debug`")
    stage = next((name for kind, name in _STAGES if isinstance(explained, kind)), "annotate")
    return {"stage": stage, "message": explained.message, "hint": explained.hint}


def _die_with_the_parent() -> None:
    """Waits for the parent's end, however it ends, and ends this process at once."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
