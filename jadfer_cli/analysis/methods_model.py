"""What a methods section says about the expression model: origin, terms, calibration, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jadfer_cli.analysis import bibliography
from jadfer_cli.analysis.provenance import short_sha256
from jadfer_cli.analysis.wording import listed
from jadfer_cli.errors import ModelError
from jadfer_cli.expression import checkpoint, lineage, networks
from jadfer_cli.expression.lineage import MIN_QUOTED_IMAGES, Ancestor
from jadfer_cli.expression.scores import VOTE_SHARE
from jadfer_cli.text import count_text

Cite = Callable[[str], str]
_FIRST_ARCHITECTURE = "jadfer"  # of results whose metadata do not describe their network
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def model_sentences(metadata: Mapping[str, Any], cite: Cite) -> Iterable[str]:
    """Sentences about the model of a result.

    Args:
        metadata: Of the result.
        cite: Adds a BibTeX entry to the works, and returns how the text cites it.
    """
    model = metadata["model"]
    yield _network(model, cite)
    metrics = _metrics(model)
    yield from _lineage(model, metrics, cite)
    if terms := model.get("terms"):
        yield f"Terms of the weights: {str(terms).rstrip('.')}."
    labels = listed(metadata["labels"])
    meaning = _vote_shares if model.get("scores") == VOTE_SHARE else _probabilities
    yield meaning(metrics, len(metadata["labels"]), labels, cite)
    yield _accuracy(metrics)
    if model.get("preview"):
        yield "The model is a briefly trained preview; its scores are not meant for publication."


def _metrics(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The figures of a model; those of shipped weights as measured last, whatever the result has.

    One set of weights must not be described by two accuracies: jadfer up to 0.5 stored in results
    the figures of an earlier alignment.
    """
    try:
        current = checkpoint.shipped_metrics(str(model.get("sha256")))
    except ModelError:  # a broken installation
        current = None
    found = current if current is not None else model.get("metrics")
    return found if isinstance(found, Mapping) else {}


def _network(model: Mapping[str, Any], cite: Cite) -> str:
    network = model.get("network") or networks.facts(_FIRST_ARCHITECTURE)
    described = f"{network['title']} ("
    caution = ""
    if network["citation"]:
        described += f"{cite(network['citation'])}; "
        caution = "; its figures are not those of that paper"
    return (
        f"Each face was scored by the network {model['name']} (sha256 "
        f"{short_sha256(model['sha256'])}), of the architecture {described}{network['source']})"
        f"{caution}."
    )


def _lineage(model: Mapping[str, Any], metrics: Mapping[str, Any], cite: Cite) -> Iterable[str]:
    chain = lineage.ancestors(str(model["name"]), model.get("sha256"), metrics)
    first, *others = chain
    method = _method(model, metrics, cite)
    if not first.dataset:
        yield "What it was trained on is not recorded in the results."
    elif others and others[0].part == "whole":
        yield f"It was fine-tuned from {_named(others[0])} on {_data(first, cite)}{method}."
    else:
        yield f"It was trained on {_data(first, cite)}{method}."
    for child, parent in zip(chain, others, strict=False):
        stem = "the stem of " if parent.part == "stem" else ""
        subject = "It" if child is first else child.name
        if child is not first or parent.part == "stem":
            yield f"{subject} started from {stem}{_named(parent)}."
        if parent.dataset:
            yield f"{parent.name} was trained on {_data(parent, cite)}."
        else:
            yield f"What {parent.name} was trained on is not recorded."


def _method(model: Mapping[str, Any], metrics: Mapping[str, Any], cite: Cite) -> str:
    """How the model was trained, unless by its network's own method."""
    training = metrics.get("training")
    method = training.get("method") if isinstance(training, Mapping) else None
    if not isinstance(method, Mapping) or not {"title", "source"} <= set(method):
        return ""
    network = model.get("network") or networks.facts(_FIRST_ARCHITECTURE)
    if method["title"] == network["title"]:
        return ""
    citation, caution = "", ""
    if method.get("citation"):
        citation = f"{cite(method['citation'])}; "
        caution = "; its figures are not those of that paper"
    return f" by the method {method['title']} ({citation}{method['source']}){caution}"


def _named(model: Ancestor) -> str:
    return f"{model.name} (sha256 {short_sha256(model.sha256)})" if model.sha256 else model.name


def _data(model: Ancestor, cite: Cite) -> str:
    names = []
    for key, title in model.data_sets:
        work = bibliography.DATASETS.get(key)
        names.append(f"{title} ({cite(bibliography.entry(work))})" if work else title)
    name = listed(names)
    return name if model.images is None else f"{name}, {count_text(model.images, 'image')}"


def _probabilities(metrics: Mapping[str, Any], n: int, labels: str, cite: Cite) -> str:
    fitted_on = lineage.calibrated_on(metrics)
    if not fitted_on:
        return (
            f"It gives a score between 0 and 1 for each of {n} labels ({labels}); the scores sum "
            "to 1 and were not calibrated on its own data."
        )
    cited = cite(bibliography.entry(bibliography.CALIBRATION))
    biases = " and one bias per label" if metrics.get("bias") else ""
    words, _, protocol = fitted_on.partition(", ")
    on = _set_name(f"{words} {protocol}".strip())
    caution = (
        ": photographs of faces on which a majority of raters agreed, to which the calibration is "
        "limited"
        if protocol.startswith("majority")
        else ""
    )
    return (
        f"It gives a probability for each of {n} labels ({labels}), calibrated by temperature "
        f"scaling{biases} ({cited}) on {on}{caution}."
    )


def _vote_shares(metrics: Mapping[str, Any], n: int, labels: str, cite: Cite) -> str:
    cited = cite(bibliography.entry(bibliography.CALIBRATION))
    words, _, images = lineage.votes_fitted_on(metrics).partition(", ")
    on = f"the votes of {_set_name(words)}, {images}" if images else "votes of raters"
    return (
        f"It gives, for each of {n} labels ({labels}), the share of raters expected to choose it "
        "for this face alone, as a photograph, among raters who name one of the labels; the shares "
        f"sum to 1. They were calibrated by temperature scaling ({cited}) on {on}."
    )


def _set_name(text: str) -> str:
    """Puts a set in words: ferplus test majority is FER+ (test split, protocol: majority)."""
    key, *others = text.split(maxsplit=2)
    title = lineage.DATASET_TITLES.get(key, f"the user's data set ({key})")
    if not others:
        return title
    protocol = f", protocol: {others[1]}" if len(others) > 1 else ""
    return f"{title} ({others[0]} split{protocol})"


def _accuracy(metrics: Mapping[str, Any]) -> str:
    """The figures measured on test images, with protocol and n, if they are worth a quotation."""
    found = dict(lineage.measured(metrics))
    if not found:
        return "Its accuracy is not recorded in the results."
    large = {name: value for name, value in found.items() if value["n"] >= MIN_QUOTED_IMAGES}
    if not large:
        n = max(value["n"] for value in found.values())
        return (
            f"Its accuracy is not known: it was measured on {count_text(n, 'image')}, too few to "
            "be quoted."
        )
    best = max(large, key=lambda name: ("test" in name, "majority" in name))
    figures = large[best]
    stated = [f"accuracy {_per_cent(figures, 'accuracy')}"]
    if "mean_class_recall" in figures:
        stated.append(f"mean class recall {_per_cent(figures, 'mean_class_recall')}")
    if "ece" in figures:
        which = " of the majority scores" if lineage.votes_fitted_on(metrics) else ""
        stated.append(f"expected calibration error{which} {figures['ece']:.3f}")
    return (
        f"On {figures['n']:,} images of {_set_name(best)} it reached {listed(stated)}"
        f"{_measurements_text(figures, best)}; this was not measured on the present videos."
    )


def _per_cent(figures: Mapping[str, Any], key: str) -> str:
    text = f"{100 * figures[key]:.1f}%"
    if interval := (figures.get("intervals_95") or {}).get(key):
        low, high = interval
        text += f" (95% bootstrap interval {100 * low:.1f} to {100 * high:.1f})"
    return text


def _measurements_text(figures: Mapping[str, Any], name: str) -> str:
    """How often the developers have measured on this set, and whether it chose the model."""
    if "valid" in name.split():
        return ", on the images that chose its training epoch"
    n = figures.get("measurements_of_split")
    if not isinstance(n, int):
        return ""
    times = _NUMBERS[n] if n < len(_NUMBERS) else f"{n:,}"
    return f" (this split was measured {times} times while the weights were developed)"
