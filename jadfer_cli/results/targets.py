"""Whether and where the files of a result may be written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jadfer_cli.common import explain_os_errors
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.results.paths import is_sidecar
from jadfer_cli.results.unfinished import was_publishing


def refuse_existing(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Check that every path is either new or may be replaced.

    Args:
        paths: The result, then the files beside it.
        overwrite: Files of an earlier run of jadfer may be replaced.

    Raises:
        OptionError: A file exists and `overwrite` is off.
        OutputError: A path is not a regular file, or a JSON file that jadfer did not write.
    """
    for path in paths:  # first the errors that no option resolves
        with explain_os_errors(path):
            if path.exists() and not path.is_file():
                raise OutputError(
                    f"{path} exists and is not a regular file.", "Choose another file with `out`."
                )
            if path.suffix == ".json" and path.exists() and not is_sidecar(path):
                raise OutputError(
                    f"{path} exists and was not written by jadfer, so it is not replaced.",
                    "The sidecar of the result would have this name; choose another `out`.",
                )
    replaceable = paths[1:] if was_publishing(paths[0]) else []
    for path in paths:
        with explain_os_errors(path):
            exists = path.exists() or path.is_symlink()  # a dangling link counts, too
            if exists and not overwrite and path not in replaceable:
                raise OptionError(
                    f"{path} exists already.",
                    "Add `if_exists='overwrite'` to replace it, or choose another `out`.",
                )


def make_folders(folder: Path) -> list[Path]:
    """Create a folder and its parents; return those that were missing, outermost first.

    Raises:
        OutputError: A folder cannot be created.
    """
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    made: list[Path] = []
    with explain_os_errors(folder):
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            made.append(path)
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder.", "Choose another one with `out`.")
    return made
