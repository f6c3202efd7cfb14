"""All checks, in the order in which findings are listed.

A check gets a `Clip` and yields `Finding`s. To add one, add it to the `CHECKS` of a module, or add
a module and name it here; the report, the page, rule files and tables follow from it.
"""

from __future__ import annotations

from jadfer_cli.analysis.qc import contradictions, coverage, identity, timing
from jadfer_cli.analysis.qc.finding import Check

CHECKS: tuple[Check, ...] = (
    *coverage.CHECKS,
    *timing.CHECKS,
    *identity.CHECKS,
    *contradictions.CHECKS,
)
