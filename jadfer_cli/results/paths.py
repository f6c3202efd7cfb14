"""Where the files of a result lie."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path


def sidecar_path(out: Path) -> Path:
    """Where the JSON sidecar of a result goes: clip.parquet has clip.json."""
    return out.with_suffix(".json")


def landmark_path(out: Path) -> Path:
    """Where the landmarks of a result go: clip.parquet has clip.landmarks.parquet."""
    return out.with_suffix(".landmarks.parquet")


def is_sidecar(path: Path) -> bool:
    """Whether this is the JSON sidecar of a result, which says what its columns mean."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "jadfer" in found


def below_inputs(path: Path, inputs: Sequence[str]) -> Path:
    """A result's place below the folder that the user named; its bare name if a file was."""
    absolute = Path(os.path.abspath(path))
    for text in inputs:
        folder = os.path.abspath(text)
        if os.path.isdir(folder) and absolute.is_relative_to(folder):
            return absolute.relative_to(folder)
    return Path(path.name)
