"""One worker process: loads the networks once, then annotates the videos it is given.

It reports to its parent through a pipe, in messages (kind, fields):

    ready        hint, warnings         the networks are loaded
    load_failed  error                  they cannot be loaded
    received                            the worker has the next video
    progress     frames, total, faces
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

import os
import signal
import threading
import time
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
    threading.Thread(target=_die_with_the_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    stopping.install()
    claim_process()
    try:
        serve(pipe, worker_options(options, number, jobs), if_exists)
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


def _annotate(annotator: Annotator, task: Task, if_exists: IfExists, listener: Listener) -> Message:
    """Annotates one video; returns the message that says how it ended."""
    last_s = float("-inf")

    def progress(now: Progress) -> None:
        nonlocal last_s
        stopping.raise_if_stopped()
        if time.monotonic() - last_s >= _PROGRESS_EVERY_S:
            last_s = time.monotonic()
            fields = {"frames": now.frames, "total": now.frames_total, "faces": now.faces}
            listener.send(("progress", fields))

    def note(text: str) -> None:
        listener.send(("note", {"text": text}))

    metadata = annotator.annotate_to(
        task.video, task.target, name=task.name, if_exists=if_exists, progress=progress, note=note
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
