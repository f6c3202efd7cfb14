"""Damages videos: what tests/fuzzing.py does to any file, and changes to the boxes of MP4 and MOV.

Every mutation is drawn from (seed, number) alone, so a case can be made again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from attack_results import make_clip
from fuzzing import MUTATIONS, SEEDS, Seed, make_seeds
from media import run_ffmpeg

_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf")
_EXTREMES = (0, 1, 7, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_BOXES = ("ftyp", "mvhd", "tkhd", "elst", "mdhd", "stts", "ctts", "stsc", "stsz", "stco", "stsd")
_MANY_EDITS = 300_000


@dataclass(frozen=True)
class Box:
    """One box of an MP4 file: `data[start:end]`, its header included."""

    kind: bytes
    start: int
    end: int
    parents: tuple[int, ...]  # starts of the boxes around it


def boxes(
    data: bytes, start: int = 0, end: int = -1, parents: tuple[int, ...] = ()
) -> Iterator[Box]:
    """All boxes, outer before inner; stops where sizes make no sense."""
    end = len(data) if end < 0 else end
    while start + 8 <= end:
        size, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        if size < 8 or start + size > end:
            return
        yield Box(kind, start, start + size, parents)
        if kind in _CONTAINERS:
            yield from boxes(data, start + 8, start + size, (*parents, start))
        start += size


def _replaced(data: bytes, box: Box, new: bytes) -> bytes:
    """Replaces a box, and corrects the sizes of those around it."""
    grown = len(new) - (box.end - box.start)
    changed = bytearray(data[: box.start] + new + data[box.end :])
    for parent in box.parents:
        size = int.from_bytes(changed[parent : parent + 4], "big") + grown
        changed[parent : parent + 4] = size.to_bytes(4, "big")
    return bytes(changed)


def _size(rng: np.random.Generator, data: bytes) -> bytes:
    """A box that claims another size."""
    found = list(boxes(data))
    box = found[int(rng.integers(len(found)))]
    size = box.end - box.start
    new = int(rng.choice([*_EXTREMES, size - 1, size + 1, size * 2]))
    return data[: box.start] + (new & 0xFFFFFFFF).to_bytes(4, "big") + data[box.start + 4 :]


def _field(rng: np.random.Generator, data: bytes) -> bytes:
    """Extreme numbers in the tables: counts, times, sizes, offsets."""
    changed = bytearray(data)
    found = [box for box in boxes(data) if box.kind.decode("latin-1") in _BOXES]
    for _ in range(int(rng.choice([1, 2, 4]))):
        box = found[int(rng.integers(len(found)))]
        places = (box.end - box.start - 8) // 4
        at = box.start + 8 + 4 * int(rng.integers(max(places, 1)))
        changed[at : at + 4] = int(rng.choice(_EXTREMES)).to_bytes(4, "big")
    return bytes(changed)


def _edits(rng: np.random.Generator, data: bytes) -> bytes:
    """Another edit list: gaps, repeats, times before and after the video, very many entries."""
    tracks = [box for box in boxes(data) if box.kind == b"elst"]
    n = int(rng.choice([1, 2, 5, 50, 1000, _MANY_EDITS], p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05]))
    entries = np.zeros(n, np.dtype([("duration", ">u4"), ("time", ">i4"), ("rate", ">u4")]))
    entries["duration"] = rng.choice([0, 1, 40, 1000, 0x7FFFFFFF, 0xFFFFFFFF], n)
    entries["time"] = rng.choice([-1, 0, 1, 512, 5000, 0x7FFFFFFF, -0x80000000], n)
    entries["rate"] = rng.choice([0x10000, 0x10000, 0, 0x20000, 0xFFFF0000], n)
    body = struct.pack(">II", 0, int(rng.choice([n, n, n + 1000, 0]))) + entries.tobytes()
    new = (8 + len(body)).to_bytes(4, "big") + b"elst" + body
    if tracks:
        return _replaced(data, tracks[0], new)
    header = next(box for box in boxes(data) if box.kind == b"tkhd")
    edts = (8 + len(new)).to_bytes(4, "big") + b"edts" + new
    return _replaced(data, header, data[header.start : header.end] + edts)


def _with_matrix(data: bytes, matrix: Sequence[int]) -> bytes:
    header = next(box for box in boxes(data) if box.kind == b"tkhd")
    at = header.start + (48 if data[header.start + 8] == 0 else 60)
    return data[:at] + struct.pack(">9i", *matrix) + data[at + 36 :]


def _no_matrix(rng: np.random.Generator, data: bytes) -> bytes:
    """A display matrix of zeros, which says nothing about rotation."""
    return _with_matrix(data, [0] * 9)


def _matrix(rng: np.random.Generator, data: bytes) -> bytes:
    """Another display matrix: mirrored, any rotation, random numbers."""
    turn = float(rng.uniform(0, 2 * np.pi))
    cos, sin = (round(65536 * f(turn)) for f in (np.cos, np.sin))
    matrix = [
        [cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30], [-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30],
        [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30], rng.integers(-(2**31), 2**31, 9).tolist(),
    ][int(rng.integers(4))]  # fmt: skip
    return _with_matrix(data, matrix)


def _moved(rng: np.random.Generator, data: bytes) -> bytes:
    """A box dropped, doubled, or renamed."""
    found = [box for box in boxes(data) if box.parents]
    box = found[int(rng.integers(len(found)))]
    old = data[box.start : box.end]
    new = [b"", old + old, old[:4] + b"free" + old[8:], old[:4] + b"trak" + old[8:]]
    return _replaced(data, box, new[int(rng.integers(4))])


def _extremes(rng: np.random.Generator, data: bytes) -> bytes:
    """Extreme numbers anywhere near the ends, where other containers keep theirs."""
    changed = bytearray(data)
    for _ in range(int(rng.choice([1, 4, 16]))):
        at = int(rng.integers(min(len(data) - 4, 3000)))
        at = at if rng.random() < 0.7 else len(data) - 4 - at
        order = "big" if rng.random() < 0.6 else "little"
        changed[at : at + 4] = int(rng.choice(_EXTREMES)).to_bytes(4, order)
    return bytes(changed)


_OF_BOXES = {
    "size": _size, "field": _field, "edits": _edits, "matrix": _matrix, "nomatrix": _no_matrix,
    "moved": _moved,
}  # fmt: skip
KINDS = (*MUTATIONS, "extremes", *_OF_BOXES)


def seeds(folder: Path, demo: Path, clips: Path | None) -> list[Seed]:
    """Small intact videos: one per container and encoder, some with a face, and parts of clips."""
    found = make_seeds(folder, SEEDS, n_frames=10)
    face = make_clip(demo, folder / "face.mp4", slice(45, 51))
    for suffix in ("mp4", "mov", "mkv", "ts", "avi"):
        to = run_ffmpeg("-i", str(face), "-c", "copy", to=folder / f"copy.{suffix}")
        found.append(Seed(f"face-{suffix}", suffix, to.read_bytes()))
    for clip in sorted(clips.glob("*.*")) if clips else []:
        to = run_ffmpeg("-i", str(clip), "-t", "0.2", "-c", "copy", to=folder / f"cut-{clip.name}")
        found.append(Seed(f"clip-{clip.stem}", clip.suffix[1:], to.read_bytes()))
    return found


def mutant(found: Sequence[Seed], number: int, run: int) -> tuple[str, Seed, bytes]:
    """Mutation `number` of run `run`: its kind, its seed and its bytes."""
    rng = np.random.default_rng([run, number])
    kind = KINDS[number % len(KINDS)]
    its = [seed for seed in found if kind not in _OF_BOXES or seed.suffix in ("mp4", "mov", "3gp")]
    seed = its[int(rng.integers(len(its)))]
    if kind in MUTATIONS:
        other = found[int(rng.integers(len(found)))]
        return kind, seed, MUTATIONS[kind](rng, seed, other)
    if kind == "extremes":
        return kind, seed, _extremes(rng, seed.data)
    return kind, seed, _OF_BOXES[kind](rng, seed.data)
