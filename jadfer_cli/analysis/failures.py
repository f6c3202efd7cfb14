"""The videos of a batch that failed, from the list that `annotate` keeps beside the results."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from jadfer_cli.results.collected import COLLECTED
from jadfer_cli.text import encodable, parsed_json

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


def stored(failures: Iterable[Failure], root: Path) -> list[dict[str, str]]:
    """Return failures as the metadata of a dataset hold them: results relative to `root`."""
    return [
        {"video": encodable(each.path), "message": encodable(each.reason),
         "hint": encodable(each.hint),
         "result": encodable(Path(os.path.relpath(each.result, root)).as_posix())}
        for each in failures
    ]  # fmt: skip


def failures_in(dataset: Path, metadata: Mapping[str, Any]) -> list[Failure]:
    """Return the videos that had failed when results were collected.

    Args:
        dataset: The file of the dataset; stands for the folder that was collected.
        metadata: What it stores under "jadfer".
    """
    collected = metadata.get(COLLECTED)
    lines = collected.get("failures") if isinstance(collected, Mapping) else None
    return [
        Failure(
            str(line.get("video")), str(line.get("message") or ""), str(line.get("hint") or ""),
            dataset / str(line.get("result")),
        )
        for line in (lines if isinstance(lines, list) else ())
        if isinstance(line, Mapping)
    ]  # fmt: skip


def failures_beside(paths: Iterable[str | os.PathLike[str]]) -> list[Failure]:
    """Return the videos that failed in the batches that wrote to some folders.

    A list covers its folder and the folders below. Videos that have a result by now are left out.

    Args:
        paths: Folders of results, or results, which stand for their folders.
    """
    given = [Path(os.path.abspath(path)) for path in paths]  # v and v/../v are one
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
    path = Path(recorded)
    if (windows := PureWindowsPath(recorded)).drive and not path.is_absolute():
        path = Path(windows.as_posix())  # the batch ran on Windows, and this is another system
    parts = path.parts
    ends = [i for i, name in enumerate(parts, 1) if name == holder.name]
    if path.is_relative_to(holder) or not ends:
        return path if path.is_absolute() else holder / path
    # several folders may have this name: the one with most parents in common; else the first
    return holder.joinpath(*parts[max(ends, key=lambda end: _n_common(parts[:end], holder)) :])


def _n_common(parts: tuple[str, ...], folder: Path) -> int:
    """How many names at the end of two paths are the same."""
    pairs = zip(reversed(parts), reversed(folder.parts), strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


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
