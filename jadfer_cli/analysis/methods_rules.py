"""What a methods section says about tables of events, summaries and studies: their rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.analysis.methods_steps import design_sentences
from jadfer_cli.analysis.wording import listed
from jadfer_cli.errors import OptionError
from jadfer_cli.results.parquet import read_attrs

_EVENTS, _SUMMARY, _DESIGN = "jadfer_events", "jadfer_summary", "jadfer_design"


def rule_sentences(tables: Sequence[Path]) -> str:
    """States the rules that tables of events and summaries record, or else the default rule.

    Args:
        tables: Parquet files; those without a recorded rule are ignored.
    """
    found = [_attrs(path) for path in tables]
    events = _distinct(_event_rule(attrs.get(_EVENTS)) for attrs in found)
    summaries = _distinct(rule for attrs in found for rule in _summary_rules(attrs.get(_SUMMARY)))
    sentences = []
    if events:
        sentences.append(f"Events were counted by hysteresis ({'; or '.join(events)}).")
    if summaries:
        sentences.append(
            f"Episodes and transitions of the summary were counted by: {'; or '.join(summaries)}."
        )
    missing = [what for what, rules in (("events", events), ("summaries", summaries)) if not rules]
    if missing:
        sentences.append(
            f"No table of {listed(missing)} was given; by default, events, episodes and "
            f"transitions are counted by hysteresis ({Rule().text()})."
        )
    sentences += design_sentences(attrs[_DESIGN] for attrs in found if _DESIGN in attrs)
    return " ".join(sentences)


def _attrs(path: Path) -> Mapping[str, Any]:
    try:
        return read_attrs(path)
    except (OSError, ValueError):
        return {}


def _event_rule(stored: Any) -> str:
    """The rule in words; empty if the table records none that is valid."""
    if not isinstance(stored, Mapping):
        return ""
    try:
        return Rule(**{k: stored[k] for k in Rule.__dataclass_fields__ if k in stored}).text()
    except (OptionError, TypeError):
        return ""


def _summary_rules(stored: Any) -> list[str]:
    rules = stored.get("rule") if isinstance(stored, Mapping) else None
    return [str(rule) for rule in rules] if isinstance(rules, list) else []


def _distinct(texts: Any) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]
