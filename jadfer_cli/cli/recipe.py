"""The recipe of a training run, put together from its file and its options."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jadfer_cli.cli.data_options import DataOptions
from jadfer_cli.errors import OptionError

if TYPE_CHECKING:
    from jadfer_cli.training.options import TrainOptions
    from jadfer_cli.training.start import Start

# what is no part of TrainOptions, with its type in TOML
PLACES: dict[str, type] = {
    "dataset": str, "data": str, "votes": str, "classes": list, "detectors": list, "start": str,
    "teacher": list,
}  # fmt: skip


def assemble(
    out: Path,
    config: Path | None,
    given: dict[str, Any],
    stem: str | None,
    augment: bool | None,
    settings: list[str],
) -> dict[str, Any]:
    """The recipe as nested tables: the config file's, then what the options say.

    Args:
        out: Folder of the run; its own recipe is taken where no other is given.
        config: A recipe file.
        given: Top-level values from options; None where not given.
        stem: network.stem from its option.
        augment: Whether to augment, from its option.
        settings: KEY=VALUE texts.

    Raises:
        OptionError: A file or a value makes no sense.
    """
    from jadfer_cli.training.augment import NO_AUGMENTATION
    from jadfer_cli.training.outputs import CONFIG, read_config

    earlier = out / CONFIG
    file = config or (earlier if earlier.is_file() else None)
    recipe = {} if file is None else read_config(file)
    recipe |= {key: value for key, value in given.items() if value is not None}
    changes = [_setting(text) for text in settings]
    if stem is not None:
        changes.insert(0, ("network.stem", stem))
    if augment is False:
        recipe["augmentation"] = dataclasses.asdict(NO_AUGMENTATION)
    elif augment:
        recipe.pop("augmentation", None)
    for key, value in changes:
        inner, _, name = key.rpartition(".")
        target = recipe.setdefault(inner, {}) if inner else recipe
        if not isinstance(target, dict):
            raise OptionError(f"--set {key}: {inner} is no table of the recipe.")
        target[name] = value
    if isinstance(recipe.get("teacher"), str):  # recipes up to 0.3 name one
        recipe["teacher"] = [recipe["teacher"]]
    for key, kind in PLACES.items():
        if not isinstance(recipe.get(key, kind()), kind):
            raise OptionError(
                f"{key} must be a {'list' if kind is list else 'text'}, not {recipe[key]!r}."
            )
    return recipe


def _setting(text: str) -> tuple[str, Any]:
    """("a.b", value) of a.b=value; the value as in TOML, or a bare word."""
    key, sep, value = text.partition("=")
    if not sep or not key or not value:
        raise OptionError(f"--set {text} is not KEY=VALUE.", "E.g. --set augmentation.blur=0.1")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value


def places_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe says of data and start."""
    return {key: recipe[key] for key in PLACES if key in recipe}


def lasting(places: Mapping[str, Any]) -> dict[str, Any]:
    """The same with full paths, for use from anywhere.

    A detector, start or teacher is a path if it has an ending and is a file; "scratch" or
    "default" is none, whatever lies here.
    """

    def full(name: Any) -> Any:
        path = Path(str(name))
        return os.path.abspath(path) if path.suffix and path.is_file() else name

    found = dict(places)
    for key in {"data", "votes"} & set(places):
        found[key] = os.path.abspath(places[key])
    for key in {"detectors", "teacher"} & set(places):
        found[key] = [full(name) for name in places[key]]
    if "start" in places:
        found["start"] = full(places["start"])
    return found


def options_of(recipe: Mapping[str, Any], start: Start) -> TrainOptions:
    """The recipe's options; milder rates and fewer epochs where a whole network is fine-tuned.

    Raises:
        OptionError: A value makes no sense, or contradicts the start's network.
    """
    from jadfer_cli.training.options import TrainOptions, from_table

    base = TrainOptions()
    if start.whole:
        base = dataclasses.replace(base, epochs=10, lr=2e-4, stem_lr=5e-5)
    options = from_table({k: v for k, v in recipe.items() if k not in PLACES}, base)
    network = start.settle(options.network, recipe.get("network", {}))
    return dataclasses.replace(options, network=network)


def data_of(places: Mapping[str, Any], cache: Path | None) -> DataOptions:
    """Which data set, where, and how it is aligned."""
    votes = places.get("votes")
    return DataOptions(
        places["dataset"],
        Path(places["data"]),
        None if votes is None else Path(votes),
        tuple(map(str, places.get("classes", ()))),
        tuple(map(str, places.get("detectors", ("auto",)))),
        cache,
    )
