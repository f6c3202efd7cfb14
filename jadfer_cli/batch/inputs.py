"""Expands the inputs of a command to videos: files, folders, patterns, lists, paths on stdin."""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jadfer_cli.errors import OptionError

# Files of a folder that count as videos; a file given by name may have any suffix.
VIDEO_SUFFIXES = frozenset(
    ".3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm "
    ".wmv".split()
)
STDIN = "-"
LIST = "@"


@dataclass(frozen=True)
class Source:
    """One video.

    Attributes:
        path: As given, or below the folder given.
        below: Its path in the input tree, which the output tree mirrors.
    """

    path: str
    below: Path


def expand(
    inputs: Sequence[str], *, recursive: bool, nul: bool, stdin: BinaryIO | None = None
) -> list[Source]:
    """Expands inputs to videos, in the order given, each once; those of a folder by name.

    Args:
        inputs: A file, a folder, a pattern, @LIST (a file with one path per line), or - (paths
            on stdin). Paths in a list are relative to the working folder.
        recursive: Include subfolders.
        nul: Paths on stdin and in lists end with a NUL byte, as from `find -print0`.
        stdin: Where - reads from.

    Raises:
        OptionError: An input yields no video, or a list cannot be read.
    """
    found: dict[str, Source] = {}
    for text in inputs:
        if text == STDIN:
            sources = _listed(stdin.read() if stdin else b"", nul, "stdin")
        elif text.startswith(LIST) and not os.path.exists(text):
            sources = _listed(_read(text[1:]), nul, text[1:])
        elif os.path.isdir(text):
            sources = _in_folder(text, recursive)
        elif glob.has_magic(text) and not os.path.lexists(text):
            sources = _matching(text)
        else:
            sources = [Source(text, Path(os.path.basename(text)))]
        for source in sources:
            found.setdefault(os.path.abspath(source.path), source)
    return list(found.values())


def names_one(inputs: Sequence[str]) -> bool:
    """True if the inputs are a single file given by name, so that -o may name a file too."""
    if len(inputs) != 1:
        return False
    text = inputs[0]
    listed = text == STDIN or (text.startswith(LIST) and not os.path.exists(text))
    pattern = glob.has_magic(text) and not os.path.lexists(text)
    return not (listed or pattern or os.path.isdir(text))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OptionError(f"The list {path} cannot be read: {error.strerror}.") from error


def _listed(data: bytes, nul: bool, name: str) -> list[Source]:
    """Returns the paths of a list, relative to their common folder.

    Raises:
        OptionError: There is none, or the list is not text.
    """
    try:
        paths = _paths(data, nul)
    except UnicodeError as error:
        raise OptionError(f"{name} is not text in UTF-8 or UTF-16 ({error}).") from error
    if not paths:
        raise OptionError(f"No path was read from {name}." if name == "stdin" else
                          f"The list {name} contains no path.")  # fmt: skip
    if any("\n" in path and not os.path.exists(path) for path in paths):
        raise OptionError(
            f"A path on {name} contains line breaks and does not exist.",
            "With -0, paths end with a NUL byte, as from `find -print0`; omit -0 for lines.",
        )
    return _below_common(paths)


def _paths(data: bytes, nul: bool) -> list[str]:
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # from > in Windows PowerShell
        data = os.fsencode(data.decode("utf-16"))
    if nul:
        return [os.fsdecode(part) for part in data.split(b"\0") if part]
    lines = (line.rstrip(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    return [os.fsdecode(line) for line in lines if line.strip() and not line.startswith(b"#")]


def _below_common(paths: Sequence[str]) -> list[Source]:
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # on several drives
        return [Source(path, Path(os.path.basename(path))) for path in paths]
    return [Source(path, Path(os.path.relpath(os.path.abspath(path), common))) for path in paths]


def _is_video(name: str) -> bool:
    # macOS leaves "._clip.mp4" beside each file it copies to other disks
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not name.startswith(".")


def _in_folder(folder: str, recursive: bool) -> list[Source]:
    """Returns the videos of a folder by name, each folder's own before its subfolders'."""
    sources, deeper = [], 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        videos = sorted(filter(_is_video, names))
        if place != folder and not recursive:
            deeper += len(videos)
            continue
        for name in videos:
            path = os.path.join(place, name)
            sources.append(Source(path, Path(os.path.relpath(path, folder))))
    if not sources and deeper:
        raise OptionError(
            f"{folder} itself contains no video; its subfolders contain {deeper}.",
            "Add -r to include subfolders.",
        )
    if not sources:
        raise OptionError(
            f"{folder} contains no video.",
            f"Files that end in {' '.join(sorted(VIDEO_SUFFIXES))} count as videos; give others by "
            "name.",
        )
    return sources


def _matching(pattern: str) -> list[Source]:
    """Returns the files that a pattern matches, relative to its part without wildcards."""
    # a dangling link is kept, and reported as a failure
    paths = sorted(path for path in glob.glob(pattern, recursive=True) if not os.path.isdir(path))
    if not paths:
        raise OptionError(f"No file matches {pattern}.")
    fixed: list[str] = []
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    root = os.path.join(*fixed) if fixed else "."
    return [Source(path, Path(os.path.relpath(path, root))) for path in paths]
