"""The settings that decide the rows of a result, and how they differ between results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jadfer_cli._version import __version__
from jadfer_cli.common import file_sha256
from jadfer_cli.errors import OutputError, VideoError
from jadfer_cli.options import FaceOptions
from jadfer_cli.results.metadata_schema import metadata_problem
from jadfer_cli.results.parquet import read_attrs
from jadfer_cli.results.paths import companion_path
from jadfer_cli.results.revision import (
    ACTIONS,
    ACTIONS_REVISION,
    RESULTS_REVISION,
    action_changes_since,
    action_revision,
    changes_since,
    row_revision,
)
from jadfer_cli.results.unfinished import remove_leftovers

# These decide where and in what batches scores are computed, which changes rounding only.
_MACHINE_OPTIONS = ("device", "threads", "batch_size", "engine")
# Recorded outside "options" as what was really used, e.g. the sha256 of the model.
_RESOLVED_OPTIONS = ("model", "detector", "precision", "redetect_s", "scores")
_NOT_OPTIONS = ("schema", "revision", "model", "detector", "landmarker")
_VIDEO = "the video itself"
_VERSIONS = "the versions of jadfer and its libraries"
_NETWORKS = ("model", "detector")  # compared by their sha256
_GPU_REDETECT_REVISION = 5  # until then the default of --redetect was 0 on a GPU
_SHA256_DIGITS = 12  # enough to tell files apart


def fingerprint(
    metadata: Mapping[str, Any], current_hashes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the settings that decide the rows of a result, apart from its video.

    Args:
        metadata: Of a result, or of a run as `pipeline.networks.Networks.metadata` gives it.
        current_hashes: SHA-256 of model files, by that of earlier files with the same weights.

    Returns:
        Values by name, without nesting. Options have the names of the command line without the
        dashes; "schema", "revision", "model", "detector" and "landmarker" are added, the
        networks as sha256.
    """
    options = metadata["options"]
    # until 0.5.0 the option that is now called file_names was called relative_paths
    is_old = "file_names" not in options
    model = metadata["model"]["sha256"]
    settings = {
        "schema": metadata["schema_version"],
        "revision": row_revision(metadata),
        "model": (current_hashes or {}).get(model, model),
        "detector": metadata["detector"]["sha256"],
        "precision": metadata["precision"],
        **({"scores": metadata["model"]["scores"]} if "scores" in metadata["model"] else {}),
        **({"redetect": metadata["redetect_s"]} if "redetect_s" in metadata else {}),
        "landmarks": options["landmarks"],
        "actions": options.get("actions", False),
        "mesh": options.get("mesh", False),
        "landmarker": str((metadata.get(ACTIONS) or {}).get("sha256", ""))[:_SHA256_DIGITS] or None,
        "relative-paths": not is_old and options["relative_paths"],
        "file-names": options["relative_paths" if is_old else "file_names"],
    }
    for group in ("video", "faces", "model"):
        settings |= {
            option_name(field): value
            for field, value in options[group].items()
            if field not in (*_MACHINE_OPTIONS, *_RESOLVED_OPTIONS)
        }
    if metadata.get("follower"):
        sha256 = metadata["follower"]["sha256"][:_SHA256_DIGITS]
        settings["follower"] = f"{settings['follower']}, SHA-256 {sha256}"
    elif metadata.get("redetect_s") == 0:
        settings.pop("follower", None)  # nothing is followed if every frame is searched
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


def differences(
    path: Path,
    video: str,
    wanted: Mapping[str, Any],
    current_hashes: Mapping[str, str] | None = None,
) -> list[str]:
    """Compare an existing result with what a run would write now.

    Args:
        path: The result.
        video: The video that it should be of.
        wanted: Metadata of the run, as `pipeline.networks.Networks.metadata` gives it.
        current_hashes: As for `fingerprint`.

    Returns:
        What differs, with both values: "fps (then none, now 5)", "the video itself". The revision
        is not among them; of an older one, neither are settings that did not exist then. Empty if
        nothing differs.

    Raises:
        OutputError: The result cannot be read.
    """
    metadata = read_metadata(path)
    current, earlier = (fingerprint(each, current_hashes) for each in (wanted, metadata))
    names = [name for name in changed(current, earlier) if name != "revision"]
    if earlier["revision"] < current["revision"]:
        names = [name for name in names if name in earlier]
    if earlier["revision"] < _GPU_REDETECT_REVISION and _redetects_by_default(metadata, wanted):
        names = [name for name in names if name != "redetect"]
    words = [
        f"{name} (then {_network_text(metadata, name)}, now {_network_text(wanted, name)})"
        if name in _NETWORKS
        else then_and_now(name, earlier.get(name), current[name])
        for name in names
    ]
    return words if _is_same_file(video, metadata["video"]) else [_VIDEO, *words]


def _redetects_by_default(earlier: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    then, now = (each["options"]["faces"]["redetect_s"] for each in (earlier, wanted))
    return then is None and now == FaceOptions.redetect_s


def then_and_now(name: str, then: Any, now: Any) -> str:
    """Return how a setting has changed: "fps (then none, now 5)".

    Args:
        name: Of the setting, as in `fingerprint` or `key`.
        then: Its earlier value. Of nested values only the entries that differ are named.
        now: Its current value.
    """
    if name == _VIDEO:
        return name
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        parts = [f"{each} {_text(old)}, now {_text(new)}"
                 for each, (old, new) in differing([then, now]).items()]  # fmt: skip
        return f"{name} ({'; '.join(parts)})"
    return f"{name} (then {_text(then)}, now {_text(now)})"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _network_text(metadata: Mapping[str, Any], which: str) -> str:
    network = metadata[which]
    return f"{network.get('name', 'unnamed')}, SHA-256 {str(network['sha256'])[:_SHA256_DIGITS]}"


def _is_same_file(video: str, recorded: Mapping[str, Any]) -> bool:
    try:
        if Path(video).stat().st_size != recorded["bytes"]:
            return False
        return file_sha256(Path(video)) == str(recorded["sha256"])
    except OSError:
        return False


def keep(
    path: Path,
    video: str,
    wanted: Mapping[str, Any],
    current_hashes: Mapping[str, str] | None = None,
) -> str | None:
    """Decide about a result for --skip-existing; if it is kept, remove what a killed run left.

    Args: as for `differences`.

    Returns:
        None if it is kept. Otherwise why it must be made again: its rows are of an older revision,
        or the actions beside it are missing or not its own.

    Raises:
        OutputError: The result was made with other settings, by a version whose rows this one
            does not know, or cannot be read.
    """
    metadata = read_metadata(path)
    revision, version = row_revision(metadata), metadata.get("jadfer_version", "of unknown version")
    newer = max((revision, RESULTS_REVISION, "rows"),
                (action_revision(metadata), ACTIONS_REVISION, "actions"),
                key=lambda each: each[0] - each[1])  # fmt: skip
    if newer[0] > newer[1]:
        raise OutputError(
            f"{path} was made by jadfer {version}, whose {newer[2]} are newer (revision "
            f"{newer[0]}) than those of this version (revision {newer[1]}).",
            "Update jadfer; `if_exists='overwrite'` replaces the result, another `out` keeps it.",
        )
    if found := differences(path, video, wanted, current_hashes):
        raise OutputError(
            f"{path} was made with other settings: {'; '.join(found)}.",
            "`if_exists='overwrite'` replaces it; another `out` keeps it.",
        )
    if revision < RESULTS_REVISION:
        return f"made by jadfer {version}, whose rows differ: {changes_since(revision)}"
    if (then := action_revision(metadata)) < action_revision(wanted):
        return f"made by jadfer {version}, whose actions differ: {action_changes_since(then)}"
    if metadata["options"].get(ACTIONS) and (problem := _actions_problem(path, metadata)):
        return problem
    remove_leftovers(path, parts=True)
    return None


def _actions_problem(path: Path, metadata: Mapping[str, Any]) -> str | None:
    """Return why the actions beside a result cannot be kept with it, if so.

    A run that was killed while it replaced a result leaves new actions beside the old rows.
    Landmarks and meshes are not checked: whoever removes what identifies people means it.
    """
    actions = companion_path(path, ACTIONS)
    try:
        if read_attrs(actions)["jadfer"].get("created") == metadata.get("created"):
            return None
    except FileNotFoundError:
        return f"{actions} is missing"
    except (OSError, ValueError, LookupError, AttributeError):
        return f"{actions} is damaged"
    return f"{actions} belongs to another run"


def kept_text(path: Path) -> str:
    """Return why a result was kept, and which version made it unless it was this one.

    Raises:
        OutputError: The result cannot be read.
    """
    version = read_metadata(path).get("jadfer_version")
    return "same settings" + ("" if version == __version__ else f", made by jadfer {version}")


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
        _VERSIONS: metadata["versions"],
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
            "Remove it, or add `if_exists='overwrite'`.",
        ) from error
    if problem:
        raise OutputError(
            f"{path} exists and is damaged or was changed: in its metadata, {problem}.",
            "Remove it, or add `if_exists='overwrite'`.",
        )
    return metadata
