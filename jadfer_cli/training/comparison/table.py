"""The table of a comparison, from whatever trainings are finished."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jadfer_cli.training import recipes
from jadfer_cli.training.comparison.plan import BASELINE, Plan
from jadfer_cli.training.comparison.runs import Finished
from jadfer_cli.training.comparison.statistics import (
    FIGURES,
    LEVEL,
    Estimate,
    Influence,
    SeedVariance,
    SeedVariances,
    difference,
    estimate,
    holm,
    seed_variances,
)

_ECE_SPAN = 2 * 1.96  # standard errors between the ends of a 95 % interval


def tabulate(plan: Plan, finished: Iterable[Finished], timing: Mapping[str, Any]) -> dict[str, Any]:
    """The table, JSON-ready: per labelling the rows, ranked where their images are the same.

    Args:
        plan: The comparison.
        finished: All finished trainings, of all learning rates.
        timing: As of `timing.milliseconds`; empty if not measured.
    """
    chosen = _chosen(plan, finished)
    labellings = {
        name: _labelling(rows, timing) for name, rows in chosen.items() if any(rows.values())
    }
    tested = [
        row["against_plain"]
        for found in labellings.values()
        for row in found["rows"]
        if row["against_plain"] and row["against_plain"]["p"] is not None
    ]
    # all differences of the table are one family
    for own, p in zip(tested, holm([own["p"] for own in tested]), strict=True):
        own["p_holm"] = p
        own["verdict"] = "no evidence" if p >= LEVEL else "better" if own["value"] > 0 else "worse"
    n_tests = sum(len(found["rows"]) - 1 for found in labellings.values())
    for found in labellings.values():
        for row in found["rows"]:
            own = row["against_plain"]
            if own:
                one = Estimate(own["value"], own["se"], own["df"], own["p"] is not None)
                own["smallest_difference"] = one.smallest(max(n_tests, 1))
    return {
        "budget": {
            "epochs": plan.epochs, "batch_size": plan.batch_size, "learning_rates": list(plan.lrs),
            "start": plan.start, "stem": "trained" if plan.end_to_end else "fixed front",
            "views": None if plan.end_to_end else plan.views, "seeds_wanted": plan.seeds,
        },
        "differences_tested": len(tested),
        "milliseconds_measured": {k: v for k, v in timing.items() if k != "recipes"},
        "labellings": labellings,
    }  # fmt: skip


def _chosen(plan: Plan, finished: Iterable[Finished]) -> dict[str, dict[str, list[Finished]]]:
    """By labelling and recipe, the seeds of the learning rate that validation chose."""
    by: dict[str, dict[str, list[Finished]]] = {}
    for one in finished:
        by.setdefault(one.job.labelling, {}).setdefault(one.job.recipe, []).append(one)
    return {
        labelling: {
            recipe: [
                one for one in sorted(own, key=lambda each: each.job.seed)
                if one.job.lr == chosen_rate(plan, own)
            ]
            for recipe, own in rows.items()
        }
        for labelling, rows in by.items()
    }  # fmt: skip


def chosen_rate(plan: Plan, finished: Sequence[Finished]) -> float | None:
    """The learning rate whose first seed is best on validation, of one recipe and labelling."""
    first = [one for one in finished if one.job.seed == 0 and one.job.lr in (plan.lrs or (None,))]
    return max(first, key=lambda one: one.valid_score).job.lr if first else None


def _labelling(rows: Mapping[str, Sequence[Finished]], timing: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of one labelling. Those with other images than the first group are not ranked."""
    rows = {recipe: seeds for recipe, seeds in rows.items() if seeds}
    reference = _reference(rows)
    alike = {r: s for r, s in rows.items() if all(one.images == reference for one in s)}
    moves = {
        name: {r: [figure(one.scores) for one in s] for r, s in alike.items()}
        for name, figure in FIGURES.items()
    }
    between = {
        name: seed_variances({r: [one.value for one in s] for r, s in own.items()})
        for name, own in moves.items()
    }
    between["ece"] = seed_variances({r: [one.facts["ece"] for one in s] for r, s in alike.items()})
    made = []
    for recipe, seeds in rows.items():
        row = _facts(recipe, seeds, timing)
        row["ranked"] = recipe in alike
        if recipe in alike:
            row |= _estimates(recipe, seeds, moves, between)
        else:
            row |= _plain_means(seeds)
        made.append(row)
    made.sort(key=lambda row: (not row["ranked"], -row["accuracy"]["value"]))
    for rank, row in enumerate(made, 1):
        row["rank"] = rank if row["ranked"] else None
    first = next(iter(alike.values()))[0]
    return {
        "n": first.facts["n"],
        "n_clean": int(first.scores.clean.sum()),
        "draws": len(np.unique(first.scores.draws)),
        "images": first.facts["images"],
        "seed_sd": {
            name: None if math.isnan(v.pooled.value) else math.sqrt(v.pooled.value)
            for name, v in between.items()
        },
        # recipes whose accuracy varies so much more that they are not pooled
        "own_seed_sd": {
            recipe: math.sqrt(one.value) for recipe, one in between["accuracy"].own.items()
        },
        "rows": made,
    }


def _reference(rows: Mapping[str, Sequence[Finished]]) -> tuple[str, ...]:
    """The images of the baseline, or those of most trainings if it has several or none."""
    digests = [one.images for one in rows.get(BASELINE, ())]
    if len(set(digests)) != 1:
        digests = [one.images for seeds in rows.values() for one in seeds]
    return max(sorted(set(digests)), key=digests.count)


def _facts(recipe: str, seeds: Sequence[Finished], timing: Mapping[str, Any]) -> dict[str, Any]:
    last = seeds[-1].facts
    return {
        "recipe": recipe,
        "kind": recipes.facts(recipe)["kind"] if recipe in recipes.names() else "",
        "seeds": [one.job.seed for one in seeds],
        "learning_rate": last["options"]["lr"],
        "parameters": last["parameters"],
        "multiply_adds": last["multiply_adds"],
        "milliseconds": timing.get("recipes", {}).get(recipe),
        "hours": round(sum(one.facts["seconds"] for one in seeds) / 3600, 2),
        "images": last["images"],
    }


def _estimates(
    recipe: str,
    seeds: Sequence[Finished],
    moves: Mapping[str, Mapping[str, Sequence[Influence]]],
    between: Mapping[str, SeedVariances],
) -> dict[str, Any]:
    draws = seeds[0].scores.draws
    found: dict[str, Any] = {
        name: _shown(estimate(own[recipe], draws, between[name].of(recipe)))
        for name, own in moves.items()
    }
    found["ece"] = _shown(_ece(seeds, between["ece"].of(recipe)))
    found["against_plain"] = None
    if recipe != BASELINE and BASELINE in moves["accuracy"]:
        own, plain = (moves["accuracy"][name] for name in (recipe, BASELINE))
        known = between["accuracy"]
        one = difference(own, plain, draws, known.of(recipe), known.of(BASELINE))
        p = one.p_value() if one.seeds_known else None
        found["against_plain"] = {
            **_shown(one), "se": one.se, "df": one.df, "p": p, "p_holm": None, "verdict": None
        }  # fmt: skip
    return found


def _ece(seeds: Sequence[Finished], between: SeedVariance) -> Estimate:
    """The mean over seeds; over images it varies as that of one seed, by bootstrap."""
    values = [one.facts["ece"] for one in seeds]
    spans = [one.facts["ece_interval"][1] - one.facts["ece_interval"][0] for one in seeds]
    images = float(np.mean(spans)) / _ECE_SPAN
    known = not math.isnan(between.value)
    seeds_part = between.value / len(seeds) if known else 0.0
    return Estimate(float(np.mean(values)), math.hypot(images, math.sqrt(seeds_part)), 1e6, known)


def _plain_means(seeds: Sequence[Finished]) -> dict[str, Any]:
    """Figures without intervals, of a row that is not ranked."""
    found: dict[str, Any] = {
        name: np.mean([figure(one.scores).value for one in seeds])
        for name, figure in FIGURES.items()
    }
    found["ece"] = np.mean([one.facts["ece"] for one in seeds])
    shown = {
        name: {"value": None if np.isnan(value) else float(value), "interval_95": None}
        for name, value in found.items()
    }
    return shown | {"against_plain": None}


def _shown(one: Estimate) -> dict[str, Any]:
    if math.isnan(one.value):  # no image counts
        return {"value": None, "interval_95": None, "seeds_included": one.seeds_known}
    low, high = one.interval()
    return {"value": one.value, "interval_95": [low, high], "seeds_included": one.seeds_known}
