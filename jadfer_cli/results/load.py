"""Open one result: check that it is one, read its metadata, and its rows on request."""

from __future__ import annotations

import difflib
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
