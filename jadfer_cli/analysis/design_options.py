"""What a user types about a design, as the rule that computes it."""

from __future__ import annotations

from collections.abc import Sequence

from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.analysis.neutral_spans import parse_span
from jadfer_cli.analysis.trial_windows import MEASURES, TRIAL, DesignRule, Window
from jadfer_cli.errors import OptionError


def design_rule(
    windows: Sequence[str],
    baseline: str | None,
    min_usable: float,
    scores: str,
    scale: str | None,
    events: Rule,
) -> DesignRule:
    """Return the rule.

    Args:
        windows: Each as "0,2" or "early=0,1"; empty for the whole trial.
        baseline: As "-0.5,0"; None for none.
        min_usable: As in `DesignRule`.
        scores: As in `DesignRule`.
        scale: As in `DesignRule`.
        events: As in `DesignRule`.

    Raises:
        OptionError: A text cannot be understood, or a value is out of range.
    """
    named = [_window(text, i) for i, text in enumerate(windows)] or [Window(TRIAL, 0.0, None)]
    span = None if baseline is None else parse_span(baseline, "baseline")
    return DesignRule(tuple(named), span, min_usable, scores, scale, events)


def _window(text: str, i: int) -> Window:
    name, equals, span = text.rpartition("=")
    if equals and not (name.isidentifier() and name.isascii()):
        raise OptionError(f"`window` {text}: a name has letters, digits and underscores.")
    start, end = parse_span(span, "window")
    return Window(name or f"window{i + 1}", start, end)


def measures_named(names: Sequence[str]) -> tuple[str, ...]:
    """Return measures in their usual order; "latency" is short for latency_s.

    Raises:
        OptionError: There is no such measure.
    """
    wanted = {name if name in MEASURES else f"{name}_s" for name in names}
    if unknown := [n for n in names if n not in MEASURES and f"{n}_s" not in MEASURES]:
        raise OptionError(f"`measure` must be one of {', '.join(MEASURES)}, not {unknown[0]}.")
    return tuple(name for name in MEASURES if name in wanted)
