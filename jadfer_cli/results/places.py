"""Where the files of a result lie."""

from __future__ import annotations

from pathlib import Path


def sidecar_path(out: Path) -> Path:
    """Where the JSON sidecar of a result goes: clip.parquet has clip.json."""
    return out.with_suffix(".json")


def landmark_path(out: Path) -> Path:
    """Where the landmarks of a result go: clip.parquet has clip.landmarks.parquet."""
    return out.with_suffix(".landmarks.parquet")
