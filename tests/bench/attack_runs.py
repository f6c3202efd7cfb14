"""Runs commands of jadfer quickly and under watch: each in a fork of a process that has imported
everything, with limits on time and memory.

As a script this is that process: it reads one request per line (JSON), forks, waits, and answers
with one line.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What the commands import when they run. None of these may start threads that a fork would lose.
# jadfer_cli first: it turns off the telemetry of ONNX Runtime. urllib3, which InsightFace imports,
# opens a socket at import, without connecting it, to see whether there is IPv6.
PRELOADED = (
    "jadfer_cli", "urllib3", "torch", "pandas", "pyarrow.parquet", "pyarrow.dataset",
    "matplotlib.pyplot", "plotly", "av", "decord", "onnxruntime", "cv2", "scipy.stats",
    "safetensors.torch", "pympi",
    "jadfer_cli.pipeline.annotator", "jadfer_cli.overlay.render", "jadfer_cli.analysis.summary",
    "jadfer_cli.analysis.methods", "jadfer_cli.installation.models",
)  # fmt: skip
_POLL_S = 0.02
# Workers are forks of their parent, too, and need not import everything again.
_FORK = """
import multiprocessing
multiprocessing.get_context = lambda kind, get=multiprocessing.get_context: get("fork")
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        argv: The arguments of `jadfer`.
        code: Exit code; negative for a signal.
        out, err: What it printed.
        seconds: Wall time.
        cpu_s: Processor time, of its ended children too.
        peak_mb: Peak resident memory.
        stopped: "hang" or "memory" if a limit ended it, else "".
        pid: Of its process, and of its session.
        killed: True if `kill_s` ended it, or one of its processes.
    """

    argv: tuple[str, ...]
    code: int
    out: bytes
    err: bytes
    seconds: float
    cpu_s: float
    peak_mb: float
    stopped: str
    pid: int
    killed: bool = False

    @property
    def command(self) -> str:
        """The command in one line, shortened."""
        return " ".join(["jadfer", *(repr(a)[1:-1] for a in self.argv)])

    @property
    def error_text(self) -> str:
        """What was printed on stderr, on one line."""
        return " ".join(self.err.decode("utf-8", "replace").split())


@dataclass
class Runner:
    """The process that forks.

    Args:
        limit_s: Most processor time for one command, and longest time without using any; on a
            machine with other work, neither depends on it.
        limit_mb: Largest resident memory.
        wrapper: A command that starts the process, such as strace.
        env: Variables in addition to this process's.
    """

    limit_s: float = 20.0
    limit_mb: float = 3000.0
    wrapper: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="attack-")
        env = {**os.environ, "COLUMNS": "100", "GOMP_SPINCOUNT": "0", **self.env}
        self._process = subprocess.Popen(
            [*self.wrapper, sys.executable, __file__, "--serve"], text=True, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self._folder.name,
        )  # fmt: skip
        self._answer()

    def run(
        self, *argv: object, limit_s: float | None = None, setup: str = "",
        kill_s: float | None = None, way: str = "group",
    ) -> Ended:  # fmt: skip
        """Runs `jadfer ARGV`.

        Args:
            argv: The arguments.
            limit_s: Another limit on its time.
            setup: Python to run before it, in the same process.
            kill_s: When to kill it.
            way: What is killed then: the "group", the "parent" alone, or one "worker".
        """
        words = tuple(os.fspath(a) if isinstance(a, Path) else str(a) for a in argv)
        out, err = (os.path.join(self._folder.name, name) for name in ("out", "err"))
        request = {
            "argv": words, "out": out, "err": err, "limit_s": limit_s or self.limit_s,
            "limit_mb": self.limit_mb, "cwd": self._folder.name, "setup": setup,
            "kill_s": kill_s, "way": way,
        }  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        found = self._answer()
        return Ended(words, out=Path(out).read_bytes(), err=Path(err).read_bytes(), **found)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that runs the commands has died")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        self._folder.cleanup()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _be_jadfer(request: dict[str, Any]) -> None:
    """Runs one command in this process, a fork, and ends it."""
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # Python's own objects: the parent's stdout is a copy of the pipe for answers
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")
    os.chdir(request["cwd"])
    sys.argv = ["jadfer", *request["argv"]]
    code: Any = 0
    try:
        exec(_FORK + request["setup"], {})
        from jadfer_cli.cli import main

        main()
    except SystemExit as error:
        code = error.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


def patience() -> float:
    """By how much limits on wall time are stretched, because others use the machine."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _cpu_s(pid: int) -> float:
    """Processor time of a process and its children so far."""
    ticks = 0
    with contextlib.suppress(OSError, IndexError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (str(pid), *children):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def kill(pid: int, way: str) -> bool:
    """Kills a run, or a part of it; returns False if there was no such process."""
    if way == "worker":
        workers = [int(p) for task in Path(f"/proc/{pid}/task").iterdir()
                   for p in (task / "children").read_text().split()]  # fmt: skip
        workers = [p for p in workers if b"resource_tracker" not in
                   Path(f"/proc/{p}/cmdline").read_bytes()]  # fmt: skip
        if not workers:
            return False
        pid = workers[0]
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if way == "group" else os.kill)(pid, signal.SIGKILL)
        return True
    return False


def _watched(pid: int, request: dict[str, Any]) -> dict[str, Any]:
    """Waits for a fork, and kills its process group at a limit."""
    began_s, stopped, killed, kill_s = time.monotonic(), "", False, request["kill_s"]
    cpu_s, active_s = 0.0, began_s
    while True:
        found, status, used = os.wait4(pid, os.WNOHANG)
        if found:
            break
        passed_s = time.monotonic() - began_s
        if (now_s := _cpu_s(pid)) != cpu_s:
            cpu_s, active_s = now_s, time.monotonic()
        late = max(cpu_s, time.monotonic() - active_s) > request["limit_s"]
        if not killed and kill_s is not None and passed_s > kill_s:
            killed = kill(pid, request["way"])
        elif not stopped and (late or _resident_mb(pid) > request["limit_mb"]):
            if kill(pid, "group"):
                stopped = "hang" if late else "memory"
        time.sleep(_POLL_S)
    if not killed:  # else the caller looks for processes that survive their parent
        kill(pid, "group")
    return {
        "code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began_s,
        "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024,
        "stopped": stopped, "pid": pid, "killed": killed,
    }  # fmt: skip


def serve() -> None:
    """Is the process that forks: one request per line until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from jadfer_cli.cli import app

    for name in app.COMMANDS:
        app.load(name)
    gc.freeze()  # the forks would copy the pages that the collector touches
    answers.write(json.dumps({"threads": len(os.listdir("/proc/self/task"))}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            answers.close()  # or a fork would keep the pipe open after the end of this process
            _be_jadfer(request)
        answers.write(json.dumps(_watched(pid, request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
