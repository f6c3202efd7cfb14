"""Find results, and report Parquet files that are not results."""

from __future__ import annotations

import enum
import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jadfer_cli.analysis.failures import Failure, failures_beside, failures_in
from jadfer_cli.errors import DamagedResult, ResultError
from jadfer_cli.results.companions import COMPANIONS
from jadfer_cli.results.load import SUFFIX, Result, load
from jadfer_cli.results.members import is_collected, members
from jadfer_cli.results.parquet import read_attrs, read_schema
from jadfer_cli.results.paths import result_of_parts
from jadfer_cli.text import without_subject

TABLE_KEY = "jadfer_table"  # in the attrs of tables that jadfer wrote from results
_COMPANION_SUFFIXES = tuple(f".{name}{SUFFIX}" for name in COMPANIONS)


class SkipReason(enum.Enum):
    """Why a file is not among the results found."""

    DAMAGED = "not a readable Parquet file"
    CHANGED = "a result that is damaged or was changed"
    FOREIGN = "not a result of jadfer annotate"
    COLLECTED = "a dataset of jadfer collect"
    UNFINISHED = "a result being written, or left by a killed run"


@dataclass(frozen=True)
class SkippedFile:
    """A Parquet file that is not a result.

    Attributes:
        path: The file; of an unfinished result, the file that it will become.
        reason: Why it was skipped.
        error: What opening it as a result raised.
    """

    path: Path
    reason: SkipReason
    error: ResultError

    @property
    def is_damaged(self) -> bool:
        """Whether it may have been a result, so that a video is missing without it."""
        return self.reason in (SkipReason.DAMAGED, SkipReason.CHANGED)


@dataclass(frozen=True)
class FoundResults:
    """The results that the user's inputs stand for.

    Attributes:
        results: In the order of the inputs, each once; those of a folder sorted by name.
        skipped: All other Parquet files found, except landmarks and actions.
        root: The deepest folder that holds all inputs.
        failures: Videos of the same batches that failed; of one result alone, none.
    """

    results: tuple[Result, ...]
    skipped: tuple[SkippedFile, ...]
    root: Path
    failures: tuple[Failure, ...] = ()

    def relative_path(self, result: Result) -> Path:
        """The path of a result below `root`."""
        return Path(os.path.relpath(result.path, self.root))


def find_results(
    inputs: Sequence[str], *, recursive: bool = False, strict: bool = True, datasets: bool = True
) -> FoundResults:
    """Finds results and opens them.

    A dataset of `jadfer collect` stands for the results in it. But where there are also results
    in files of their own, as in the collected folder, the datasets found there are skipped.

    Args:
        inputs: Files, folders and patterns. In folders and patterns, files that are not results
            are skipped. A file named by the user must be a result; but a shell expands
            *.parquet to landmarks and tables as well, so these are skipped among several files.
        recursive: Include subfolders.
        strict: Every folder and pattern must hold a result. If False, one result in all is
            enough.
        datasets: Open datasets of `jadfer collect`. If False, they are skipped.

    Raises:
        ResultError: A named file is missing, damaged or not a result; or nothing was found; or
            the inputs lie on several drives.
    """
    results: dict[str, Result] = {}
    skipped: dict[str, SkippedFile] = {}
    collected: dict[str, tuple[Path, bool]] = {}  # datasets, and whether the user named them
    alone = len(inputs) == 1
    for text in inputs:
        is_named = not (os.path.isdir(text) or _is_pattern(text))
        n_results = 0
        for path in [Path(text)] if is_named else _candidates(text, recursive):
            if is_companion(path) and not (is_named and alone):
                continue
            key = os.path.abspath(path)
            if key not in results and key not in skipped:
                opened = _open(path)
                if isinstance(opened, Result):
                    results[key] = opened
                elif opened.reason is SkipReason.COLLECTED and datasets:
                    collected.setdefault(key, (path, is_named))
                elif is_named and (alone or not _is_by_product(opened)):
                    raise opened.error
                else:
                    skipped[key] = opened
            n_results += key in results or key in collected
        if strict and not is_named and not n_results:
            raise _nothing_found([text], list(skipped.values()), recursive)
    failed_earlier = _add_datasets(results, skipped, collected)
    if not results:
        raise _nothing_found(inputs, list(skipped.values()), recursive)
    root = _common_folder(inputs)
    failures = (*_failures(inputs, recursive), *failed_earlier)
    return FoundResults(tuple(results.values()), tuple(skipped.values()), root, failures)


def _failures(inputs: Sequence[str], recursive: bool) -> tuple[Failure, ...]:
    """The videos that failed in the folders of the inputs; none for a single file."""
    if len(inputs) == 1 and not (os.path.isdir(inputs[0]) or _is_pattern(inputs[0])):
        return ()
    folders = {Path(_root(text)).absolute() for text in inputs}
    return tuple(
        failure
        for failure in failures_beside(sorted(folders))
        if recursive or failure.result.parent in folders
    )


def _add_datasets(
    results: dict[str, Result],
    skipped: dict[str, SkippedFile],
    collected: dict[str, tuple[Path, bool]],
) -> list[Failure]:
    """Adds the results in datasets; of copies of one result, only the first counts.

    Returns:
        The videos that had failed when the results were collected.
    """
    # by video and reason: each file of a folder lists all
    failed: dict[tuple[str, str], Failure] = {}
    only_datasets = not results
    known = {_identity(result) for result in results.values()}
    for key, (path, is_named) in collected.items():
        if not (only_datasets or is_named):
            skipped[key] = SkippedFile(path, SkipReason.COLLECTED, _beside_results(path))
            continue
        for member in members(path):
            if _identity(member) not in known:
                results[os.path.abspath(member.path)] = member
        known |= {_identity(result) for result in results.values()}
        for failure in failures_in(path, read_attrs(path)["jadfer"]):
            failed.setdefault((failure.path, failure.reason), failure)
    return list(failed.values())


def _identity(result: Result) -> tuple[object, ...]:
    """What a result shares with its copies only: video, settings' outcome and time of its run."""
    created, sha256 = result.metadata.get("created"), result.metadata["video"].get("sha256")
    return (
        created,
        sha256,
        result.n_rows,
        json.dumps(result.metadata.get("options"), sort_keys=True),
    )


def _beside_results(path: Path) -> ResultError:
    return ResultError(f"{path} is a dataset of jadfer collect beside results.")


def is_result(path: Path) -> bool:
    """Whether a file is a readable result of `jadfer annotate`."""
    if path.suffix != SUFFIX or not path.is_file():
        return False
    try:
        load(path)
    except ResultError:
        return False
    return True


def is_companion(path: Path) -> bool:
    """Whether a file holds landmarks or actions of a result or dataset in the same folder."""
    for suffix in _COMPANION_SUFFIXES:
        if path.name.endswith(suffix):
            stem = path.name.removesuffix(suffix)
            return path.with_name(stem + SUFFIX).exists() or path.with_name(stem).is_dir()
    return False


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def _candidates(text: str, recursive: bool) -> Iterator[Path]:
    """The Parquet files in a folder or matching a pattern, and the folders of unfinished ones."""
    if os.path.isdir(text):
        folder = Path(text)
        paths = sorted(folder.rglob("*") if recursive else folder.glob("*"))
        # macOS leaves a "._clip.parquet" beside each file that it copies to another disk
        hidden = [any(p.startswith(".") for p in path.relative_to(folder).parts) for path in paths]
    else:
        paths = sorted(map(Path, glob.glob(text, recursive=True)))
        hidden = [path.name.startswith(".") for path in paths]
    for path, is_hidden in zip(paths, hidden, strict=True):
        if not is_hidden and path.suffix == SUFFIX and path.is_file():
            yield path
        elif (result := result_of_parts(path)) is not None and not result.exists():
            yield path


def _open(path: Path) -> Result | SkippedFile:
    try:
        return load(path)
    except ResultError as error:
        if (result := result_of_parts(path)) is not None:
            return SkippedFile(result, SkipReason.UNFINISHED, error)
        if is_collected(path):
            return SkippedFile(path, SkipReason.COLLECTED, error)
        if isinstance(error, DamagedResult):
            return SkippedFile(path, SkipReason.CHANGED, error)
        reason = SkipReason.FOREIGN if _is_parquet(path) else SkipReason.DAMAGED
        return SkippedFile(path, reason, error)


def _is_by_product(file: SkippedFile) -> bool:
    """Return whether jadfer wrote it next to results, where a shell's *.parquet matches it."""
    return file.reason is SkipReason.COLLECTED or TABLE_KEY in _attrs(file.path)


def _is_parquet(path: Path) -> bool:
    try:
        read_schema(path)
    except (OSError, ValueError):  # pyarrow's errors are ValueErrors
        return False
    return True


def _attrs(path: Path) -> dict[str, Any]:
    """What pandas would give as .attrs; empty if the file has none or cannot be read."""
    try:
        return read_attrs(path)
    except (OSError, ValueError):
        return {}


def _common_folder(inputs: Sequence[str]) -> Path:
    """The deepest folder that holds all inputs.

    Raises:
        ResultError: There is none, because they lie on several drives of Windows.
    """
    try:
        return Path(os.path.commonpath([os.path.abspath(_root(text)) for text in inputs]))
    except ValueError as error:
        raise ResultError(
            "The results lie on several drives, so they have no folder in common.",
            "Name those of one drive at a time, or copy them to one drive.",
        ) from error


def _root(text: str) -> str:
    """The folder that holds all results of an input."""
    if os.path.isdir(text) or is_collected(Path(text)):
        return text
    fixed = Path(text)
    while _is_pattern(str(fixed)):
        fixed = fixed.parent
    return str(fixed if fixed.is_dir() else fixed.parent)


def _nothing_found(
    inputs: Sequence[str], skipped: Sequence[SkippedFile], recursive: bool
) -> ResultError:
    hint = None
    folders = [Path(text) for text in inputs if os.path.isdir(text)]
    if not recursive and any(is_result(p) for f in folders for p in _candidates(str(f), True)):
        hint = "Subfolders hold some: add `recursive`."
    elif failures := _failures(inputs, recursive):
        first = failures[0]
        hint = f"{first.path} failed: {without_subject(first.reason, first.path)}"
    elif skipped:
        hint = f"Skipped {skipped[0].path}: {skipped[0].reason.value}."
    return ResultError(f"{', '.join(inputs)}: no result of jadfer annotate found.", hint)
