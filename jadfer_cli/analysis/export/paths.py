"""Which file the events of each result go into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jadfer_cli.analysis.export import is_folder
from jadfer_cli.analysis.export.base import Exporter
from jadfer_cli.analysis.tabular import check_target
from jadfer_cli.errors import OptionError
from jadfer_cli.results.paths import below_inputs

if TYPE_CHECKING:
    from jadfer_cli.results.load import Result


def output_paths(
    results: Sequence[Result], inputs: Sequence[str], out: Path, exporter: Exporter
) -> dict[Path, list[Result]]:
    """Return the files to write, with the results that go into each.

    Args:
        results: At least one.
        inputs: As the user gave them; the tree below a folder among them is mirrored.
        out: The file or folder of -o.
        exporter: The format.

    Raises:
        OptionError: Several results would go into a file that holds only one.
    """
    if not is_folder(out):
        if len(results) > 1 and not exporter.many_results:
            raise OptionError(
                f"{len(results)} results cannot go into {out}: a file of `format` {exporter.name} "
                "is about one video.",
                f"Name a folder: `out` {out.stem}/ `format` {exporter.name}",
            )
        return {out: list(results)}
    paths: dict[Path, list[Result]] = {}
    for result in results:
        folder = exporter.folder(result.path, Path(below_inputs(result.path, inputs).parent))
        path = out / folder / exporter.file_name_for(result.name)
        if path in paths:
            raise OptionError(
                f"{paths[path][0].path} and {result.path} would both be written to {path}.",
                "Name the folder that holds both, with -r; its subfolders are kept apart.",
            )
        paths[path] = [result]
    return paths


def check_output(out: Path, exporter: Exporter, *, overwrite: bool) -> None:
    """Check early that a file and its sidecars may be written.

    Raises:
        OptionError: The suffix is wrong for the format, or a file exists.
        OutputError: A file belongs to a result, or cannot be written.
    """
    if not out.name.endswith(exporter.suffixes):
        raise OptionError(
            f"`out` {out}: names of {exporter.title} files (`format` {exporter.name}) end in "
            f"{' or '.join(exporter.suffixes)}.",
            f"E.g. `out` {exporter.file_name_for(out.stem)}",
        )
    for path in (out, *exporter.sidecars(out)):
        check_target(path, overwrite=overwrite, endings=(path.suffix,))
