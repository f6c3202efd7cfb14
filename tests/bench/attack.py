"""Attacks jadfer: kills, damaged videos, hostile results, checkpoints and playlists.

    python tests/bench/attack.py [--quick] [--parts kills,results] [--seed N] [--clips FOLDER]

Runs the `jadfer` of this Python's environment (or of PYTHONPATH), prints a table and the findings,
and exits with 1 if anything is wrong. The full form takes about two hours on two cores, --quick a
few minutes; --minutes ends each part in time and counts what it did. What each part checks is in
the first lines of its module, attack_PART.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from attack_report import Report
from rich.console import Console
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "demo.mp4"
PARTS = ("kills", "videos", "results", "checkpoints", "playlists")
_SHOWN = 12  # kinds of findings per part; the report has all


def run_part(name: str, options: argparse.Namespace) -> Report:
    """Runs one part; an error of the attack itself is a finding, too."""
    part = importlib.import_module(f"attack_{name}")
    n = options.n or (part.N_QUICK if options.quick else part.N)
    attack: Callable[..., None] = part.attack
    report = Report(name, limit_s=options.minutes * 60)
    try:
        attack(report, DEMO, n=n, seed=options.seed, only=options.only, clips=options.clips)
    except Exception as error:
        if options.debug:
            raise
        report.add("-", "the attack itself failed", detail=f"{type(error).__name__}: {error}")
    return report.close()


def print_report(console: Console, reports: list[Report]) -> None:
    """Prints a table of the parts, the figures, and one line per kind of finding."""
    table = Table(box=None, pad_edge=False)
    for column in ("part", "cases", "runs", "findings", "kinds", "minutes"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for r in reports:
        found = "skipped" if r.skipped else str(len(r.findings))
        table.add_row(r.part, f"{r.cases:,}", f"{r.runs:,}", found, str(len(r.kinds())),
                      f"{r.seconds / 60:.1f}")  # fmt: skip
    console.print(table)
    for r in reports:
        console.print(Text(f"\n{r.part}: {r.skipped}" if r.skipped else f"\n{r.part}"))
        for name, value in r.figures.items():
            console.print(Text(f"  {name}: {value}"))
        for what, count in r.kinds().most_common(_SHOWN):
            one = next(finding for finding in r.findings if finding.what == what)
            console.print(Text(f"  {count:4} {what}"))
            console.print(Text(f"       e.g. {one.case}: {one.command}\n       {one.detail}"))


def main() -> int:
    """Runs the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a sample of each part")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clips", type=Path, help="a folder of real clips, also mutated")
    parser.add_argument("--n", type=int, help="number of cases, instead of the default")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="most for one part")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the report")
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args()
    names = options.parts.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    console = Console(soft_wrap=True, highlight=False)
    began, reports = time.strftime("%Y-%m-%dT%H:%M:%S%z"), []
    for name in names:
        print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
        reports.append(run_part(name, options))
        if options.json:  # after each part, so that an interrupted run keeps what it found
            import jadfer_cli

            found = {"jadfer": jadfer_cli.__version__, "package": jadfer_cli.__path__[0],
                     "began": began, "seed": options.seed, "quick": options.quick,
                     "parts": [r.as_dict() for r in reports]}  # fmt: skip
            text = json.dumps(found, indent=1, ensure_ascii=True)
            options.json.write_text(text + "\n", encoding="ascii")
    print_report(console, reports)
    return int(any(r.findings for r in reports))


if __name__ == "__main__":
    raise SystemExit(main())
