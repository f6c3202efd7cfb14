"""Could decord read long videos in segments, so that its memory stays flat? Measured, not assumed.

    python tests/bench/decord_segments.py CLIP [--minutes 20] [--segment 8] [--json FILE]

The packets of CLIP are repeated until the video has the wanted length (no new encoding). Each way
of reading it runs in a process of its own: PyAV's checked decoding with the conversion to RGB, as
jadfer does; decord frame by frame; decord in segments of some seconds, each sought by its first
frame; and PyAV reading packets only, which decord would still need beside it for times and damage.
Printed: core-ms per frame, the highest memory in the first tenth and in the whole, and how many
pictures differ from PyAV's (mean of 8-bit steps over 1).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

WAYS = ("pyav", "packets", "decord", "segments")


def repeated(clip: Path, minutes: float, out: Path) -> int:
    """Writes the clip's packets again and again, and returns the number of frames."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [p for p in source.demux(stream) if p.size]
        data = [(bytes(p), p.pts, p.dts, p.duration, p.is_keyframe) for p in packets]
        span = max(pts + duration for _, pts, _, duration, _ in data) - min(d[1] for d in data)
        times = max(1, round(minutes * 60 / float(span * stream.time_base)))
        for i in range(times):
            for content, pts, dts, duration, key in data:
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.duration = pts + i * span, dts + i * span, duration
                packet.is_keyframe, packet.time_base, packet.stream = key, stream.time_base, copy
                target.mux(packet)
    return times * len(data)


def signature(image: np.ndarray) -> bytes:
    """A coarse copy of a picture, to compare two decoders without keeping pictures."""
    return image[::24, ::24].tobytes()


def differ(one: bytes, other: bytes) -> bool:
    """Whether two coarse copies are not of the same picture."""
    first, second = (np.frombuffer(each, np.uint8).astype(np.int16) for each in (one, other))
    return len(first) != len(second) or bool(np.abs(first - second).mean() > 1)


def pictures(way: str, path: Path, segment_s: float, threads: int):
    """Yields the RGB pictures of the video in order; nothing for `packets`."""
    if way == "pyav":
        from jadfer_cli.video.decode_check import check_frames
        from jadfer_cli.video.timeline import probe

        info = probe(path)
        for checked in check_frames(info, 0, info.n_frames - 1):
            yield checked.picture.to_ndarray(format="rgb24")
    elif way == "packets":
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                if packet.size:
                    yield None
    else:
        import torch  # noqa: F401, I001  # before decord
        import decord

        reader = decord.VideoReader(str(path), num_threads=threads, fault_tol=1e-9)
        n = len(reader)
        step = n if way == "decord" else max(1, round(segment_s * reader.get_avg_fps()))
        for first in range(0, n, step):
            if first:
                reader.seek_accurate(first)
            for _ in range(first, min(first + step, n)):
                yield reader.next().asnumpy()


def memory_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(way: str, path: Path, a: argparse.Namespace, n: int) -> dict:
    """Reads the video once in this process, as slowly as the frames are analysed."""
    reference = None if way == "pyav" else path.with_suffix(".npy")
    tenth, highest, wrong, i = 0.0, 0.0, 0, 0
    kept: list[bytes] = []
    known = None if reference is None else np.load(reference)
    begin = time.process_time()
    for image in pictures(way, path, a.segment, a.threads):
        if i % 20 == 0:
            highest = max(highest, memory_mb())
            tenth = highest if i < n / 10 else tenth
        if image is not None:
            own = signature(image)
            if known is None:
                kept.append(own)
            elif i >= len(known) or differ(own, known[i].tobytes()):
                wrong += 1
        i += 1
        time.sleep(a.pause / 1e3 if image is not None else 0)
    core_ms = (time.process_time() - begin) / max(i, 1) * 1e3
    if kept and way == "pyav":
        np.save(path.with_suffix(".npy"), [np.frombuffer(own, np.uint8) for own in kept])
    return {"way": way, "frames": i, "core_ms": core_ms, "tenth_mb": tenth, "mb": highest,
            "differ": wrong}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--segment", type=float, default=8, help="seconds")
    parser.add_argument("--pause", type=float, default=10, help="ms of other work per picture")
    parser.add_argument("--threads", type=int, default=1, help="of decord; 0: it decides")
    parser.add_argument("--limit-gb", type=float, default=6, help="memory at which a way is ended")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # way, video, frames
    a = parser.parse_args()
    if a.one:
        way, path, n = a.one[0], Path(a.one[1]), int(a.one[2])
        limit = int(a.limit_gb * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        found = measure(way, path, a, n)
        print(json.dumps(found), flush=True)
        os._exit(0)  # decord may wait for its threads
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / f"long{a.clip.suffix}"
        n = repeated(a.clip, a.minutes, video)
        rows = []
        for way in WAYS:
            own = {"segment": a.segment, "pause": a.pause, "threads": a.threads}
            own["limit-gb"] = a.limit_gb
            command = [sys.executable, __file__, str(a.clip)]
            command += [text for name, value in own.items() for text in (f"--{name}", str(value))]
            command += ["--one", way, str(video), str(n)]
            done = subprocess.run(command, capture_output=True, text=True)
            try:
                rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            except (IndexError, ValueError):
                reason = (done.stderr.strip().splitlines() or ["?"])[-1][:100]
                rows.append({"way": way, "ended": f"code {done.returncode}: {reason}"})
            print(rows[-1], flush=True)
    if a.json:
        a.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
