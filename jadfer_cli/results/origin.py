"""Which video a result, or an unfinished one, was made from."""

from __future__ import annotations

import json
import os
from pathlib import Path

from jadfer_cli.errors import OutputError
from jadfer_cli.results.metadata import printable
from jadfer_cli.results.paths import parts_folder
from jadfer_cli.results.settings import read_metadata


def is_made_from(result: Path, video: str) -> bool:
    """True if a result records a video of this name, or unfinished parts one of this state."""
    if result.exists():
        try:
            recorded = str(read_metadata(result)["video"]["path"])
        except (OutputError, KeyError, TypeError):
            return False
        return os.path.basename(recorded) == printable(os.path.basename(video))
    try:
        key = json.loads((parts_folder(result) / "key.json").read_bytes())
        state = Path(video).stat()
    except (OSError, ValueError):
        return False
    recorded = f"{state.st_size} bytes, changed at {state.st_mtime_ns} ns"  # as in `settings.key`
    return isinstance(key, dict) and recorded in key.values()
