"""The metadata of a dataset of many results, and the metadata of each result in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COLLECTED = "collected"  # metadata entry that marks a dataset of many videos
SOURCES = "sources"
# entries of a result's metadata that differ from video to video, so they are stored with each
PER_VIDEO = ("video", "counts", "warnings", "created", "wall_s", "frames_per_s")
_VIDEO = ("path", "sha256", "duration_s")  # stored as entries of their own


def source_entry(metadata: Mapping[str, Any], differs: Sequence[str]) -> dict[str, Any]:
    """Return what a dataset stores of one result, beside what all its results share.

    Args:
        metadata: Of the result.
        differs: Dotted names of the entries that are not the same in all results.
    """
    dotted = {".".join(name): value for name, value in flat(metadata)}
    video = dict(metadata["video"])
    return {
        **{name: video.pop(name, None) for name in _VIDEO},
        **{name: metadata.get(name) for name in PER_VIDEO if name != "video"},
        "video_metadata": video,
        "settings": {name: dotted[name] for name in differs if name in dotted},
    }


def source_metadata(dataset: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that one result of a dataset had.

    Args:
        dataset: The metadata of the dataset.
        entry: What it stores of the result.

    Raises:
        KeyError: The dataset was made by a jadfer that did not store all of it.
    """
    shared = {k: v for k, v in dataset.items() if k not in (COLLECTED, SOURCES)}
    metadata = copy.deepcopy(shared)
    if "labels" not in dataset[COLLECTED].get("differs", ()):
        metadata["labels"] = list(dataset["labels"])
    for name, value in entry["settings"].items():
        *parents, last = name.split(".")
        inside = metadata
        for key in parents:
            inside = inside.setdefault(key, {})
        inside[last] = value
    metadata["video"] = {name: entry[name] for name in _VIDEO} | entry["video_metadata"]
    return metadata | {name: entry[name] for name in PER_VIDEO if name != "video"}


def flat(nested: Mapping[str, Any], parents: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Yield the entries of nested metadata as pairs: (("model", "name"), "jadfer-compact")."""
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            yield from flat(value, (*parents, key))
        else:
            yield (*parents, key), value
