"""Finished results in the formats of other programs, with a sidecar that explains the columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jadfer_cli.analysis.actions import COLLECTED as COLLECTED_ACTIONS
from jadfer_cli.analysis.formats.base import Meaning, TextStyle
from jadfer_cli.analysis.formats.other_tools import Tool
from jadfer_cli.analysis.tabular import check_rows, check_target, ending_of, write_pieces
from jadfer_cli.common import already_exists, atomic_write
from jadfer_cli.errors import OutputError, ResultError
from jadfer_cli.labels import ACTION_COLUMNS
from jadfer_cli.records import FRAME_STATUSES, UNUSABLE_REASONS
from jadfer_cli.results.columns import action_descriptions, descriptions_of
from jadfer_cli.results.companions import ACTIONS
from jadfer_cli.results.load import SUFFIX, load
from jadfer_cli.results.members import is_collected
from jadfer_cli.results.parquet import read_attrs, read_schema
from jadfer_cli.results.paths import collected_path, is_sidecar, sidecar_describes
from jadfer_cli.results.schema import FACE_SOURCES
from jadfer_cli.text import json_text, parsed_json

if TYPE_CHECKING:
    import pandas as pd

_ROWS_PER_PIECE = 50_000
_DECIMALS = TextStyle()


@dataclass(frozen=True)
class Conversion:
    """One file to convert.

    Attributes:
        path: A result, or a dataset of `jadfer collect`; or the actions beside one.
        out: The file to write; its suffix decides the format.
        tool: Write the columns of this tool; None for those of jadfer.
        style: Of .csv and .tsv.
    """

    path: Path
    out: Path
    tool: Tool | None = None
    style: TextStyle = _DECIMALS

    @property
    def actions(self) -> Conversion | None:
        """The conversion of the actions beside the result; None if there are none to convert."""
        if self.tool or is_actions(self.path):
            return None
        if not collected_path(self.path, ACTIONS).is_file():
            return None
        return self._of_actions()

    def _of_actions(self) -> Conversion:
        ending = ending_of(self.out)
        out = self.out.with_name(f"{self.out.name.removesuffix(ending)}.{ACTIONS}{ending}")
        return Conversion(collected_path(self.path, ACTIONS), out, style=self.style)

    @property
    def sidecar(self) -> Path:
        """The file that explains the columns: clip.json, or clip.pyfeat.json for other columns."""
        stem = self.out.name.removesuffix(ending_of(self.out))
        return self.out.with_name(f"{stem}.{self.tool.name}.json" if self.tool else f"{stem}.json")

    @property
    def has_sidecar(self) -> bool:
        """Whether the result itself has this sidecar, because `out` lies beside it."""
        if self.tool or not self.path.exists() or _is_dataset(self.path):  # none of its own
            return False
        own = self.path.with_suffix(".json")
        return own.exists() and self.sidecar.resolve() == own.resolve()

    def check(
        self, *, overwrite: bool, endings: Sequence[str], with_actions: bool | None = None
    ) -> None:
        """Check early that the files may be written.

        Args:
            overwrite: Replace existing files.
            endings: The suffixes that the command accepts.
            with_actions: Whether there will be actions; by default, whether there are some now.

        Raises:
            OptionError: The suffix is unknown, or a file exists.
            OutputError: A file belongs to a result, or cannot be written.
        """
        actions = self._of_actions() if with_actions else self.actions
        if actions and with_actions is not False:
            actions.check(overwrite=overwrite, endings=endings, with_actions=False)
        check_target(self.out, overwrite=overwrite, endings=tuple(endings))
        sidecar = self.sidecar
        if self.has_sidecar or not sidecar.exists() or self._is_explained():
            return
        result = sidecar.with_suffix(SUFFIX)
        if not is_sidecar(sidecar) or (result.exists() and result.resolve() != self.path.resolve()):
            raise OutputError(
                f"{sidecar} exists and does not explain {self.out}, so it is not replaced.",
                "Choose another name with `out`.",
            )
        if not overwrite:
            raise already_exists(sidecar)

    def check_rows(self) -> None:
        """Check early that the formats can hold the rows of the files to convert, which exist.

        Raises:
            OutputError: There are too many.
            ResultError: A file is damaged.
        """
        for each in (self, self.actions):
            if each:
                check_rows(each.out, _n_rows(each.path), each.path)

    def run(self) -> int:
        """Write the file and its sidecar, after those of the actions; return the number of rows.

        Raises:
            ResultError: The result or its actions are damaged.
            OutputError: A file cannot be written.
        """
        self.check_rows()
        if self.actions:
            self.actions.run()
        else:
            self._remove_earlier_actions()
        metadata = _metadata(self.path)
        labels = list(metadata.get("labels", ()))
        descriptions = self._descriptions(metadata)
        if not self.has_sidecar:
            self._write_sidecar(metadata, descriptions)
        n_rows = 0

        def pieces() -> Iterator[pd.DataFrame]:
            nonlocal n_rows
            for rows in _pieces(self.path):
                n_rows += len(rows)
                yield self.tool.rows(rows, labels) if self.tool else rows

        write_pieces(pieces(), self.out, self.style, _meaning(metadata, descriptions))
        return n_rows

    def _remove_earlier_actions(self) -> None:
        """Remove actions that a replaced file had, and this result has not."""
        if self.tool or is_actions(self.path):
            return
        earlier = self._of_actions()
        if earlier.out.exists() and sidecar_describes(earlier.sidecar, ACTION_COLUMNS[0]):
            earlier.out.unlink()
            earlier.sidecar.unlink()

    def _is_explained(self) -> bool:
        """Whether an earlier conversion of this result has written the same sidecar."""
        if not self.path.exists():
            return False
        try:
            found = parsed_json(self.sidecar.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        metadata = _metadata(self.path)
        return bool(found == {"jadfer": metadata, **self._descriptions(metadata)})

    def _descriptions(self, metadata: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        if self.tool:
            return {name: {"Description": text} for name, text in self.tool.descriptions.items()}
        if is_actions(self.path):
            return action_descriptions()
        return descriptions_of(metadata, read_schema(self.path).names)

    def _write_sidecar(
        self, metadata: Mapping[str, Any], descriptions: Mapping[str, dict[str, str]]
    ) -> None:
        """Write what the sidecar of a result holds, before the file that needs it."""
        text = json_text({"jadfer": metadata, **descriptions}, indent=2)
        with atomic_write(self.sidecar) as part:
            part.write_text(text + "\n", encoding="utf-8", newline="\n")


def beside(result: Path, ending: str) -> Path:
    """Return the file of another format beside a result: clip.csv.gz beside clip.parquet."""
    return result.with_name(result.name.removesuffix(SUFFIX) + ending)


def is_current(result: Path, converted: Path) -> bool:
    """Whether a file of another format exists and is not older than its result."""
    try:
        return converted.stat().st_mtime_ns >= result.stat().st_mtime_ns
    except OSError:
        return False


def is_actions(path: Path) -> bool:
    """Whether this is a file of actions, by its name."""
    return path.name.endswith(f".{ACTIONS}{SUFFIX}")


def _is_dataset(path: Path) -> bool:
    """Whether `jadfer collect` wrote this file: rows, or the actions beside them."""
    return is_collected(path) or (is_actions(path) and is_collected(path, COLLECTED_ACTIONS))


def _metadata(path: Path) -> dict[str, Any]:
    if is_actions(path) or is_collected(path):
        try:
            found: dict[str, Any] = read_attrs(path)["jadfer"]
        except (OSError, ValueError, LookupError) as error:
            raise ResultError(f"{path} is damaged or was changed ({error}).") from error
        return found
    return load(path).metadata


def _n_rows(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise ResultError(f"{path} is damaged or was changed ({error}).") from error


def _pieces(path: Path) -> Iterator[pd.DataFrame]:
    """The rows: of a result in one checked piece, of a dataset piece by piece."""
    if not (is_actions(path) or is_collected(path)):
        yield load(path).rows()
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            pandas = file.schema_arrow.metadata
            batches = file.iter_batches(_ROWS_PER_PIECE)
            empty = True
            for batch in batches:
                empty = False
                table = pa.Table.from_batches([batch])
                yield table.replace_schema_metadata(pandas).to_pandas()
            if empty:
                yield file.schema_arrow.empty_table().to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise ResultError(
            f"{path} cannot be read to its end: {error}.",
            "Annotate the video again, or collect the results again.",
        ) from error


def _meaning(metadata: Mapping[str, Any], descriptions: Mapping[str, Mapping[str, str]]) -> Meaning:
    texts = {
        name: text["Description"] + (f", {text['Units']}" if "Units" in text else "")
        for name, text in descriptions.items()
    }
    categories = {
        "expression": tuple(metadata.get("labels", ())),
        "frame_status": FRAME_STATUSES,
        "face_source": FACE_SOURCES,
        "unusable_reason": UNUSABLE_REASONS,
    }
    return Meaning(texts, categories, f"jadfer {metadata['jadfer_version']}")
