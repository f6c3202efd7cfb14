"""Networks that score expressions, one file each, and `attention`, `base` and `stems` of them all.

A network is known by the name of its file. The functions here find it by that name; importing
this package does not import PyTorch. No weights are read or written here.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from jadfer_cli.errors import ModelError

if TYPE_CHECKING:
    from jadfer_cli.expression.networks.base import NetworkKind

_SHARED = ("attention", "base", "stems")
_FACTS = ("title", "source", "citation")


def names() -> list[str]:
    """The architectures that a checkpoint may name."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name not in _SHARED)


def load(name: str) -> NetworkKind:
    """Imports a network's file, and PyTorch with it.

    Raises:
        ModelError: There is no such network.
    """
    _check(name)
    kind: NetworkKind = importlib.import_module(f"{__name__}.{name}").NETWORK
    return kind


def facts(name: str) -> dict[str, str]:
    """What a methods section needs to know about a network.

    The literals of its `NETWORK` record are read from the file: importing it would import
    PyTorch, which takes longer than annotating a short clip.

    Returns:
        "title", "source" and "citation", as in `base.NetworkKind`.

    Raises:
        ModelError: There is no such network.
    """
    _check(name)
    spec = importlib.util.find_spec(f"{__name__}.{name}")
    assert spec is not None and spec.origin is not None  # `names` has found the file
    for node in ast.parse(Path(spec.origin).read_text("utf-8")).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if ast.unparse(target) == "NETWORK":
            values = {keyword.arg: keyword.value for keyword in node.value.keywords}
            return {fact: ast.literal_eval(values[fact]) for fact in _FACTS}
    raise ModelError(f"{spec.origin} has no NETWORK record: a bug in jadfer.")


def source_files() -> list[Path]:
    """All source files of networks, in a fixed order."""
    return sorted((file for folder in __path__ for file in Path(folder).glob("*.py")), key=_name)


def _name(file: Path) -> str:
    return file.name


def _check(name: str) -> None:
    if name not in names():
        raise ModelError(
            f"There is no network architecture named {name}.",
            f"This version of jadfer has: {', '.join(names())}.",
        )
