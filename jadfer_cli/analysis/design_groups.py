"""A design by groups of participants or trials: what they showed, and how much is missing.

Shares are averaged over the trials of each participant first, and then over participants. So the
standard error is that of participants, who are the independent units, and not of trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from jadfer_cli.analysis.design import Design
from jadfer_cli.analysis.trial_windows import MEASURES, Cell
from jadfer_cli.errors import OptionError

_SHARE = list(MEASURES).index("share")


@dataclass(frozen=True)
class GroupRow:
    """One group in one window.

    Attributes:
        group: The value of the column.
        window: The window's name.
        participants: Number of participants.
        cells: Number of cells.
        missing: Number of cells without values.
        usable_share: Mean usable share of the cells in which a face was chosen; NaN without any.
        shares: Mean share of time of each expression, the largest first.
        errors: The standard error of each, over participants; NaN with fewer than two.
    """

    group: str
    window: str
    participants: int
    cells: int
    missing: int
    usable_share: float
    shares: dict[str, float]
    errors: dict[str, float]


def by_group(design: Design, column: str) -> list[GroupRow]:
    """Return one row per group and window, sorted by group.

    Args:
        design: The cells.
        column: A column carried on from the tables of the study.

    Raises:
        OptionError: There is no such column.
    """
    if column not in design.study.carried:
        known = ", ".join(design.study.carried) or "none"
        raise OptionError(
            f"`by` {column}: neither table has such a column to carry on.", f"They have {known}."
        )
    groups: dict[tuple[str, int], list[Cell]] = {}
    order = [window.name for window in design.rule.windows]
    for cell in design.cells:
        value = cell.trial.carried.get(column)
        name = "(empty)" if value is None or pd.isna(value) else str(value)
        groups.setdefault((name, order.index(cell.window.name)), []).append(cell)
    return [_row(name, order[i], cells) for (name, i), cells in sorted(groups.items())]


def _row(name: str, window: str, cells: list[Cell]) -> GroupRow:
    known = [cell for cell in cells if not cell.reason]
    table = pd.DataFrame(
        [
            {"participant": cell.trial.participant}
            | dict(zip(cell.trial.result.labels, cell.values[_SHARE], strict=True))
            for cell in known
            if cell.trial.result is not None
        ]
    )
    shares, errors = {}, {}
    if len(table):
        people = table.groupby("participant").mean()
        mean = people.mean().sort_values(ascending=False)
        shares = {str(label): float(value) for label, value in mean.items()}
        errors = {str(label): float(value) for label, value in people.sem().items()}
    usable = [cell.usable_share for cell in cells if np.isfinite(cell.usable_share)]
    return GroupRow(
        name, window, len({cell.trial.participant for cell in cells}), len(cells),
        len(cells) - len(known), float(np.mean(usable)) if usable else float("nan"), shares, errors,
    )  # fmt: skip
