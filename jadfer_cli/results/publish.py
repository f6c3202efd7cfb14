"""The finished files of a result, which get their final names together or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from jadfer_cli.common import explain_os_errors, fsync_folder
from jadfer_cli.results.columns import action_descriptions, column_descriptions
from jadfer_cli.results.companions import COMPANIONS, companion_of, result_of
from jadfer_cli.results.parquet import ResultFile
from jadfer_cli.results.paths import companion_path, sidecar_path
from jadfer_cli.results.row_checks import check_same_faces
from jadfer_cli.results.schema import result_schema
from jadfer_cli.text import json_text


class FinalFiles:
    """The Parquet result, its sidecar and, on request, the files beside it.

    Args:
        out: The result.
        folder: Where the files are kept until they are published; on the same disk as `out`.
        video: Content of the `video` column.
        labels: The model's labels.
        companions: Names of the files beside the result, see `companions`.
        metadata: For all files; JSON-ready.

    Raises:
        OutputError: A file cannot be written.
    """

    def __init__(
        self, out: Path, folder: Path, video: str, labels: Sequence[str],
        companions: Sequence[str], metadata: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self._out, self._folder, self._video, self._labels = out, folder, video, labels
        self._metadata = metadata
        self._rows = ResultFile(out, folder, result_schema(labels), metadata)
        self._beside: dict[str, ResultFile] = {}
        try:
            for name in companions:
                path = companion_path(out, name)
                schema = COMPANIONS[name].schema()
                self._beside[name] = ResultFile(path, folder, schema, metadata)
        except BaseException:
            self.discard()
            raise

    @property
    def rows_path(self) -> Path:
        """Where the rows are, until they are published."""
        return self._rows.path

    def write(self, rows: pa.Table) -> None:
        """Add the rows of whole frames, a table of `companions.part_schema`."""
        self._rows.write(result_of(rows, self._video, self._labels))
        for name, file in self._beside.items():
            file.write(companion_of(rows, self._video, name))

    def finish(self) -> None:
        """Complete the files under their temporary names.

        Raises:
            OutputError: A file beside the result does not hold the same faces.
        """
        self._rows.finish()
        for file in self._beside.values():
            file.finish()
            check_same_faces(self._rows.path, file.path, file.out)

    def _descriptions(self) -> dict[str, dict[str, str]]:
        return column_descriptions(self._labels, self._metadata.get("model", {}).get("scores"))

    def publish(self, announce: Callable[[], None]) -> None:
        """Give the files their final names, or remove all of them if that fails.

        The result comes last, so that the other files exist once it is visible.

        Args:
            announce: Called before the first file is renamed.

        Raises:
            OutputError: A file cannot be renamed.
        """
        sidecars = {sidecar_path(self._out): self._descriptions()}
        for name, file in self._beside.items():
            if COMPANIONS[name].described:
                sidecars[sidecar_path(file.out)] = action_descriptions()
        published: list[Path] = []
        try:
            for path, columns in sidecars.items():
                with explain_os_errors(path):
                    text = json_text({"jadfer": self._metadata, **columns}, indent=2) + "\n"
                    (self._folder / path.name).write_text(text, encoding="utf-8", newline="\n")
            with explain_os_errors(self._out):
                announce()
            for path in sidecars:
                with explain_os_errors(path):
                    os.replace(self._folder / path.name, path)
                published.append(path)
            for file in (*self._beside.values(), self._rows):
                file.publish()
                published.append(file.out)
            with explain_os_errors(self._out):
                fsync_folder(self._out.parent)  # before the parts are removed
        except BaseException:
            for path in published:
                path.unlink(missing_ok=True)
            raise

    def discard(self) -> None:
        """Remove the files that have not been published."""
        for file in (self._rows, *self._beside.values()):
            file.discard()
