"""PyTorch files that show damage: torch.save with a SHA-256 in the comment of the zip archive.

Files without one, such as those of jadfer up to 0.5 and of other programs, are read as well.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from jadfer_cli.common import atomic_write
from jadfer_cli.errors import OutputError

_MARK = b"jadfer sha256 "
_COMMENT = re.compile(re.escape(_MARK) + rb"([0-9a-f]{64})\Z")
_COMMENT_BYTES = len(_MARK) + 64
_DAMAGED_COMMENT = re.compile(rb"jadfer|sha256")


class Unreadable(ValueError):
    """The file is damaged, or not one of PyTorch's."""


def write(state: Mapping[str, Any], path: Path) -> None:
    """Saves to a temporary file, then renames it.

    Raises:
        OutputError: It cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    # a zip archive ends with the length of its comment (2 bytes) and the comment
    comment = _MARK + hashlib.sha256(data).hexdigest().encode()
    with atomic_write(path) as part:
        try:
            part.write_bytes(data[:-2] + len(comment).to_bytes(2, "little") + comment)
        except RuntimeError as error:
            raise OutputError(f"{path} cannot be written ({error}).") from error


def read(path: Path) -> Any:
    """Reads tensors and plain values, on the CPU.

    Raises:
        Unreadable: The file is damaged, or not one of PyTorch's.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    if found := _COMMENT.search(data[-_COMMENT_BYTES:]):
        data = data[: -_COMMENT_BYTES - 2] + b"\0\0"
        if hashlib.sha256(data).hexdigest().encode() != found[1]:
            raise Unreadable("it differs from what was written")
    elif _DAMAGED_COMMENT.search(data[-_COMMENT_BYTES:]):
        raise Unreadable("it differs from what was written")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises all kinds
        raise Unreadable(
            f"it is damaged, or not a file of PyTorch; {type(error).__name__}"
        ) from error
