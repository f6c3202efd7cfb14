"""Checks the metadata of a result against its JSON Schema, `metadata.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

_WORDS = {"object": "an object", "array": "a list", "string": "text", "integer": "a whole number",
          "number": "a number", "boolean": "true or false", "null": "null"}  # fmt: skip


def metadata_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of a result's metadata."""
    text = resources.files(__package__).joinpath("metadata.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator(*, detailed: bool) -> Callable[[Any], Any]:
    """Compile the schema: less than half the time without what `_in_words` needs of an error."""
    import fastjsonschema

    validate: Callable[[Any], Any] = fastjsonschema.compile(
        metadata_schema(), detailed_exceptions=detailed
    )
    return validate


def metadata_problem(metadata: Any) -> str | None:
    """Return the first thing that is wrong with the metadata of a result.

    Args:
        metadata: What is stored under "jadfer", from JSON.

    Returns:
        E.g. "model.sha256 is missing"; None if the metadata fits the schema.
    """
    import fastjsonschema

    try:
        _validator(detailed=False)(metadata)
    except fastjsonschema.JsonSchemaValueException:
        try:
            _validator(detailed=True)(metadata)
        except fastjsonschema.JsonSchemaValueException as error:
            return _in_words(error)
    try:  # JSON may hold half a surrogate pair and 1e999, but no output can
        json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        return f"{error.object[error.start]!a} is not a character"
    except ValueError:
        return "a number is infinite"
    except RecursionError:
        return "its content is nested too deeply"
    return None


def _in_words(error: Any) -> str:
    place = ".".join(str(step) for step in error.path[1:])
    if error.rule == "required":
        missing = [name for name in error.rule_definition if name not in error.value]
        names = [f"{place}.{name}" if place else name for name in missing]
        return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    subject = place or "its content"
    if error.rule == "type":
        kinds = error.rule_definition
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return f"{subject} should be {' or '.join(_WORDS[kind] for kind in kinds)}"
    limits = {
        "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than",
        "minItems": "of length at least", "minLength": "of length at least",
        "maxItems": "of length at most",
    }  # fmt: skip
    if error.rule in limits:
        return f"{subject} should be {limits[error.rule]} {error.rule_definition:g}"
    if error.rule == "uniqueItems":
        return f"{subject} has an entry twice"
    return f"{subject} is not valid"
