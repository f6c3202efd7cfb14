"""Kills runs at random moments, continues them, and compares the end with an undisturbed run.

A batch and single runs; SIGKILL for the whole group, for the parent alone (its workers must end
too), or for one worker. Nothing may be lost: a file under a final name is complete at any time;
in the end rows and files are those of the undisturbed run, and no process or temporary file is
left.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
from attack_report import Report
from attack_results import make_clip
from attack_runs import Ended, Runner, kill

N, N_QUICK = 200, 5
_TOLERANCE = 1e-4  # of probabilities, between two runs on one machine
_RUN_LIMIT_S = 300.0
_LEFT_LIMIT_S = 10.0  # for the workers of a killed parent to end
# Unfinished results are stored every 0.2 s, not every 20 s.
_OFTEN = "from jadfer_cli.results import parts\nparts.PART_S = 0.2\n"
_WAYS = ("group", "group", "parent", "worker")
_REAL_EVERY = 4  # rounds, of which one uses the installed command


class Runs:
    """Runs `jadfer annotate`: mostly in forks, where a start takes no time.

    Args:
        runner: What forks.
        folder: For the log and the module that PYTHONPATH adds to the installed command.
        inputs: The videos; of a single run, the first.
        batch: Whether this is a batch.

    Attributes:
        whole_s: How long an undisturbed run takes, in a fork and as the installed command.
    """

    def __init__(self, runner: Runner, folder: Path, inputs: list[Path], batch: bool) -> None:
        self._runner, self._folder, self._inputs, self.batch = runner, folder, inputs, batch
        self.whole_s = {False: 0.0, True: 0.0}
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(_OFTEN)

    def run(self, out: Path, real: bool, kill_s: float | None, way: str) -> Ended:
        """Continues what is in `out`; kills after `kill_s`."""
        inputs = self._inputs if self.batch else self._inputs[:1]
        target = f"{out}/" if self.batch else f"{out / inputs[0].stem}.parquet"
        argv = ["annotate", *map(str, inputs), "-o", target, "--skip-existing", "--quiet",
                "--redetect", "0"]  # fmt: skip
        if not real:
            return self._runner.run(
                *argv, limit_s=_RUN_LIMIT_S, setup=_OFTEN, kill_s=kill_s, way=way
            )
        paths = [str(self._folder / "site"), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        began_s, log, killed, stopped = time.monotonic(), self._folder / "log", False, ""
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("jadfer")), *argv], stderr=file, env=env,
                start_new_session=True,
            )  # fmt: skip
        for wait_s in (_RUN_LIMIT_S if kill_s is None else kill_s, _RUN_LIMIT_S):
            try:
                process.wait(wait_s)
                break
            except subprocess.TimeoutExpired:
                killed, stopped = not killed and kill(process.pid, way), "hang" if killed else ""
        code = process.wait(60)
        seconds = time.monotonic() - began_s
        return Ended(
            tuple(argv), code, b"", log.read_bytes(), seconds, 0, 0, stopped, process.pid, killed
        )


def left_over(session: int) -> list[psutil.Process]:
    """The processes of a session that still run some seconds after the end of its leader."""
    deadline = time.monotonic() + _LEFT_LIMIT_S
    while True:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == session and process.status() != "zombie":
                    found.append(process)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def differing(found: pd.DataFrame, wanted: pd.DataFrame) -> int:
    """Number of rows that differ, probabilities by more than the tolerance."""
    if len(found) != len(wanted) or list(found) != list(wanted):
        return max(len(found), len(wanted))
    differ = pd.Series(False, index=wanted.index)
    for name in wanted:
        ours, theirs = found[name], wanted[name]
        if name.startswith("p_") or name == "entropy":
            unequal = (ours - theirs).abs() > _TOLERANCE
        else:
            unequal = (ours.astype(object) != theirs.astype(object)) & ~(
                ours.isna() & theirs.isna()
            )
        differ |= unequal.fillna(False).astype(bool) | (ours.isna() != theirs.isna())
    return int(differ.sum())


def check_files(report: Report, case: str, out: Path, whole: Path) -> None:
    """Checks that every result under a final name is complete."""
    for path in sorted(out.glob("*.parquet")):
        try:
            rows = differing(pd.read_parquet(path), pd.read_parquet(whole / path.name))
        except Exception as error:
            report.add(case, "a half file under a final name", path.name, str(error))
            continue
        if rows:
            report.add(case, "a result differs", path.name, f"{rows} rows")
        if not path.with_suffix(".json").exists():
            report.add(case, "a result without its sidecar", path.name)


def one_round(
    report: Report, runs: Runs, out: Path, whole: Path,
    chance: random.Random, left: int, real: bool,
) -> Counter[str]:  # fmt: skip
    """Kills at most `left` times until a run ends by itself, and examines the end.

    Args:
        report: Where findings go.
        runs: What starts a run.
        out: The folder of its results.
        whole: That of the undisturbed run.
        chance: Draws them.
        left: Most kills.
        real: Use the installed command.
    """
    counts: Counter[str] = Counter()
    out.mkdir()
    case = f"{'batch' if runs.batch else 'single'} {out.name}{' real' if real else ''}"
    while True:
        way = chance.choice(_WAYS if runs.batch else ("group",))
        kill_s = chance.uniform(0.1, 0.95) * runs.whole_s[real] if counts.total() < left else None
        ended = runs.run(out, real, kill_s, way)
        if ended.stopped:
            report.add(case, "a run hangs", ended.command)
            break
        if remaining := left_over(ended.pid):
            report.add(case, f"processes left after a kill of the {way}", detail=str(remaining))
            for one in remaining:
                with contextlib.suppress(psutil.Error):
                    one.kill()
        check_files(report, case, out, whole)
        if not ended.killed:
            if not counts:  # the load of the machine has changed
                runs.whole_s[real] = ended.seconds
            if ended.code:
                report.add(case, f"exit code {ended.code}", ended.command, ended.error_text)
            break
        counts[way] += 1
    _check_end(report, case, out, whole, counts)
    return counts


def _check_end(report: Report, case: str, out: Path, whole: Path, counts: Counter[str]) -> None:
    """Checks the files of a finished round."""
    wanted = {str(path.relative_to(whole)) for path in whole.rglob("*")}
    names = {str(path.relative_to(out)) for path in out.rglob("*")}
    if names != wanted:
        report.add(case, "files missing or left", detail=" ".join(sorted(names ^ wanted)))
    for path in out.glob("*.parquet"):
        attrs = pd.read_parquet(path).attrs["jadfer"]
        counts["resumed"] += len(attrs.get("resumed_at") or attrs.get("taken_up") or [])


def attack(
    report: Report, demo: Path, *, n: int, seed: int, only: str = "", clips: Path | None = None
) -> None:
    """Kills n runs, three of four of them batches."""
    chance = random.Random(seed)
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="attack-") as name, Runner() as runner:
        folder = Path(name)
        inputs = [
            make_clip(demo, folder / f"{i}.mp4", slice(40 + 9 * i, 70 + 9 * i)) for i in range(2)
        ]
        for batch, share in ((True, n - n // 4), (False, n // 4)):
            place = folder / ("batch" if batch else "single")
            place.mkdir()
            total += _kill_many(report, Runs(runner, place, inputs, batch), place, share, chance)
    report.figures["resumed within a video"] = total.pop("resumed", 0)
    report.figures["kills"] = ", ".join(f"{way} {k}" for way, k in sorted(total.items()))


def _kill_many(
    report: Report, runs: Runs, place: Path, share: int, chance: random.Random
) -> Counter[str]:
    """Rounds until there were `share` kills; forks first, so that each round has some."""
    total: Counter[str] = Counter()
    whole, rounds, done = place / "whole", 0, 0
    whole.mkdir()
    for real in (False, True):
        if real:
            whole = place / "whole real"
            whole.mkdir()
        ended = runs.run(whole, real, None, "group")
        if ended.code:
            raise RuntimeError(f"the undisturbed run failed: {ended.error_text}")
        runs.whole_s[real] = ended.seconds
        kind = f"{place.name}, {'command' if real else 'fork'}"
        report.figures[f"undisturbed {kind}"] = f"{ended.seconds:.1f} s"
    while done < share and not report.over:
        out, real = place / f"round{rounds}", rounds % _REAL_EVERY == _REAL_EVERY - 1
        counts = one_round(report, runs, out, whole, chance, min(share - done, 6), real)
        kills = counts.total() - counts["resumed"]
        done, rounds, total = done + kills, rounds + 1, total + counts
        report.runs += kills + 1
        report.cases += kills
        shutil.rmtree(out)
        print(f"{place.name}: {done} kills, {rounds} rounds", file=sys.stderr, flush=True)
    report.figures[f"rounds {place.name}"] = rounds
    return total
