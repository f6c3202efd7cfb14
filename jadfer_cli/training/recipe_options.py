"""The options of a training with a recipe: defaults, and nested tables as in TOML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from jadfer_cli.errors import OptionError
from jadfer_cli.expression import networks
from jadfer_cli.training import recipes
from jadfer_cli.training.options import TrainOptions

_TABLES = ("network", "augmentation")


def defaults(recipe: str = recipes.DEFAULT, *, fine_tuning: bool = False) -> TrainOptions:
    """The options of a recipe where nothing else is given.

    Args:
        recipe: A name of `training.recipes`.
        fine_tuning: Whether training starts from a whole network.

    Raises:
        OptionError: There is no such recipe.
        ValueError: One of its own options has the name of an option of every recipe.
    """
    parts = recipes.load(recipe)
    changed = {**parts.defaults, **(parts.fine_tuning if fine_tuning else {})}
    taken = {f.name for f in dataclasses.fields(TrainOptions)}
    clash = taken & {f.name for f in dataclasses.fields(parts.options)}
    if clash:
        raise ValueError(f"recipe {recipe}: options of every recipe are named {sorted(clash)}")
    network = networks.load(parts.architecture).config()
    return TrainOptions(recipe=recipe, network=network, own=parts.options(), **changed)


def as_table(options: TrainOptions) -> dict[str, Any]:
    """The options as nested tables for TOML, without those that are None."""

    def clean(table: dict[str, Any]) -> dict[str, Any]:
        return {
            key: clean(value) if isinstance(value, dict) else value
            for key, value in table.items()
            if value is not None
        }

    return clean(flat(options))


def flat(options: TrainOptions) -> dict[str, Any]:
    """The options by name, the recipe's own beside the others."""
    table = dataclasses.asdict(options)
    own: dict[str, Any] = table.pop("own")
    return table | own


def from_table(table: Mapping[str, Any], base: TrainOptions | None = None) -> TrainOptions:
    """Options from nested tables, over those of `base`, or over the recipe's defaults.

    Raises:
        OptionError: An unknown name, or a value of the wrong type or range.
    """
    base = base or defaults(table.get("recipe", recipes.DEFAULT))
    own_names = {f.name for f in dataclasses.fields(base.own)}
    shared: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in table.items():
        if key not in flat(base):
            raise _unknown(base.recipe, key, flat(base))
        if key in _TABLES:
            if not isinstance(value, Mapping):
                raise OptionError(f"{key} must be a table, not {value!r}.")
            shared[key] = _replaced(getattr(base, key), value, base.recipe, f"{key}.")
        else:
            (own if key in own_names else shared)[key] = value
    shared["own"] = _replaced(base.own, own, base.recipe)
    options: TrainOptions = _replaced(base, shared, base.recipe)
    return options


def _unknown(recipe: str, key: str, known: Mapping[str, Any], prefix: str = "") -> OptionError:
    names = ", ".join(prefix + name for name in known)
    return OptionError(
        f"The recipe {recipe} has no option {prefix}{key}.",
        f"Remove it, or use the recipe that it belongs to. {recipe} has: {names}.",
    )


def _type_of(options: Any, key: str) -> type:
    """The type of an option whose value is None, from its annotation such as `float | None`."""
    hint = get_type_hints(type(options))[key]
    (kind,) = (kind for kind in get_args(hint) if kind is not type(None))
    plain: type = get_origin(kind) or kind
    return plain


def _replaced(options: Any, changes: Mapping[str, Any], recipe: str, prefix: str = "") -> Any:
    """A dataclass with some values replaced, each of the type of the present one."""
    known = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    good = {}
    for key, value in changes.items():
        if key not in known:
            raise _unknown(recipe, key, known, prefix)
        current = known[key]
        if isinstance(current, tuple) and isinstance(value, list):
            value = tuple(value)
        expected = _type_of(options, key) if current is None else type(current)
        if expected is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise OptionError(f"{prefix}{key} must be of type {expected.__name__}, not {value!r}.")
        good[key] = value
    try:
        return dataclasses.replace(options, **good)
    except (ValueError, TypeError) as error:
        raise OptionError(f"{prefix.removesuffix('.') or 'recipe'}: {error}.") from error
