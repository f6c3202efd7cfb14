"""Whether a result that is there already is the one that would be made now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import OutputError, VideoError
from jadfer_cli.results.parquet import ATTRS_KEY
from jadfer_cli.results.parts import remove_leftovers

# What does not change scores beyond rounding: where and in how large steps they are computed.
_MACHINE = ("device", "threads", "batch_size", "engine")


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata in a result.

    Raises:
        OutputError: It is no result of jadfer, or damaged.
    """
    import json

    try:
        entries = pq.read_schema(path).metadata or {}
        found: dict[str, Any] = json.loads(entries[ATTRS_KEY])["jadfer"]
        found["video"]  # a dataset of many results has none
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
        raise OutputError(
            f"{path} exists and is no readable result of jadfer.",
            "Remove it, or give --overwrite.",
        ) from error
    return found


def fingerprint(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the rows of a result, beside the video: flat, by name."""
    options = metadata["options"]
    found = {
        "schema": metadata["schema_version"],
        "model": metadata["model"]["sha256"],
        "detector": metadata["detector"]["sha256"],
        "precision": metadata["precision"],
        "redetect": metadata.get("redetect_s"),
        "landmarks": options["landmarks"],
        "relative-paths": options["relative_paths"],
    }
    for part in ("video", "faces", "model"):
        found |= {
            name.removesuffix("_s").removesuffix("_px").replace("_", "-"): value
            for name, value in options[part].items()
            if name not in (*_MACHINE, "model", "detector", "precision", "redetect_s")
        }
    return found


def key(metadata: Mapping[str, Any], video: str) -> dict[str, Any]:
    """What decides the rows of a run, the video included, wherever it lies: flat, by name.

    Args:
        metadata: Of the run, as `pipeline.Annotator.metadata` gives them.
        video: The video.

    Raises:
        VideoError: It is gone.
    """
    try:
        file = Path(video).stat()
    except OSError as error:
        raise VideoError(f"{video} cannot be read any more: {error.strerror}.") from error
    state = f"{file.st_size} bytes, changed at {file.st_mtime_ns} ns"
    return {
        "the video itself": state,
        "the versions of jadfer and its libraries": metadata["versions"],
        **fingerprint(metadata),
    }


def keep(path: Path, video: str, wanted: Mapping[str, Any]) -> None:
    """Keeps a result for --skip-existing: what a killed run left beside it goes.

    Args: as of `differences`.

    Raises:
        OutputError: It was made with other settings, or cannot be read.
    """
    names = differences(path, video, wanted)
    if names:
        raise OutputError(
            f"{path} was made with other settings: {', '.join(names)}.",
            "--overwrite replaces it; another -o keeps it.",
        )
    remove_leftovers(path, parts=True)


def differences(path: Path, video: str, wanted: Mapping[str, Any]) -> list[str]:
    """What differs between a result and what would be made now; empty if nothing does.

    Args:
        path: The result.
        video: The video that it should be of.
        wanted: Metadata of the run, as `pipeline.Annotator.metadata` gives them.

    Raises:
        OutputError: It cannot be read.
    """
    found = read_metadata(path)
    ours, theirs = fingerprint(wanted), fingerprint(found)
    names = [name for name in ours if ours[name] != theirs.get(name)]
    source = found["video"]
    try:
        size = Path(video).stat().st_size
        if size != source["bytes"] or file_sha256(Path(video)) != source["sha256"]:
            names.insert(0, "the video itself")
    except OSError:
        names.insert(0, "the video itself")
    return names
