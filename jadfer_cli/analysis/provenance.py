"""What made a result: its settings in words, and whether several results go together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jadfer_cli.options import AnnotateOptions
from jadfer_cli.results.load import Result
from jadfer_cli.results.settings import fingerprint

_SHORT = 12  # digits of a sha256 that tell files apart


def changed_options(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The options that differ from this version's defaults: flag to value, e.g. --every to 5.

    Without the batch size, whose default changed and which decides no row.
    """
    defaults = _flat(dataclasses.asdict(AnnotateOptions()))
    return {
        flag: value
        for flag, value in _flat(metadata.get("options", {})).items()
        if value != defaults.get(flag) and flag != "--batch-size"
    }


def options_text(metadata: Mapping[str, Any]) -> str:
    """The options that differ from the defaults, as they are typed; empty if none does."""
    return " ".join(
        flag
        if value is True
        else f"{flag} {value:g}"
        if isinstance(value, float)
        else f"{flag} {value}"
        for flag, value in changed_options(metadata).items()
        if value not in (None, False)
    )


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            found |= _flat(value)
        else:
            flag = name.removesuffix("_s").removesuffix("_px").replace("_", "-")
            found[f"--{flag}"] = value
    return found


def short_sha256(sha256: str | None) -> str:
    """The first digits of a hash."""
    return (sha256 or "unknown")[:_SHORT]


def model_text(metadata: Mapping[str, Any]) -> str:
    """The model's name and short hash."""
    return f"{metadata['model']['name']} ({short_sha256(metadata['model']['sha256'])})"


def detector_text(metadata: Mapping[str, Any]) -> str:
    """The detector's name and short hash."""
    return f"{metadata['detector']['name']} ({short_sha256(metadata['detector']['sha256'])})"


def groups(results: Iterable[Result]) -> list[list[Result]]:
    """Results that the same model, detector and options made, together; the largest group first."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(repr(sorted(fingerprint(result.metadata).items())), []).append(result)
    return sorted(found.values(), key=len, reverse=True)


def mixed(results: Sequence[Result]) -> list[str]:
    """In which respects results were not made alike: a sentence each; empty if all were."""
    sentences = []
    words: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "models": model_text,
        "labels": lambda m: ", ".join(m["labels"]),
        "detectors": detector_text,
    }
    for what, text in words.items():
        counts: dict[str, int] = {}
        for result in results:
            said = text(result.metadata)
            counts[said] = counts.get(said, 0) + 1
        if len(counts) > 1:
            listed = "; ".join(f"{said}: {n}" for said, n in counts.items())
            sentences.append(f"The results have different {what} ({listed}).")
    other = differing_settings(results)
    if other:
        sentences.append(f"The results were made with different settings: {', '.join(other)}.")
    return sentences


def differing_settings(results: Iterable[Result]) -> list[str]:
    """The settings, beside model and detector, in which results differ: --every, ..."""
    prints = [fingerprint(result.metadata) for result in results]
    names = list(dict.fromkeys(name for found in prints for name in found))
    return [
        "the schema" if name == "schema" else f"--{name}"
        for name in names
        if name not in ("model", "detector") and len({repr(f.get(name)) for f in prints}) > 1
    ]
