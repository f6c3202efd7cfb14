"""Memory and time of a batch of many short clips.

    python tests/bench/many_clips.py [CLIP] [--n 200] [--frames 12] [--jobs=1]

The clip's first frames are encoded again (H.264), linked N times, and annotated by one
`jadfer annotate` into a temporary folder. After each finished clip the resident memory of the
workers is read; the means over the first and last 20 clips must lie within 10 %. The time outside
annotation is what a batch needs to start, load its models and go from clip to clip: the time of
the command less that in the results' metadata, which is divided by the number of workers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))

from memory import JADFER, repeated

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"
SAMPLE = 20  # clips at each end
ALLOWED = 0.1


def workers_mb(parent: psutil.Process) -> dict[int, float]:
    """Resident memory of each worker, MB."""
    found = {}
    for child in parent.children(recursive=True):
        try:
            if "spawn_main" in " ".join(child.cmdline()):  # not multiprocessing's tracker
                found[child.pid] = child.memory_info().rss / 2**20
        except psutil.Error:  # the process has just ended
            continue
    return found


def measured(
    clip: Path, n: int, frames: int, *options: str
) -> tuple[list[float], float, float, int]:
    """Resident memory of all workers together after each clip, MB; times and workers.

    The times are those of the command and the sum of all annotations, seconds.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "clips")
        folder.mkdir()
        repeated(clip, folder / "0000.mp4", frames, 1)
        for i in range(1, n):
            os.link(folder / "0000.mp4", folder / f"{i:04d}.mp4")
        command = [JADFER, "annotate", folder, "-o", Path(name, "out"), "--log-json", *options]
        samples: list[float] = []
        workers, began = 0, time.monotonic()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            watchdog = threading.Timer(60 + 20 * n, process.kill)
            watchdog.start()
            parent = psutil.Process(process.pid)
            for line in process.stderr or ():
                if json.loads(line)["event"] == "result":
                    memory = workers_mb(parent)
                    samples.append(sum(memory.values()))
                    workers = max(workers, len(memory))
            watchdog.cancel()
        whole_s = time.monotonic() - began
        results = Path(name, "out").glob("*.json")
        wall_s = [json.loads(file.read_text())["jadfer"]["wall_s"] for file in results]
        if process.returncode or len(samples) != n:
            raise SystemExit(f"jadfer failed: exit code {process.returncode}, {len(samples)} done")
    return samples, whole_s, sum(wall_s), workers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, nargs="?", default=DEMO)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--frames", type=int, default=12)
    a, rest = parser.parse_known_args()
    samples, whole_s, annotated_s, workers = measured(a.clip, a.n, a.frames, *rest)
    samples = samples[:-1]  # at the last one workers are ending
    outside_s = whole_s - annotated_s / workers
    print(
        f"{a.n} clips in {whole_s:.1f} s with {workers} workers; annotation {annotated_s:.1f} s in "
        f"all; outside it {outside_s:.1f} s, {outside_s / whole_s:.1%}"
    )
    first, last = (sum(part) / len(part) for part in (samples[:SAMPLE], samples[-SAMPLE:]))
    for at in range(0, len(samples), max(len(samples) // 10, 1)):
        print(f"after clip {at + 1}: {samples[at]:.0f} MB")
    print(f"first {SAMPLE}: {first:.0f} MB, last {SAMPLE}: {last:.0f} MB, {last / first - 1:+.1%}")
    return 0 if abs(last / first - 1) <= ALLOWED else 1


if __name__ == "__main__":
    raise SystemExit(main())
