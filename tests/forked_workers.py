"""Workers for commands that run in the tests' process: forks of one that has imported everything.

A worker imports for two to three seconds of a core before it does anything. These are processes as
any other, with the same messages, signals and limits, only started by the fork server of
`multiprocessing`. How `jadfer` really starts its workers is tested wherever the installed command
runs.
"""

import contextlib
import multiprocessing
import os
import sys
from types import SimpleNamespace
from unittest import mock

from jadfer_cli.batch import durations, process

# What a worker imports; nothing here starts a thread, which a fork would lose. Not decord, which
# must come after PyTorch, if a worker needs that.
PRELOADED = (
    "jadfer_cli", "urllib3", "pytest", "pandas", "pyarrow.parquet", "av", "onnxruntime", "onnx",
    "cv2", "supervision", "trackers", "jadfer_cli.pipeline.annotator",
    "jadfer_cli.faces.centerface", "jadfer_cli.batch.worker",
)  # fmt: skip


def _as_a_child(environment, target, args):
    """Runs in the worker, which else has the environment of the fork server's start."""
    os.environ.clear()
    os.environ.update(environment)
    target(*args)


@contextlib.contextmanager
def forked_workers():
    """Inside the block, workers are forked; on Linux only, as elsewhere forks are not safe."""
    if sys.platform != "linux":
        yield
        return
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(list(PRELOADED))

    def process_of(target, args, **how):
        return server.Process(target=_as_a_child, args=(dict(os.environ), target, args), **how)

    context = SimpleNamespace(Pipe=server.Pipe, Process=process_of)
    forking = SimpleNamespace(get_context=lambda kind: context)
    with (
        mock.patch.object(process, "multiprocessing", forking),
        mock.patch.object(durations, "multiprocessing", forking),
    ):
        yield
