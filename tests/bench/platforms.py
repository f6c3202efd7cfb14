"""For which Pythons and platforms every package of jadfer has a wheel: prints the guide's table.

    python tests/bench/platforms.py

Needs `uv` (PyPI) and the package index. Nothing is installed: uv reads metadata, and refuses source
distributions. Wheels that exist are not wheels that were tried. To look at one case with pip:

    pip install --dry-run --ignore-installed --target nowhere --only-binary=:all: \
        --python-version 3.13 --platform macosx_14_0_arm64 .
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# uv's names of the platforms; decord2 needs glibc 2.28 or macOS 14
MACOS = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
PLATFORMS = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux ARM": "aarch64-manylinux_2_28",
    "macOS 14 ARM": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}


def resolve(python: str, extra: list[str], platform: str) -> tuple[bool, str]:
    """Whether everything resolves to wheels, and the resolution or why not."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "-q", "pyproject.toml", "--no-annotate",
         "--no-header", "--only-binary", ":all:", "--python-version", python,
         "--python-platform", platform, *extra],
        cwd=ROOT, env=os.environ | MACOS, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extra", action="append", default=[], help="Also this extra.")
    a = parser.parse_args()
    extra = [word for name in a.extra for word in ("--extra", name)]
    print("| Python | " + " | ".join(PLATFORMS) + " |")
    print("|---" * (len(PLATFORMS) + 1) + "|")
    with ThreadPoolExecutor(len(PLATFORMS)) as pool:
        for python in PYTHONS:
            found = list(pool.map(partial(resolve, python, extra), PLATFORMS.values()))
            cells = ["yes" if good else "no" for good, _ in found]
            print(f"| {python} | " + " | ".join(cells) + " |", flush=True)
            for name, (good, text) in zip(PLATFORMS, found, strict=True):
                if not good:
                    print(f"Python {python}, {name}: {' '.join(text.split())}", file=sys.stderr)


if __name__ == "__main__":
    main()
