"""Two raters, or a set of raters, compared over all clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.agreement import coefficients, matching, resampling
from jadfer_cli.analysis.agreement.ratings import RatedClip
from jadfer_cli.analysis.frame_times import Floats, Ints

ALL = "all"  # the class of measures over all classes
FRAME, EVENT, SHARE = "frame", "event", "share"  # levels
Interval = tuple[float, float]
_NAN = float("nan")


class Value(NamedTuple):
    """One measure of one pair of raters.

    Attributes:
        level: FRAME, EVENT or SHARE.
        cls: The class, or ALL.
        measure: Its name.
        value: NaN if undefined.
        blocks: Interval over blocks of time.
        clips: Interval over clips.
        n: What it is based on: samples, events or targets.
    """

    level: str
    cls: str
    measure: str
    value: float
    blocks: Interval
    clips: Interval
    n: int


@dataclass(frozen=True)
class Settings:
    """How two raters are compared.

    Attributes:
        classes: The K classes.
        neutral: Index of neutral, which has no events; None if there is none.
        tolerance_s: The longest gap between matched events.
        block_s: Length of a block of time.
        draws: Number of resamples.
    """

    classes: tuple[str, ...]
    neutral: int | None
    tolerance_s: float = 0.5
    block_s: float = 10.0
    draws: int = resampling.DRAWS


@dataclass(frozen=True)
class Pair:
    """How two raters agree.

    Attributes:
        a: The first rater, a coder; sensitivity is the share of a's judgements that b shares.
        b: The other rater.
        values: All measures.
        confusion: int64 (K, K), samples; rows a, columns b.
        events: int64 (K, 3): events of a, of b, and matched ones.
        lags_s: float64 (m, 2), how much later matched events of b start and end.
        n_clips: Clips that both rated.
        rated_s: Time that both rated.
    """

    a: str
    b: str
    values: tuple[Value, ...]
    confusion: Ints
    events: Ints
    lags_s: Floats
    n_clips: int
    rated_s: float

    def find(self, level: str, measure: str, cls: str = ALL) -> Value:
        """Return one of the values; NaN if it is missing."""
        for value in self.values:
            if (value.level, value.measure, value.cls) == (level, measure, cls):
                return value
        return Value(level, cls, measure, _NAN, (_NAN, _NAN), (_NAN, _NAN), 0)


class _Counted(NamedTuple):
    """Counts per block of time, which add up to those of all clips."""

    tables: npt.NDArray[np.float64]  # (b, K, K)
    events: npt.NDArray[np.float64]  # (b, K, 4), as of `matching.compare`
    shares: npt.NDArray[np.float64]  # (b, 2, K), samples of each class by rater
    clip: Ints  # (b,), number of the clip
    block: Ints  # (b,), number of the block, the same for all coders of a clip
    lags_s: Floats


def compare(
    clips: Sequence[tuple[RatedClip, str, str]], a: str, b: str, settings: Settings
) -> Pair:
    """Compare two raters.

    Args:
        clips: Each clip with the names of its two raters; a coder may be one of several.
        a: Name of the first rater, or of all coders.
        b: Name of the second.
        settings: How they are compared.
    """
    counted = _count(clips, settings)
    table, events = counted.tables.sum(0), counted.events.sum(0)

    def described(
        level: str, cls: str, parts: npt.NDArray[np.float64], n: int,
        measure: Callable[[npt.NDArray[np.float64]], resampling.Measures],
    ) -> Iterator[Value]:  # fmt: skip
        found = measure(parts.sum(0))
        blocks, whole = (
            resampling.intervals(parts, unit, measure, draws=settings.draws)
            for unit in (counted.block, counted.clip)
        )
        for name, value in found.items():
            yield Value(level, cls, name, value, blocks[name], whole[name], n)

    values = [*described(FRAME, ALL, counted.tables, int(table.sum()), _of_table)]
    for k, cls in enumerate(settings.classes):
        if table[k].sum() + table[:, k].sum():
            binary = coefficients.one_against_rest(counted.tables, k)
            values += described(FRAME, cls, binary, int(table[k].sum()), _of_binary)
    values += described(EVENT, ALL, counted.events.sum(1), int(events[:, 0].sum()), _of_events)
    for k, cls in enumerate(settings.classes):
        if events[k].sum():
            values += described(EVENT, cls, counted.events[:, k], int(events[k, 0]), _of_events)
    values += _of_shares(counted, settings)
    shared = [clip for clip, first, second in clips if _both(clip, first, second).any()]
    rated_s = sum(
        float(_both(clip, first, second).sum() * clip.step_s) for clip, first, second in clips
    )
    return Pair(
        a, b, tuple(values), table.astype(np.int64), events[:, :3].astype(np.int64), counted.lags_s,
        len({clip.name for clip in shared}), rated_s,
    )  # fmt: skip


def _both(clip: RatedClip, a: str, b: str) -> npt.NDArray[np.bool_]:
    return (clip.ratings[a] >= 0) & (clip.ratings[b] >= 0)


def _count(clips: Sequence[tuple[RatedClip, str, str]], settings: Settings) -> _Counted:
    k = len(settings.classes)
    tables, events, shares, units = [], [], [], []
    lags = [np.empty((0, 2))]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(c.name for c, *_ in clips))}
    for clip, a, b in clips:
        n_blocks = max(int(np.ceil(clip.end_s / settings.block_s)), 1)
        block = np.minimum((clip.time_s / settings.block_s).astype(np.int64), n_blocks - 1)
        both = _both(clip, a, b)
        first, second = (clip.ratings[name][both].astype(np.int64) for name in (a, b))
        cell = (block[both] * k + first) * k + second
        table = np.bincount(cell, minlength=n_blocks * k * k).reshape(n_blocks, k, k)
        tables.append(table)
        shares.append(np.stack([table.sum(2), table.sum(1)], 1))
        found, lag = matching.compare(
            clip, a, b, k, tolerance_s=settings.tolerance_s, block_s=settings.block_s
        )
        events.append(found)
        lags.append(lag)
        units.append([(numbers[clip.name], i) for i in range(n_blocks)])
    names = np.concatenate(units)
    _, block = np.unique(names, axis=0, return_inverse=True)
    return _Counted(
        np.concatenate(tables).astype(np.float64), np.concatenate(events),
        np.concatenate(shares).astype(np.float64), names[:, 0], block, np.concatenate(lags),
    )  # fmt: skip


def _of_table(table: npt.NDArray[np.float64]) -> dict[str, float]:
    """Measures over all classes."""
    total, own = table.sum(), table.sum(1)
    recall = np.diag(table)[own > 0] / own[own > 0]
    return {
        "agreement": _share(np.trace(table), total),
        "kappa": coefficients.kappa(table),
        "alpha": coefficients.alpha(table + table.T),
        "mean_sensitivity": float(recall.mean()) if len(recall) else _NAN,
    }


def _of_binary(table: npt.NDArray[np.float64]) -> dict[str, float]:
    """Measures of one class; sensitivity is b's of what a chose."""
    (both, only_a), (only_b, _) = table
    return {
        "kappa": coefficients.kappa(table),
        "sensitivity": _share(both, both + only_a),
        "precision": _share(both, both + only_b),
        "f1": _share(2 * both, 2 * both + only_a + only_b),
    }


def _of_events(counts: npt.NDArray[np.float64]) -> dict[str, float]:
    a, b, matched_a, matched_b = counts
    return {
        "sensitivity": _share(matched_a, a),
        "precision": _share(matched_b, b),
        "f1": _share(matched_a + matched_b, a + b),
    }


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else _NAN


def _of_shares(counted: _Counted, settings: Settings) -> Iterator[Value]:
    """ICC(2,1) of the share of time that each rater gives each class, over clips and blocks."""
    for measure, unit in (("icc_clips", counted.clip), ("icc_blocks", counted.block)):
        numbers, of_block = np.unique(unit, return_inverse=True)
        sums = np.zeros((len(numbers), *counted.shares.shape[1:]))
        np.add.at(sums, of_block, counted.shares)
        rated = sums[sums.sum((1, 2)) > 0]  # (n, 2, K)
        shares = rated / np.maximum(rated.sum(2, keepdims=True), 1)
        rng = np.random.default_rng(resampling.SEED)
        n = len(shares)
        drawn = rng.integers(0, max(n, 1), (settings.draws, n))
        for k, cls in enumerate(settings.classes):
            if n < 3 or not shares[:, :, k].any():
                continue
            value = coefficients.icc(shares[:, :, k])["ICC2"]
            ends = resampling.percentiles(
                np.array([coefficients.icc(shares[draw, :, k])["ICC2"] for draw in drawn])
            )
            no = (_NAN, _NAN)
            over_clips = measure == "icc_clips"
            yield Value(
                SHARE, cls, measure, value, no if over_clips else ends,
                ends if over_clips else no, n,
            )  # fmt: skip
