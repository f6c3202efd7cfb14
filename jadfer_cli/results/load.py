"""Opens one result: its metadata at once, its rows on request."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.errors import DamagedResult, OptionError, ResultError
from jadfer_cli.labels import BY_NAME
from jadfer_cli.results.collected import COLLECTED
from jadfer_cli.results.companions import COMPANIONS
from jadfer_cli.results.metadata_schema import metadata_problem
from jadfer_cli.results.parquet import attrs_of, refuse_pipe
from jadfer_cli.results.read_checks import column_problem, in_order, row_problem
from jadfer_cli.results.schema import probability_columns
from jadfer_cli.text import count_text

SUFFIX = ".parquet"
_TABLES = (".csv", ".tsv", ".xlsx", ".sav", ".dta")  # what `jadfer convert` writes
_REQUIRED_COLUMNS = (
    "video",
    "frame",
    "time_s",
    "duration_s",
    "face_detected",
    "track_id",
    "expression",
)


@dataclass(frozen=True)
class Result:
    """One result: a file, or a part of a dataset of `jadfer collect`.

    Attributes:
        path: The Parquet file; in a dataset, where it would be if the dataset were a folder.
        metadata: What is stored under "jadfer".
        columns: The names of its columns.
        n_rows: The number of its rows.
        dataset: The file of the dataset; None for a file of its own.
        video: In a dataset, the value of the column `video` in its rows.
    """

    path: Path
    metadata: dict[str, Any]
    columns: tuple[str, ...]
    n_rows: int
    dataset: Path | None = None
    video: str | None = None

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
        """A short name for tables and plots: the file name without its extension."""
        return self.path.stem

    def resolve_labels(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the labels that a user named, in the model's order and without repeats.

        Args:
            names: Labels, or synonyms such as happy.

        Raises:
            OptionError: The model has no such label.
        """
        chosen = set()
        for name in names:
            word = name.strip().lower()
            label = name if name in self.labels else BY_NAME.get(word, word)
            if label not in self.labels:
                raise OptionError(
                    f"`expression` {name}: {self.path} has no such label.", self._label_hint(word)
                )
            chosen.add(label)
        return tuple(label for label in self.labels if label in chosen)

    def _label_hint(self, name: str) -> str:
        if "," in name:
            return "Repeat the option to give several: `expression` happy `expression` sad."
        near = difflib.get_close_matches(name, [*self.labels, *BY_NAME], 1)
        label = BY_NAME.get(near[0], near[0]) if near else None
        first = f"Did you mean {label}? " if label in self.labels else ""
        return f"{first}It has {', '.join(self.labels)}."

    def rows(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read the rows, sorted by frame and track, without `attrs`: see `metadata`.

        pandas would copy the attrs, value by value, whenever a column is taken.

        Args:
            columns: Columns to read; all by default.

        Raises:
            ResultError: The file is missing, or its rows are damaged (`read_checks.row_problem`).
        """
        if missing := [name for name in columns or () if name not in self.columns]:
            raise self._damaged(_missing_text(missing))
        try:
            if self.dataset is not None:
                rows = self._rows_in(self.dataset, list(columns or self.columns))
            else:
                rows = pd.read_parquet(self.path, columns=list(columns or self.columns))
        except (OSError, ValueError, TypeError) as error:  # pyarrow's errors are ValueErrors
            raise _unreadable(self.path, error) from error
        if len(rows) != self.n_rows:
            raise self._damaged(f"it has {count_text(len(rows), 'row')}, not {self.n_rows:,}")
        rows.attrs = {}
        rows = in_order(rows)
        if problem := row_problem(rows, self.labels):
            raise self._damaged(problem)
        return rows

    def _damaged(self, problem: str) -> DamagedResult:
        return damaged(self.path, problem, collected=self.dataset is not None)

    def _rows_in(self, dataset: Path, columns: list[str]) -> pd.DataFrame:
        rows = pd.read_parquet(dataset, columns=columns, filters=[("video", "==", self.video)])
        if "video" in rows:
            # other programs rewrite the dataset with plain texts
            rows["video"] = rows["video"].astype("category").cat.remove_unused_categories()
        return rows


def load(path: str | os.PathLike[str]) -> Result:
    """Open one result and read its metadata, but not its rows.

    Raises:
        ResultError: The file is missing or damaged, or not a result of `jadfer annotate`.
    """
    path = Path(path)
    try:
        refuse_pipe(path)
        with pq.ParquetFile(path) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
    except FileNotFoundError as error:
        raise ResultError(f"There is no file {path}.", _hint_for_missing(path)) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    missing = _missing(schema, _REQUIRED_COLUMNS)
    beside = [name for name in COMPANIONS if path.name.endswith(f".{name}{SUFFIX}")]
    if missing and beside:
        raise ResultError(
            f"{path} lacks columns of a result: {', '.join(missing)}.",
            f"A file of {beside[0]} does not have them; name the result beside it.",
        )
    metadata = _metadata(path, schema)
    if problem := schema_problem(schema, metadata["labels"]):
        raise damaged(path, problem)
    return Result(path, metadata, tuple(schema.names), n_rows)


def schema_problem(schema: pa.Schema, labels: Sequence[str]) -> str | None:
    """Return what is wrong with the columns of a result or dataset, as a clause.

    Args:
        schema: Of the Parquet file.
        labels: The model's labels; in a dataset, those of all models.
    """
    if missing := _missing(schema, (*_REQUIRED_COLUMNS, *probability_columns(labels))):
        return _missing_text(missing)
    return column_problem(schema, labels)


def _missing(schema: pa.Schema, names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in schema.names]


def _missing_text(missing: Sequence[str]) -> str:
    what = "the column {} is missing" if len(missing) == 1 else "the columns {} are missing"
    return what.format(", ".join(missing))


def _metadata(path: Path, schema: pa.Schema) -> dict[str, Any]:
    """Return what is stored under "jadfer", checked against the schema of the metadata."""
    try:
        metadata = attrs_of(schema)["jadfer"]
    except (KeyError, ValueError) as error:
        raise ResultError(
            f"{path} is not a result of jadfer annotate: it has none of its metadata.",
            "Name a file that `jadfer annotate` wrote. Other programs drop the metadata when they "
            "rewrite a Parquet file.",
        ) from error
    if isinstance(metadata, dict) and COLLECTED in metadata:
        collected = metadata[COLLECTED]
        number = collected.get("videos") if isinstance(collected, dict) else None
        raise ResultError(
            f"{path} is a dataset of {number if isinstance(number, int) else 'many'} videos, made "
            "by `jadfer collect`, and not the result of one video.",
            "Name the results it was made from, or their folder. pandas can read the dataset.",
        )
    if problem := metadata_problem(metadata):
        raise damaged(path, f"in its metadata, {problem}")
    checked: dict[str, Any] = metadata
    return checked


def _unreadable(path: Path, error: Exception) -> ResultError:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ValueError):
        return ResultError(f"{path} cannot be read: {error.strerror}.")
    if path.is_dir():
        return ResultError(f"{path} is a folder.", "Name a .parquet file in it.")
    if path.suffix != SUFFIX:  # usually the video or the sidecar
        beside = path.with_suffix(SUFFIX)
        if beside.exists():
            hint = f"Did you mean {beside}?"
        elif path.suffix.lower() in _TABLES:
            hint = (
                "Name the .parquet file from which the table was made. "
                "`jadfer import` reads CSV files of py-feat and OpenFace."
            )
        else:
            hint = f"If it is a video, `jadfer annotate {path} -o {beside.name}` creates a result."
        return ResultError(f"{path} is not a result of jadfer annotate.", hint)
    return ResultError(
        f"{path} is not a readable Parquet file.",
        "It may be truncated or damaged: copy it again, or annotate the video again.",
    )


def damaged(path: Path, problem: str, *, collected: bool = False) -> DamagedResult:
    """Return the error for a result whose content cannot be right.

    Args:
        path: The result.
        problem: What is wrong, as a clause.
        collected: It is a dataset of `jadfer collect`, or a result in one.
    """
    again = "Collect the results again." if collected else "Annotate the video again."
    return DamagedResult(
        f"{path} is damaged or was changed: {problem}.",
        f"{again} To add columns of your own, write them to another file.",
    )


def _hint_for_missing(path: Path) -> str | None:
    if path.with_suffix(SUFFIX).exists() and path.suffix != SUFFIX:
        return f"Did you mean {path.with_suffix(SUFFIX)}?"
    return "Results are the .parquet files that `jadfer annotate` writes."
