"""The configuration of a training run: its file merged with the command's options."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jadfer_cli.errors import OptionError
from jadfer_cli.training import mixture, recipes
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
    "teacher": list, "twin_threshold": float, "landmarker": str, "data_sets": dict, "init": str,
}  # fmt: skip
_KINDS = {list: "list", float: "number", dict: "table"}
# the entries of a table of data_sets that say which set it is; the others are of SetOptions
_WHICH = ("layout", "data", "votes", "classes")
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
    config |= {
        key: value for key, value in given.items() if value is not None and key != "data_sets"
    }
    for name, data in map(_named_folder, given.get("data_sets") or ()):
        config.setdefault("data_sets", {}).setdefault(name, {})["data"] = data
    changes = [_setting(text) for text in settings or ()]
    if stem is not None:
        changes.insert(0, ("network.stem", stem))
    if augment is False:
        config["augmentation"] = dataclasses.asdict(NO_AUGMENTATION)
    elif augment:
        config.pop("augmentation", None)
    for key, value in changes:
        *tables, name = key.split(".")
        target = config
        for table in tables:
            target = target.setdefault(table, {})
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


def _named_folder(text: str) -> tuple[str, str]:
    """Splits NAME=DIR."""
    name, sep, folder = text.partition("=")
    if not sep or not name or not folder:
        raise OptionError(
            f"`data_sets` {text} is not NAME=DIR.", "E.g. `data_sets` ferplus=FERPlus/data"
        )
    return name, folder


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
    for key in {"start", "init"} & set(inputs):
        found[key] = absolute(inputs[key])
    if "data_sets" in inputs:
        found["data_sets"] = {
            name: table | {
                key: os.path.abspath(table[key])
                for key in {"data", "votes", "targets"} & set(table)
            }
            for name, table in inputs["data_sets"].items()
        }  # fmt: skip
    return found


def without_folders(inputs: Config) -> Config:
    """The same inputs with the names of files and folders only, for the model's record."""
    found = dict(inputs)
    for key in {"data", "votes", "landmarker", "init"} & set(inputs):
        found[key] = Path(inputs[key]).name
    if "data_sets" in inputs:
        found["data_sets"] = {
            name: table | {
                key: Path(table[key]).name for key in {"data", "votes", "targets"} & set(table)
            }
            for name, table in inputs["data_sets"].items()
        }  # fmt: skip
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
    base = defaults(config.get("recipe", recipes.DEFAULT), fine_tuning=start.whole_network)
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


def sets_of(
    inputs: Config, cache: Path | None
) -> dict[str, tuple[DataOptions, mixture.SetOptions]]:
    """The data sets of a training with several, by name; empty for a single one.

    Raises:
        OptionError: A table is not valid, or `dataset` is given as well.
    """
    tables = inputs.get("data_sets", {})
    clash = [key for key in ("dataset", "data", "votes", "classes") if key in inputs]
    if tables and clash:
        raise OptionError(
            f"`{clash[0]}` and `data_sets` exclude each other.", "Name all sets with `data_sets`."
        )
    found = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not isinstance(table.get("data"), str):
            raise OptionError(f"data_sets.{name} needs an entry data, its folder or file.")
        which: Config = {key: table[key] for key in _WHICH if key in table}
        own = {key: value for key, value in inputs.items() if key != "data_sets"}
        own |= which | {"dataset": which.pop("layout", name)}
        rest = {key: value for key, value in table.items() if key not in _WHICH}
        found[name] = (data_of(own, cache), mixture.from_table(name, rest))
    return found
