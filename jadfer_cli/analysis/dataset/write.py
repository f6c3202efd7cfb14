"""One dataset of many results, written as a stream: a file, or a folder with one a video."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.analysis.dataset.check import Agreed, Source, model_name
from jadfer_cli.analysis.find import is_collected, is_result
from jadfer_cli.common import atomic_write, check_writable, explain_os_errors
from jadfer_cli.errors import OptionError, OutputError, ResultError
from jadfer_cli.results.load import COLLECTED, SUFFIX, Result
from jadfer_cli.results.parquet import ATTRS_KEY

_ROWS_A_GROUP = 50_000  # as in single results: some 5 MB in memory
_PANDAS_KEY = b"pandas"
_OF_ONE_VIDEO = ("video", "counts", "warnings", "created", "wall_s", "frames_per_s")
_MODEL_COLUMN = "model"
Each = Callable[[Sequence[Source]], Iterable[Source]]


def is_folder(out: str) -> bool:
    """Whether -o means a folder with a file a video: it does not end in .parquet."""
    return Path(out).suffix != SUFFIX or Path(out).is_dir()


def check_out(out: Path, *, folder: bool, overwrite: bool) -> None:
    """Checks early that a dataset may be written; only an earlier one is ever replaced.

    Raises:
        OptionError: There is a dataset, and `overwrite` is off.
        OutputError: There is something else, or it cannot be written.
    """
    with explain_os_errors(out):
        if folder:
            _take_back(out)
        if folder and out.is_dir():
            files = [path for path in out.rglob("*") if not path.is_dir()]
            ours, there = all(map(is_collected, files)), bool(files)
        else:
            check_writable(out)
            ours, there = is_collected(out), out.exists()
    if there and not ours:
        what = "a result of jadfer annotate" if is_result(out) else "no dataset of jadfer collect"
        raise OutputError(
            f"{out} exists and is {what}, so it is not replaced.", "Choose another name with -o."
        )
    if there and not overwrite:
        raise OptionError(
            f"{out} exists already.", "Add --overwrite to replace it, or choose another -o."
        )


def write_file(agreed: Agreed, out: Path, each: Each = iter) -> int:
    """Writes all rows into one Parquet file, whole or not at all.

    Args:
        agreed: The results.
        out: The file; check it with `check_out`.
        each: Gives the results one by one, and may show progress.

    Returns:
        How many rows it has.

    Raises:
        ResultError: A result is damaged, or changed meanwhile.
        OutputError: The file cannot be written.
    """
    schema = _Head(agreed).schema(agreed.sources)
    pending: list[pa.Table] = []
    n_pending = n_rows = 0
    with atomic_write(out) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for source in each(agreed.sources):
            for table in _tables(source, schema):
                # a row group never takes a part of a table: filters on `video` skip groups
                if n_pending and n_pending + len(table) > _ROWS_A_GROUP:
                    _write_group(writer, pending)
                    pending, n_pending = [], 0
                pending.append(table)
                n_pending += len(table)
                n_rows += len(table)
        _write_group(writer, pending)
    return n_rows


def write_folder(agreed: Agreed, out: Path, each: Each = iter) -> int:
    """Writes a folder with a Parquet file a video, whole or not at all.

    All files have the same columns, so that a folder reads as one table. Arguments, result and
    errors are those of `write_file`.
    """
    making = _making(out)
    part, old = making / "new", making / "old"
    head, width = _Head(agreed), len(str(len(agreed.sources)))
    n_rows = 0
    try:
        with explain_os_errors(out):
            _take_back(out)
            part.mkdir(parents=True)
            for i, source in enumerate(each(agreed.sources), 1):
                # numbered: names of several folders stay apart, and by name is in order
                name = f"{i:0{width}}-{Path(source.below).stem}{SUFFIX}"
                schema = head.schema([source])
                with pq.ParquetWriter(part / name, schema, compression="zstd") as writer:
                    for table in _tables(source, schema):
                        _write_group(writer, [table])
                        n_rows += len(table)
            if out.exists():
                out.rename(old)
            part.rename(out)
            shutil.rmtree(making, ignore_errors=True)
    except BaseException:
        with contextlib.suppress(OSError):
            _take_back(out)
        raise
    return n_rows


def _making(out: Path) -> Path:
    """Where a folder is written, and what it replaces is put aside: a name that is only ours."""
    return out.with_name(f".{out.name}.collecting")


def _take_back(out: Path) -> None:
    """Removes what a run left that did not end; the dataset that it put aside comes back."""
    making = _making(out)
    old = making / "old"
    if old.exists() and not out.exists():
        old.rename(out)
    if making.exists():
        shutil.rmtree(making)


class _Head:
    """Columns and metadata that all files of a dataset have.

    Where several models are mixed, the columns are those of all, null where a model has no such
    label, and a column `model` says which one it was.
    """

    def __init__(self, agreed: Agreed) -> None:
        results = [source.result for source in agreed.sources]
        self._columns = _columns(results)
        if agreed.mixed:
            self._columns = _with_model(self._columns)
        self._shared, self._differs = _shared([result.metadata for result in results])
        labels = dict.fromkeys(label for result in results for label in result.labels)
        self._shared |= {
            "labels": list(labels),
            COLLECTED: {
                "videos": len(results),
                "rows": sum(result.n_rows for result in results),
                "differs": self._differs,
                "warnings": list(agreed.warnings),
            },
        }

    def schema(self, sources: Sequence[Source]) -> pa.Schema:
        """The schema of a file that stores some sources, with its metadata."""
        stored = {"sources": [_described(source, self._differs) for source in sources]}
        attrs = json.dumps({"jadfer": self._shared | stored}, ensure_ascii=False).encode()
        return self._columns.with_metadata({**self._columns.metadata, ATTRS_KEY: attrs})


def _columns(results: Sequence[Result]) -> pa.Schema:
    """The columns of all results, with the pandas metadata that keep Int32 and boolean."""
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
    """The rows of a result, some at a time, in the dataset's columns.

    Raises:
        ResultError: It is damaged, or has other rows than when it was opened.
    """
    path, n_rows = source.result.path, 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_A_GROUP):
                n_rows += len(batch)
                yield _fitted(pa.Table.from_batches([batch]), source, schema)
    except (OSError, pa.ArrowException) as error:
        raise ResultError(
            f"{path} cannot be read to its end: {error}.", "Annotate the video again, or copy it."
        ) from error
    if n_rows != source.result.n_rows:
        raise ResultError(f"{path} changed while it was read.", "Run the command again.")


def _fitted(table: pa.Table, source: Source, schema: pa.Schema) -> pa.Table:
    """Rows with the dataset's columns and name of the video."""
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
    """What the metadata of all results have alike, and the names of what differs."""
    flat = [dict(_flat({k: v for k, v in m.items() if k not in _OF_ONE_VIDEO})) for m in metadata]
    names = dict.fromkeys(name for each in flat for name in each)
    alike: dict[str, Any] = {}
    differs = []
    for name in names:
        values = [each.get(name) for each in flat]
        if any(value != values[0] for value in values):
            differs.append(".".join(name))
            continue
        place = alike
        for part in name[:-1]:
            place = place.setdefault(part, {})
        place[name[-1]] = values[0]
    return alike, differs


def _flat(found: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for key, value in found.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, (*above, key))
        else:
            yield (*above, key), value


def _described(source: Source, differs: Sequence[str]) -> dict[str, Any]:
    """What a dataset stores of one source."""
    metadata = source.result.metadata
    flat = {".".join(name): value for name, value in _flat(metadata)}
    return {
        "result": source.below,
        "video": source.video,
        "path": metadata["video"]["path"],
        "sha256": metadata["video"].get("sha256"),
        "rows": source.result.n_rows,
        "counts": metadata["counts"],
        "duration_s": metadata["video"]["duration_s"],
        "created": metadata["created"],
        "warnings": metadata["warnings"],
        "settings": {name: flat.get(name) for name in differs},
    }
