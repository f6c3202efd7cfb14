"""The results that a dataset is made of, and what lies beside them and is none."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from jadfer_cli.errors import ResultError
from jadfer_cli.results.load import SUFFIX, Result, is_collected, is_landmarks, load
from jadfer_cli.results.paths import result_of_parts

DAMAGED, FOREIGN, COLLECTED, UNFINISHED = "damaged", "foreign", "collected", "unfinished"


@dataclass(frozen=True)
class LeftOut:
    """A file that is not taken.

    Attributes:
        path: The file.
        kind: DAMAGED: no readable Parquet; FOREIGN: Parquet of something else; COLLECTED: a
            dataset that was collected before; UNFINISHED: a result that is being written, or
            that a killed run left.
        why: In a sentence.
    """

    path: Path
    kind: str
    why: str


@dataclass(frozen=True)
class Gathered:
    """What the inputs hold.

    Attributes:
        results: The results, in the order of the inputs, each once; those of a folder by name.
        left_out: All other Parquet files that were met.
        root: The folder that holds all inputs; results are named by their place below it.
    """

    results: tuple[Result, ...]
    left_out: tuple[LeftOut, ...]
    root: Path

    def below(self, result: Result) -> Path:
        """The place of a result below the root."""
        return Path(os.path.relpath(result.path, self.root))


def gather(inputs: Sequence[str], *, recursive: bool = True) -> Gathered:
    """Finds and opens results.

    Args:
        inputs: Files, folders and patterns. A file that is named must be a result; what else a
            folder or a pattern holds is left out and told.
        recursive: Take folders with all below them.

    Raises:
        ResultError: A file that is named is missing, damaged or no result; or there is none.
    """
    results: dict[str, Result] = {}
    left_out: dict[str, LeftOut] = {}
    roots: list[str] = []
    for text in inputs:
        named = not (os.path.isdir(text) or _is_pattern(text))
        roots.append(_root(text))
        for path in [Path(text)] if named else _met(text, recursive):
            key = os.path.abspath(path)
            if key in results or key in left_out or is_landmarks(path):
                continue
            try:
                results[key] = load(path)
            except ResultError as error:
                left_out[key] = _sorted_out(path, error)
                if named and left_out[key].kind != COLLECTED:
                    raise
    if not results:
        raise _nothing(inputs, list(left_out.values()))
    root = os.path.commonpath([os.path.abspath(root) for root in roots])
    return Gathered(tuple(results.values()), tuple(left_out.values()), Path(root))


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def _root(text: str) -> str:
    """The folder below which an input's results lie."""
    if os.path.isdir(text):
        return text
    fixed = Path(text)
    while _is_pattern(str(fixed)):
        fixed = fixed.parent
    return str(fixed if fixed.is_dir() else fixed.parent)


def _met(text: str, recursive: bool) -> Iterator[Path]:
    """The Parquet files of a folder or a pattern, finished or not, hidden ones left out."""
    if os.path.isdir(text):
        folder = Path(text)
        found = sorted(folder.rglob("*") if recursive else folder.glob("*"))
        hidden = [any(p.startswith(".") for p in path.relative_to(folder).parts) for path in found]
    else:
        found = sorted(map(Path, glob.glob(text, recursive=True)))
        hidden = [False] * len(found)
    for path, is_hidden in zip(found, hidden, strict=True):
        if not is_hidden and path.suffix == SUFFIX and path.is_file():
            yield path
        elif (result := result_of_parts(path)) is not None and not result.exists():
            yield path


def _sorted_out(path: Path, error: ResultError) -> LeftOut:
    """What a file is that could not be opened as a result."""
    if (result := result_of_parts(path)) is not None:
        return LeftOut(result, UNFINISHED, "a result that is not finished")
    if is_collected(path):
        return LeftOut(path, COLLECTED, "a dataset that was collected before")
    return LeftOut(path, FOREIGN if _is_parquet(path) else DAMAGED, error.message)


def _is_parquet(path: Path) -> bool:
    try:
        pq.read_metadata(path)
    except (OSError, ValueError):
        return False
    return True


def _nothing(inputs: Sequence[str], left_out: Sequence[LeftOut]) -> ResultError:
    hint = None
    if left_out:
        hint = f"Found was {left_out[0].path}: {left_out[0].why.rstrip('.')}."
    return ResultError(f"{', '.join(inputs)}: there is no result of jadfer annotate.", hint)
