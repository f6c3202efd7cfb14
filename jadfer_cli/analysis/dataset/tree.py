"""Where each result of a dataset that is a folder is stored below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import SUFFIX


def file_names(results: Sequence[str], hive: Sequence[str] = ()) -> dict[str, str]:
    """Return the file below the dataset's folder for each result.

    Args:
        results: Paths of the results below the inputs' folder, such as "day1/clip.parquet".
        hive: A name for each level of folders: with "day", the file is "day=day1/clip.parquet".

    Raises:
        OptionError: A result does not lie in as many folders as `hive` names; or a name is not
            suited.
    """
    for name in hive:
        if not name.isidentifier():
            raise OptionError(
                f"{name} cannot be the name of a column made from folders.",
                "Use letters, digits and underscores, such as day.",
            )
    names: dict[str, str] = {}
    for result in results:
        *folders, file = PurePosixPath(result).parts
        if hive:
            if len(folders) != len(hive):
                raise OptionError(
                    f"{result} lies in {len(folders)} folders below the inputs, but "
                    f"{len(hive)} ({', '.join(hive)}) were named.",
                    "Name one column per level of folders.",
                )
            folders = [f"{name}={quote(folder, safe=' ')}"
                       for name, folder in zip(hive, folders, strict=True)]  # fmt: skip
        path = "/".join(_visible(part) for part in [*folders, PurePosixPath(file).stem])
        while f"{path}{SUFFIX}" in names.values():
            path += "_"
        names[result] = f"{path}{SUFFIX}"
    return names


def _visible(name: str) -> str:
    """The name, after a 0 if it begins with . or _: readers of Parquet skip such files."""
    return f"0{name}" if name.startswith((".", "_")) else name
