"""Write the rows of many results into one dataset: a file, or a folder with one per video."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.analysis.dataset.check import Dataset, Source, model_name
from jadfer_cli.analysis.dataset.tree import file_names
from jadfer_cli.analysis.find import is_result
from jadfer_cli.common import already_exists, atomic_write, check_writable, explain_os_errors
from jadfer_cli.errors import OutputError, ResultError
from jadfer_cli.results.collected import COLLECTED, PER_VIDEO, flat, source_entry
from jadfer_cli.results.load import SUFFIX, Result
from jadfer_cli.results.members import is_collected
from jadfer_cli.results.parquet import ATTRS_KEY

_ROWS_PER_GROUP = 50_000  # as in single results: about 5 MB in memory
_PANDAS_KEY = b"pandas"
_MODEL_COLUMN = "model"
Progress = Callable[[Sequence[Source]], Iterable[Source]]


def is_folder(out: str) -> bool:
    """Whether -o names a folder with one file per video: it does not end in .parquet."""
    return Path(out).suffix != SUFFIX or Path(out).is_dir()


def check_out(out: Path, *, folder: bool, overwrite: bool) -> None:
    """Check early that a dataset may be written; only an earlier dataset is ever replaced.

    Raises:
        OptionError: A dataset exists, and `overwrite` is off.
        OutputError: Something else exists, or `out` cannot be written.
    """
    with explain_os_errors(out):
        if folder:
            _undo(out)
        if folder and out.is_dir():
            files = [path for path in out.rglob("*") if not path.is_dir()]
            exists, is_dataset = bool(files), all(map(is_collected, files))
        else:
            check_writable(out)
            exists, is_dataset = out.exists(), is_collected(out)
    if exists and not is_dataset:
        what = "a result of jadfer annotate" if is_result(out) else "not a dataset"
        raise OutputError(
            f"{out} exists and is {what}, so it is not replaced.", "Choose another name with `out`."
        )
    if exists and not overwrite:
        raise already_exists(out)


def write_file(dataset: Dataset, out: Path, progress: Progress = iter) -> int:
    """Write all rows into one Parquet file, atomically.

    Args:
        dataset: The results.
        out: The file; check it with `check_out`.
        progress: Yields the sources one by one, and may show progress.

    Returns:
        The number of rows.

    Raises:
        ResultError: A result is damaged, or changed since it was opened.
        OutputError: The file cannot be written.
    """
    schema = _Header(dataset).schema(dataset.sources)
    pending: list[pa.Table] = []
    n_pending = n_rows = 0
    with atomic_write(out) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for source in progress(dataset.sources):
            for table in _tables(source, schema):
                # never split a table between row groups, so that filters on `video` skip groups
                if n_pending and n_pending + len(table) > _ROWS_PER_GROUP:
                    _write_group(writer, pending)
                    pending, n_pending = [], 0
                pending.append(table)
                n_pending += len(table)
                n_rows += len(table)
        _write_group(writer, pending)
    return n_rows


def write_folder(
    dataset: Dataset, out: Path, progress: Progress = iter, *, hive: Sequence[str] = ()
) -> int:
    """Write a folder with one Parquet file per video, atomically.

    All files have the same columns, so the folder reads as one table. The folders of the results
    are kept. Other arguments, return value and errors are those of `write_file`.

    Args:
        dataset: The results.
        out: The folder; check it with `check_out`.
        progress: Yields the sources one by one, and may show progress.
        hive: A name for each level of folders: with "day", the folder day1 becomes "day=day1",
            which readers of Parquet turn into a column.

    Raises:
        OptionError: A result does not lie in as many folders as `hive` names.
    """
    names = file_names([source.relative_path for source in dataset.sources], hive)
    temporary = _temporary_folder(out)
    new, old = temporary / "new", temporary / "old"
    header = _Header(dataset)
    n_rows = 0
    try:
        with explain_os_errors(out):
            _undo(out)
            new.mkdir(parents=True)
            for source in progress(dataset.sources):
                name = names[source.relative_path]
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                schema = header.schema([source])
                with pq.ParquetWriter(new / name, schema, compression="zstd") as writer:
                    for table in _tables(source, schema):
                        _write_group(writer, [table])
                        n_rows += len(table)
            if out.exists():
                out.rename(old)
            new.rename(out)
            shutil.rmtree(temporary, ignore_errors=True)
    except BaseException:
        with contextlib.suppress(OSError):
            _undo(out)
        raise
    return n_rows


def _temporary_folder(out: Path) -> Path:
    """Where a dataset is written, and where the one that it replaces is kept until then."""
    return out.with_name(f".{out.name}.collecting")


def _undo(out: Path) -> None:
    """Remove what an interrupted run left, and restore the dataset that it was replacing."""
    temporary = _temporary_folder(out)
    old = temporary / "old"
    if old.exists() and not out.exists():
        old.rename(out)
    if temporary.exists():
        shutil.rmtree(temporary)


class _Header:
    """The columns and metadata that all files of a dataset share.

    With several models, the columns are those of all of them, null where a model lacks the label,
    and a column `model` names the model of each row.
    """

    def __init__(self, dataset: Dataset) -> None:
        results = [source.result for source in dataset.sources]
        self._columns = _columns(results)
        if dataset.mixed:
            self._columns = _with_model(self._columns)
        self._shared, self._differs = _shared([result.metadata for result in results])
        labels = dict.fromkeys(label for result in results for label in result.labels)
        self._shared |= {
            "labels": list(labels),
            COLLECTED: {
                "videos": len(results),
                "rows": sum(result.n_rows for result in results),
                "differs": self._differs,
                "warnings": list(dataset.warnings),
                "failures": list(dataset.failures),
            },
        }

    def schema(self, sources: Sequence[Source]) -> pa.Schema:
        """The schema, including metadata, of a file that holds these sources."""
        stored = {"sources": [_entry(source, self._differs) for source in sources]}
        attrs = json.dumps({"jadfer": self._shared | stored}, ensure_ascii=False).encode()
        return self._columns.with_metadata({**self._columns.metadata, ATTRS_KEY: attrs})


def _columns(results: Sequence[Result]) -> pa.Schema:
    """The columns of all results, with the pandas metadata that preserves Int32 and boolean."""
    kinds = {result.columns: result.path for result in results}
    fields: dict[str, pa.Field] = {}
    described: dict[str, Any] = {}
    for columns in sorted(kinds, key=len, reverse=True):
        schema = pq.read_schema(kinds[columns])
        pandas = json.loads(schema.metadata[_PANDAS_KEY])
        fields = {field.name: field for field in schema} | fields
        described = {column["name"]: column for column in pandas["columns"]} | described
    pandas["columns"] = [described[name] for name in fields if name in described]
    return pa.schema(list(fields.values()), {_PANDAS_KEY: json.dumps(pandas).encode()})


def _with_model(schema: pa.Schema) -> pa.Schema:
    pandas = json.loads(schema.metadata[_PANDAS_KEY])
    video = next(column for column in pandas["columns"] if column["name"] == "video")
    pandas["columns"].append(video | {"name": _MODEL_COLUMN, "field_name": _MODEL_COLUMN})
    schema = schema.append(schema.field("video").with_name(_MODEL_COLUMN))
    return schema.with_metadata({_PANDAS_KEY: json.dumps(pandas).encode()})


def _tables(source: Source, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a result in batches, with the columns of the dataset.

    Raises:
        ResultError: The result is damaged, or its number of rows changed since it was opened.
    """
    path, n_rows = source.result.path, 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_PER_GROUP):
                n_rows += len(batch)
                yield _with_schema(pa.Table.from_batches([batch]), source, schema)
    except (OSError, pa.ArrowException) as error:
        raise ResultError(
            f"{path} cannot be read to its end: {error}.",
            "Annotate the video again, or copy the file again.",
        ) from error
    if n_rows != source.result.n_rows:
        raise ResultError(f"{path} changed while it was read.", "Run the command again.")


def _with_schema(table: pa.Table, source: Source, schema: pa.Schema) -> pa.Table:
    """The rows with the columns of the dataset, and the name that it gives the video."""
    n = len(table)
    columns = []
    for field in schema:
        if field.name in ("video", _MODEL_COLUMN):
            text = source.video if field.name == "video" else model_name(source.result)
            codes = pa.repeat(pa.scalar(0, pa.int32()), n)
            columns.append(pa.DictionaryArray.from_arrays(codes, pa.array([text], pa.string())))
        elif field.name in table.column_names:
            columns.append(table[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(n, field.type))
    return pa.table(columns, schema=schema)


def _write_group(writer: pq.ParquetWriter, tables: Sequence[pa.Table]) -> None:
    if tables:
        table = pa.concat_tables(tables).unify_dictionaries()
        writer.write_table(table, row_group_size=max(len(table), 1))


def _shared(metadata: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The metadata that all results share, nested, and the names of the rest."""
    every = [dict(flat({k: v for k, v in m.items() if k not in PER_VIDEO})) for m in metadata]
    names = dict.fromkeys(name for each in every for name in each)
    shared: dict[str, Any] = {}
    differs = []
    for name in names:
        values = [each.get(name) for each in every]
        if any(name not in each for each in every) or any(value != values[0] for value in values):
            differs.append(".".join(name))
            continue
        parent = shared
        for key in name[:-1]:
            parent = parent.setdefault(key, {})
        parent[name[-1]] = values[0]
    return shared, differs


def _entry(source: Source, differs: Sequence[str]) -> dict[str, Any]:
    """What the metadata of a dataset say about one source."""
    named = {"result": source.relative_path, "video": source.video, "rows": source.result.n_rows}
    return named | source_entry(source.result.metadata, differs)
