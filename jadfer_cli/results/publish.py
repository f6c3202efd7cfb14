"""The finished files of a result, which get their final names together or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from jadfer_cli.common import explain_os_errors, fsync_folder
from jadfer_cli.results.columns import column_descriptions
from jadfer_cli.results.parquet import ResultFile
from jadfer_cli.results.paths import landmark_path, sidecar_path
from jadfer_cli.results.schema import landmark_schema, landmarks_of, result_of, result_schema
from jadfer_cli.text import json_text


class FinalFiles:
    """The Parquet result, its sidecar and, on request, its landmarks.

    Args:
        out: The result.
        folder: Where the files are kept until they are published; on the same disk as `out`.
        video: Content of the `video` column.
        labels: The model's labels.
        landmarks: Also write a file of landmarks.
        metadata: For all files; JSON-ready.

    Raises:
        OutputError: A file cannot be written.
    """

    def __init__(
        self, out: Path, folder: Path, video: str, labels: Sequence[str], *, landmarks: bool,
        metadata: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self._out, self._folder, self._video, self._labels = out, folder, video, labels
        self._metadata = metadata
        self._rows = ResultFile(out, folder, result_schema(labels), metadata)
        self._landmarks: ResultFile | None = None
        if landmarks:
            try:
                self._landmarks = ResultFile(
                    landmark_path(out), folder, landmark_schema(), metadata
                )
            except BaseException:
                self._rows.discard()
                raise

    @property
    def rows_path(self) -> Path:
        """Where the rows are, until they are published."""
        return self._rows.path

    def write(self, rows: pa.Table) -> None:
        """Add the rows of whole frames, a table of `schema.part_schema`."""
        self._rows.write(result_of(rows, self._video, self._labels))
        if self._landmarks:
            self._landmarks.write(landmarks_of(rows, self._video))

    def finish(self) -> None:
        """Complete the files under their temporary names."""
        self._rows.finish()
        if self._landmarks:
            self._landmarks.finish()

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
        sidecar = {"jadfer": self._metadata, **self._descriptions()}
        text = json_text(sidecar, indent=2) + "\n"
        path = sidecar_path(self._out)
        published: list[Path] = []
        try:
            with explain_os_errors(path):
                new = self._folder / path.name
                new.write_text(text, encoding="utf-8")
                announce()
                os.replace(new, path)
            published.append(path)
            for file in (self._landmarks, self._rows):
                if file:
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
        self._rows.discard()
        if self._landmarks:
            self._landmarks.discard()
