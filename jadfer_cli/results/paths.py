"""Where the files of a result are stored."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path


def sidecar_path(out: Path) -> Path:
    """Return the path of a result's JSON sidecar: clip.json for clip.parquet."""
    return out.with_suffix(".json")


def landmark_path(out: Path) -> Path:
    """Return the path of a result's landmarks: clip.landmarks.parquet for clip.parquet."""
    return out.with_suffix(".landmarks.parquet")


def parts_folder(out: Path) -> Path:
    """Return the hidden folder that holds the parts of a result while it is unfinished."""
    return out.with_name(f".{out.name}.parts")


def result_of_parts(path: Path) -> Path | None:
    """Return the result whose parts are in this folder, or None if it is no folder of parts."""
    name = path.name.removeprefix(".").removesuffix(".parts")
    result = path.with_name(name) if name else path
    return result if path.is_dir() and parts_folder(result).name == path.name else None


def is_sidecar(path: Path) -> bool:
    """Return whether this is the JSON sidecar of a result, which describes its columns."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "jadfer" in content


def below_inputs(path: Path, inputs: Sequence[str]) -> Path:
    """Return a result's path relative to the folder the user named, or else its bare name."""
    absolute = Path(os.path.abspath(path))
    for text in inputs:
        folder = os.path.abspath(text)
        if os.path.isdir(folder) and absolute.is_relative_to(folder):
            return absolute.relative_to(folder)
    return Path(path.name)
