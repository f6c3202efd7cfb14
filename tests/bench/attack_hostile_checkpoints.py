"""Hostile checkpoints: the shipped one with its header, tensors or bytes changed."""

from __future__ import annotations

import copy
import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

OSC = "\x1b]52;c;ZWNobyBvd25lZA==\x07\x9b31m"
_TEMPERATURES: tuple[Any, ...] = (
    float("inf"), float("nan"), 0, 0.0, -1, 1e-30, 1e-300, 1e300, 1e30, "warm", None, [], True,
    10**400,
)  # fmt: skip
_CONFIG: tuple[tuple[str, Any], ...] = (
    ("n_classes", 7), ("n_classes", 0), ("n_classes", -8), ("n_classes", 8.0), ("n_classes", "8"),
    ("n_classes", 10**9), ("crop_px", 0), ("crop_px", 112.5), ("crop_px", True), ("crop_px", 10**9),
    ("crop_px", 100_000), ("crop_px", "112"), ("width", 0), ("width", 10**9), ("width", 2**20),
    ("width", 256.0), ("heads", 7), ("heads", 0), ("heads", 10**9), ("paths", 10**7),
    ("map_hidden", 10**9), ("context_layers", 10**7), ("context_layers", -1),
    ("context_layers", 2.5), ("interaction_layers", 10**7), ("mlp_ratio", 1e9),
    ("mlp_ratio", float("nan")), ("mlp_ratio", float("inf")), ("dropout", 7), ("dropout", "x"),
    ("jad", OSC), ("jad", "similar"), ("branches", "pool"), ("stem", "../../etc"), ("stem", OSC),
    ("stem", None), ("mean", []), ("mean", None), ("mean", [float("nan")] * 3), ("std", [0, 0, 0]),
    ("std", [1e-40] * 3), ("mean", [[[]]]), ("unknown", 1), (OSC, 1), ("__class__", "x"),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One hostile checkpoint.

    Attributes:
        name: Says what was changed.
        make: Writes it.
        must_fail: True if no probability from it can be right.
        file: Its name.
    """

    name: str
    make: Callable[[Path], None]
    must_fail: bool = True
    file: str = "model.safetensors"


class Base:
    """The shipped checkpoint, taken apart."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        n = int.from_bytes(self.data[:8], "little")
        self.table = json.loads(self.data[8 : 8 + n])
        self.header = json.loads(self.table["__metadata__"]["jadfer"])
        self.header.pop("sha256", None)  # else every change is only a wrong digest
        self.tensors = self.data[8 + n :]

    def write(self, to: Path, header: Any = None, table: Any = None, tensors: Any = None) -> None:
        """Writes a changed copy; `header` and `table` are JSON-ready, or text."""
        table = copy.deepcopy(self.table if table is None else table)
        header = self.header if header is None else header
        if isinstance(table, dict) and isinstance(table.get("__metadata__"), dict):
            text = header if isinstance(header, str) else json.dumps(header)
            table["__metadata__"]["jadfer"] = text
        text = (table if isinstance(table, str) else json.dumps(table)).encode()
        text += b" " * (-len(text) % 8)
        body = self.tensors if tensors is None else tensors
        to.write_bytes(len(text).to_bytes(8, "little") + text + body)

    def changed(self, **entries: Any) -> dict[str, Any]:
        """The header with some entries replaced."""
        return {**copy.deepcopy(self.header), **entries}


def header_cases(base: Base) -> Iterator[Case]:
    """Temperature, labels, config, metrics, architecture, and JSON that is none."""
    write = base.write
    for value in _TEMPERATURES:
        yield Case(f"temperature {str(value)[:20]}", lambda p, v=value: write(
            p, base.changed(temperature=v)), value is not True)  # fmt: skip
    labels = base.header["labels"]
    for name, value in {
        "duplicate": [labels[0]] * 8, "two the same": [labels[1], *labels[1:]], "none": [],
        "seven": labels[:7], "numbers": list(range(8)), "text": "neutral!", "null": None,
        "unknown": [*labels[:7], OSC], "nested": [[x] for x in labels], "many": labels * 12_500,
    }.items():  # fmt: skip
        yield Case(f"labels {name}", lambda p, v=value: write(p, base.changed(labels=v)))
    for key, value in _CONFIG:
        harmless = (key, value) == ("jad", "similar")
        config = {**base.header["config"], key: value}
        yield Case(f"config {key!r} {str(value)[:20]!r}", lambda p, c=config: write(
            p, base.changed(config=c)), not harmless)  # fmt: skip
    for value in (None, [], {}, "x"):
        yield Case(f"config is {value}", lambda p, v=value: write(p, base.changed(config=v)))
        yield Case(f"header is {value}", lambda p, v=value: write(p, json.dumps(v)))
        yield Case(
            f"metrics is {value}", lambda p, v=value: write(p, base.changed(metrics=v)), False
        )
    for value in ("../../x", "os", OSC, "", None, 7, ["jadfer"], "plain", "x" * 1_000_000):
        yield Case(f"architecture {str(value)[:20]!r}", lambda p, v=value: write(
            p, base.changed(architecture=v)))  # fmt: skip
    deep = "[" * 100_000 + "]" * 100_000
    rest = json.dumps(base.header)[:-1]
    yield Case("header deep", lambda p: write(p, deep))
    yield Case(
        "metrics deep",
        lambda p: write(p, f'{rest[: rest.index(chr(34) + "metrics")]}"metrics": {deep}}}'),
    )
    yield Case(
        "metrics escape", lambda p: write(p, base.changed(metrics={OSC: {"accuracy": OSC}})), False
    )
    yield Case("header NaN", lambda p: write(p, "NaN"))
    yield Case("header empty", lambda p: write(p, ""))
    yield Case("header no JSON", lambda p: write(p, "{"))
    yield Case("a wrong digest", lambda p: write(p, base.changed(sha256="0" * 64)))
    yield Case("a digest of null", lambda p: write(p, base.changed(sha256=7)))


def _tensor_changes(base: Base) -> Iterator[tuple[str, Any, Any]]:
    """Names, tables and bodies of changed tensors."""
    names = [n for n, t in base.table.items() if n != "__metadata__" and t["dtype"] == "F32"]
    first, last = names[0], names[-1]
    for word, value in (("NaN", np.nan), ("inf", np.inf), ("huge", 3e38)):
        body = bytearray(base.tensors)
        begin, end = base.table[last]["data_offsets"]
        body[begin:end] = np.full((end - begin) // 4, value, np.float32).tobytes()
        yield f"tensor {word}", None, bytes(body)
    for place in (0, len(base.tensors) // 2, len(base.tensors) - 3):
        body = bytearray(base.tensors)
        body[place] ^= 0x40
        yield f"flipped bit at {place}", None, bytes(body)
    yield "zeros", None, bytes(len(base.tensors))
    yield "noise", None, np.random.default_rng(0).bytes(len(base.tensors))
    yield "tensors cut", None, base.tensors[:-1000]
    yield "tensors longer", None, base.tensors + bytes(1000)
    for word, change in {
        "missing": lambda t: t.pop(last), "dtype": lambda t: t[last].update(dtype="I32"),
        "bool": lambda t: t[last].update(dtype="BOOL"),
        "shape": lambda t: t[last].update(shape=[1]),
        "huge shape": lambda t: t[last].update(shape=[2**40, 2**20]),
        "negative": lambda t: t[last].update(shape=[-1]),
        "overlap": lambda t: t[last].update(data_offsets=t[first]["data_offsets"]),
        "backwards": lambda t: t[last].update(data_offsets=[8, 0]),
        "beyond": lambda t: t[last].update(data_offsets=[2**62, 2**63]),
        "renamed": lambda t: t.update({OSC: t.pop(last)}),
        "extra": lambda t: t.update(extra={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
        "no metadata": lambda t: t.pop("__metadata__"),
        "metadata list": lambda t: t.update(__metadata__=[]),
        "metadata numbers": lambda t: t.update(__metadata__={"jadfer": 1}),
    }.items():  # fmt: skip
        table = copy.deepcopy(base.table)
        change(table)
        yield f"tensor {word}", table, None


def file_cases(base: Base) -> Iterator[Case]:
    """Files that are no checkpoint, or no file."""
    n = len(base.data)
    plain = {
        "empty": b"", "seven bytes": bytes(7), "length only": bytes(8), "half": base.data[: n // 2],
        "header of 2^63": b"\xff" * 8 + base.data[8:],
        "header beyond the file": struct.pack("<Q", n * 2) + base.data[8:],
        "pickle": pickle.dumps({"state": [1.0] * 9}), "zip": b"PK\x03\x04" + bytes(100),
        "JSON": b'{"jadfer": 1}', "without the last byte": base.data[:-1],
        "deep table": struct.pack("<Q", 200_000) + b"[" * 100_000 + b"]" * 100_000,
    }  # fmt: skip
    for name, content in plain.items():
        yield Case(f"file: {name}", lambda p, c=content: p.write_bytes(c) and None)
    yield Case("a flipped bit in the header", lambda p: p.write_bytes(
        base.data.replace(b"0.67189", b"0.07189", 1)) and None)  # fmt: skip
    yield Case("a folder", lambda p: p.mkdir())
    yield Case("a FIFO", lambda p: os.mkfifo(p))
    yield Case("a link to itself", lambda p: p.symlink_to(p.name))
    yield Case("a link to /dev/zero", lambda p: p.symlink_to("/dev/zero"))
    yield Case("8 GB of nothing", lambda p: p.touch() or os.truncate(p, 8 << 30))
    yield Case(
        "named with escapes", lambda p: p.write_bytes(b"x") and None, file=f"{OSC}.safetensors"
    )


def cases(base: Base, n: int) -> list[Case]:
    """All cases, or an even selection of n of them."""
    found = list(header_cases(base))
    for name, table, body in _tensor_changes(base):
        # weights that are wrong but finite cannot be told without a digest of the original
        must_fail = name not in ("zeros", "noise", "tensor huge")
        found.append(Case(name, lambda p, t=table, b=body: base.write(p, None, t, b), must_fail))
    found += file_cases(base)
    if n >= len(found):
        return found
    return [found[int(i * len(found) / n)] for i in range(n)]
