"""The options that say what an event is, for every command that counts events or episodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jadfer_cli.cli.console import print_warning
from jadfer_cli.cli.formatting import names_text

if TYPE_CHECKING:
    from jadfer_cli.analysis.event_rule import AnyRule

EVENT_PANEL = "What an event is"


def event_option(help_text: str, *names: str, **settings: Any) -> Any:
    """Return an option that is listed under "What an event is"."""
    return typer.Option(*names, help=help_text, rich_help_panel=EVENT_PANEL, **settings)


OnOption = Annotated[float, event_option("Probability at which an event begins.")]
OffOption = Annotated[float, event_option("Probability below which an event ends.")]
MinDurationOption = Annotated[float, event_option("Drop events shorter than this, seconds.")]
MergeGapOption = Annotated[float, event_option("Bridge gaps up to this long, seconds.")]


def warn_of_coarse_frames(rule: AnyRule, steps_s: Iterable[tuple[str, float]]) -> None:
    """Warn of results whose frames are too far apart for the rule, once per distance.

    Args:
        rule: What counts as an event.
        steps_s: The name of each result, and its typical time between frames.
    """
    names: dict[str, dict[str, None]] = {}  # the same result may come once per track
    for name, step_s in steps_s:
        if (text := rule.coarse_text(step_s)) is not None:
            names.setdefault(text, {})[name] = None
    for text, same in names.items():
        print_warning(f"{names_text(list(same))}: {text}")
