"""Kills a batch at random moments until it finishes, and compares it with an uninterrupted one.

    python tests/bench/kill.py CLIP... [--times 20] [--jobs 1] [--seed 0] [--part-s 5]

In each round `jadfer annotate CLIPS -o DIR --skip-existing` is started repeatedly, and its process
group is killed (SIGKILL) after a random time, until a run ends before that time. Then the files
are compared with those of an uninterrupted run, and the folder and the process table are searched
for leftovers.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil

TOLERANCE = 1e-4
MARK = "JADFER_KILL_BENCH"
# loaded by every process through PYTHONPATH
SITE = "from jadfer_cli.results import parts\nparts.PART_S = {}\n"


@dataclass
class Round:
    """One result folder, from the first start to the finished batch."""

    kills: int = 0
    resumed: int = 0
    rows: int = 0
    differ: int = 0
    stray: list[str] = field(default_factory=list)
    processes: int = 0
    seconds: float = 0.0


def start(clips: list[str], out: Path, jobs: int, mark: str) -> subprocess.Popen[bytes]:
    """Starts a batch in its own process group."""
    command = [
        str(Path(sys.executable).with_name("jadfer")), "annotate", *clips, "-o", str(out),
        "--skip-existing", "--quiet", "--jobs", str(jobs),
    ]  # fmt: skip
    return subprocess.Popen(command, start_new_session=True, env={**os.environ, MARK: mark})


def left_over(mark: str) -> int:
    """Number of processes of a batch that still run 15 s after its end."""
    deadline = time.monotonic() + 15
    while True:
        found = 0
        for process in psutil.process_iter():
            try:
                found += process.environ().get(MARK) == mark and process.status() != "zombie"
            except psutil.Error:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def differing(found: pd.DataFrame, wanted: pd.DataFrame) -> int:
    """Number of rows that differ, probabilities by more than the tolerance."""
    if len(found) != len(wanted) or list(found) != list(wanted):
        return max(len(found), len(wanted))
    differ = pd.Series(False, index=wanted.index)
    for name in wanted:
        ours, theirs = found[name], wanted[name]
        if name.startswith("p_") or name == "entropy":
            unequal = (ours - theirs).abs() > TOLERANCE
        else:
            unequal = (ours.astype(object) != theirs.astype(object)) & ~(
                ours.isna() & theirs.isna()
            )
        differ |= unequal.fillna(False).astype(bool) | (ours.isna() != theirs.isna())
    return int(differ.sum())


def one_round(
    clips: list[str], out: Path, whole: Path, whole_s: float, jobs: int, chance: random.Random
) -> Round:
    """Kills until a run ends, and examines what it left."""
    its, mark, began = Round(), f"{os.getpid()}-{out.name}", time.monotonic()
    while True:
        process = start(clips, out, jobs, mark)
        try:
            code = process.wait(chance.uniform(0.2, 1.0) * whole_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            its.kills += 1
            its.processes += left_over(mark)
            continue
        if code:
            raise SystemExit(f"a run ended with exit code {code}")
        break
    its.seconds = time.monotonic() - began
    its.processes += left_over(mark)
    wanted_names = {path.relative_to(whole) for path in whole.rglob("*")}
    names = {path.relative_to(out) for path in out.rglob("*")}
    its.stray = sorted(str(name) for name in names ^ wanted_names)
    for name in sorted(name for name in wanted_names if name.suffix == ".parquet"):
        if name in names:
            found, wanted = pd.read_parquet(out / name), pd.read_parquet(whole / name)
            its.rows += len(wanted)
            its.differ += differing(found, wanted)
            its.resumed += len(found.attrs["jadfer"]["taken_up"])
    return its


def main() -> None:
    """Prints one row per round; exits with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part-s", type=float)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        if options.part_s is not None:
            (Path(folder) / "site").mkdir()
            (Path(folder) / "site" / "sitecustomize.py").write_text(SITE.format(options.part_s))
            path = [str(Path(folder) / "site"), os.environ.get("PYTHONPATH", "")]
            os.environ["PYTHONPATH"] = os.pathsep.join(path)
        whole, began = Path(folder) / "whole", time.monotonic()
        clips = [os.path.abspath(clip) for clip in options.clips]
        if start(clips, whole, options.jobs, "whole").wait():
            raise SystemExit("the uninterrupted run failed")
        whole_s = time.monotonic() - began
        print(f"uninterrupted: {whole_s:.1f} s for {len(clips)} clips")
        print("time  kills  resumed   rows  rows differing  stray files  processes left  seconds")
        rounds = []
        while sum(its.kills for its in rounds) < options.times:
            out = Path(folder) / f"round{len(rounds)}"
            its = one_round(clips, out, whole, whole_s, options.jobs, chance)
            rounds.append(its)
            print(
                f"{len(rounds):4}  {its.kills:5}  {its.resumed:8}  {its.rows:4}  {its.differ:14}"
                f"  {len(its.stray):11}  {its.processes:14}  {its.seconds:7.1f}"
                + ("  " + " ".join(its.stray) if its.stray else ""),
                flush=True,
            )
    kills, resumed = sum(its.kills for its in rounds), sum(its.resumed for its in rounds)
    bad = [its for its in rounds if its.differ or its.stray or its.processes]
    print(f"{kills} kills, {resumed} resumed within a video, {len(bad)} rounds with errors")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
