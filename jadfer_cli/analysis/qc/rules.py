"""A rule file decides which clips are kept, as it was written before the data were seen.

    [keep]
    usable_share_of_video = { min = 0.7 }
    longest_dropout_s = { max = 2 }

    [exclude]
    findings = ["identity_switch", "other_settings"]

A clip is kept if every measure of `[keep]` is within its limits, and if it has none of the findings
of `[exclude]`. A measure that a clip does not have excludes it.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jadfer_cli.analysis.qc.clip import MEASURES
from jadfer_cli.common import explain_os_errors
from jadfer_cli.errors import OptionError


@dataclass(frozen=True)
class Limit:
    """What a measure must be.

    Attributes:
        measure: Its name, one of `MEASURES`.
        low: It must be at least this; None without a limit.
        high: It must be at most this; None without a limit.
    """

    measure: str
    low: float | None
    high: float | None

    def broken_by(self, value: float | None) -> str | None:
        """Return how a value breaks the limit, in words; None if it does not."""
        if value is None or math.isnan(value):
            return f"{self.measure} is missing"
        if self.low is not None and value < self.low:
            return f"{self.measure} is {_number(value)}, below {_number(self.low)}"
        if self.high is not None and value > self.high:
            return f"{self.measure} is {_number(value)}, above {_number(self.high)}"
        return None


@dataclass(frozen=True)
class Rules:
    """The rules of one file.

    Attributes:
        path: The file.
        text: What it contains.
        limits: Of measures.
        findings: Names of checks that exclude a clip.
    """

    path: Path
    text: str
    limits: tuple[Limit, ...]
    findings: tuple[str, ...]

    def broken(self, measures: Mapping[str, float | None], found: Iterable[str]) -> list[str]:
        """Return every rule that a clip breaks, in words and in the order of the file.

        Args:
            measures: Of the clip.
            found: Names of the checks that found something in it.
        """
        found = set(found)
        broken = [limit.broken_by(measures.get(limit.measure)) for limit in self.limits]
        return [text for text in broken if text] + [
            f"finding {name}" for name in self.findings if name in found
        ]


def _number(value: float) -> str:
    return f"{value:.4g}"


def read_rules(path: str | os.PathLike[str], checks: Sequence[str]) -> Rules:
    """Read a rule file.

    Args:
        path: The TOML file.
        checks: The names that `findings` may contain.

    Raises:
        OptionError: It is missing, or says something that has no meaning.
    """
    path = Path(path)
    try:
        with explain_os_errors(path):
            text = path.read_text("utf-8")
        stored = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path} is not a TOML file: {error}.") from error
    _check_names(path, "entry", stored, ("keep", "exclude"))
    keep, exclude = (_table(path, name, stored.get(name, {})) for name in ("keep", "exclude"))
    _check_names(path, "measure", keep, MEASURES)
    _check_names(path, "entry of [exclude]", exclude, ("findings",))
    findings = exclude.get("findings", [])
    if not isinstance(findings, list) or not all(isinstance(name, str) for name in findings):
        raise OptionError(
            f"{path}: findings must be a list of names, not {findings!r}.",
            'Write findings = ["identity_switch", "dropout"].',
        )
    _check_names(path, "finding", findings, checks)
    limits = tuple(_limit(path, name, value) for name, value in keep.items())
    if not limits and not findings:
        raise OptionError(
            f"{path} has no rule.",
            "Write, for example, a line [keep] and below it: usable_share_of_video = { min = 0.7 }",
        )
    return Rules(path, text, limits, tuple(findings))


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(f"{path}: {name} must be a table.", f"Write a line [{name}].")
    return value


def _check_names(path: Path, what: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise OptionError(
                f"{path}: there is no {what} {name}.", f"{hint}Known are {', '.join(known)}."
            )


def _limit(path: Path, name: str, value: Any) -> Limit:
    """The limit of one measure."""
    if (
        not isinstance(value, dict)
        or not value
        or not set(value) <= {"min", "max"}
        or not all(_is_number(each) for each in value.values())
    ):
        raise OptionError(
            f"{path}: {name} needs a number as min, max or both.",
            f"Write {name} = {{ min = 0.7 }} or {name} = {{ max = 2 }}.",
        )
    low, high = value.get("min"), value.get("max")
    if low is not None and high is not None and low > high:
        raise OptionError(f"{path}: of {name}, min is {low:g} and above max, {high:g}.")
    if _is_share(name):
        for limit in (low, high):
            if limit is not None and not 0 <= limit <= 1:
                hint = f"Write {limit / 100:g} for {limit:g} %." if 1 < limit <= 100 else ""
                raise OptionError(f"{path}: {name} is a share from 0 to 1, not {limit:g}.", hint)
    return Limit(name, low, high)


def _is_share(measure: str) -> bool:
    return "_share" in measure


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
