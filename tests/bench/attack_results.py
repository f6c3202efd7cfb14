"""Hostile results through every command that reads results."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from attack_hostile_results import Base, Case, cases
from attack_report import Report, wrong_with_output
from attack_runs import Ended, Runner

from jadfer_cli.results.schema import BOX_COLUMNS

N, N_QUICK = 300, 12
FRAMES = slice(40, 64)  # of the demo: one face
_LIMIT_S, _LIMIT_MB = 20.0, 1000.0
_COVERED = 3.0  # mean change of a covered face's pixels, grey levels; re-encoding changes about 1


def make_clip(demo: Path, to: Path, frames: slice = FRAMES) -> Path:
    """A second of the demo, small."""
    import av

    with av.open(str(demo)) as source, av.open(str(to), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index, frame in enumerate(source.decode(video=0)):
            if frames.start <= index < frames.stop:
                picture = frame.reformat(320, 240, "rgb24").to_ndarray()
                target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode())
    return to


def commands(hostile: Path, good: Path, clip: Path, out: Path, number: int) -> Iterator[list[str]]:
    """Every command that reads results; formats take turns."""

    def turn(*names: str) -> str:
        return names[number % len(names)]

    folder = str(hostile.parent)
    h, g, v, o = str(hostile), str(good), str(clip), f"{out}/"
    yield ["show", h]
    yield ["show", h, "--json"]
    yield ["show", folder, "-r", "-o", f"{o}show.{turn('csv', 'json', 'tsv', 'jsonl')}"]
    yield ["plot", h, "-o", f"{o}plot.{turn('svg', 'html', 'png', 'pdf')}"]
    table = f"{o}sum.{turn('csv', 'tsv', 'json', 'jsonl', 'parquet')}"
    yield ["summary", folder, "-r", "-o", table, "--transitions", f"{o}trans.csv"]
    yield ["events", h, "-o", f"{o}events.csv"]
    yield ["events", h, "-o", f"{o}events.eaf"]
    kind = turn("TextGrid", "bids", "boris", "tsv", "jsonl", "parquet")
    yield (["events", h, "-o", f"{o}{kind}/", "--format", kind] if kind in ("bids", "boris")
           else ["events", h, "-o", f"{o}ev.{kind}"])  # fmt: skip
    yield ["methods", h, "-o", f"{o}methods.md"]
    yield ["diff", h, g]
    yield ["diff", g, h, "--json"]
    yield ["collect", folder, "-o", f"{o}all.parquet"]
    yield ["overlay", v, h, "-o", f"{o}drawn.mp4"]
    yield ["overlay", v, h, "-o", f"{o}blurred.mp4", "--blur", "--no-boxes"]
    yield ["annotate", v, "-o", h, "--skip-existing"]


def attack(
    report: Report, demo: Path, *, n: int, seed: int, only: str = "", clips: Path | None = None
) -> None:
    """Runs all cases through all commands.

    Args:
        report: Where findings go.
        demo: A video with a face.
        n: Number of cases.
        seed: Of the random ones.
        only: Run only cases whose name contains this.
        clips: Not used.
    """
    runner = Runner(limit_s=_LIMIT_S, limit_mb=_LIMIT_MB)
    with tempfile.TemporaryDirectory(prefix="attack-") as name, runner:
        folder = Path(name)
        clip = make_clip(demo, folder / "clip.mp4")
        good = folder / "good.parquet"
        made = runner.run("annotate", clip, "-o", good, "--landmarks", limit_s=120)
        if made.code:
            raise RuntimeError(f"the good result cannot be made: {made.error_text}")
        chosen = [case for case in cases(Base(good), n, seed) if only in case.name]
        faces = Faces(clip, good)
        for number, case in enumerate(chosen):
            if report.over:
                break
            report.cases += 1
            one_case(report, runner, case, folder / str(number), good, clip, faces, number)
            shutil.rmtree(folder / str(number), ignore_errors=True)
            if number % 20 == 19:
                n_found = len(report.findings)
                print(f"{number + 1} cases, {n_found} findings", file=sys.stderr, flush=True)


def one_case(
    report: Report, runner: Runner, case: Case, folder: Path, good: Path, clip: Path, faces: Faces,
    number: int,
) -> None:  # fmt: skip
    """Runs one hostile result through all commands."""
    (folder / "in").mkdir(parents=True)
    hostile = folder / "in" / case.file
    try:
        case.make(hostile)
    except Exception as error:  # e.g. a name that this file system refuses
        report.figures.setdefault("not made", []).append(f"{case.name}: {error}")
        return
    shutil.copy(good, folder / "in" / "zz-good.parquet")
    out = folder / "out"
    for argv in commands(hostile, good, clip, out, number):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        ended = runner.run(*argv)
        report.check(case.name, ended)
        if ended.stopped:  # killed by the attack, it may leave anything
            continue
        _check_files(report, case, ended, out)
        if argv[0] == "overlay" and "--blur" in argv and ended.code == 0:
            uncovered = faces.uncovered(out / "blurred.mp4")
            if uncovered:
                report.add(case.name, "blur leaves faces visible with exit code 0", ended.command,
                           f"{uncovered} of {faces.n} faces uncovered")  # fmt: skip


def _check_files(report: Report, case: Case, ended: Ended, out: Path) -> None:
    """Checks what a command left in its output folder."""
    files = [path for path in out.rglob("*") if path.is_file()]
    for path in files:
        if path.name.startswith(".") or ".parts" in str(path):
            report.add(case.name, "temporary file left", ended.command, path.name)
        elif wrong := wrong_with_output(path):
            what, _, detail = wrong.partition(": ")
            report.add(case.name, what, ended.command, detail)
    one_file = ended.argv[0] in ("plot", "overlay", "methods", "events")
    if ended.code and one_file and files:
        report.add(case.name, "output although the command failed", ended.command, str(files[0]))


class Faces:
    """The faces of the clip, to see whether a blurred copy covers them."""

    def __init__(self, clip: Path, result: Path) -> None:
        self._pictures = _pictures(clip)
        rows = pd.read_parquet(result)
        rows = rows[rows["face_detected"]]
        self._boxes = [
            (int(frame), [round(side) for side in box])
            for frame, *box in rows[["frame", *BOX_COLUMNS]].itertuples(index=False)
        ]
        self.n = len(self._boxes)

    def uncovered(self, blurred: Path) -> int:
        """The number of faces whose pixels are almost the same in a copy."""
        pictures, n = _pictures(blurred), 0
        for frame, (x1, y1, x2, y2) in self._boxes:
            where = (slice(max(y1, 0), y2), slice(max(x1, 0), x2))
            change = np.abs(pictures[frame][where] - self._pictures[frame][where]).mean()
            n += bool(change < _COVERED)
        return n


def _pictures(path: Path) -> list[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        return [f.to_ndarray(format="gray").astype(float) for f in container.decode(video=0)]
