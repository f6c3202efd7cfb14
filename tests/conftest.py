"""Shared fixtures: where the developers' clips are, and small videos made on the spot."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' folder of clips and models; tests that want it carry the mark `data`."""
    folder = Path(os.environ.get("JADFER_SHARED", ROOT.parent / "shared"))
    if not (folder / "clips").is_dir():
        pytest.skip(f"no clips in {folder}; set JADFER_SHARED")
    return folder
