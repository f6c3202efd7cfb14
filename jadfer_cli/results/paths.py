"""Where the files of a result are stored."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from jadfer_cli.text import parsed_json, shortened


def sidecar_path(out: Path) -> Path:
    """Return the path of a result's JSON sidecar: clip.json for clip.parquet."""
    return out.with_suffix(".json")


def companion_path(out: Path, name: str) -> Path:
    """Return the path of a file beside a result: clip.actions.parquet for clip.parquet."""
    return out.with_suffix(f".{name}.parquet")


def collected_path(dataset: Path, name: str) -> Path:
    """Return the path of a file beside a dataset of `jadfer collect`.

    Args:
        dataset: all.parquet, or the folder dataset/.
        name: With "actions", all.actions.parquet or dataset.actions.parquet.
    """
    return dataset.with_name(f"{dataset.name.removesuffix('.parquet')}.{name}.parquet")


def result_files(out: Path, companions: Sequence[str]) -> list[Path]:
    """Return every file of a result: itself, its sidecar, then the files beside it.

    Args:
        out: The result.
        companions: Names of the files beside it, see `companions`.
    """
    beside = [companion_path(out, name) for name in companions]
    sidecars = [sidecar_path(companion_path(out, "actions"))] if "actions" in companions else []
    return [out, sidecar_path(out), *beside, *sidecars]


def parts_folder(out: Path) -> Path:
    """Return the hidden folder that holds the parts of a result while it is unfinished."""
    return out.with_name(f".{out.name}.parts")


def is_begun(result: Path) -> bool:
    """True if there is a result, or the parts of an unfinished one."""
    return result.exists() or parts_folder(result).exists()


def result_of_parts(path: Path) -> Path | None:
    """Return the result whose parts are in this folder, or None if it is no folder of parts."""
    name = path.name.removeprefix(".").removesuffix(".parts")
    result = path.with_name(name) if name else path
    return result if path.is_dir() and parts_folder(result).name == path.name else None


def is_sidecar(path: Path) -> bool:
    """Return whether this is the JSON sidecar of a result, which describes its columns."""
    return sidecar_describes(path, "jadfer")


def sidecar_describes(path: Path, column: str) -> bool:
    """Return whether this is a JSON sidecar of jadfer that has an entry for a column."""
    try:
        content = parsed_json(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "jadfer" in content and column in content


def display_names(
    paths: Iterable[str | os.PathLike[str]], width: int | None = None
) -> dict[str, str]:
    """Return the shortest names that tell files apart: P01, or day1/P01 if day2/P01 is there too.

    Args:
        paths: Files, e.g. all results of a table.
        width: Longer names are abbreviated in the middle where they stay different.

    Returns:
        The name of each path, by the path as given. Without extension, unless two differ in
        nothing else. The same number of folders for all, as far as they lie that deep.
    """
    absolute = {os.fspath(path): os.path.abspath(path) for path in paths}
    folders = [os.path.dirname(path) for path in absolute.values()]
    try:
        common = os.path.commonpath(folders) if folders else ""
    except ValueError:  # on several drives
        return {path: path for path in absolute}
    full = {path: Path(os.path.relpath(at, common)) for path, at in absolute.items()}
    bare = {path: name.with_suffix("") for path, name in full.items()}
    shared = Counter({absolute[path]: name for path, name in bare.items()}.values())
    named = {path: full[path] if shared[name] > 1 else name for path, name in bare.items()}
    different = len(set(absolute.values()))
    deepest = max((len(name.parts) for name in named.values()), default=0)
    for depth in range(1, deepest + 1):
        short = {path: "/".join(name.parts[-depth:]) for path, name in named.items()}
        if len(set(short.values())) == different:
            break
    else:
        return {path: path for path in absolute}
    if width is not None:
        cut = {path: shortened(name, width) for path, name in short.items()}
        again = Counter({absolute[path]: name for path, name in cut.items()}.values())
        short = {path: name if again[cut[path]] > 1 else cut[path] for path, name in short.items()}
    return short


def below_inputs(path: Path, inputs: Sequence[str]) -> Path:
    """Return a result's path relative to the folder the user named, or else its bare name."""
    absolute = Path(os.path.abspath(path))
    for text in inputs:
        folder = os.path.abspath(text)
        # a result in a dataset lies "below" the dataset's file
        if absolute != Path(folder) and absolute.is_relative_to(folder):
            return absolute.relative_to(folder)
    return Path(path.name)
