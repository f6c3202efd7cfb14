"""Finished results, found and read: what every command that works on rows begins with."""

from __future__ import annotations

import difflib
import glob
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from jadfer_cli.errors import OptionError, ResultError
from jadfer_cli.labels import BY_NAME
from jadfer_cli.results.parquet import ATTRS_KEY
from jadfer_cli.results.paths import landmark_path
from jadfer_cli.results.schema import probability_columns

SUFFIX = ".parquet"
TABLE_KEY = "jadfer_table"  # in the attrs of tables that jadfer wrote from results
COLLECTED = "collected"  # the metadata of a dataset of many videos have this entry
_NEEDED = ("video", "frame", "time_s", "duration_s", "face_detected", "track_id", "expression")


@dataclass(frozen=True)
class Result:
    """One result file: its metadata, and its rows on request.

    Attributes:
        path: The Parquet file.
        metadata: What is stored under "jadfer".
        columns: Names of its columns.
        n_rows: How many rows it has.
    """

    path: Path
    metadata: dict[str, Any]
    columns: tuple[str, ...]
    n_rows: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels, in the order of the probability columns."""
        return tuple(self.metadata["labels"])

    @property
    def probabilities(self) -> tuple[str, ...]:
        """The probability columns: p_neutral, ..."""
        return probability_columns(self.labels)

    @property
    def name(self) -> str:
        """A short name for tables and pictures: the result's file name without its ending."""
        return self.path.stem

    def labels_meant(self, names: Sequence[str]) -> tuple[str, ...]:
        """The labels that a user's names mean, in the model's order, each once.

        Args:
            names: Labels, or words for them such as happy.

        Raises:
            OptionError: The model has no such label.
        """
        meant = set()
        for name in names:
            plain = name.strip().lower()
            label = name if name in self.labels else BY_NAME.get(plain, plain)
            if label not in self.labels:
                raise OptionError(
                    f"--expression {name}: {self.path} has no such label.", self._labels_near(plain)
                )
            meant.add(label)
        return tuple(label for label in self.labels if label in meant)

    def _labels_near(self, name: str) -> str:
        """What may have been meant, and what there is."""
        if "," in name:
            return "Several are given one by one: --expression happy --expression sad."
        near = difflib.get_close_matches(name, [*self.labels, *BY_NAME], 1)
        label = BY_NAME.get(near[0], near[0]) if near else None
        first = f"Did you mean {label}? " if label in self.labels else ""
        return f"{first}It has {', '.join(self.labels)}."

    def rows(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Its rows, sorted by frame and track; all columns, or those named.

        Raises:
            ResultError: The file is damaged or gone.
        """
        try:
            found = pd.read_parquet(self.path, columns=None if columns is None else list(columns))
        except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
            raise _unreadable(self.path, error) from error
        return found


def load(path: str | os.PathLike[str]) -> Result:
    """Opens one result and reads its metadata, not its rows.

    Raises:
        ResultError: There is none, it is damaged, or jadfer did not write it.
    """
    path = Path(path)
    try:
        with pq.ParquetFile(path) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
    except FileNotFoundError as error:
        raise ResultError(f"There is no file {path}.", _hint_for_missing(path)) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    try:
        metadata = json.loads((schema.metadata or {})[ATTRS_KEY])["jadfer"]
    except (KeyError, ValueError, TypeError) as error:
        raise ResultError(
            f"{path} is no result of jadfer annotate: it holds none of its metadata.",
            "Name files that `jadfer annotate` wrote; other programs that write Parquet anew drop "
            "the metadata.",
        ) from error
    if COLLECTED in metadata:
        raise ResultError(
            f"{path} is a dataset of {metadata[COLLECTED]['videos']:,} videos, made by `jadfer "
            "collect`, not the result of one.",
            "Name the results that it was made of, or their folder; pandas reads the dataset.",
        )
    missing = [name for name in _NEEDED if name not in schema.names]
    if missing:
        raise ResultError(
            f"{path} has no rows of jadfer annotate: {', '.join(missing)} are missing.",
            "A file of landmarks has none; name the result beside it."
            if path.name.endswith(landmark_path(Path("x.parquet")).name[1:])
            else "Annotate the video again.",
        )
    return Result(path, metadata, tuple(schema.names), n_rows)


def find(inputs: Sequence[str], *, recursive: bool = False) -> list[Path]:
    """The result files that inputs mean, in their order, each once; those of a folder by name.

    Args:
        inputs: Files, folders and patterns. What a folder or a pattern holds beside results
            (landmarks, tables, parts, other Parquet) is left out; a file that is named is taken.
        recursive: Take folders with all below them.

    Raises:
        ResultError: An input means no result.
    """
    found: dict[str, Path] = {}
    for text in inputs:
        if os.path.isdir(text):
            paths = _in_folder(Path(text), recursive)
        elif glob.has_magic(text) and not os.path.lexists(text):
            paths = sorted(p for p in map(Path, glob.glob(text, recursive=True)) if is_result(p))
            if not paths:
                raise ResultError(f"No result of jadfer annotate matches {text}.")
        elif not os.path.exists(text):
            raise ResultError(f"There is no file {text}.", _hint_for_missing(Path(text)))
        elif len(inputs) > 1 and _is_beside_results(Path(text)):
            continue  # *.parquet in a shell means landmarks and our tables, too
        else:
            paths = [Path(text)]
        for path in paths:
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def damaged(inputs: Sequence[str], *, recursive: bool = False) -> list[Path]:
    """Files in folders that are named like results and cannot be read; `find` leaves them out.

    Args:
        inputs: As for `find`; only folders among them count.
        recursive: Take folders with all below them.
    """
    return [
        path
        for folder in inputs
        if os.path.isdir(folder)
        for path in _named_like_results(Path(folder), recursive)
        if not _is_parquet(path)
    ]


def _is_parquet(path: Path) -> bool:
    try:
        pq.read_schema(path)
    except (OSError, ValueError):
        return False
    return True


def is_result(path: Path) -> bool:
    """Whether a file is a readable result of jadfer annotate."""
    # macOS leaves "._clip.parquet" beside each file it copies to other disks
    if path.suffix != SUFFIX or path.name.startswith(".") or not path.is_file():
        return False
    try:
        load(path)
    except ResultError:
        return False
    return True


def is_collected(path: Path) -> bool:
    """Whether a file is one that `jadfer collect` made, of many results."""
    metadata = _attrs(path).get("jadfer")
    return isinstance(metadata, dict) and COLLECTED in metadata


def is_landmarks(path: Path) -> bool:
    """Whether this is the file of landmarks that lies beside a result."""
    result = path.with_name(path.name.removesuffix(".landmarks.parquet") + SUFFIX)
    return path.name.endswith(".landmarks.parquet") and result.exists()


def _is_beside_results(path: Path) -> bool:
    """Whether this is a file of landmarks beside its result, or a table that jadfer wrote."""
    return is_landmarks(path) or TABLE_KEY in _attrs(path)


def _attrs(path: Path) -> dict[str, Any]:
    """What pandas would give as .attrs; empty where there is nothing of the kind."""
    try:
        found = json.loads((pq.read_schema(path).metadata or {})[ATTRS_KEY])
    except (OSError, KeyError, ValueError, TypeError):  # pyarrow's errors are ValueErrors
        return {}
    return found if isinstance(found, dict) else {}


def _in_folder(folder: Path, recursive: bool) -> list[Path]:
    paths = [path for path in _named_like_results(folder, recursive) if is_result(path)]
    if paths:
        return paths
    deeper = not recursive and any(is_result(p) for p in folder.rglob("*" + SUFFIX))
    raise ResultError(
        f"{folder} holds no result of jadfer annotate.",
        "Its subfolders do: give -r to take them, too." if deeper else None,
    )


def _named_like_results(folder: Path, recursive: bool) -> list[Path]:
    inside = folder.rglob("*" + SUFFIX) if recursive else folder.glob("*" + SUFFIX)
    return [p for p in sorted(inside) if not _hidden(p.relative_to(folder)) and p.is_file()]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _unreadable(path: Path, error: Exception) -> ResultError:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ValueError):
        return ResultError(f"{path} cannot be read: {error.strerror}.")
    if path.is_dir():
        return ResultError(f"{path} is a folder.", "Name a .parquet file that lies in it.")
    if path.suffix != SUFFIX:  # mostly the video, or the sidecar of the result
        beside = path.with_suffix(SUFFIX)
        return ResultError(
            f"{path} is no result of jadfer annotate.",
            f"Did you mean {beside}?"
            if beside.exists()
            else f"Of a video, `jadfer annotate {path} -o {beside.name}` makes one.",
        )
    return ResultError(
        f"{path} is no readable Parquet file.",
        "It may be cut short, or something else; annotate the video again, or copy it again.",
    )


def _hint_for_missing(path: Path) -> str | None:
    if path.with_suffix(SUFFIX).exists() and path.suffix != SUFFIX:
        return f"Did you mean {path.with_suffix(SUFFIX)}?"
    return "Results are the .parquet files that `jadfer annotate` wrote."
