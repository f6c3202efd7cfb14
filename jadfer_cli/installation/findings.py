"""What the checks of `jadfer doctor` report."""

from __future__ import annotations

from dataclasses import dataclass

from jadfer_cli.errors import JadferError

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        group: Its heading.
        name: What was checked.
        status: OK, WARNING or PROBLEM.
        detail: The result of the check.
        remedy: What to do about it; empty if nothing is needed.
    """

    group: str
    name: str
    status: str
    detail: str
    remedy: str = ""


def finding_from_error(group: str, name: str, error: Exception) -> Finding:
    """The problem that an exception of a check reports."""
    if isinstance(error, JadferError):
        return Finding(group, name, PROBLEM, error.message, error.hint or "")
    detail = f"{type(error).__name__}: {error}"
    remedy = "See the lines above; if all of them are ok, report it."
    return Finding(group, name, PROBLEM, detail, remedy)
