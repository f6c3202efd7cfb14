"""What can be wrong with a clip, one module per subject.

To add a check, add it to the `CHECKS` of a module here, or add a module with `CHECKS`: it is found
on its own. A check gets a `Clip` and yields `Finding`s.
"""

from __future__ import annotations

import importlib
import pkgutil

from jadfer_cli.analysis.qc.checks.base import Check


def discover() -> tuple[Check, ...]:
    """Import the modules of this package, and return their checks."""
    modules = (
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    )
    return tuple(check for module in modules for check in getattr(module, "CHECKS", ()))


CHECKS = discover()
