"""The header of a checkpoint, checked before any network is built.

A checkpoint may come from a stranger, a broken download or another program. Everything in it that
decides memory, time or scores is checked here, without PyTorch. `digest` detects damage.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jadfer_cli.labels import LABELS
from jadfer_cli.text import parsed_json

HEADER_KEY = "jadfer"
DIGEST_KEY = "digest"  # of everything else in the file
_OLD_DIGEST_KEY = "sha256"  # of jadfer 0.3 to 0.5: without shapes and dtypes
_KEYS = frozenset(
    ("architecture", "config", "labels", "temperature", "metrics", "terms", "scores", DIGEST_KEY)
) | {_OLD_DIGEST_KEY}
_FIRST_ARCHITECTURE = "jadfer"  # of files written before the header named one
_MAX_HEADER_BYTES = 4 << 20
# far beyond any sensible network, and small enough to be computed
_MAX_SIZE, _MAX_CROP_PX, _MAX_LAYERS, _MAX_TEXT = 8192, 1024, 64, 64
_MIN_CROP_PX = 32
_MAX_BIAS = 100.0  # of a logit; more would decide every score
# `fit_temperature` searches between exp(-3) and exp(3)
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.04, 25.0
_WIDTHS = {"F16": np.float16, "F32": np.float32, "BF16": np.uint16}
_INTEGERS = ("I64", "I32", "U8", "BOOL")


class InvalidCheckpoint(ValueError):
    """The contents are not a checkpoint of jadfer, or make no sense."""


class DamagedCheckpoint(ValueError):
    """The contents differ from what was written, or hold values that are no numbers."""


@dataclass(frozen=True)
class Tensor:
    """A tensor as it lies in the file.

    Attributes:
        dtype: Its name in safetensors, e.g. "F32".
        shape: Its shape.
        data: Its bytes, little-endian.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Header:
    """What a checkpoint says about itself.

    Attributes:
        architecture: A name of `expression.networks`, unless the file is newer.
        config: The network's config, with tuples for lists.
        labels: K class names in the order of the logits.
        temperature: Divides the logits before the softmax.
        metrics: Figures and history, as written.
        terms: Licence and history, in words; may be empty.
        scores: Further definitions of scores: by name, a temperature and perhaps a bias.
        has_digest: Whether the file can show that it is undamaged.
    """

    architecture: str
    config: dict[str, Any]
    labels: tuple[str, ...]
    temperature: float
    metrics: dict[str, Any]
    terms: str
    scores: dict[str, Any]
    has_digest: bool


def read(data: bytes) -> Header:
    """Reads and checks the header of a checkpoint, and its tensors against the digest.

    Args:
        data: The whole file.

    Raises:
        InvalidCheckpoint: It is no checkpoint, or a value is missing, unknown or out of range.
        DamagedCheckpoint: It differs from what was written, or a value is not finite.
    """
    text = _header_text(data)
    stored = _json(text)
    tensors = tensors_of(data)
    has_digest = _check_digest(stored, text, tensors)
    _check_tensors(tensors)
    if unknown := set(stored) - _KEYS:
        raise InvalidCheckpoint(f"its header has the unknown entry {_shown(sorted(unknown)[0])}")
    labels = _labels(stored.get("labels"))
    config = _config(stored.get("config"), len(labels), len(tensors))
    architecture = stored.get("architecture", _FIRST_ARCHITECTURE)
    if not isinstance(architecture, str) or not architecture.replace("-", "_").isidentifier():
        raise InvalidCheckpoint(f"its architecture is {_shown(architecture)}")
    metrics, terms = stored.get("metrics", {}), stored.get("terms", "")
    if not isinstance(metrics, dict) or not isinstance(terms, str):
        raise InvalidCheckpoint("its metrics or terms are of the wrong type")
    temperature = _temperature(stored.get("temperature"))
    scores = _scores(stored.get("scores", {}), len(labels))
    return Header(architecture, config, labels, temperature, metrics, terms, scores, has_digest)


def text_with_digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The header as JSON, with the digest of itself and of the tensors."""
    plain = _json(_canonical(header))  # as `read` will see it
    return _canonical({**plain, DIGEST_KEY: digest(plain, tensors)})


def digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over a checkpoint's header, and the name, dtype, shape and bytes of each tensor."""
    result = hashlib.sha256(_canonical(header).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        result.update(json.dumps([name, tensor.dtype, list(tensor.shape)]).encode())
        result.update(tensor.data)
    return result.hexdigest()


def _canonical(header: Mapping[str, Any]) -> str:
    return json.dumps(header, sort_keys=True)


def _header_text(data: bytes) -> str:
    """The JSON text of jadfer's part of the safetensors header."""
    n_header = int.from_bytes(data[:8], "little")
    if len(data) < 10 or data[8:9] != b"{" or n_header > len(data) - 8:
        raise InvalidCheckpoint("it is not a safetensors file, or is cut off")
    if n_header > _MAX_HEADER_BYTES:
        raise InvalidCheckpoint(f"its header has {n_header:,} bytes")
    outer = _json(data[8 : 8 + n_header])
    notes = outer.get("__metadata__")
    text = notes.get(HEADER_KEY) if isinstance(notes, dict) else None
    if not isinstance(text, str):
        raise InvalidCheckpoint("it holds tensors, but no header of jadfer")
    return text


def _json(text: str | bytes) -> dict[str, Any]:
    """A JSON object; numbers that are not finite become None, so that later checks refuse them."""

    def finite(digits: str) -> float | None:
        value = float(digits)
        return value if math.isfinite(value) else None

    try:
        found = parsed_json(text, parse_constant=lambda _: None, parse_float=finite)
    except ValueError as error:
        raise InvalidCheckpoint(f"its header is not JSON: {_shown(str(error))}") from error
    if not isinstance(found, dict):
        raise InvalidCheckpoint("its header is not a JSON object")
    return found


def tensors_of(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises:
        InvalidCheckpoint: It is not one.
    """
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(data)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError, OverflowError, MemoryError) as error:
        raise InvalidCheckpoint(_shown(str(error))) from error
    return {
        name: Tensor(stored["dtype"], tuple(stored["shape"]), bytes(stored["data"]))
        for name, stored in found
    }


def _check_digest(stored: dict[str, Any], text: str, tensors: Mapping[str, Tensor]) -> bool:
    """Compares the digest, and removes it from the header; False if there is none."""
    new, old = (stored.pop(key, None) for key in (DIGEST_KEY, _OLD_DIGEST_KEY))
    if new is None and old is None:
        return False
    if new is not None:
        # the text itself, as 1e-5 and 1E-5 are one number in two spellings
        same = text == _canonical({**stored, DIGEST_KEY: new}) and new == digest(stored, tensors)
    else:
        plain = json.loads(text)
        del plain[_OLD_DIGEST_KEY]
        same = old == _old_digest(plain, tensors)
    if not same:
        raise DamagedCheckpoint("are damaged: they differ from what was written")
    return True


def _old_digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    result = hashlib.sha256(_canonical(header).encode())
    for name in sorted(tensors):
        result.update(name.encode())
        result.update(tensors[name].data)
    return result.hexdigest()


def _check_tensors(tensors: Mapping[str, Tensor]) -> None:
    if not tensors:
        raise InvalidCheckpoint("it holds no tensors")
    for name, tensor in tensors.items():
        if tensor.dtype in _INTEGERS:
            continue
        if tensor.dtype not in _WIDTHS:
            raise InvalidCheckpoint(f"the tensor {_shown(name)} is of the type {tensor.dtype}")
        values = np.frombuffer(tensor.data, _WIDTHS[tensor.dtype])
        if tensor.dtype == "BF16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        if not np.isfinite(values).all():
            raise DamagedCheckpoint(f"contain values that are not finite, in {_shown(name)}")


def _labels(stored: Any) -> tuple[str, ...]:
    if not isinstance(stored, list) or len(stored) < 2:
        raise InvalidCheckpoint("its labels are not a list of two or more")
    for label in stored:
        if label not in LABELS:
            raise InvalidCheckpoint(f"the label {_shown(label)} is not among {', '.join(LABELS)}")
        if stored.count(label) > 1:
            raise InvalidCheckpoint(f"the label {label} occurs twice")
    return tuple(stored)


def _temperature(stored: Any) -> float:
    if not _is_number(stored) or not MIN_TEMPERATURE <= stored <= MAX_TEMPERATURE:
        raise InvalidCheckpoint(
            f"its temperature is {_shown(stored)}, not a number from {MIN_TEMPERATURE:g} to "
            f"{MAX_TEMPERATURE:g}"
        )
    return float(stored)


def _scores(stored: Any, n_labels: int) -> dict[str, Any]:
    """Temperature and bias of further definitions of scores."""
    if not isinstance(stored, dict) or len(stored) > _MAX_LAYERS:
        raise InvalidCheckpoint("its scores are of the wrong type")
    for name, scale in stored.items():
        bias = scale.get("bias", []) if isinstance(scale, dict) else None
        if not isinstance(bias, list) or not all(
            _is_number(each) and abs(each) <= _MAX_BIAS for each in bias
        ):
            raise InvalidCheckpoint(f"the scores {_shown(name)} have the values {_shown(scale)}")
        if len(bias) not in (0, n_labels):
            raise InvalidCheckpoint(
                f"it has {len(bias)} biases of {_shown(name)} for {n_labels} classes"
            )
        _temperature(scale.get("temperature"))
    return stored


def _config(stored: Any, n_labels: int, n_tensors: int) -> dict[str, Any]:
    """The network's config, with the checks that need no PyTorch."""
    if not isinstance(stored, dict) or not {"n_classes", "crop_px"} <= set(stored):
        raise InvalidCheckpoint("its config is missing, or names neither n_classes nor crop_px")
    config = {}
    for name, value in stored.items():
        values = value if isinstance(value, list) else [value]
        if len(values) > 8 or not all(_is_sensible(each) for each in values):
            raise InvalidCheckpoint(f"{_shown(name)} is {_shown(value)} in its config")
        config[name] = tuple(value) if isinstance(value, list) else value  # JSON has no tuples
        # every layer has tensors of its own
        if name.endswith("layers") and (
            not isinstance(value, int) or value > min(_MAX_LAYERS, n_tensors)
        ):
            raise InvalidCheckpoint(f"{_shown(name)} is {_shown(value)} in its config")
    crop_px = config["crop_px"]
    if type(crop_px) is not int or not _MIN_CROP_PX <= crop_px <= _MAX_CROP_PX:
        raise InvalidCheckpoint(f"crop_px is {_shown(crop_px)}")
    if config["n_classes"] != n_labels:
        raise InvalidCheckpoint(f"{n_labels} labels for {_shown(config['n_classes'])} classes")
    return config


def _is_sensible(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT
    if isinstance(value, bool):
        return True
    return _is_number(value) and abs(value) <= _MAX_SIZE


def _is_number(value: Any) -> bool:
    """Whether it is a number; those of a header are finite."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value from the file, short and printable."""
    text = repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} ..."
