"""What a methods section says of smoothing, baselines and study tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jadfer_cli.results.columns import DERIVED
from jadfer_cli.text import count_text

_SCALES = {"probability": "probabilities", "logit": "log odds"}
_METHODS = {"loess": "LOESS", "savgol": "a Savitzky-Golay filter"}


def derived_sentences(group: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how scores were smoothed and compared with baselines, once for equal steps.

    Args:
        group: The metadata of results.
    """
    steps = [step for metadata in group for step in metadata.get(DERIVED, [])]
    return list(dict.fromkeys(sentence for step in steps if (sentence := _step(step))))


def _step(step: Mapping[str, Any]) -> str:
    scores = _SCALES.get(str(step.get("scale")), "scores")
    of = "" if step.get("from") == "raw" else f" (scores {step.get('from')})"
    faces = "all faces" if step.get("all_faces") else "usable faces"
    if step["step"] == "smooth":
        method = _METHODS.get(str(step.get("method")), str(step.get("method")))
        return (
            f"The {scores}{of} of {faces} were smoothed over time by {method} of degree "
            f"{step.get('degree')} in a window of {step.get('window_s')} s, but not across gaps."
        )
    if step["step"] == "baseline":
        span = f"the calmest {step.get('window_s')} s without a gap"
        if step.get("method") == "given":
            span = "a neutral span chosen by the authors"
        return (
            f"From the {scores}{of} of {faces}, each person's baseline was subtracted, the median "
            f"over time in {span}."
        )
    return ""


def design_sentences(stored: Iterable[Any]) -> list[str]:
    """Say how study tables were made and how much is missing in them.

    Args:
        stored: What the tables record of themselves; what is not valid is ignored.
    """
    found = []
    for table in stored:
        try:
            found.append(_design(table))
        except (KeyError, TypeError, ValueError):
            continue
    return list(dict.fromkeys(found))


def _design(table: Mapping[str, Any]) -> str:
    scores = _SCALES.get(table["scale"], "scores")
    windows = " and ".join(
        f"{w['start_s']:g} s to " + ("its end" if w["end_s"] is None else f"{w['end_s']:g} s")
        for w in table["windows"]
    )
    baseline = ""
    if table["baseline_s"]:
        start, end = table["baseline_s"]
        baseline = f", minus the median from {start:g} to {end:g} s"
    raw = "" if table["scores"] == "raw" else f" (scores {table['scores']})"
    return (
        f"For each trial, {scores}{raw} were summarised from {windows} relative to the stimulus "
        f"onset{baseline}. A window needed a usable face for {table['min_usable']:.0%} of its "
        f"time; {int(table['cells_missing']):,} of {count_text(table['cells'], 'cell')} "
        "were missing."
    )
