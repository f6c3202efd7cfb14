"""Which video a result, or an unfinished one, was made from."""

from __future__ import annotations

import os
from pathlib import Path

from jadfer_cli.results.parquet import read_attrs
from jadfer_cli.results.paths import parts_folder
from jadfer_cli.text import encodable, parsed_json


def is_made_from(result: Path, video: str) -> bool:
    """True if a result records a video of this name, or unfinished parts one of this state."""
    if result.exists():
        try:
            # not `read_metadata`: a result of an older version, or a damaged one, keeps its name
            recorded = str(read_attrs(result)["jadfer"]["video"]["path"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return os.path.basename(recorded) == encodable(os.path.basename(video))
    try:
        key = parsed_json((parts_folder(result) / "key.json").read_bytes())
        state = Path(video).stat()
    except (OSError, ValueError):
        return False
    recorded = f"{state.st_size} bytes, changed at {state.st_mtime_ns} ns"  # as in `settings.key`
    return isinstance(key, dict) and recorded in key.values()
