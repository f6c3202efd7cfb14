"""The configuration of a training run: its file merged with the command's options."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jadfer_cli.errors import OptionError
from jadfer_cli.training import recipes
from jadfer_cli.training.augment import NO_AUGMENTATION
from jadfer_cli.training.data import DataOptions
from jadfer_cli.training.near_duplicates import SAME_PHOTOGRAPH
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipe_options import defaults, from_table
from jadfer_cli.training.run_folder import CONFIG, read_config
from jadfer_cli.training.start import Start

# the entries that are not part of TrainOptions, with their type in TOML
INPUTS: dict[str, type] = {
    "dataset": str, "data": str, "votes": str, "classes": list, "detectors": list, "start": str,
    "teacher": list, "twin_threshold": float, "landmarker": str,
}  # fmt: skip
_KINDS = {list: "list", float: "number"}
Config = dict[str, Any]  # nested tables, as in TOML


def assemble(
    out: Path,
    file: Path | None,
    given: Mapping[str, Any],
    *,
    stem: str | None = None,
    augment: bool | None = None,
    settings: list[str] | None = None,
) -> Config:
    """Merges a config file with what the command's options say; the options win.

    Args:
        out: Folder of the run; its own config is used if no file is given.
        file: A config file.
        given: Top-level entries from options; None if not given.
        stem: network.stem from its option.
        augment: Whether to augment, from its option.
        settings: KEY=VALUE texts.

    Raises:
        OptionError: A file or a value is not valid.
    """
    earlier = out / CONFIG
    file = file or (earlier if earlier.is_file() else None)
    config: Config = {} if file is None else read_config(file)
    config |= {key: value for key, value in given.items() if value is not None}
    changes = [_setting(text) for text in settings or ()]
    if stem is not None:
        changes.insert(0, ("network.stem", stem))
    if augment is False:
        config["augmentation"] = dataclasses.asdict(NO_AUGMENTATION)
    elif augment:
        config.pop("augmentation", None)
    for key, value in changes:
        table, _, name = key.rpartition(".")
        target = config.setdefault(table, {}) if table else config
        if not isinstance(target, dict):
            raise OptionError(f"`set` {key}: {table} is not a table of the config.")
        target[name] = value
    if isinstance(config.get("teacher"), str):  # config files up to jadfer 0.3 name one
        config["teacher"] = [config["teacher"]]
    if isinstance(config.get("twin_threshold"), int):  # TOML tells 1 from 1.0
        config["twin_threshold"] = float(config["twin_threshold"])
    for key, kind in {**INPUTS, "recipe": str}.items():
        if not isinstance(config.get(key, kind()), kind):
            raise OptionError(f"{key} must be a {_KINDS.get(kind, 'text')}, not {config[key]!r}.")
    return config


def _setting(text: str) -> tuple[str, Any]:
    """Splits a.b=value into ("a.b", value); the value as in TOML, or a bare word."""
    key, sep, value = text.partition("=")
    if not sep or not key or not value:
        raise OptionError(f"`set` {text} is not KEY=VALUE.", "E.g. `set` augmentation.blur=0.1")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value


def inputs_of(config: Config) -> Config:
    """The entries that name data and start weights."""
    return {key: config[key] for key in INPUTS if key in config}


def with_absolute_paths(inputs: Config) -> Config:
    """The same inputs, valid from any working directory.

    A detector, start or teacher is a path if it has a suffix and is a file; "scratch" and
    "default" are names, even if a file of that name exists.
    """

    def absolute(name: Any) -> Any:
        path = Path(str(name))
        return os.path.abspath(path) if path.suffix and path.is_file() else name

    found = dict(inputs)
    for key in {"data", "votes", "landmarker"} & set(inputs):
        found[key] = os.path.abspath(inputs[key])
    for key in {"detectors", "teacher"} & set(inputs):
        found[key] = [absolute(name) for name in inputs[key]]
    if "start" in inputs:
        found["start"] = absolute(inputs["start"])
    return found


def recipe_of(config: Config) -> recipes.Recipe:
    """The recipe that a config names.

    Raises:
        OptionError: There is no such recipe.
    """
    return recipes.load(config.get("recipe", recipes.DEFAULT))


def options_of(config: Config, start: Start) -> TrainOptions:
    """The options of a config, over the recipe's defaults for this start.

    Raises:
        OptionError: A value is not valid, or contradicts the start's network.
    """
    base = defaults(config.get("recipe", recipes.DEFAULT), fine_tuning=bool(start.whole))
    options = from_table({k: v for k, v in config.items() if k not in INPUTS}, base)
    network = start.settle(options.network, config.get("network", {}))
    return dataclasses.replace(options, network=network)


def data_of(inputs: Config, cache: Path | None) -> DataOptions:
    """Which data set, where, and how it is aligned."""
    votes, landmarker = inputs.get("votes"), inputs.get("landmarker")
    return DataOptions(
        inputs["dataset"],
        Path(inputs["data"]),
        None if votes is None else Path(votes),
        tuple(map(str, inputs.get("classes", ()))),
        tuple(map(str, inputs.get("detectors", ("auto",)))),
        cache,
        inputs.get("twin_threshold", SAME_PHOTOGRAPH),
        None if landmarker is None else Path(landmarker),
    )
