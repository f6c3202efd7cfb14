"""The revision of the rows: raised whenever the same video and settings give other rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Raise it with every change that moves a row by more than the tolerance for another machine, and
# say below what changed. `tests/pipeline/test_revision.py` fails if the rows of the demo change
# without that. A change that an option or a model's SHA-256 tells apart needs no new revision.
RESULTS_REVISION = 5

# By revision: the first version of jadfer that wrote it, and how its rows differ from the last.
CHANGES: dict[int, tuple[str, str]] = {
    1: ("0.1.0", "the first rows"),
    2: ("0.2.0", "whole frames are searched every 0.3 s, and faces followed in between"),
    3: ("0.3.0", "new faces get their track IDs from left to right"),
    4: (
        "0.4.0",
        "faces are followed in smaller squares, small frames are enlarged at most twofold",
    ),
    # 0.4.1 and 0.5.0: the rows of 0.4.0
    5: (
        "0.6.0",
        "usable faces are larger, sharper, less turned and better lit, and a column says why "
        "others are not usable; on a GPU, too, whole frames are searched at intervals; a frame "
        "equal to the one before keeps its faces; between two searches a small network follows "
        "faces; probabilities are shares of raters unless `scores` "
        "is majority",
    ),
}


# The same for the file of actions, `clip.actions.parquet`; its rows have a revision of their own.
ACTIONS = "actions"  # entry of the metadata
ACTIONS_REVISION = 1
ACTION_CHANGES: dict[int, tuple[str, str]] = {1: ("0.6.0", "the first actions")}


def row_revision(metadata: Mapping[str, Any]) -> int:
    """Return the revision of a result's rows; of results before 0.6.0 from their version."""
    if "results_revision" in metadata:
        return int(metadata["results_revision"])
    made_by = _numbers(str(metadata.get("jadfer_version", "")))
    written = [number for number, (since, _) in CHANGES.items() if _numbers(since) <= made_by]
    return min(max(written, default=1), 4)  # a file without a revision is older than revision 5


def changes_since(revision: int) -> str:
    """Return how the rows of this version differ from those of an older revision, in words."""
    return "; ".join(text for number, (_, text) in sorted(CHANGES.items()) if number > revision)


def action_revision(metadata: Mapping[str, Any]) -> int:
    """Return the revision of the actions of a result or a run; 0 if it has none."""
    return int((metadata.get(ACTIONS) or {}).get("revision", 0))


def action_changes_since(revision: int) -> str:
    """Return how the actions of this version differ from those of an older revision, in words."""
    later = (text for number, (_, text) in sorted(ACTION_CHANGES.items()) if number > revision)
    return "; ".join(later)


def _numbers(version: str) -> tuple[int, ...]:
    """Return "0.4.1" as (0, 4, 1); what is not a number ends it."""
    found: list[int] = []
    for part in version.split("."):
        if not part.isdecimal():
            break
        found.append(int(part))
    return tuple(found)
