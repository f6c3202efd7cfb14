"""Fuzzing: mutations of small videos, each read in a child process.

As a script with --serve, this is the child: it reads one path per line, probes the file, decodes
its first frames, and answers with one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FRAMES = 20
# Container and encoder: common ones, and those for which FFmpeg has separate parsers.
SEEDS = (
    ("mp4", "libx264"), ("mp4", "libx265"), ("mp4", "libsvtav1"), ("mov", "mpeg4"),
    ("mov", "prores_ks"), ("mkv", "libvpx-vp9"), ("mkv", "ffv1"), ("webm", "libvpx"),
    ("avi", "mjpeg"), ("avi", "mpeg4"), ("ts", "libx264"), ("mpg", "mpeg2video"),
    ("flv", "libx264"), ("flv", "flv"), ("ogv", "libvpx"), ("wmv", "wmv2"), ("3gp", "mpeg4"),
)  # fmt: skip
_PIX_FMTS = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}


@dataclass(frozen=True)
class Seed:
    """An intact video."""

    name: str
    suffix: str
    data: bytes


@dataclass(frozen=True)
class Verdict:
    """The outcome for one damaged video.

    Attributes:
        outcome: "frames", "error" (a JadferError), "crash", "hang" or "exception".
        detail: The message, signal or traceback.
        seconds: Time spent.
        peak_mb: Peak resident memory of the child so far.
    """

    outcome: str
    detail: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0


def make_seeds(
    folder: Path, kinds: Sequence[tuple[str, str]] = SEEDS, n_frames: int = 24
) -> list[Seed]:
    """Make a small video for each container and encoder that this PyAV can write."""
    from media import make_video, numbered_frames

    seeds = []
    for suffix, codec in kinds:
        path = folder / f"{suffix}-{codec}.{suffix}"
        try:
            make_video(path, numbered_frames(n_frames), codec=codec, pix_fmt=_PIX_FMTS.get(codec))
        except Exception as error:  # this build lacks the encoder
            print(f"no seed {path.name}: {error}", file=sys.stderr)
            continue
        seeds.append(Seed(path.stem, suffix, path.read_bytes()))
    return seeds


def _flipped(rng: np.random.Generator, seed: Seed, other: Seed) -> bytes:
    """Replace random bytes, mostly near the start and end, where containers keep their tables."""
    data = bytearray(seed.data)
    for _ in range(int(rng.choice([1, 4, 16, 64, 256]))):
        near = rng.random()
        reach = min(len(data), 4096) if near < 0.5 else len(data)
        at = int(rng.integers(reach))
        data[at if near < 0.25 else len(data) - 1 - at] = int(rng.integers(256))
    return bytes(data)


def _truncated(rng: np.random.Generator, seed: Seed, other: Seed) -> bytes:
    return seed.data[: int(rng.integers(1, len(seed.data)))]


def _block(rng: np.random.Generator, size: int) -> slice:
    length = int(rng.choice([16, 256, 4096]))
    first = int(rng.integers(size))
    return slice(first, min(first + length, size))


def _zeroed(rng: np.random.Generator, seed: Seed, other: Seed) -> bytes:
    data = bytearray(seed.data)
    for _ in range(int(rng.integers(1, 5))):
        where = _block(rng, len(data))
        data[where] = bytes(where.stop - where.start)
    return bytes(data)


def _spliced(rng: np.random.Generator, seed: Seed, other: Seed) -> bytes:
    """Put the beginning of one file before the rest of another."""
    head = int(rng.choice([32, 512, 4096, len(other.data) // 2]))
    return other.data[:head] + seed.data[int(rng.choice([0, head])) :]


def _duplicated(rng: np.random.Generator, seed: Seed, other: Seed) -> bytes:
    where = _block(rng, len(seed.data))
    return seed.data[: where.stop] + seed.data[where] + seed.data[where.stop :]


MUTATIONS: dict[str, Callable[[np.random.Generator, Seed, Seed], bytes]] = {
    "flipped": _flipped, "truncated": _truncated, "zeroed": _zeroed,
    "spliced": _spliced, "duplicated": _duplicated,
}  # fmt: skip


def mutant(seeds: Sequence[Seed], number: int, run: int) -> tuple[str, Seed, bytes]:
    """Mutation `number` of run `run`, reproducibly: its kind, seed and bytes.

    Every kind is applied to every seed in turn.
    """
    rng = np.random.default_rng([run, number])
    kind = list(MUTATIONS)[number % len(MUTATIONS)]
    seed = seeds[number // len(MUTATIONS) % len(seeds)]
    other = seeds[int(rng.integers(len(seeds)))]
    return kind, seed, MUTATIONS[kind](rng, seed, other)


class Child:
    """A process that reads files, and is replaced if one crashes it.

    Args:
        limit_s: Time limit for one file.
        script: What the process runs, with --serve; this module by default.
    """

    def __init__(self, limit_s: float, script: str = __file__) -> None:
        self.limit_s, self._script = limit_s, script
        self._process: subprocess.Popen[str] | None = None

    def judge(self, path: Path) -> Verdict:
        """Read a file and report the outcome."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, self._script, "--serve"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            self._answer(120)  # wait until the libraries are loaded
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died, so there will be no answer
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
        return self._answer(self.limit_s)

    def _answer(self, limit_s: float) -> Verdict:
        process = self._process
        assert process is not None and process.stdout is not None
        if not select.select([process.stdout], [], [], limit_s)[0]:
            self.close()
            return Verdict("hang", f"nothing in {limit_s:.0f} s", limit_s)
        line = process.stdout.readline()
        if line:
            return Verdict(**json.loads(line))
        code = process.wait(30)
        self.close()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Verdict("crash", how)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(30)
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()  # type: ignore[union-attr]

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve() -> None:
    """Be the child: read one path per line until stdin ends."""
    import resource
    import time
    import traceback

    import torch  # noqa: F401  # takes seconds, which must not count for any file

    from jadfer_cli.errors import JadferError
    from jadfer_cli.video.reader import VideoReader
    from jadfer_cli.video.timeline import probe

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # anything that libraries print goes to stderr

    def answer(outcome: str, detail: str, began_s: float) -> None:
        seconds = round(time.perf_counter() - began_s, 3)
        peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        found = {"outcome": outcome, "detail": detail, "seconds": seconds, "peak_mb": peak_mb}
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    answer("ready", "", time.perf_counter())
    for line in sys.stdin:
        began_s = time.perf_counter()
        try:
            info = probe(line.rstrip("\n"))
            indices = np.arange(min(FRAMES, info.n_frames))
            with VideoReader(info, indices) as reader:
                read = [frame.index for frame in reader]
            if read != indices.tolist():
                raise AssertionError(f"frames {read} of {len(indices)}")
            answer("frames", str(len(read)), began_s)
        except JadferError as error:
            answer("error", error.message, began_s)
        except BaseException:
            answer("exception", traceback.format_exc(), began_s)


if __name__ == "__main__":
    serve()
