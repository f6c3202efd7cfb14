"""Checks whether speed falls with a video's length: annotates one long video once.

    python tests/bench/steady.py CLIP --minutes 20

The video is a repeated clip. Prints frames/s for each tenth of it, and the ratio of the last tenth
to the first.
"""

import argparse
import tempfile
import time
from pathlib import Path

from jadfer_cli.pipeline.annotator import Annotator
from jadfer_cli.video.repeat import repeat
from jadfer_cli.video.timeline import probe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("--minutes", type=float, default=20)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        n = int(a.minutes * 60 * probe(a.clip).nominal_fps)
        repeat(a.clip, Path(folder) / "long.mkv", n)
        info = probe(str(Path(folder) / "long.mkv"))
        seen: list[tuple[float, int]] = []
        Annotator().annotate_to(
            info, Path(folder) / "out.parquet",
            progress=lambda p: seen.append((time.perf_counter(), p.frames)),
        )  # fmt: skip
    seen = [(s, frames) for s, frames in seen if frames]
    rates = []
    for i in range(10):
        part = [x for x in seen if i / 10 <= x[1] / info.n_frames <= (i + 1) / 10]
        rates.append((part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0]))
        print(f"tenth {i + 1}: {rates[-1]:.1f} frames/s", flush=True)
    print(f"{info.n_frames} frames; last tenth / first: {rates[-1] / rates[0]:.3f}")


if __name__ == "__main__":
    main()
