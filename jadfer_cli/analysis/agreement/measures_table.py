"""Agreement as tables: all measures, and the confusions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from jadfer_cli.analysis.agreement.pairs import Value
from jadfer_cli.analysis.agreement.study import Agreement

COLUMNS = (
    "group", "rater_a", "rater_b", "level", "class", "measure", "value", "blocks_low",
    "blocks_high", "clips_low", "clips_high", "n",
)  # fmt: skip


def table(found: Sequence[Agreement]) -> pd.DataFrame:
    """Return all measures, one row each, with the columns COLUMNS."""
    rows = []
    for agreement in found:
        for pair in agreement.pairs:
            rows += [_row(agreement.group, pair.a, pair.b, value) for value in pair.values]
        rows += [_row(agreement.group, name, "", v) for name, v in agreement.sets.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(group: str, a: str, b: str, value: Value) -> tuple[Any, ...]:
    return (
        group, a, b, value.level, value.cls, value.measure, value.value, *value.blocks,
        *value.clips, value.n,
    )  # fmt: skip


def confusion_table(found: Sequence[Agreement], classes: Sequence[str]) -> pd.DataFrame:
    """Return the confusions, one row per group, pair of raters, and pair of classes."""
    rows = [
        (agreement.group, pair.a, pair.b, first, second, int(pair.confusion[i, j]))
        for agreement in found
        for pair in agreement.pairs
        for i, first in enumerate(classes)
        for j, second in enumerate(classes)
    ]
    columns = ["group", "rater_a", "rater_b", "class_a", "class_b", "samples"]
    return pd.DataFrame(rows, columns=columns)
