"""Options of a benchmarked configuration, from KEY=VALUE texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jadfer_cli.common import parse_seconds
from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions, FaceOptions, ModelOptions, VideoOptions
from jadfer_cli.runtime import settle

_GROUPS = {"video": VideoOptions, "faces": FaceOptions, "model": ModelOptions}
# Name of the option on the command line, with underscores: its group and its field.
_FIELDS = {
    field.name.removesuffix("_s").removesuffix("_px"): (group, field.name)
    for group, kind in _GROUPS.items()
    for field in dataclasses.fields(kind)
}


def options_from(settings: Sequence[str], base: AnnotateOptions | None = None) -> AnnotateOptions:
    """Options from KEY=VALUE texts; the keys are the option names of `jadfer annotate`.

    Args:
        settings: For example ["detection-size=416", "end=1:30"].
        base: Values of all other options; None for the defaults.

    Raises:
        OptionError: A key is unknown, or a value is invalid.
    """
    options = base or AnnotateOptions()
    for text in settings:
        key, separator, value = text.partition("=")
        key = key.strip().removeprefix("--").replace("-", "_")
        if not separator or key not in _FIELDS:
            known = ", ".join(name.replace("_", "-") for name in _FIELDS)
            raise OptionError(f"{text} is not KEY=VALUE with a known key.", f"Keys: {known}.")
        group, name = _FIELDS[key]
        current = getattr(options, group)
        try:
            parsed = _parse(value, name, _type_of(current, name))
        except ValueError as error:
            raise OptionError(f"{text}: {value} is not a number.") from error
        changed = dataclasses.replace(current, **{name: parsed})
        options = dataclasses.replace(options, **{group: changed})
    return options


def _type_of(options: Any, name: str) -> str:
    """The annotation of a field, such as "int | None"."""
    return next(str(field.type) for field in dataclasses.fields(options) if field.name == name)


def _parse(value: str, name: str, type_name: str) -> Any:
    if "int" in type_name:
        return int(value)
    if "float" in type_name:
        return parse_seconds(value) if name.endswith("_s") else float(value)
    return value


def resolved(options: AnnotateOptions) -> AnnotateOptions:
    """The options with device, precision, threads and other settings as this machine resolves them.

    Raises:
        DeviceError: The device is missing, or does not support the precision.
    """
    runtime = settle(options.model)
    model = dataclasses.replace(
        options.model, device=runtime.device, precision=runtime.precision,
        threads=runtime.threads, engine=runtime.engine, batch_size=runtime.batch_size,
    )  # fmt: skip
    return dataclasses.replace(options, model=model)
