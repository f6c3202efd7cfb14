"""Opens the results inside a dataset of `jadfer collect`, one by one."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pyarrow as pa

from jadfer_cli.errors import ResultError
from jadfer_cli.results.collected import COLLECTED, SOURCES, source_metadata
from jadfer_cli.results.load import Result, damaged, schema_problem
from jadfer_cli.results.metadata_schema import metadata_problem
from jadfer_cli.results.parquet import read_attrs, read_schema
from jadfer_cli.results.schema import probability_columns

_MODEL_COLUMN = "model"  # which a dataset of several models adds


def is_collected(path: Path, entry: str = COLLECTED) -> bool:
    """Whether a file was made of many results by `jadfer collect`.

    Args:
        path: The file.
        entry: What its metadata must have; of the dataset by default.
    """
    try:
        metadata = read_attrs(path).get("jadfer")
    except (OSError, ValueError):
        return False
    return isinstance(metadata, dict) and entry in metadata


def members(path: Path) -> list[Result]:
    """Open the results in one file of a dataset; their rows are read later.

    The path of each is the one that it had below the collected folder, as if the file were that
    folder: all.parquet/day1/clip.parquet. A file of one result has its own path.

    Raises:
        ResultError: The file is damaged or was changed, or an earlier jadfer did not store all
            that is needed.
    """
    try:
        schema, metadata = read_schema(path), read_attrs(path)["jadfer"]
        sources = metadata[SOURCES]
        if len({str(entry["result"]) for entry in sources}) < len(sources):
            raise ValueError("a result is named twice")
        if problem := schema_problem(schema, metadata["labels"]):
            raise damaged(path, problem, collected=True)
        return [_member(path, schema, metadata, entry, alone=len(sources) == 1)
                for entry in sources]  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ResultError(
            f"{path} is a dataset of jadfer collect, but lacks metadata of its results.",
            "An earlier jadfer made it, or it is damaged: collect the results again.",
        ) from error


def _leads_out(inside: PurePosixPath) -> bool:
    """Whether a path may lead out of its folder on any system; outputs are written at such paths.

    A drive without a root, as in C:clip, is a plain name where there are no drives.
    """
    paths = (inside, PureWindowsPath(inside))
    return bool(any(path.root or ".." in path.parts for path in paths) or Path(inside).drive)


def _member(
    path: Path, schema: pa.Schema, metadata: dict[str, Any], entry: dict[str, Any], *, alone: bool
) -> Result:
    inside = PurePosixPath(entry["result"])
    if _leads_out(inside):
        raise ValueError(f"{inside} leads out of the dataset")
    own = source_metadata(metadata, entry)
    if problem := metadata_problem(own):
        raise ValueError(problem)
    foreign = {*probability_columns(metadata["labels"])} - {*probability_columns(own["labels"])}
    columns = [name for name in schema.names if name != _MODEL_COLUMN and name not in foreign]
    shown_as = path if alone else path / inside
    return Result(shown_as, own, tuple(columns), int(entry["rows"]), path, str(entry["video"]))
