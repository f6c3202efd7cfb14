"""Write events for other programs, one format per module; no events are found here.

To add a format, add a module that defines `EXPORTERS`. It is found on its own, and the choices
and the help of `jadfer events --format` follow from it.
"""

from __future__ import annotations

import importlib
import pkgutil
from itertools import groupby
from pathlib import Path

from jadfer_cli.analysis.export.base import Exporter
from jadfer_cli.analysis.tabular import ending_of
from jadfer_cli.errors import OptionError


def discover() -> dict[str, Exporter]:
    """Import the modules of this package, and return their exporters by name."""
    modules = (
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    )
    return {
        exporter.name: exporter
        for module in modules
        for exporter in getattr(module, "EXPORTERS", ())
    }


def exporter_named(name: str) -> Exporter:
    """Return the format that --format names; upper and lower case are the same.

    Raises:
        OptionError: There is no such format.
    """
    if name.lower() not in EXPORTERS:
        raise OptionError(
            f"`format` must be one of {', '.join(EXPORTERS)}, not {name}.", f"{format_help()}."
        )
    return EXPORTERS[name.lower()]


def exporter_for(out: Path) -> Exporter:
    """Return the format that the suffix of -o stands for.

    Raises:
        OptionError: `out` is a folder, or its suffix does not decide the format.
    """
    if is_folder(out):
        raise OptionError(
            f"`out` {out} is a folder, so the format of its files is unknown.",
            f"Add `format` and one of {', '.join(EXPORTERS)}.",
        )
    by_suffix = _by_suffix()
    ending = ending_of(out)
    if ending not in by_suffix:
        others = [name for name, each in EXPORTERS.items() if not each.chosen_by_suffix]
        raise OptionError(
            f"`out` {out}: the suffix decides the format, and {out.suffix or 'none'} is unknown.",
            f"Known are {', '.join(by_suffix)}; other formats by `format` {' or '.join(others)}.",
        )
    return by_suffix[ending]


def _by_suffix() -> dict[str, Exporter]:
    """The exporters that a suffix chooses.

    Raises:
        ValueError: Two exporters claim the same suffix.
    """
    chosen: dict[str, Exporter] = {}
    for exporter in EXPORTERS.values():
        for suffix in exporter.suffixes if exporter.chosen_by_suffix else ():
            if suffix in chosen:
                raise ValueError(f"{chosen[suffix].name} and {exporter.name} both claim {suffix}")
            chosen[suffix] = exporter
    return chosen


def is_folder(out: Path) -> bool:
    """Whether -o names a folder: it exists as one, or has no suffix."""
    return out.is_dir() or not out.suffix


def format_help() -> str:
    """Return what each format is, for the help of --format and for messages."""
    groups = groupby(EXPORTERS.values(), key=lambda exporter: exporter.help)
    return "; ".join(f"{', '.join(e.name for e in group)}: {text}" for text, group in groups)


def suffix_help() -> str:
    """Return which suffixes of -o stand for which kind of file, for its help."""
    chosen = [exporter for exporter in EXPORTERS.values() if exporter.chosen_by_suffix]
    many, single = (
        " ".join(suffix for each in chosen if each.many_results is many for suffix in each.suffixes)
        for many in (True, False)
    )
    return f"One file for all results ({many}); a file for one result ({single}); or a folder."


EXPORTERS = discover()  # last, because the modules may import the functions above
