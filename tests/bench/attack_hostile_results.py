"""Hostile results: a good one with its metadata, columns, rows, bytes or name changed.

Named cases cover what is known to hurt; the others are drawn at random, from a seed.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

KEY = b"PANDAS_ATTRS"
OSC = "\x1b]52;c;ZWNobyBvd25lZA==\x07"  # sets the clipboard of a terminal
C1 = "\x9b31m\x85"
FORMULA = "=cmd|'/c calc'!A1"
SCRIPT = "<script>alert(1)</script>"
NAMES = (f"{OSC}evil", f"{C1}evil", FORMULA, "+1-1", "@SUM(1+1)", "-2+3", f"{SCRIPT}&'\"]]>",
         "a\rb", "a\nb", "%s%n{0}", "[red]x[/red]", "\ud7ff\uffff\u202eevil",
         "x" * 200)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, [], {}, "", "x", 0, -1, 1.5, True, 1e308, 10**40, float("nan"), float("inf"), OSC,
    FORMULA, [None], [[[]]], {"a": None}, "x" * 100_000,
)  # fmt: skip

# Metadata that commands print.
_TEXTS = (
    ("video", "path"), ("model", "name"), ("detector", "name"), ("warnings",), ("jadfer_version",),
    ("model", "terms"), ("device_name",), ("created",),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One hostile result.

    Attributes:
        name: Says what was changed.
        file: The file name.
        make: Writes it.
    """

    name: str
    file: str
    make: Callable[[Path], None]


@dataclass
class Base:
    """The good result: its table, its metadata and its bytes."""

    path: Path

    def __post_init__(self) -> None:
        self.table = pq.read_table(self.path)
        self.attrs = json.loads(self.table.schema.metadata[KEY])
        self.data = self.path.read_bytes()

    def write(self, to: Path, table: pa.Table | None = None, attrs: Any = None) -> None:
        """Writes a changed copy; `attrs` is bytes, or becomes JSON."""
        table = self.table if table is None else table
        entries = dict(self.table.schema.metadata)
        if attrs is not None:
            entries[KEY] = attrs if isinstance(attrs, bytes) else json.dumps(attrs).encode()
        entries.pop(b"pandas", None)  # else a changed column contradicts it
        pq.write_table(table.replace_schema_metadata(entries), to)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested JSON."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(inner, (*at, key))


def changed(attrs: Any, at: tuple[Any, ...], value: Any, *, drop: bool = False) -> Any:
    """A copy of nested JSON with one value replaced or dropped."""
    attrs = copy.deepcopy(attrs)
    inner = attrs
    for key in at[:-1]:
        inner = inner[key]
    if drop:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return attrs


def metadata_cases(base: Base) -> Iterator[Case]:
    """Metadata of another shape, values of another type, keys missing."""
    write, attrs = base.write, base.attrs
    for value in (None, [], {}, "x", 1, True, [[]], {"collected": 1}, {"collected": None}):
        shown = json.dumps(value)
        yield Case(f"jadfer is {shown}", "h.parquet",
                   lambda p, v=value: write(p, attrs={"jadfer": v}))  # fmt: skip
    plain = json.dumps(attrs).encode()
    texts = {
        "not JSON": b"{", "a list": b"[]", "null": b"null", "not UTF-8": b'{"jadfer": "\xff\xfe"}',
        "deep list": b'{"jadfer": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "deep object": b'{"jadfer": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        "10 MB": b'{"jadfer": {"labels": "' + b"x" * 10_000_000 + b'"}}',
        "long number": b'{"jadfer": ' + b"9" * 10_000 + b"}",
        "infinite number": plain.replace(b'"wall_s": ', b'"wall_s": 1e999, "x": '),
        "lone surrogate": plain.replace(b"demo", b"\\ud800"),
    }  # fmt: skip
    for name, text in texts.items():
        yield Case(f"metadata {name}", "h.parquet", lambda p, t=text: write(p, attrs=t))
    for key in attrs["jadfer"]:
        yield Case(f"{key} missing", "h.parquet", lambda p, k=key: write(
            p, attrs=changed(attrs, ("jadfer", k), 0, drop=True)))  # fmt: skip
        for value in (None, []):
            yield Case(f"{key} is {value}", "h.parquet", lambda p, k=key, v=value: write(
                p, attrs=changed(attrs, ("jadfer", k), v)))  # fmt: skip
    for at in _TEXTS:
        for text in (NAMES[0] + C1, FORMULA, SCRIPT):
            value = [text] if at == ("warnings",) else text
            name = f"{'.'.join(at)} is {text!r}"
            entry = changed(attrs, ("jadfer", *at), value)
            yield Case(name, "h.parquet", lambda p, e=entry: write(p, attrs=e))
    for name, labels in {
        "duplicate": ["neutral"] * 8, "seven": attrs["jadfer"]["labels"][:7], "one": ["neutral"],
        "escapes": [OSC + str(i) for i in range(8)], "numbers": list(range(8)),
        "nested": [["neutral"]] * 8, "unknown": ["joy"] * 8, "100,000": ["x"] * 100_000,
    }.items():  # fmt: skip
        yield Case(f"labels {name}", "h.parquet", lambda p, v=labels: write(
            p, attrs=changed(attrs, ("jadfer", "labels"), v)))  # fmt: skip


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    values = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    return table.set_column(table.schema.get_field_index(name), name, values)


_COLUMNS: dict[str, Callable[[np.ndarray], Any]] = {
    "time_s + 3600": lambda t: t + 3600, "time_s in ms": lambda t: t * 1000,
    "time_s zero": lambda t: t * 0, "time_s negated": lambda t: -t,
    "time_s reversed": lambda t: t[::-1], "time_s NaN": lambda t: t * np.nan,
    "time_s inf": lambda t: t + np.inf, "time_s one frame late": lambda t: t + 0.04,
    "time_s huge": lambda t: t * 1e300, "time_s text": lambda t: t.astype(str),
    "duration_s zero": lambda t: t * 0, "duration_s negative": lambda t: t - 1,
    "duration_s NaN": lambda t: t * np.nan, "duration_s inf": lambda t: t + np.inf,
    "duration_s huge": lambda t: t + 1e18, "frame negative": lambda f: f - 100,
    "frame zero": lambda f: f * 0, "frame huge": lambda f: f + 2_000_000_000,
    "frame reversed": lambda f: f[::-1], "frame float": lambda f: f + 0.5,
    "frame text": lambda f: f.astype(str), "track_id negative": lambda t: t - 5,
    "track_id huge": lambda t: t.astype(float) + 2**40,
    "track_id each its own": lambda t: np.arange(len(t)),
    "track_id float": lambda t: t + 0.5, "bbox_x1 NaN": lambda x: x * np.nan,
    "bbox_x1 inf": lambda x: x + np.inf, "bbox_x2 -inf": lambda x: x - np.inf,
    "bbox_x1 huge": lambda x: x + 1e30, "bbox_x2 before x1": lambda x: x - 1000,
    "bbox_y1 elsewhere": lambda x: x * 0, "bbox_x1 text": lambda x: x.astype(str),
    "p_happiness NaN": lambda p: p * np.nan, "p_happiness inf": lambda p: p + np.inf,
    "p_happiness negative": lambda p: p - 5, "p_happiness text": lambda p: p.astype(str),
    "det_score NaN": lambda p: p * np.nan, "entropy inf": lambda p: p + np.inf,
    "yaw_deg huge": lambda p: p + 1e30, "n_faces negative": lambda n: n - 100,
    "face_detected false": lambda f: np.zeros(len(f), bool),
    "face_detected number": lambda f: f.astype(float) * 7,
    "usable text": lambda u: [FORMULA] * len(u), "expression numbers": lambda e: np.arange(len(e)),
    "expression formula": lambda e: [FORMULA] * len(e),
    "expression escape": lambda e: [OSC] * len(e),
    "video escape": lambda v: [OSC + "v.mp4"] * len(v),
    "video formula": lambda v: [FORMULA] * len(v),
    "video many": lambda v: [f"{i}.mp4" for i in range(len(v))],
    "video null": lambda v: [None] * len(v),
    "video bytes": lambda v: [b"\xff\x1b"] * len(v), "frame_status odd": lambda v: [OSC] * len(v),
    "face_source long": lambda v: ["x" * 1_000_000] * len(v),
}  # fmt: skip


def column_cases(base: Base) -> Iterator[Case]:
    """Columns missing, of another type, or with hostile values; rows in disorder."""
    write, table = base.write, base.table
    for name in table.column_names:
        yield Case(f"no column {name}", "h.parquet", lambda p, n=name: write(p, table.drop([n])))
    for name, change in _COLUMNS.items():
        column = name.split()[0]

        def make(p: Path, column: str = column, change: Any = change) -> None:
            values = table[column].to_pandas()
            values = values.astype(object) if values.dtype == "category" else values
            write(p, _with(table, column, change(values.to_numpy(na_value=0)
                  if column == "track_id" else values.to_numpy())))  # fmt: skip

        yield Case(name, "h.parquet", make)
    n = len(table)
    odd = {
        "no rows": table.slice(0, 0), "one row": table.slice(0, 1),
        "half the rows": table.slice(n // 2),
        "rows shuffled": table.take(np.random.default_rng(0).permutation(n)),
        "rows doubled": pa.concat_tables([table, table]),
        "null boxes": _with(table, "bbox_x1", pa.nulls(n, pa.float32())),
        "null times": _with(table, "time_s", pa.nulls(n, pa.float64())),
        "null frames": _with(table, "frame", pa.nulls(n, pa.int32())),
        "null everywhere": pa.table(
            [pa.nulls(n, f.type) for f in table.schema], table.column_names
        ),
        "type null": pa.table([pa.nulls(n)] * table.num_columns, table.column_names),
        "list of numbers": _with(table, "p_happiness", [[1.0]] * n),
        "two of one name": table.append_column("time_s", table["time_s"]),
        "column with escapes": table.append_column(OSC + FORMULA, table["time_s"]),
        "timestamps": _with(table, "time_s", pa.array(range(n), pa.timestamp("ns"))),
        "decimals": _with(table, "time_s", pa.array([1] * n, pa.decimal128(38))),
        "a million rows": pa.concat_tables([table] * (1_000_000 // n + 1)),
        "2,000 columns": pa.table([table["time_s"]] * 2000, [f"c{i}" for i in range(2000)]),
    }  # fmt: skip
    for name, rows in odd.items():
        yield Case(name, "h.parquet", lambda p, t=rows: write(p, t))


def file_cases(base: Base) -> Iterator[Case]:
    """Bytes that are no Parquet, files that are no files, names that hurt."""
    data = base.data
    plain = {
        "empty": b"", "one byte": b"P", "magic only": b"PAR1", "magic twice": b"PAR1PAR1",
        "half": data[: len(data) // 2], "without the last byte": data[:-1],
        "without the footer": data[:-9],
        "footer too long": data[:-8] + b"\xff\xff\xff\x7fPAR1", "encrypted": data[:-4] + b"PARE",
        "start lost": data[100:], "JSON": json.dumps(base.attrs).encode(), "zeros": bytes(100_000),
        "another magic": b"RIFF" + data[4:],
    }  # fmt: skip
    for name, content in plain.items():
        yield Case(f"bytes: {name}", "h.parquet", lambda p, c=content: p.write_bytes(c) and None)
    yield Case("a folder", "h.parquet", lambda p: p.mkdir())
    yield Case("a FIFO", "h.parquet", lambda p: os.mkfifo(p))
    yield Case("a link to nowhere", "h.parquet", lambda p: p.symlink_to("nowhere"))
    yield Case("a link to itself", "h.parquet", lambda p: p.symlink_to(p.name))
    yield Case("a link to /dev/zero", "h.parquet", lambda p: p.symlink_to("/dev/zero"))
    for name in NAMES:
        file = name.replace("/", "_") + ".parquet"
        yield Case(f"named {name!r}", file, lambda p: p.write_bytes(data) and None)
    yield Case(
        "damaged, named with escapes", f"{OSC}.parquet", lambda p: p.write_bytes(b"x") and None
    )


def random_case(base: Base, number: int, seed: int) -> Case:
    """Case `number` of run `seed`: random places in metadata, columns or bytes."""
    chance = random.Random(seed * 1_000_003 + number)
    kind = number % 3
    if kind == 0:
        places = list(_paths(base.attrs["jadfer"]))
        attrs, told = base.attrs["jadfer"], []
        for _ in range(chance.choice([1, 1, 2, 4])):
            at, value = chance.choice(places), chance.choice(VALUES)
            told.append(f"{'.'.join(map(str, at))}={str(value)[:20]!r}")
            try:
                attrs = changed(attrs, at, value, drop=chance.random() < 0.2)
            except (KeyError, IndexError, TypeError):
                continue
        return Case(f"random {number}: {', '.join(told)}", "h.parquet",
                    lambda p: base.write(p, attrs={"jadfer": attrs}))  # fmt: skip
    if kind == 1:
        column = chance.choice(base.table.column_names)
        value = chance.choice([None, 0, -1, 1e308, float("nan"), OSC, b"\xff", True, [1], 2**62])
        values = base.table[column].to_pylist()
        every = chance.choice([1, 2, 7])
        try:
            array = pa.array([value if i % every == 0 else v for i, v in enumerate(values)])
        except (pa.ArrowException, OverflowError, TypeError):
            array = pa.array([value] * len(values))
        return Case(f"random {number}: {column} is {value!r} in every {every}th row", "h.parquet",
                    lambda p: base.write(p, _with(base.table, column, array)))  # fmt: skip
    data = bytearray(base.data)
    reach = chance.choice([len(data), 2000])
    for _ in range(chance.choice([1, 8, 64])):
        data[-1 - chance.randrange(reach)] = chance.randrange(256)
    return Case(f"random {number}: bytes", "h.parquet", lambda p: p.write_bytes(data) and None)


def cases(base: Base, n: int, seed: int) -> list[Case]:
    """`n` cases: all named ones and random ones, or an even selection of them.

    The first is the good result itself: no command may find fault with it.
    """
    named = [*metadata_cases(base), *column_cases(base), *file_cases(base)]
    if n <= len(named):
        n_random = n // 5
        step = len(named) / (n - n_random)
        chosen = [
            named[int((i + (seed % 97) / 97) * step) % len(named)] for i in range(n - n_random)
        ]
    else:
        chosen, n_random = named, n - len(named)
    chosen = [Case("unchanged", "h.parquet", base.write), *chosen[1:]]
    return chosen + [random_case(base, i, seed) for i in range(n_random)]
