"""Checkpoints that nobody should load: damaged, contradictory, or made to hurt.

`make` gives named kinds and then mutations by seed, each a whole file as bytes. None may load into
a network that scores without an error; each must fail quickly with a `ModelError`.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jadfer_cli.expression import checkpoint, header
from jadfer_cli.expression.networks.jadfer import Jadfer, JadferConfig
from jadfer_cli.labels import LABELS

SMALL = JadferConfig(
    width=16, heads=2, paths=2, map_hidden=4, context_layers=1, interaction_layers=1, crop_px=32
)
Tensors = dict[str, tuple[str, list[int], bytes]]
ESCAPE = "\x1b]52;c;ZWNobyBvd25lZA==\x07\x9b31m"  # sets the clipboard of a terminal


@functools.cache
def good() -> bytes:
    """A small checkpoint as jadfer writes it."""
    import torch

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "good.safetensors"
        checkpoint.save(path, Jadfer(SMALL), temperature=0.7, metrics={"note": 1e-5})
        return path.read_bytes()


def contents() -> tuple[dict[str, Any], Tensors]:
    """Header without its digest, and tensors, of the good file, to be changed."""
    data = good()
    n = int.from_bytes(data[:8], "little")
    outer, body = json.loads(data[8 : 8 + n]), memoryview(data)[8 + n :]
    inner = json.loads(outer.pop("__metadata__")[header.HEADER_KEY])
    inner.pop(header.DIGEST_KEY)
    tensors = {
        name: (t["dtype"], t["shape"], bytes(body[slice(*t["data_offsets"])]))
        for name, t in outer.items()
    }
    return inner, tensors


def packed(text: str | None, tensors: Tensors, *, digest: bool = False) -> bytes:
    """A safetensors file of any header text; by hand, as the library refuses what is odd."""
    if digest and text is not None:
        plain = {k: header.Tensor(d, tuple(s), b) for k, (d, s, b) in tensors.items()}
        text = header.text_with_digest(json.loads(text), plain)
    outer: dict[str, Any] = {} if text is None else {"__metadata__": {header.HEADER_KEY: text}}
    at = 0
    for name, (dtype, shape, values) in tensors.items():
        outer[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(values)]}
        at += len(values)
    head = json.dumps(outer).encode()
    head += b" " * (-len(head) % 8)
    return b"".join([len(head).to_bytes(8, "little"), head, *(t[2] for t in tensors.values())])


def _with(**changes: Any) -> bytes:
    """The good file with other header entries, and a digest that fits; `...` removes one."""
    inner, tensors = contents()
    inner |= changes
    inner = {key: value for key, value in inner.items() if value is not ...}
    # json.dumps writes NaN and Infinity, as a careless program would
    return packed(json.dumps(inner), tensors, digest=True)


def _config(**changes: Any) -> bytes:
    inner, _ = contents()
    return _with(config=inner["config"] | changes)


def _tensors(change: Callable[[Tensors], Any]) -> bytes:
    inner, tensors = contents()
    change(tensors)
    return packed(json.dumps(inner), tensors, digest=True)


def _filled(value: float, which: str = "head.2.weight", dtype: str = "F32") -> bytes:
    """A tensor with one value everywhere, and a digest that fits."""

    def change(tensors: Tensors) -> None:
        _, shape, _ = tensors[which]
        kinds = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "F16": np.float16}
        tensors[which] = (dtype, shape, np.full(shape, value, kinds[dtype]).tobytes())

    return _tensors(change)


def _reshaped(tensors: Tensors) -> None:
    dtype, shape, values = tensors["head.2.weight"]
    tensors["head.2.weight"] = (dtype, shape[::-1], values)


def _text(text: str) -> bytes:
    return packed(text, contents()[1])


def _table(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The good file with its table of tensors changed, and the rest as it was."""
    data = good()
    n = int.from_bytes(data[:8], "little")
    outer = json.loads(data[8 : 8 + n])
    change(outer)
    head = json.dumps(outer).encode()
    return len(head).to_bytes(8, "little") + head + data[8 + n :]


def _entry(**changes: Any) -> Callable[[], bytes]:
    """Changes what the table says of one tensor."""
    return lambda: _table(lambda outer: outer["head.2.weight"].update(changes))


def _cyclic_bits(position: float) -> bytes:
    data = bytearray(good())
    data[int(position * (len(data) - 1))] ^= 1
    return bytes(data)


def _undigested(flip: int) -> bytes:
    """The header without its digest key, so that damage could go unnoticed."""
    return good().replace(b'\\"digest\\"', b'\\"digest\\"'[:2] + bytes([100 ^ flip]) + b'igest\\"')


KINDS: dict[str, Callable[[], bytes]] = {
    **{
        f"temperature {value!r}": functools.partial(_with, temperature=value)
        for value in (
            float("inf"), float("nan"), 0, 0.0, -1, 1e-30, 1e-3, 1e30, 26, None, "1", [1], True,
            10**400, ...,
        )
    },
    **{
        f"labels {name}": functools.partial(_with, labels=value)
        for name, value in {
            "twice": [*LABELS[:-1], LABELS[0]], "one fewer": list(LABELS[:-1]), "none": [],
            "unknown": [*LABELS[:-1], "joy"], "numbers": list(range(8)), "text": "neutral",
            "null": None, "lists": [[x] for x in LABELS], "absent": ..., "nine": [*LABELS, "x"],
            "escapes": [*LABELS[:-1], ESCAPE], "many": list(LABELS) * 12_500,
        }.items()
    },
    **{
        f"config {name}={value!r:.20}": functools.partial(_config, **{name: value})
        for name, value in (
            ("context_layers", 10**7), ("interaction_layers", 10**7), ("context_layers", -1),
            ("context_layers", 1.5), ("width", 10**9), ("width", 8192), ("width", 0),
            ("width", -16), ("width", "16"), ("width", 16.0), ("width", None), ("heads", 0),
            ("heads", 3), ("heads", True), ("paths", 10**6), ("map_hidden", 10**8),
            ("mlp_ratio", 1e300), ("mlp_ratio", float("nan")), ("mlp_ratio", -1.0),
            ("crop_px", 10**6), ("crop_px", 0), ("crop_px", 33), ("crop_px", -32),
            ("crop_px", "32"), ("crop_px", None), ("crop_px", 1024), ("n_classes", 7),
            ("n_classes", 10**9), ("n_classes", None), ("stem", "vgg"), ("stem", None),
            ("stem", "x" * 10**6), ("jad", "all"), ("branches", "none"), ("dropout", 7.0),
            ("std", [0.0, 0.0, 0.0]), ("std", [-1.0, 1.0, 1.0]), ("std", [1.0]),
            ("mean", [1e38, 0.0, 0.0]), ("mean", ["a", "b", "c"]), ("mean", 0.5),
            ("mean", [0.0] * 10**5), ("unknown", 1), ("__class__", 1), ("deep", {"a": {"b": 1}}),
            ("std", [1e-40] * 3), ("stem", ESCAPE), ("jad", ESCAPE), (ESCAPE, 1),
        )
    },
    **{
        f"scores {value!r:.40}": functools.partial(_with, scores=value)
        for value in (
            [1], {"x": 5}, {"x": {"temperature": 0}}, {"x": {"temperature": 1.0, "bias": [1.0]}},
            {"x": {"temperature": 1.0, "bias": [float("nan")] * 8}}, {"x": {"bias": "12345678"}},
        )
    },
    "config absent": lambda: _with(config=...),
    "config a list": lambda: _with(config=[1, 2]),
    "config empty": lambda: _with(config={}),
    "architecture unknown": lambda: _with(architecture="resnet"),
    "architecture a path": lambda: _with(architecture="../../etc/passwd"),
    "architecture a helper module": lambda: _with(architecture="base"),
    "architecture escape": lambda: _with(architecture=ESCAPE),
    "architecture null": lambda: _with(architecture=None),
    "architecture another": lambda: _with(architecture="plain"),
    "metrics a list": lambda: _with(metrics=[1]),
    "terms a number": lambda: _with(terms=5),
    "an unknown entry": lambda: _with(pickle="cos\nsystem"),
    "header nested": lambda: _text("[" * 10**5 + "]" * 10**5),
    "header nested in config": lambda: _text('{"config":' * 10**5 + "1" + "}" * 10**5),
    "header not JSON": lambda: _text("{labels: neutral}"),
    "header a number": lambda: _text("7"),
    "header empty": lambda: _text(""),
    "header of 5 MB": lambda: _text(json.dumps({"x": "y" * (5 << 20)})),
    "header missing": lambda: packed(None, contents()[1]),
    "no tensors": lambda: packed(json.dumps(contents()[0]), {}, digest=True),
    "NaN weights": lambda: _filled(float("nan")),
    "inf weights": lambda: _filled(float("inf")),
    "weights that overflow": lambda: _filled(3e38),
    "negative variance": lambda: _filled(-1.0, "stem.conv1.1.running_var"),
    "NaN in half precision": lambda: _filled(float("nan"), dtype="F16"),
    "weights in double precision": lambda: _filled(0.1, dtype="F64"),
    "integer weights": lambda: _filled(1, dtype="I64"),
    "a tensor transposed": lambda: _tensors(_reshaped),
    "a tensor missing": lambda: _tensors(lambda t: t.pop("head.2.bias")),
    "a tensor too many": lambda: _tensors(lambda t: t.update(extra=("F32", [1], b"\0" * 4))),
    "a tensor renamed": lambda: _tensors(lambda t: t.update(x=t.pop("head.2.bias"))),
    "a thousand empty tensors": lambda: _tensors(
        lambda t: t.update({f"e{i}": ("F32", [0, 10**12], b"") for i in range(1000)})
    ),
    "table: shape negative": _entry(shape=[-1]),
    "table: shape huge": _entry(shape=[2**40, 2**20]),
    "table: type unknown": _entry(dtype=ESCAPE),
    "table: offsets backwards": _entry(data_offsets=[8, 0]),
    "table: offsets beyond the file": _entry(data_offsets=[2**62, 2**63]),
    "table: offsets of another tensor": _entry(data_offsets=[0, 128]),
    "table: a name with escapes": lambda: _table(
        lambda t: t.update({ESCAPE: t.pop("head.2.bias")})
    ),
    "table: metadata a list": lambda: _table(lambda t: t.update(__metadata__=[])),
    "table: metadata a number": lambda: _table(lambda t: t["__metadata__"].update(jadfer=1)),
    "table nested": lambda: (10**5).to_bytes(8, "little") + b"[" * 10**5 + good(),
    "digest of another file": lambda: good().replace(b"0.7", b"0.8"),
    **{f"digest key damaged {bit}": functools.partial(_undigested, 1 << bit) for bit in range(3)},
    "empty file": lambda: b"",
    "eight bytes": lambda: b"\0" * 8,
    "header length huge": lambda: b"\xff" * 8 + good()[8:],
    "cut in half": lambda: good()[: len(good()) // 2],
    "one byte short": lambda: good()[:-1],
    "bytes appended": lambda: good() + b"\0" * 100,
    "a pickle": lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "a video": lambda: b"\0\0\0\x18ftypmp42" + b"\0" * 1000,
    "text": lambda: b"weights: none\n" * 100,
    "zeros": lambda: bytes(10_000),
    **{f"bit at {k}/20": functools.partial(_cyclic_bits, k / 20) for k in range(21)},
}  # fmt: skip


def mutation(seed: int) -> bytes:
    """The good file with one to four random changes: bits, ranges, cuts, or doubled parts."""
    rng = np.random.default_rng(seed)
    data = bytearray(good())
    n_header = int.from_bytes(data[:8], "little")
    for _ in range(rng.integers(1, 5)):
        end = 8 + n_header if rng.random() < 0.5 else len(data)  # the header is small
        at, length = int(rng.integers(min(end, len(data)))), int(rng.integers(1, 64))
        match rng.integers(5):
            case 0 | 1:
                data[at] ^= 1 << int(rng.integers(8))
            case 2:
                data[at : at + length] = rng.bytes(length)
            case 3:
                del data[at : at + length]
            case _:
                data[at:at] = data[at : at + length]
    changed = bytes(data)
    return changed if changed != good() else changed[:-1]


def make(n: int, first_seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """The named kinds, then mutations, `n` in all, each with a name to repeat it by."""
    named = list(KINDS.items())[:n]
    for name, build in named:
        yield name, build()
    for seed in range(first_seed, first_seed + n - len(named)):
        yield f"mutation {seed}", mutation(seed)
