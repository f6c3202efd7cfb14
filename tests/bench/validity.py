"""One table of what a model's scores are worth: FER+, press faces, clips judged by eye, stability.

    python tests/bench/validity.py ../shared [MODEL ...] [--json FILE]

Writes the suite of the developers' data and runs `jadfer evaluate --suite` on it. The ranges of
the clips are those of `clips.py`, and all frames of the GRID clips, whose speakers are neutral.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import tomli_w
from clips import RANGES

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.suite_tables import run_suite
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.options import ModelOptions

GRID = ("grid_bbaf2n.mpg", "grid_brbk7n.mpg", "grid_lbax4n.mpg", "grid_lbbc2a.mpg")
COMPRESSED = ("carphone.mp4", "pexels_sad_to_joy.mp4")


def suite(shared: Path) -> dict[str, object]:
    sets = [
        {"name": "FER+ test", "dataset": "ferplus", "data": str(shared / "data"),
         "detector": "centerface"},
        {"name": "press test", "dataset": "press_faces", "data": str(shared / "data"),
         "detector": "centerface"},
    ]  # fmt: skip
    ranges = [*RANGES, *((name, 0, None, "neutral") for name in GRID)]
    clips = [
        {"file": str(shared / "clips" / name), "first": first, "expression": expression}
        | ({} if last is None else {"last": last})
        for name, first, last, expression in ranges
    ]
    return {
        "compressed": [str(shared / "clips" / name) for name in COMPRESSED],
        "sets": sets, "clips": clips,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("models", nargs="*", default=["default"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", choices=("sets", "clips"))
    a = parser.parse_args()
    table = suite(a.shared.resolve())
    if a.only:
        table.pop("sets" if a.only == "clips" else "clips")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "suite.toml"
        file.write_text(tomli_w.dumps(table), "utf-8")
        machine = ModelOptions(engine="torch", threads=a.threads)
        run_suite(file, a.models, machine, a.json, ConsoleReporter(stderr_console(), quiet=False))


if __name__ == "__main__":
    sys.exit(main())
