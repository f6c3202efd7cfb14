"""A study: results and codes brought together, compared as a whole and by group."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.agreement import coefficients, resampling
from jadfer_cli.analysis.agreement.clips import ClipNames, Participants, found_or_refused
from jadfer_cli.analysis.agreement.codes import Code, CodeSet
from jadfer_cli.analysis.agreement.pairs import ALL, FRAME, Pair, Settings, Value, compare
from jadfer_cli.analysis.agreement.ratings import (
    MACHINE,
    SEVERAL,
    UNRATED,
    RatedClip,
    Rules,
    common_step_s,
    rate,
)
from jadfer_cli.analysis.agreement.vocabulary import NEUTRAL, Vocabulary, build
from jadfer_cli.errors import CodesError, OptionError
from jadfer_cli.results.load import Result
from jadfer_cli.text import count_text

CODERS = "coders"
_MANY_CROWDED, _MANY_SEVERAL = 0.05, 0.01


@dataclass(frozen=True)
class Material:
    """Results and codes on one grid of time.

    Attributes:
        clips: The rated clips, one per coded person.
        words: The classes.
        coders: Names of the coders.
        step_s: Time between samples.
        rules: How codes and scores became ratings.
        notes: What the user should know.
    """

    clips: tuple[RatedClip, ...]
    words: Vocabulary
    coders: tuple[str, ...]
    step_s: float
    rules: Rules
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """How raters agree over some clips.

    Attributes:
        group: The group of the clips; empty for all.
        pairs: Coders with the machine first, the pooled one before all, then coders with coders.
        sets: Alpha of all coders, and of coders and machine, by the names of the set.
    """

    group: str
    pairs: tuple[Pair, ...]
    sets: Mapping[str, Value]

    @property
    def main(self) -> Pair:
        """The coders, or the only coder, with the machine."""
        return self.pairs[0]

    @property
    def human(self) -> Pair | None:
        """The coders among each other; None with one coder."""
        return next((pair for pair in self.pairs if pair.b != MACHINE), None)


def gather(
    results: Sequence[Result],
    codes: CodeSet,
    given: Mapping[str, str],
    *,
    uncoded: str | None = None,
    rules: Rules | None = None,
) -> Material:
    """Bring results and codes together.

    Args:
        results: Of clips that were coded, and perhaps of others.
        codes: The codes.
        given: The expression of each of the coders' words, as of `vocabulary.build`.
        uncoded: "neutral" or "missing": what time without a code means. May be None if the
            coders coded neutral; then time without a code was not judged.
        rules: How codes and scores become ratings; `uncoded_neutral` follows from `uncoded`.

    Raises:
        CodesError: Codes and results do not fit together.
        OptionError: `uncoded` is needed or unknown, or an entry of `given` is wrong.
        ResultError: A result is damaged.
    """
    labels = results[0].labels
    if odd := [result for result in results if result.labels != labels]:
        raise CodesError(
            f"{odd[0].path} has other labels than {results[0].path}.",
            "Compare the results of one model at a time.",
        )
    if MACHINE in codes.coders:
        raise CodesError(f"A coder is named {MACHINE}, as the machine is.", "Rename the coder.")
    names = ClipNames(results)
    found, missing = found_or_refused(names, (clip for clip, _ in codes.coded))
    words = build(codes.words, labels, given)
    base = rules or Rules(False)
    settled = Rules(_is_neutral(uncoded, words), base.events, base.step_s)
    by_unit = _by_unit(codes, found)
    used = sorted({index for index, _ in by_unit})
    step_s = settled.step_s or common_step_s([results[index] for index in used])
    clips = [
        rate(
            results[index], subject, own, words, settled, step_s,
            alone=sum(i == index for i, _ in by_unit) == 1,
        )
        for (index, subject), own in sorted(by_unit.items())
    ]  # fmt: skip
    notes = [*codes.notes, *_notes(clips, missing, len(results) - len(used))]
    return Material(tuple(clips), words, codes.coders, step_s, settled, tuple(notes))


def _is_neutral(uncoded: str | None, words: Vocabulary) -> bool:
    """Whether time without a code is neutral.

    Raises:
        OptionError: It is not known, or the model has no neutral.
    """
    if uncoded not in (None, NEUTRAL, "missing"):
        raise OptionError(f"`uncoded` must be neutral or missing, not {uncoded}.")
    if uncoded is None and words.neutral not in words.of_word.values():
        raise OptionError(
            "No code stands for neutral, so time without a code may be neutral or not judged.",
            "Say which: `uncoded` neutral, or `uncoded` missing.",
        )
    if uncoded == NEUTRAL and words.neutral is None:
        raise OptionError("`uncoded` neutral: neutral is not a class of its own here.")
    return uncoded == NEUTRAL


def _by_unit(
    codes: CodeSet, found: Mapping[str, int]
) -> dict[tuple[int, str], dict[str, list[Code]]]:
    """The codes of each coder by result and coded person.

    A coder who coded a clip and found nothing has an empty list for every person of the clip. If
    only some codes of a clip name the person, and all the same one, the others are of them too.
    """
    named: dict[int, set[str]] = {}
    for code in codes.codes:
        if code.clip in found and code.subject:
            named.setdefault(found[code.clip], set()).add(code.subject)
    only = {index: next(iter(names)) for index, names in named.items() if len(names) == 1}
    units: dict[tuple[int, str], dict[str, list[Code]]] = {}
    for code in codes.codes:
        if code.clip in found:
            index = found[code.clip]
            unit = units.setdefault((index, code.subject or only.get(index, "")), {})
            unit.setdefault(code.coder, []).append(code)
    for clip, coder in sorted(codes.coded):
        if clip not in found:
            continue
        own = [key for key in units if key[0] == found[clip]]
        for key in own or [(found[clip], "")]:
            units.setdefault(key, {}).setdefault(coder, [])
    return units


def _notes(clips: Sequence[RatedClip], missing: Sequence[str], n_uncoded: int) -> Iterator[str]:
    if missing:
        yield (
            f"{count_text(len(missing), 'coded clip')} without a result: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}."
        )
    if n_uncoded:
        yield f"{count_text(n_uncoded, 'result')} without codes, left out."
    for clip in clips:
        if clip.crowded > _MANY_CROWDED:
            yield (
                f"{clip.result.path}: in {clip.crowded:.0%} of the frames several faces count, and "
                "the codes name no track; the face seen longest is compared."
            )
        for coder, ratings in clip.ratings.items():
            share = float((ratings == SEVERAL).mean()) if len(ratings) else 0.0
            if share > _MANY_SEVERAL:
                yield (
                    f"{clip.name}: {coder} has two codes at once in {share:.0%} of the time, which "
                    "is left out at the level of frames."
                )


def analyse(material: Material, settings: Settings, groups: Sequence[str] = ()) -> list[Agreement]:
    """Compare all raters: over all clips, and over those of each group.

    Args:
        material: The rated clips.
        settings: How raters are compared.
        groups: The group of each clip; empty for clips in no group, or for no groups at all.

    Raises:
        CodesError: Nobody and the machine rated a moment in common.
    """
    coefficients.require_statistics()
    found = [_agreement(material.clips, "", settings)]
    if not found[0].main.rated_s:
        raise CodesError(
            "The coders and the machine never rated the same moment.",
            "Check the times of the codes, and with `jadfer show` which faces are usable; "
            "`all_faces` counts the others too.",
        )
    for group in sorted(set(groups) - {""}):
        own = [clip for clip, name in zip(material.clips, groups, strict=True) if name == group]
        found.append(_agreement(own, group, settings))
    return found


def _agreement(clips: Sequence[RatedClip], group: str, settings: Settings) -> Agreement:
    coders = sorted({name for clip in clips for name in clip.ratings} - {MACHINE})

    def compared(a: str, b: str, which: Sequence[tuple[str, str]]) -> Pair:
        rated = [
            (clip, *pair) for clip in clips for pair in which if set(pair) <= set(clip.ratings)
        ]
        return compare(rated, a, b, settings)

    machine = [(coder, MACHINE) for coder in coders]
    human = [
        pair
        for pair in itertools.combinations(coders, 2)
        if any(set(pair) <= set(clip.ratings) for clip in clips)
    ]
    pairs = [compared(*pair, [pair]) for pair in (*machine, *human)]
    if len(human) > 1:
        pairs.insert(len(machine), compared(CODERS, CODERS, human))
    if len(machine) > 1:
        pairs.insert(0, compared(CODERS, MACHINE, machine))
    sets = {}
    if len(coders) > 1:
        sets[CODERS] = _alpha(clips, coders, settings)
        sets[f"{CODERS} and {MACHINE}"] = _alpha(clips, [*coders, MACHINE], settings)
    return Agreement(group, tuple(pairs), sets)


def _alpha(clips: Sequence[RatedClip], raters: Sequence[str], settings: Settings) -> Value:
    """Krippendorff's alpha of several raters, any of whom may be missing at any time."""
    k = len(settings.classes)
    parts: list[npt.NDArray[np.float64]] = []
    units: list[int] = []
    n_pairable = 0
    for number, clip in enumerate(clips):
        own = [clip.ratings[name] for name in raters if name in clip.ratings]
        counts = sum((np.eye(k + 1)[np.where(each < 0, k, each)] for each in own), np.zeros(()))
        counts = np.asarray(counts)[:, :k] if own else np.zeros((0, k))
        n_pairable += int((counts.sum(1) > 1).sum())
        block = (clip.time_s / settings.block_s).astype(np.int64)
        for index in np.unique(block):
            parts.append(coefficients.coincidences(counts[block == index]))
            units.append(number)
    stacked = np.stack(parts) if parts else np.zeros((1, k, k))
    clip_of = np.array(units or [0], np.int64)

    def measure(table: npt.NDArray[np.float64]) -> dict[str, float]:
        return {"alpha": coefficients.alpha(table)}

    blocks, whole = (
        resampling.intervals(stacked, unit, measure, draws=settings.draws)["alpha"]
        for unit in (np.arange(len(stacked)), clip_of)
    )
    value = measure(stacked.sum(0))["alpha"]
    return Value(FRAME, ALL, "alpha", value, blocks, whole, n_pairable)


def groups_of(material: Material, by: str, participants: Participants | None) -> list[str]:
    """Return the group of each clip.

    Args:
        material: The rated clips.
        by: A column of the table of participants, or else of the results.
        participants: The table; None for none.

    Raises:
        OptionError: Neither has the column, or it varies within a clip.
    """
    results = [clip.result for clip in material.clips]
    if participants is not None:
        unique = {result.path: result for result in results}
        values = participants.values(by, ClipNames(list(unique.values())))
        order = {path: index for index, path in enumerate(unique)}
        return [values.get(order[result.path], "") for result in results]
    if missing := [result for result in results if by not in result.columns]:
        raise OptionError(
            f"`by` {by}: {missing[0].path} has no such column.",
            "Name a table that has it with `participants`.",
        )
    return [_constant(clip, by) for clip in material.clips]


def _constant(clip: RatedClip, by: str) -> str:
    rows = clip.result.rows(["frame", "track_id", by])
    tracks = set(clip.faces.track.tolist())
    own: Any = rows.loc[rows["track_id"].isin(tracks), by].dropna().astype(str).unique()
    if len(own) > 1:
        raise OptionError(
            f"`by` {by}: {clip.result.path} has several values of it, {own[0]} and {own[1]}.",
            "A group is formed by a column that has one value per clip.",
        )
    return str(own[0]) if len(own) else ""


def unrated_share(material: Material, rater: str = MACHINE) -> float:
    """Return the share of the time rated by a coder that the machine did not rate."""
    coded = machine = 0
    for clip in material.clips:
        human = np.zeros(len(clip.time_s), bool)
        for name, ratings in clip.ratings.items():
            if name != rater:
                human |= ratings != UNRATED
        coded += int(human.sum())
        machine += int((human & (clip.ratings[rater] >= 0)).sum())
    return 1 - machine / coded if coded else 0.0
