"""Find the video behind a result, which may have moved since it was annotated."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from jadfer_cli.errors import OptionError, VideoError
from jadfer_cli.results.load import Result


class VideoFinder:
    """Finds videos at their recorded paths, beside their results, or in a folder.

    Args:
        folder: Where else to look, with its subfolders; None for nowhere.

    Raises:
        OptionError: `folder` is not a folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._folder = folder
        if folder is None:
            return
        if not folder.is_dir():
            raise OptionError(f"`videos` {folder} is not a folder.")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._by_name[path.name].append(path)

    def find(self, result: Result) -> Path:
        """Return the video of a result: the first file of its name that also has its size.

        Without one of that size, the first file of the name; whether it shows the same frames is
        checked later.

        Raises:
            VideoError: There is no file of that name.
        """
        recorded = Path(os.fsdecode(result.metadata["video"]["path"]))
        candidates = [
            recorded,
            result.path.parent / recorded,
            result.path.parent / recorded.name,
            *sorted(self._by_name[recorded.name], key=lambda path: -_shared_end(path, recorded)),
        ]
        existing = [path for path in candidates if path.is_file()]
        if not existing:
            where = f"nor in {self._folder}" if self._folder else "nor beside it"
            raise VideoError(
                f"The video of {result.path} is missing: it is neither at {recorded}, {where}.",
                "Name the folder of the videos with `videos`.",
            )
        n_bytes = result.metadata["video"]["bytes"]
        return next((path for path in existing if path.stat().st_size == n_bytes), existing[0])


def _shared_end(path: Path, other: Path) -> int:
    """How many parts at the end of two paths are equal."""
    pairs = zip(reversed(path.parts), reversed(other.parts), strict=False)
    n = 0
    for one, two in pairs:
        if one != two:
            break
        n += 1
    return n
