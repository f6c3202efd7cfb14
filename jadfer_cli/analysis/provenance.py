"""What made a result, in words, and which settings differ between results."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jadfer_cli.expression import checkpoint
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.results.load import Result
from jadfer_cli.results.revision import row_revision
from jadfer_cli.results.settings import differing, fingerprint, option_name, setting_label

_SHA256_DIGITS = 12  # enough to tell files apart


def changed_options(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that differ from the defaults of this version, e.g. {"--every": 5}.

    Not among them: the batch size, whose default has changed and which does not affect the rows,
    and the text of a study file.
    """
    defaults = _by_flag(dataclasses.asdict(AnnotateOptions()))
    return {
        flag: value
        for flag, value in _by_flag(metadata.get("options", {})).items()
        if value is not None
        and value != defaults.get(flag)
        and flag not in ("--batch-size", "--study")
    }


def options_text(metadata: Mapping[str, Any]) -> str:
    """Return the options that differ from the defaults, as a user types them; may be empty."""
    return " ".join(
        flag
        if value is True
        else f"{flag} {value:g}"
        if isinstance(value, float)
        else f"{flag} {value}"
        for flag, value in changed_options(metadata).items()
        if value not in (None, False)
    )


def _by_flag(options: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for field, value in options.items():
        if isinstance(value, Mapping):
            flat |= _by_flag(value)
        else:
            flat[f"--{option_name(field)}"] = value
    return flat


def short_sha256(sha256: str | None) -> str:
    """Return the first digits of a hash."""
    return (sha256 or "unknown")[:_SHA256_DIGITS]


def model_text(metadata: Mapping[str, Any]) -> str:
    """Return the model's name and short hash."""
    return f"{metadata['model']['name']} ({short_sha256(model_sha256(metadata))})"


def model_sha256(metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the model; of earlier shipped files, of the one with equal weights."""
    sha256 = str(metadata["model"]["sha256"])
    return checkpoint.current_hashes().get(sha256, sha256)


def detector_text(metadata: Mapping[str, Any]) -> str:
    """Return the detector's name and short hash."""
    return f"{metadata['detector']['name']} ({short_sha256(metadata['detector']['sha256'])})"


def revision_text(metadata: Mapping[str, Any]) -> str:
    """Return the revision of the rows, and the version of jadfer that made them."""
    return f"{row_revision(metadata)} (jadfer {metadata.get('jadfer_version', 'unknown')})"


def _fingerprints(results: Sequence[Result]) -> list[dict[str, Any]]:
    hashes = checkpoint.current_hashes()
    return [fingerprint(result.metadata, hashes) for result in results]


def compare_settings(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return the settings that are not the same in all results.

    Args:
        results: Any number of results.

    Returns:
        For each such setting ("model", "--every", ...) its value in each result, in words and in
        the order of the results.
    """
    texts = {"model": model_text, "detector": detector_text, "revision": revision_text}
    found = {}
    for name, values in differing(_fingerprints(results)).items():
        if name in texts:
            words = [texts[name](result.metadata) for result in results]
        else:
            words = ["none" if value is None else str(value) for value in values]
        found[setting_label(name)] = words
    return found


# What computed the scores: it changes rounding, or more where a release says so.
_ORIGIN: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "jadfer": lambda m: m.get("jadfer_version"),
    "results revision": lambda m: m.get("results_revision"),
    "device": lambda m: m.get("device_name") or m.get("device"),
    "engine": lambda m: m.get("engine"),
    "crops by": lambda m: m.get("crops"),
}


def compare_origins(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return what computed the results, where it is not the same for all: versions, devices.

    Args:
        results: Any number of results.

    Returns:
        For each such fact ("jadfer", "device", "torch", ...) its value in each result, in words
        and in the order of the results.
    """
    facts = [
        {name: of(result.metadata) for name, of in _ORIGIN.items()}
        | {
            name: version
            for name, version in (result.metadata.get("versions") or {}).items()
            if name != "jadfer-cli"
        }
        for result in results
    ]
    return {
        name: ["none" if value is None else str(value) for value in values]
        for name, values in differing(facts).items()
    }


def differing_settings(results: Sequence[Result]) -> list[str]:
    """Return the names of settings that differ, except the networks and the revision."""
    apart = ("model", "detector", "revision")
    names = [name for name in compare_settings(results) if name not in apart]
    return ["the schema" if name == "schema" else name for name in names]


def groups(results: Iterable[Result]) -> list[list[Result]]:
    """Return the results grouped by model, detector and options; the largest group first."""
    found: dict[str, list[Result]] = {}
    results = list(results)
    for result, settings in zip(results, _fingerprints(results), strict=True):
        found.setdefault(repr(sorted(settings.items())), []).append(result)
    return sorted(found.values(), key=len, reverse=True)


def mixed(results: Sequence[Result]) -> list[str]:
    """Return one warning for each kind of difference in how results were made."""
    warnings = []
    texts: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "models": model_text,
        "labels": lambda metadata: ", ".join(metadata["labels"]),
        "detectors": detector_text,
    }
    for what, text in texts.items():
        counts = Counter(text(result.metadata) for result in results)
        if len(counts) > 1:
            listed = "; ".join(f"{value}: {n}" for value, n in counts.items())
            warnings.append(f"The results have different {what} ({listed}).")
    if len({row_revision(result.metadata) for result in results}) > 1:
        counts = Counter(str(result.metadata.get("jadfer_version")) for result in results)
        listed = "; ".join(f"{version}: {n}" for version, n in sorted(counts.items()))
        warnings.append(
            f"The results were made by different versions of jadfer, whose rows differ ({listed})."
        )
    if names := differing_settings(results):
        warnings.append(f"The results were made with different settings: {', '.join(names)}.")
    return warnings
