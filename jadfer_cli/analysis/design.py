"""A table of a study for a statistics program: one row per participant, trial and measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jadfer_cli._version import __version__
from jadfer_cli.analysis.formats.base import Meaning
from jadfer_cli.analysis.score_columns import (
    PROBABILITY,
    ScoredFaces,
    ScoreSet,
    read_scores,
    score_set,
)
from jadfer_cli.analysis.trial_windows import MEASURES, Cell, DesignRule, VideoCells
from jadfer_cli.analysis.trials import Study, with_types
from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import Result

_KEY = ("participant", "trial")
_WINDOW = {
    "video": "Video of the trial, as named in the tables",
    "window": "Name of the window",
    "window_start_s": "Begin of the window, relative to the stimulus onset, s",
    "window_end_s": "End of the window, relative to the stimulus onset, s",
}
_CELL = {
    "usable_share": "Part of the window with a face that counts; empty if no face could be chosen",
    "counted_s": "The same in seconds",
    "missing_reason": "Why values of this window are missing; empty if they are not",
}
_LONG = {
    "expression": "Expression",
    "measure": "Measure",
    "value": "Its value; empty if missing",
    "unit": "Unit of the value",
    "baseline": "What was subtracted from the scores; empty if nothing was",
}
_MEANING = {
    "mean": "Mean over time of the score",
    "peak": "Highest score",
    "time_to_peak_s": "Time from the stimulus onset to the first frame with the highest score, s",
    "area": "Score times time, added up over the counted time; score * s",
    "share": "Share of the counted time in which the expression has the highest probability",
    "events": "Number of events that begin in the window",
    "latency_s": "Time from the stimulus onset to the first event that begins in the window, s",
}
RESERVED = frozenset((*_KEY, *_WINDOW, *_CELL, *_LONG))


@dataclass(frozen=True)
class Design:
    """The cells of a study.

    Attributes:
        study: The trials.
        rule: How the cells were computed.
        scores: Which scores were used.
        labels: The labels of all results.
        cells: In the order of the trials.
    """

    study: Study
    rule: DesignRule
    scores: ScoreSet
    labels: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def missing(self) -> tuple[Cell, ...]:
        """The cells without values."""
        return tuple(cell for cell in self.cells if cell.reason)

    @property
    def unit(self) -> str:
        """The unit of the scores."""
        return "probability" if self.scores.scale == PROBABILITY else "logit"

    def settings(self) -> dict[str, Any]:
        """Return how the table was made, JSON-ready."""
        return {
            **self.scores.settings(),
            "jadfer_version": __version__,
            "windows": [
                {"name": w.name, "start_s": w.start_s, "end_s": w.end_s} for w in self.rule.windows
            ],
            "baseline_s": list(self.rule.baseline) if self.rule.baseline else None,
            "baseline": "median over time" if self.rule.baseline else None,
            "min_usable": self.rule.min_usable,
            "event_rule": self.rule.events.settings(),
            "cells": len(self.cells),
            "cells_missing": len(self.missing),
        }


Progress = Callable[[Sequence[Result]], Iterable[Result]]


def compute(
    study: Study, results: Sequence[Result], rule: DesignRule, progress: Progress = iter
) -> Design:
    """Compute the cells of a study; each result is read once.

    Raises:
        OptionError: A result lacks the scores, or scores are on different scales.
        ResultError: A result is damaged.
    """
    needed = {str(t.result.path): t.result for t in study.trials if t.result is not None}
    used = [each for each in results if str(each.path) in needed]
    sets = [score_set(each, rule.scores, rule.scale) for each in used]
    if len({(each.scale, each.kind) for each in sets}) > 1:
        raise OptionError(
            f"`scores` {rule.scores}: the results have them on different scales.",
            "Choose one with `scale`.",
        )
    labels = tuple(dict.fromkeys(label for each in sets for label in each.labels))
    by_trial: dict[int, list[Cell]] = {}
    for result in progress(used):
        _add(by_trial, study, result, read_scores(result, rule.scores, rule.scale), rule)
    _add(by_trial, study, None, None, rule)
    cells = [cell for i in range(len(study.trials)) for cell in by_trial[i]]
    return Design(study, rule, sets[0], labels, tuple(cells))


def _add(
    by_trial: dict[int, list[Cell]], study: Study, result: Result | None,
    scored: ScoredFaces | None, rule: DesignRule,
) -> None:  # fmt: skip
    """Add the cells of the trials of one result, or of those without any."""
    video = VideoCells(scored, rule)
    for i, trial in enumerate(study.trials):
        if trial.result is result:
            by_trial[i] = video.cells(trial)


def long_table(
    design: Design, measures: Sequence[str] = (), expressions: Sequence[str] = ()
) -> pd.DataFrame:
    """Return one row per participant, trial, window, expression and measure.

    Args:
        design: The cells.
        measures: Those to keep; all by default.
        expressions: Those to keep; all by default.
    """
    measures = list(measures) or list(MEASURES)
    expressions = list(expressions) or list(design.labels)
    rows = [
        _facts(cell, design) | fact
        for cell in design.cells
        for fact in _values(cell, design, measures, expressions)
    ]
    columns = [*_KEY, *design.study.carried, *_WINDOW, *_LONG, *_CELL]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs = {"jadfer_design": design.settings()}
    return with_types(table, design.study.carried)


def _facts(cell: Cell, design: Design) -> dict[str, Any]:
    return {
        "participant": cell.trial.participant,
        "trial": cell.trial.trial,
        **cell.trial.carried,
        "video": cell.trial.video,
        "window": cell.window.name,
        "window_start_s": cell.start_s,
        "window_end_s": cell.end_s,
        "usable_share": cell.usable_share,
        "counted_s": cell.counted_s,
    }


def _values(
    cell: Cell, design: Design, measures: Sequence[str], expressions: Sequence[str]
) -> Iterable[dict[str, Any]]:
    labels = _labels(cell)
    corrected = ("mean", "peak", "area")
    for expression in expressions:
        at = labels.index(expression) if expression in labels else None
        for measure in measures:
            value = np.nan if at is None else cell.values[list(MEASURES).index(measure), at]
            reason = cell.reason
            if not reason and at is None:
                reason = "the model has no such label"
            elif not reason and measure == "latency_s" and at is not None:
                reason = cell.no_latency[at]
            unit = MEASURES[measure] or design.unit
            yield {
                "expression": expression,
                "measure": measure,
                "value": value,
                "unit": unit.replace("score", design.unit),
                "baseline": np.nan if at is None or measure not in corrected else cell.baseline[at],
                "missing_reason": reason or None,
            }


def _labels(cell: Cell) -> tuple[str, ...]:
    """The labels of a cell's values; none without a result."""
    return () if cell.trial.result is None else cell.trial.result.labels


def wide_table(
    design: Design, measures: Sequence[str] = (), expressions: Sequence[str] = ()
) -> pd.DataFrame:
    """Return one row per participant and trial, with a column per measure and expression.

    With several windows, the names of their columns end in that of the window. A missing latency
    alone has no reason here; `events` is then 0, or the long table says why.
    """
    measures = list(measures) or list(MEASURES)
    expressions = list(expressions) or list(design.labels)
    several = len(design.rule.windows) > 1
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in design.cells:
        end = f"_{cell.window.name}" if several else ""
        facts = _facts(cell, design)
        row = rows.setdefault((cell.trial.participant, cell.trial.trial), {
            name: facts[name] for name in (*_KEY, *design.study.carried, "video")
        })  # fmt: skip
        row |= {
            f"usable_share{end}": cell.usable_share,
            f"counted_s{end}": cell.counted_s,
            f"missing_reason{end}": cell.reason or None,
        }
        for fact in _values(cell, design, measures, expressions):
            row[f"{fact['expression']}_{fact['measure']}{end}"] = fact["value"]
    table = pd.DataFrame(list(rows.values()))
    table.attrs = {"jadfer_design": design.settings()}
    return with_types(table, design.study.carried)


def meaning(design: Design, table: pd.DataFrame) -> Meaning:
    """Return what the columns of a table mean, for the formats that store it and the sidecar."""
    base = f"{design.unit} ({design.scores.name} scores)"
    if design.rule.baseline:
        start_s, end_s = design.rule.baseline
        base += f" minus the median from {start_s:g} to {end_s:g} s"
    texts = {"participant": "Participant", "trial": "Trial"} | _WINDOW | _LONG | _CELL
    for window in design.rule.windows:
        end = f"_{window.name}" if len(design.rule.windows) > 1 else ""
        for name, text in _CELL.items():
            texts[f"{name}{end}"] = text
        for label in design.labels:
            for measure, text in _MEANING.items():
                scale = f"; {base}" if measure in ("mean", "peak", "area") else ""
                texts[f"{label}_{measure}{end}"] = f"{label}: {text[0].lower()}{text[1:]}{scale}"
    categories = {
        "expression": design.labels,
        "measure": tuple(MEASURES),
        "window": tuple(window.name for window in design.rule.windows),
    }
    columns = [str(name) for name in table.columns]
    return Meaning(
        {name: texts.get(name, f"{name}, as in the tables of the study") for name in columns},
        {name: names for name, names in categories.items() if name in columns},
        "Study table of jadfer",
    )
