"""The videos of a batch that failed, from the list that `annotate` keeps beside the results."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jadfer_cli.text import parsed_json

FAILURES = "failures.jsonl"


@dataclass(frozen=True)
class Failure:
    """A video without a result.

    Attributes:
        path: The video.
        reason: Why it failed.
        hint: What to do about it; may be empty.
        result: Where its result would be.
    """

    path: str
    reason: str
    hint: str = ""
    result: Path = Path()


def failures_beside(paths: Iterable[str | os.PathLike[str]]) -> list[Failure]:
    """Return the videos that failed in the batches that wrote to some folders.

    A list covers its folder and the folders below. Videos that have a result by now are left out.

    Args:
        paths: Folders of results, or results, which stand for their folders.
    """
    given = [Path(path).absolute() for path in paths]
    folders = {path if path.is_dir() else path.parent for path in given}
    found: dict[Path, Failure] = {}  # by the result that is missing
    for folder in sorted(folders):
        for holder in (folder, *folder.parents):
            for line in _lines(holder / FAILURES):
                target = _target(holder, str(line["result"]))
                if target.is_relative_to(folder) and not target.exists():
                    reason, hint = (str(line.get(key) or "") for key in ("message", "hint"))
                    found[target] = Failure(str(line["video"]), reason, hint, target)
    return list(found.values())


def _target(holder: Path, recorded: str) -> Path:
    """The recorded result below the folder of the list, even if that folder was moved."""
    parts = Path(recorded).parts
    if holder.name in parts:
        last = len(parts) - 1 - parts[::-1].index(holder.name)
        return holder.joinpath(*parts[last + 1 :])
    path = Path(recorded)
    return path if path.is_absolute() else holder / path


def _lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a list that name a video and its result; none if there is no list."""
    try:
        texts = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    lines = []
    for text in texts:
        try:
            line = parsed_json(text)
        except ValueError:
            continue
        if isinstance(line, dict) and {"video", "result"} <= line.keys():
            lines.append(line)
    return lines
