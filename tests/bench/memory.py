"""Peak memory of `jadfer annotate` on a clip and on the same clip ten times as long.

Run:  python tests/bench/memory.py CLIP [--frames 60] [--times 10]

The clip's first frames are encoded again (H.264), once and repeated N times. Each video is
annotated by its own process; the peak resident memory of both is printed with their ratio.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av

JADFER = Path(sys.executable).with_name("jadfer")


def repeated(source: Path, target: Path, frames: int, times: int) -> None:
    """Encodes the first `frames` frames of a clip, repeated `times` times."""
    with av.open(str(source)) as container:
        pictures = []
        for frame in container.decode(video=0):
            pictures.append(frame.to_ndarray(format="rgb24"))
            if len(pictures) == frames:
                break
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(times):
            for picture in pictures:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())


def peak_mb(clip: Path, out: Path, *options: str) -> float:
    """Peak resident memory of one run, MB."""
    process = subprocess.Popen([JADFER, "annotate", clip, "-o", out, "--quiet", *options])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"jadfer failed on {clip}")
    return usage.ru_maxrss / 1024


def ratio(source: Path, frames: int, times: int, *options: str) -> tuple[float, float]:
    """Peak memory of the short and of the long clip, MB."""
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder, "short.mp4"), Path(folder, "long.mp4")
        repeated(source, short, frames, 1)
        repeated(source, long, frames, times)
        return (
            peak_mb(short, Path(folder, "short.parquet"), *options),
            peak_mb(long, Path(folder, "long.parquet"), *options),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--times", type=int, default=10)
    arguments, rest = parser.parse_known_args()
    a, b = ratio(arguments.clip, arguments.frames, arguments.times, *rest)
    n = arguments.frames
    print(f"{n} frames: {a:.0f} MB; {n * arguments.times} frames: {b:.0f} MB; ratio {b / a:.3f}")
