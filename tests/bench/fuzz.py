"""Reads damaged videos: none may crash the parent, hang, or raise an unexpected error.

    python tests/bench/fuzz.py [--n 2000] [--seed 1] [--jobs 2] [--keep FOLDER] [--clips FOLDER]

Seeds are a small video for each container and encoder that PyAV can write here, and the first
two seconds of each clip of a folder. A child process with a time limit probes every mutation and
decodes its first 20 frames. A table counts the outcomes; files that give neither frames nor a
JadferError are kept.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzzing import MUTATIONS, SEEDS, Child, Seed, Verdict, make_seeds, mutant
from media import run_ffmpeg

OUTCOMES = ("frames", "error", "exception", "crash", "hang")
GOOD = ("frames", "error")


def seeds_of_clips(clips: Path, folder: Path) -> list[Seed]:
    """The first two seconds of each clip, copied without decoding."""
    seeds = []
    for clip in sorted(clips.glob("*.*")):
        short = folder / f"clip-{clip.name}"
        run_ffmpeg("-i", str(clip), "-t", "2", "-c", "copy", to=short)
        seeds.append(Seed(short.stem, short.suffix[1:], short.read_bytes()))
    return seeds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=30.0, help="seconds per file")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--clips", type=Path, default=Path("../shared/clips"))
    a = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = make_seeds(folder, SEEDS)
        if a.clips.is_dir():
            seeds += seeds_of_clips(a.clips, folder)
        print(f"{len(seeds)} seeds: {', '.join(seed.name for seed in seeds)}", flush=True)
        children: SimpleQueue[Child] = SimpleQueue()
        for _ in range(a.jobs):
            children.put(Child(a.limit))

        def one(number: int) -> tuple[str, str, Verdict]:
            kind, seed, data = mutant(seeds, number, a.seed)
            path = folder / f"{number:05d}-{kind}-{seed.name}.{seed.suffix}"
            path.write_bytes(data)
            child = children.get()
            try:
                verdict = child.judge(path)
            finally:
                children.put(child)
            if verdict.outcome not in GOOD:
                a.keep.mkdir(parents=True, exist_ok=True)
                (a.keep / path.name).write_bytes(data)
                (a.keep / f"{path.name}.txt").write_text(verdict.detail)
                print(f"{verdict.outcome}: {path.name}: {verdict.detail.strip()[-300:]}",
                      flush=True)  # fmt: skip
            path.unlink()
            return kind, seed.name, verdict

        with ThreadPoolExecutor(a.jobs) as pool:
            found = list(pool.map(one, range(a.n)))
        while not children.empty():
            children.get().close()
    counts = Counter((kind, verdict.outcome) for kind, _, verdict in found)
    print("\n| mutation | " + " | ".join(OUTCOMES) + " |\n|---" + "|---" * len(OUTCOMES) + "|")
    for kind in MUTATIONS:
        print(f"| {kind} | " + " | ".join(str(counts[kind, what]) for what in OUTCOMES) + " |")
    totals = [sum(counts[kind, what] for kind in MUTATIONS) for what in OUTCOMES]
    print("| all | " + " | ".join(map(str, totals)) + " |")
    slowest = max(found, key=lambda one: one[2].seconds)
    seconds, peak_mb = time.monotonic() - began_s, max(verdict.peak_mb for *_, verdict in found)
    print(
        f"\n{len(found)} files in {seconds:.0f} s; slowest {slowest[2].seconds:.1f} s "
        f"({slowest[0]} {slowest[1]}); peak memory {peak_mb:.0f} MB"
    )
    return 0 if totals[0] + totals[1] == len(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
