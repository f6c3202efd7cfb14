"""Damaged videos through the Python API and through a batch with its worker processes.

No crash, no "bug in jadfer", no hang, bounded memory; every frame is delivered or accounted for,
every video has a result or a line in failures.jsonl, and --log-json stays JSON.

As a script with --serve, this is the process that uses the API.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd
import psutil
from attack_mutations import KINDS, mutant, seeds
from attack_report import Report
from attack_runs import patience
from fuzzing import Child

N, N_QUICK = 3000, 60
_CHUNK = 150  # videos of one batch
_LIMIT_S, _LIMIT_MB = 30.0, 1500.0
# Processor time; a second of video must not take longer. An edit list of 1,000 entries, which is
# allowed, can show a frame of it many times.
_SLOW_S, _SLOW_S_PER_FRAME = 10.0, 0.01
_SIZE = "128"  # of detection: quick


def accounting(rows: pd.DataFrame, decoded: int) -> str:
    """What is wrong with the rows of a video; "" if every frame is accounted for.

    Args:
        rows: The result.
        decoded: Number of pictures that FFmpeg decodes from the file.
    """
    counts = rows.attrs["jadfer"]["counts"]
    per_frame = rows.drop_duplicates("frame")
    n = counts["frames_expected"]
    status = per_frame["frame_status"].value_counts()
    p = rows.loc[rows["face_detected"], [c for c in rows if c.startswith("p_") and c != "p_max"]]
    checks = {
        "frames are missing": per_frame["frame"].tolist() == list(range(n)),
        "frames_analysed is wrong": counts["frames_analysed"] == n,
        "frames_corrupt is wrong": counts["frames_corrupt"] == status.get("corrupt", 0),
        "frames_repeated is wrong": counts["frames_repeated"] == status.get("repeated", 0),
        "times go back": per_frame["time_s"].is_monotonic_increasing,
        "times are not finite": bool(per_frame[["time_s", "duration_s"]].notna().all(axis=None)),
        "a duration is negative": bool((per_frame["duration_s"] >= 0).all()),
        "probabilities do not sum to 1": bool(((p.sum(axis=1) - 1).abs() < 1e-3).all()),
        f"{decoded} pictures decode, {n} frames have rows": decoded <= n,
    }
    return "; ".join(what for what, holds in checks.items() if not holds)


def pictures(path: str) -> int:
    """How many pictures FFmpeg decodes from the video stream that jadfer chooses."""
    import av

    from jadfer_cli.video.container import open_container

    n = 0
    with open_container(path) as (container, stream):
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return n
                n += len(stream.decode(packet))
            except av.error.FFmpegError:
                if packet is None or (packet.size == 0 and packet.pts is None):
                    return n
            except Exception:
                return n


def attack(
    report: Report, demo: Path, *, n: int, seed: int, only: str = "", clips: Path | None = None
) -> None:
    """Sends all mutations through both."""
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        folder = Path(name)
        (folder / "seeds").mkdir()
        found = seeds(folder / "seeds", demo, clips)
        outcomes: dict[str, int] = {}
        with Child(_LIMIT_S * patience(), __file__) as child:
            for first in range(0, n, _CHUNK):
                if report.over:
                    break
                videos = folder / "videos"
                videos.mkdir()
                for number in range(first, min(first + _CHUNK, n)):
                    kind, its, data = mutant(found, number, seed)
                    path = videos / f"{number:05}-{kind}-{its.name}.{its.suffix}"
                    if only in path.name:
                        path.write_bytes(data)
                paths = sorted(videos.iterdir())
                for path in paths:
                    if report.over:
                        path.unlink()
                        continue
                    report.cases += 1
                    outcome = by_api(report, child, path)
                    outcomes[f"API: {outcome}"] = outcomes.get(f"API: {outcome}", 0) + 1
                if any(videos.iterdir()):
                    by_batch(report, videos, folder / "results", outcomes, _log_of(folder, first))
                    print(f"{first + len(paths)} of {n}: {outcomes}", file=sys.stderr, flush=True)
                shutil.rmtree(videos)
        report.figures.update(outcomes)
        report.figures["kinds of mutations"] = ", ".join(KINDS)
        report.figures["seeds"] = len(found)


def _log_of(folder: Path, first: int) -> Path:
    return folder / f"batch-{first}.log"


def by_api(report: Report, child: Child, path: Path) -> str:
    """Annotates a video with `jadfer_cli.Annotator`; returns the outcome."""
    verdict = child.judge(path)
    report.runs += 1
    command = f"jadfer_cli.annotate({path.name!r})"
    report.note_use(command, verdict.seconds, verdict.peak_mb)
    if verdict.outcome in ("crash", "hang", "exception", "account"):
        report.add(path.name, f"API: {verdict.outcome}", command, verdict.detail)
    n_frames = int(verdict.detail) if verdict.outcome == "rows" else 0
    if verdict.outcome != "hang" and verdict.seconds > _SLOW_S + _SLOW_S_PER_FRAME * n_frames:
        report.add(path.name, "API: slow", command, f"{verdict.seconds:.0f} s")
    if verdict.peak_mb > _LIMIT_MB:
        report.add(path.name, "API: memory", command, f"{verdict.peak_mb:.0f} MB")
    return verdict.outcome


class _Watch:
    """Follows the memory of a process and its children."""

    def __init__(self, process: subprocess.Popen[Any]) -> None:
        self.peak_mb, self._process = 0.0, psutil.Process(process.pid)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while True:
            try:
                for one in [self._process, *self._process.children(recursive=True)]:
                    self.peak_mb = max(self.peak_mb, one.memory_info().rss / 1e6)
            except psutil.Error:
                if not self._process.is_running():
                    return
            time.sleep(0.2)


def by_batch(report: Report, videos: Path, out: Path, outcomes: dict[str, int], log: Path) -> None:
    """Annotates a folder of videos with `jadfer annotate`, and accounts for each."""
    stall = f"{_LIMIT_S * patience():.0f}"
    command = ["annotate", str(videos), "-o", str(out), "--log-json", "--stall", stall,
               "--detection-size", _SIZE]  # fmt: skip
    shown = "jadfer annotate FOLDER -o RESULTS --log-json"
    given = sorted(videos.iterdir())
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("jadfer")), *command], stderr=file, stdout=file
        )
        watch = _Watch(process)
        try:
            code = process.wait((60 + 4 * _LIMIT_S + 5 * len(given)) * patience())
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
            report.add(videos.name, "batch: hang", shown)
    report.runs += 1
    report.note_use(shown, 0.0, watch.peak_mb)
    if code not in (0, 1):
        report.add(given[0].name, f"batch: exit code {code}", shown, log.read_text("utf-8")[-400:])
    if watch.peak_mb > _LIMIT_MB:
        report.add(videos.name, "batch: memory", shown, f"{watch.peak_mb:.0f} MB")
    _check_log(report, log, shown)
    _check_batch(report, given, out, outcomes, shown)
    shutil.rmtree(out, ignore_errors=True)


def _check_log(report: Report, log: Path, shown: str) -> None:
    current = "-"
    for line in log.read_text("utf-8", "replace").splitlines():
        try:
            event = json.loads(line)
            current = Path(event.get("video") or current).name
        except (ValueError, AttributeError):
            report.add(current, "batch: a line of --log-json is not JSON", shown, line)


def _check_batch(
    report: Report, given: list[Path], out: Path, outcomes: dict[str, int], shown: str
) -> None:
    failures = out / "failures.jsonl"
    lines = failures.read_text("utf-8").splitlines() if failures.exists() else []
    failed = {Path(line["video"]).name: line for line in map(json.loads, lines)}
    for path in given:
        result, line = out / f"{path.stem}.parquet", failed.get(path.name)
        if (line is None) == (not result.exists()):
            report.add(path.name, "batch: not exactly one of result and failure", shown)
            continue
        stage = "done" if line is None else line["stage"]
        outcomes[f"batch: {stage}"] = outcomes.get(f"batch: {stage}", 0) + 1
        if line is None:
            if wrong := accounting(pd.read_parquet(result), 0):
                report.add(path.name, "batch: account", shown, wrong)
        elif "bug in jadfer" in f"{line['message']} {line['hint']}" or stage == "hang":
            report.add(path.name, f"batch: {stage}", shown, f"{line['message']} {line['hint']}")
    left = [path.name for path in out.glob(".*")] if out.exists() else []
    if left:
        report.add(left[0], "batch: temporary files left", shown, " ".join(left))


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def serve() -> None:
    """Annotates one path per line until stdin ends, and answers with one line each."""
    import dataclasses
    import traceback

    import jadfer_cli
    from jadfer_cli.options import AnnotateOptions

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    options = AnnotateOptions()
    faces = dataclasses.replace(options.faces, detection_size=int(_SIZE))
    annotator = jadfer_cli.Annotator(dataclasses.replace(options, faces=faces))

    def answer(outcome: str, detail: str, began_s: float) -> None:
        found = {"outcome": outcome, "detail": detail, "peak_mb": round(_peak_mb()),
                 "seconds": round(time.process_time() - began_s, 3)}  # fmt: skip
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    answer("ready", "", time.process_time())
    for line in sys.stdin:
        path = line.rstrip("\n")
        _reset_peak()
        began_s = time.process_time()
        try:
            rows = annotator.annotate(path)
            wrong = accounting(rows, pictures(path))
            if "-nomatrix-" in path and "degrees" in str(rows.attrs["jadfer"]["warnings"]):
                wrong = "a matrix of zeros counts as a rotation"
            n_frames = str(rows["frame"].nunique())
            answer("account" if wrong else "rows", wrong or n_frames, began_s)
        except jadfer_cli.JadferError as error:
            bug = "bug in jadfer" in str(error)
            answer("exception" if bug else "error", str(error), began_s)
        except BaseException:
            answer("exception", traceback.format_exc()[-1500:], began_s)


if __name__ == "__main__":
    serve()
