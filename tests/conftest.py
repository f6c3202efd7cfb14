"""Shared fixtures: the command as users start it, the developers' clips, a short video."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer.testing import CliRunner
from typer.testing import Result as Invoked

# As `jadfer` sets it: threads of PyTorch that wait awake slow down tests that run side by side.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "demo.mp4"
# the installed command of this very environment, not a module of the checkout
JADFER = Path(sys.executable).with_name("jadfer")

Result = subprocess.CompletedProcess[str]

# A shell lets its background jobs ignore Ctrl-C, and so would every `jadfer` that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks as `quick` every test that needs nothing and takes less than about half a second.

    In the workers of pytest-xdist, files with many slow tests come first, and balance the end.
    """
    cost: Counter[Path] = Counter()
    for item in items:
        if not any(item.get_closest_marker(mark) for mark in ("slow", "long", "data", "gpu")):
            item.add_marker("quick")
        else:
            cost[item.path] += 1
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -cost[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives each file to one worker, so that what its tests share is made once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all workers of a run share, filled by the first that needs it."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / f"shared-{name}"
    with FileLock(root / f"shared-{name}.lock"):
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(unfinished, ignore_errors=True)  # of a worker that failed
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' folder of clips and models; tests that want it carry the mark `data`."""
    folder = Path(os.environ.get("JADFER_SHARED", ROOT.parent / "shared"))
    if not (folder / "clips").is_dir():
        pytest.skip(f"no clips in {folder}; set JADFER_SHARED")
    return folder


@pytest.fixture(scope="session")
def jadfer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Result]:
    """Runs the installed `jadfer` from outside the checkout, as a user does."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*args: object, **how: object) -> Result:
        options = {"cwd": elsewhere, "timeout": 300, "capture_output": True, "text": True}
        command = [str(JADFER), *(os.fspath(a) if isinstance(a, Path) else str(a) for a in args)]
        return subprocess.run(command, **(options | how))  # type: ignore[call-overload]

    return run


@pytest.fixture
def invoke() -> Iterator[Callable[..., Invoked]]:
    """Runs `jadfer` in this process: far quicker than `jadfer`, for usage errors and messages.

    Signals, terminals, imports and the end to end of a command need a process of their own.
    Workers are forked, see `forked_workers`.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def run(*args: object, width: int = 80, **how: object) -> Invoked:
        from forked_workers import forked_workers

        from jadfer_cli.cli.app import app

        command = [os.fspath(a) if isinstance(a, Path) else str(a) for a in args]
        with forked_workers():
            return CliRunner().invoke(app, command, env={"COLUMNS": str(width)}, **how)  # type: ignore[arg-type]

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def demo_result(jadfer: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/demo.mp4 annotated once, with landmarks, for all tests that read it."""

    def make(folder: Path) -> None:
        result = jadfer("annotate", DEMO, "-o", folder / "demo.parquet", "--landmarks")
        assert result.returncode == 0, result.stderr

    return made_once(tmp_path_factory, "demo", make) / "demo.parquet"


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 8 frames of the demo: quick to annotate."""
    import av

    path = tmp_path_factory.mktemp("short") / "short.mp4"
    with av.open(str(DEMO)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index, frame in enumerate(source.decode(video=0)):
            if index == 8:
                break
            picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
            target.mux(stream.encode(picture))
        target.mux(stream.encode())
    return path
