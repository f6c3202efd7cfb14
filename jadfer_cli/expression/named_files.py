"""Packages in which every file is one thing that users choose by name: networks, recipes.

The name is that of the file, with hyphens for its underscores: `cbam_mix.py` is "cbam-mix". A
file describes its thing by a record, a call such as `NETWORK = NetworkKind(title="DAN", ...)`.
What the record says in literals is read without importing the file, and so without PyTorch.
"""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def names(folders: Iterable[str], shared: Iterable[str] = ()) -> list[str]:
    """The names of the files in a package.

    Args:
        folders: The package's `__path__`.
        shared: Modules of the package that are not things of their own.
    """
    found = (module.name for module in pkgutil.iter_modules(folders))
    return sorted(name_of(module) for module in found if module not in set(shared))


def name_of(module: str) -> str:
    """The name of a module: "cbam-mix" of "jadfer_cli.training.recipes.cbam_mix"."""
    return module.rpartition(".")[2].replace("_", "-")


def module_of(package: str, name: str) -> str:
    """The module of a name, the reverse of `name_of`."""
    return f"{package}.{name.replace('-', '_')}"


def literals(package: str, name: str, record: str, wanted: Iterable[str]) -> dict[str, Any]:
    """Reads arguments of a record from its source.

    Args:
        package: Full name of the package.
        name: One of `names`.
        record: Name of the record, such as "NETWORK".
        wanted: Arguments to read; each must be a literal.

    Returns:
        The arguments that are given.

    Raises:
        ValueError: The file has no such record.
    """
    spec = importlib.util.find_spec(module_of(package, name))
    assert spec is not None and spec.origin is not None  # `names` has found the file
    for node in ast.parse(Path(spec.origin).read_text("utf-8")).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if ast.unparse(target) == record:
            values = {keyword.arg: keyword.value for keyword in node.value.keywords}
            return {key: ast.literal_eval(values[key]) for key in wanted if key in values}
    raise ValueError(f"{spec.origin} has no {record} record")
