"""All results of a folder: measures, findings and decisions, what needs attention first."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from jadfer_cli.analysis.find import FoundResults
from jadfer_cli.analysis.provenance import compare_settings, groups
from jadfer_cli.analysis.qc.checks import CHECKS
from jadfer_cli.analysis.qc.clip import MEASURES, measured, read_clip
from jadfer_cli.analysis.qc.finding import Finding
from jadfer_cli.analysis.qc.identity import suspected_switches
from jadfer_cli.analysis.qc.pictures import repeated_pictures
from jadfer_cli.analysis.qc.rules import Rules
from jadfer_cli.analysis.qc.strip import Span, spans_of
from jadfer_cli.errors import DamagedResult, JadferError
from jadfer_cli.results.load import Result
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import without_subject

# Found in a folder as a whole, or in what could not be opened.
OTHER_SETTINGS, DAMAGED, FAILED = "other_settings", "damaged", "failed"
KEEP, EXCLUDE, LOOK = "keep", "exclude", "look"


def check_names() -> tuple[str, ...]:
    """Return the names of all findings, which rule files may use."""
    return (*(check.name for check in CHECKS), OTHER_SETTINGS, DAMAGED, FAILED)


@dataclass(frozen=True)
class Entry:
    """One clip of the report.

    Attributes:
        name: Short and unique in the report.
        path: The result's file.
        video: The video as it was named when it was annotated.
        measures: By the names of `MEASURES`; empty if the result could not be read.
        findings: What to look at.
        spans: What its time consists of, for a drawing.
        decision: "keep" or "exclude" by the rules. Without rules, "look" if there are findings.
        reasons: Why it is excluded; without rules, what was found.
    """

    name: str
    path: Path
    video: str
    measures: dict[str, float | None] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    spans: tuple[Span, ...] = ()
    decision: str = KEEP
    reasons: tuple[str, ...] = ()

    def command(self, finding: Finding) -> str:
        """Return the command that looks closer, as one types it."""
        result, video = shlex.quote(str(self.path)), shlex.quote(self.video)
        if finding.look == "annotate":
            return f"jadfer annotate --overwrite -o {result} {video}"
        if finding.look == "diff":
            return f"jadfer diff {shlex.quote(finding.other)} {result}"
        if finding.look == "show":
            return f"jadfer show {result}"
        if finding.look == "view" and Path(self.video).is_file():
            return f"jadfer view {video} {result}"
        return f"jadfer plot {result} -o {shlex.quote(str(self.path.with_suffix('.png')))}"

    def row(self) -> dict[str, Any]:
        """Return its row in a table."""
        return {
            "result": str(self.path),
            "video": self.video,
            "decision": self.decision,
            "reason": "; ".join(self.reasons),
            "findings": " ".join(dict.fromkeys(finding.check for finding in self.findings)),
            **{name: self.measures.get(name) for name in MEASURES},
        }


@dataclass(frozen=True)
class Report:
    """The report on all clips.

    Attributes:
        entries: What needs attention comes first: excluded clips, then those with most findings.
        rules: The rules that decided; None without.
        notes: What could not be checked.
    """

    entries: tuple[Entry, ...]
    rules: Rules | None = None
    notes: tuple[str, ...] = ()

    def count(self, decision: str) -> int:
        """Return how many clips have this decision."""
        return sum(entry.decision == decision for entry in self.entries)

    def table(self) -> pd.DataFrame:
        """Return one row per clip, in the order of names: a list of exclusions, with reasons."""
        ordered = sorted(self.entries, key=lambda entry: str(entry.path))
        columns = ["result", "video", "decision", "reason", "findings", *MEASURES]
        return pd.DataFrame([entry.row() for entry in ordered], columns=columns)


def report(
    found: FoundResults,
    rules: Rules | None = None,
    *,
    read_videos: bool = False,
    progress: Callable[[Sequence[Result]], Iterable[Result]] = iter,
) -> Report:
    """Check all results.

    Args:
        found: The results, and what was found beside them.
        rules: Decide by them.
        read_videos: Decode the videos, and compare their pictures.
        progress: Yields the results one by one, and may show progress.
    """
    files = [
        *(result.path for result in found.results),
        *(file.path for file in found.skipped if file.is_damaged),
        *(failure.result for failure in found.failures),
    ]
    names = display_names(files)
    odd = _other_settings(found.results)
    notes: list[str] = []
    entries = [
        _checked(
            result, names[str(result.path)], odd.get(str(result.path)),
            notes if read_videos else None,
        )
        for result in progress(found.results)
    ]  # fmt: skip
    for file in found.skipped:
        if file.is_damaged:
            why = _sentence(without_subject(file.error.message, str(file.path)))
            entries.append(_unread(names[str(file.path)], file.path, DAMAGED, why))
    for failure in found.failures:
        text = f"It was not annotated: {without_subject(failure.reason, failure.path)}"
        name = names[str(failure.result)]
        entries.append(_unread(name, failure.result, FAILED, text, failure.path))
    decided = [_decided(entry, rules) for entry in entries]
    return Report(tuple(sorted(decided, key=_attention)), rules, tuple(notes))


def _checked(result: Result, name: str, odd: Finding | None, notes: list[str] | None) -> Entry:
    """The entry of one result; one whose rows are damaged becomes an entry too.

    Args:
        result: The result.
        name: Of the entry.
        odd: That it was made with other settings.
        notes: Gets why the video could not be read; None to leave the video alone.
    """
    video = str(result.metadata["video"]["path"])
    try:
        clip = read_clip(result, name)
    except DamagedResult as error:
        why = _sentence(without_subject(error.message, str(result.path)))
        return _unread(name, result.path, DAMAGED, why, video)
    if notes is not None:
        try:
            clip = replace(clip, repeated=repeated_pictures(clip))
        except JadferError as error:
            notes.append(error.message)
    findings = [finding for check in CHECKS for finding in check.find(clip)]
    n_switches = len({switch.position for switch in suspected_switches(clip)})
    return Entry(
        name, result.path, video, measured(clip, n_switches),
        tuple([*findings, odd] if odd else findings), spans_of(clip),
    )  # fmt: skip


def _sentence(clause: str) -> str:
    """Return a clause as a sentence, its other letters as they are."""
    return f"{clause[:1].upper()}{clause[1:].rstrip('.')}."


def _unread(name: str, path: Path, check: str, text: str, video: str = "VIDEO") -> Entry:
    return Entry(name, path, video, findings=(Finding(check, check, text, look="annotate"),))


def _other_settings(results: Sequence[Result]) -> dict[str, Finding]:
    """Findings for results made otherwise than most, by path."""
    usual, *others = groups(results) if results else [[]]
    found = {}
    for group in others:
        for result in group:
            differs = compare_settings([usual[0], result])
            what = "; ".join(f"{name} {b} (most: {a})" for name, (a, b) in differs.items())
            found[str(result.path)] = Finding(
                OTHER_SETTINGS, "other settings",
                f"It was made with other settings than most results: {what}.",
                look="diff", other=str(usual[0].path),
            )  # fmt: skip
    return found


def _decided(entry: Entry, rules: Rules | None) -> Entry:
    """The entry with its decision; what could not be read is never kept."""
    checks = [finding.check for finding in entry.findings]
    if not entry.measures:
        decision, reasons = EXCLUDE, [finding.text for finding in entry.findings]
    elif rules is None:
        decision = LOOK if entry.findings else KEEP
        reasons = [finding.brief for finding in entry.findings]
    else:
        reasons = rules.broken(entry.measures, checks)
        decision = EXCLUDE if reasons else KEEP
    return Entry(
        entry.name, entry.path, entry.video, entry.measures, entry.findings, entry.spans,
        decision, tuple(reasons),
    )  # fmt: skip


def _attention(entry: Entry) -> tuple[int, int, float, str]:
    order = (EXCLUDE, LOOK, KEEP).index(entry.decision)
    usable = entry.measures.get("usable_share_of_video") or 0.0
    return order, -len(entry.findings), usable, entry.name
