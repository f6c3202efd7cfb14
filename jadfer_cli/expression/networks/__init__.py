"""Networks that score expressions, one file each, and files that several share.

A network is known by the name of its file, with hyphens. The functions here find it by that name;
importing this package does not import PyTorch. No weights are read or written here.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from jadfer_cli.errors import ModelError
from jadfer_cli.expression import named_files

if TYPE_CHECKING:
    from jadfer_cli.expression.networks.base import NetworkKind

_SHARED = ("attention", "base", "spatial", "stems", "ulc")
_FACTS = ("title", "source", "citation")


def names() -> list[str]:
    """The architectures that a checkpoint may name."""
    return named_files.names(__path__, _SHARED)


def load(name: str) -> NetworkKind:
    """Imports a network's file, and PyTorch with it.

    Raises:
        ModelError: There is no such network.
    """
    _check(name)
    module = importlib.import_module(named_files.module_of(__name__, name))
    kind: NetworkKind = module.NETWORK
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
    try:
        return named_files.literals(__name__, name, "NETWORK", _FACTS)
    except ValueError as error:
        raise ModelError(f"{error}: a bug in jadfer.") from error


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
