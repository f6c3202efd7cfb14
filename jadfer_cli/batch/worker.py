"""One worker process: loads the networks once, then annotates the videos it is handed.

It tells its parent what it does through a pipe, as (kind, fields):

    ready     hint, warnings     the networks are loaded
    unready   error              they cannot be
    taken                        it has heard which video is next
    begun     frames             the video's timeline is read
    progress  frames, faces
    warning   message            of the machine, not of the video
    note      text               what the user should know of this video
    done      counts, wall_s, warnings
    skipped                      there is a result of the same settings
    busy                         another run writes it, or did so meanwhile
    failed    error

An error is {"stage", "message", "hint"}. The worker ends when the pipe does, and at once when
its parent dies.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from jadfer_cli import stopping
from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.worker_options import share
from jadfer_cli.common import claim_process, explain_os_errors
from jadfer_cli.errors import (
    BusyError,
    JadferError,
    ModelError,
    OptionError,
    OutputError,
    VideoError,
)
from jadfer_cli.options import AnnotateOptions, IfExists
from jadfer_cli.runtime import gpu_memory_exhausted

_TELL_EVERY_S = 0.2
_NO_WRITING = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS,
)  # fmt: skip
# how PyTorch and ONNX Runtime say it
_NO_MEMORY = ("can't allocate memory", "Failed to allocate memory", "bad allocation", "bad_alloc")
_STAGES: tuple[tuple[type[JadferError], str], ...] = (
    (VideoError, "read"),
    (ModelError, "load"),
    (OutputError, "write"),
)


class Listener(Protocol):
    """Who is told what a worker does: the pipe to its parent, or what stands for it."""

    def send(self, message: tuple[str, dict[str, Any]]) -> None:
        """Takes a message, (kind, fields)."""


def work(
    pipe: Connection, options: AnnotateOptions, if_exists: IfExists, number: int = 1, jobs: int = 1
) -> None:
    """The life of a worker; the target of its process.

    Args:
        pipe: To the parent.
        options: Of every video.
        if_exists: What to do where a result exists already.
        number: Which of the workers it is, from 1.
        jobs: How many workers share the machine.
    """
    threading.Thread(target=_die_with_the_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    stopping.install()
    claim_process()
    try:
        _work(pipe, share(options, number, jobs), if_exists)
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the interpreter is being taken down


def _work(pipe: Connection, options: AnnotateOptions, if_exists: IfExists) -> None:
    annotator = load(options, pipe)
    if annotator is None:
        return
    while (task := pipe.recv()) is not None:
        pipe.send(("taken", {}))
        do(annotator, task, if_exists, pipe)


def load(options: AnnotateOptions, pipe: Listener) -> Any:
    """Loads the networks; gives the `Annotator`, or None, and tells which."""
    from jadfer_cli.pipeline.annotator import Annotator

    try:
        annotator = Annotator(options)
    except Exception as error:
        pipe.send(("unready", {"error": described(error)}))
        return None
    pipe.send(("ready", {"hint": annotator.hint, "warnings": annotator.warnings}))
    return annotator


def do(annotator: Any, task: Task, if_exists: IfExists, pipe: Listener) -> None:
    """Annotates one video, or keeps its result, and tells what came of it."""
    try:
        if if_exists == IfExists.SKIP and task.target.exists():
            from jadfer_cli.results.settings import keep

            keep(task.target, task.video, annotator.metadata())
            pipe.send(("skipped", {}))
        else:
            pipe.send(("done", _annotate(annotator, task, if_exists == IfExists.OVERWRITE, pipe)))
    except BusyError:
        pipe.send(("busy", {}))
    except OptionError as error:
        if if_exists != IfExists.OVERWRITE and os.path.exists(task.target):
            pipe.send(("busy", {}))  # another run made it since the video was handed out
        else:
            pipe.send(("failed", {"error": described(error)}))
    except Exception as error:
        pipe.send(("failed", {"error": described(error)}))


def _annotate(annotator: Any, task: Task, overwrite: bool, pipe: Listener) -> dict[str, Any]:
    from jadfer_cli.pipeline.api import annotate_to
    from jadfer_cli.video.timeline import probe, select

    info = probe(task.video)
    pipe.send(("begun", {"frames": len(select(info, annotator.options.video))}))
    told_s = time.monotonic()

    def progress(p: Any) -> None:
        nonlocal told_s
        stopping.raise_if_stopped()
        if time.monotonic() - told_s >= _TELL_EVERY_S:
            told_s = time.monotonic()
            pipe.send(("progress", {"frames": p.frames, "faces": p.faces}))

    def note(text: str) -> None:
        pipe.send(("note", {"text": text}))

    metadata = annotate_to(
        annotator, info, task.target, overwrite=overwrite, progress=progress, note=note
    )
    for text in annotator.memory_warnings():
        pipe.send(("warning", {"message": text}))
    kept = ("counts", "wall_s", "warnings")
    return {key: metadata[key] for key in kept}


def described(error: Exception) -> dict[str, Any]:
    """An error as it goes through the pipe and into failures.jsonl."""
    if isinstance(error, JadferError):
        stage = next((name for kind, name in _STAGES if isinstance(error, kind)), "annotate")
        return {"stage": stage, "message": error.message, "hint": error.hint}
    if gpu_memory_exhausted(error):
        hint = "Try a smaller --batch-size or fewer --jobs, or --device cpu."
        return {"stage": "annotate", "message": "The GPU's memory is exhausted.", "hint": hint}
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        hint = "Try a smaller --batch-size, or fewer --jobs."
        return {"stage": "annotate", "message": "The machine ran out of memory.", "hint": hint}
    if isinstance(error, OSError) and error.errno in _NO_WRITING:
        try:
            with explain_os_errors(Path(error.filename or "A file")):
                raise error
        except OutputError as told:
            return described(told)
    return {
        "stage": "annotate",
        "message": f"Something unexpected went wrong: {type(error).__name__}: {error}",
        "hint": "This is a mistake in jadfer; annotate the video alone with --debug and report it.",
    }


def _die_with_the_parent() -> None:
    """Waits for the parent's end, however it ends, and ends this process at once."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
