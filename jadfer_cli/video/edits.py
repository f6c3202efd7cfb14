"""The length of an MP4's edit lists, read from its boxes without FFmpeg.

For every entry of an edit list FFmpeg adds at least one group of pictures to the index of the
track, so that a small file with 300,000 entries takes minutes and hundreds of megabytes. Editors
write one entry per cut.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jadfer_cli.errors import VideoError

_MAX_ENTRIES = 1000
_MAX_BOXES = 500_000  # 11 hours of fragments of 1 s with sound (12 boxes each)
# Boxes in which FFmpeg looks for others, and so for edit lists, wherever the standard puts those.
_CONTAINERS = frozenset(b"moov trak edts mdia minf stbl udta dinf tref mvex moof traf sinf".split())


_HINT = "Convert it, e.g. `ffmpeg -i INPUT -c:v libx264 OUTPUT.mp4`."


class _TooManyBoxes(Exception):
    """The search for edit lists was given up."""


def refuse_long_edit_list(path: str) -> None:
    """Check the edit lists of an MP4 or MOV file.

    Raises:
        VideoError: One has more than 1,000 entries, or the file has too many boxes to tell.
    """
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            longest = max(_edit_counts(file, size), default=0)
    except OSError:  # reported when the file is opened
        return
    except _TooManyBoxes as error:
        raise VideoError(
            f"{path} has more than {_MAX_BOXES:,} boxes, so its edit lists cannot be checked.",
            _HINT,
        ) from error
    if longest > _MAX_ENTRIES:
        raise VideoError(
            f"{path} has an edit list with {longest:,} entries; at most {_MAX_ENTRIES:,} are read.",
            _HINT,
        )


def _edit_counts(file: BinaryIO, size: int) -> Iterator[int]:
    """The number of entries of each edit list (ISO 14496-12, 4.2 and 8.6.6).

    Raises:
        _TooManyBoxes: There are more than are searched.
    """
    pending = [(0, size)]  # parts of the file that contain boxes
    for _ in range(_MAX_BOXES):
        if not pending:
            return
        at, end = pending.pop()
        file.seek(at)
        head = file.read(16)
        if len(head) < 8 or at >= end:
            continue
        n_bytes, kind = struct.unpack(">I4s", head[:8])
        body = at + 8
        if n_bytes == 1 and len(head) == 16:
            n_bytes, body = int.from_bytes(head[8:], "big"), at + 16
        if n_bytes == 0:  # up to the end
            n_bytes = end - at
        if n_bytes < 8:
            continue
        if at + n_bytes < end:
            pending.append((at + n_bytes, end))
        if kind in _CONTAINERS:
            pending.append((body, min(at + n_bytes, end)))
        elif kind == b"elst":
            file.seek(body + 4)  # version and flags
            yield int.from_bytes(file.read(4), "big")
    if pending:
        raise _TooManyBoxes
