"""The settings that decide the rows of a result, and how they differ between results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import OutputError, VideoError
from jadfer_cli.results.metadata_schema import metadata_problem
from jadfer_cli.results.parquet import read_attrs
from jadfer_cli.results.unfinished import remove_leftovers

# These decide where and in what batches scores are computed, which changes rounding only.
_MACHINE_OPTIONS = ("device", "threads", "batch_size", "engine")
# Recorded outside "options" as what was really used, e.g. the sha256 of the model.
_RESOLVED_OPTIONS = ("model", "detector", "precision", "redetect_s")
_NOT_OPTIONS = ("schema", "model", "detector")
_VIDEO = "the video itself"


def fingerprint(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that decide the rows of a result, apart from its video.

    Args:
        metadata: Of a result, or of a run as `pipeline.networks.Networks.metadata` gives it.

    Returns:
        Values by name, without nesting. Options have the names of the command line without the
        dashes; "schema", "model" and "detector" are added, the latter two as sha256.
    """
    options = metadata["options"]
    settings = {
        "schema": metadata["schema_version"],
        "model": metadata["model"]["sha256"],
        "detector": metadata["detector"]["sha256"],
        "precision": metadata["precision"],
        "redetect": metadata.get("redetect_s"),
        "landmarks": options["landmarks"],
        "relative-paths": options["relative_paths"],
    }
    for group in ("video", "faces", "model"):
        settings |= {
            option_name(field): value
            for field, value in options[group].items()
            if field not in (*_MACHINE_OPTIONS, *_RESOLVED_OPTIONS)
        }
    return settings


def option_name(field: str) -> str:
    """Return the name of an option on the command line: start_s becomes start."""
    return field.removesuffix("_s").removesuffix("_px").replace("_", "-")


def setting_label(name: str) -> str:
    """Return what users call a setting of `fingerprint`: "--every", "model", "schema"."""
    return name if name in _NOT_OPTIONS else f"--{name}"


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the settings that are not the same everywhere.

    Args:
        settings: One mapping per result, e.g. its `fingerprint`.

    Returns:
        For each such setting its value in each result, in their order; None where a result
        does not have it. In the order in which the names first occur.
    """
    names = dict.fromkeys(name for each in settings for name in each)
    values = {name: [each.get(name) for each in settings] for name in names}
    return {name: found for name, found in values.items() if any(v != found[0] for v in found)}


def changed(current: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[str]:
    """Return the names of current settings that had another value, or none, earlier."""
    return [name for name in differing([current, earlier]) if name in current]


def differences(path: Path, video: str, wanted: Mapping[str, Any]) -> list[str]:
    """Compare an existing result with what a run would write now.

    Args:
        path: The result.
        video: The video that it should be of.
        wanted: Metadata of the run, as `pipeline.networks.Networks.metadata` gives it.

    Returns:
        What differs: names of settings, and "the video itself". Empty if nothing does.

    Raises:
        OutputError: The result cannot be read.
    """
    metadata = read_metadata(path)
    names = changed(fingerprint(wanted), fingerprint(metadata))
    return names if _is_same_file(video, metadata["video"]) else [_VIDEO, *names]


def _is_same_file(video: str, recorded: Mapping[str, Any]) -> bool:
    try:
        if Path(video).stat().st_size != recorded["bytes"]:
            return False
        return file_sha256(Path(video)) == str(recorded["sha256"])
    except OSError:
        return False


def keep(path: Path, video: str, wanted: Mapping[str, Any]) -> None:
    """Keep a result for --skip-existing, and remove what a killed run left beside it.

    Args: as for `differences`.

    Raises:
        OutputError: The result was made with other settings, or cannot be read.
    """
    names = differences(path, video, wanted)
    if names:
        raise OutputError(
            f"{path} was made with other settings: {', '.join(names)}.",
            "--overwrite replaces it; another -o keeps it.",
        )
    remove_leftovers(path, parts=True)


def key(metadata: Mapping[str, Any], video: str) -> dict[str, Any]:
    """Return what decides the rows of a run, including the state of the video file.

    Segments of an interrupted run are reused only if their key is equal. The video's path is not
    part of it, so a video may be moved between two runs.

    Args:
        metadata: Of the run, as `pipeline.networks.Networks.metadata` gives it.
        video: The video.

    Returns:
        Values by name, without nesting. The names appear in messages.

    Raises:
        VideoError: The video is missing.
    """
    try:
        file = Path(video).stat()
    except OSError as error:
        raise VideoError(f"{video} can no longer be read: {error.strerror}.") from error
    return {
        _VIDEO: f"{file.st_size} bytes, changed at {file.st_mtime_ns} ns",
        "the versions of jadfer and its libraries": metadata["versions"],
        **fingerprint(metadata),
    }


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata stored in a result.

    Raises:
        OutputError: The file is damaged, or not a result of jadfer.
    """
    try:
        metadata: dict[str, Any] = read_attrs(path)["jadfer"]
        problem = metadata_problem(metadata)  # also of a dataset of many results
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(
            f"{path} exists and is not a readable result of jadfer.",
            "Remove it, or add --overwrite.",
        ) from error
    if problem:
        raise OutputError(
            f"{path} exists and is damaged or was changed: in its metadata, {problem}.",
            "Remove it, or add --overwrite.",
        )
    return metadata
