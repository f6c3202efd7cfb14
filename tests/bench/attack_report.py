"""What an attack found: findings, figures and checks that several parts share."""

from __future__ import annotations

import csv
import json
import math
import re
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from attack_runs import Ended

# ESC, the other C0 characters but tab and line feed, DEL, and C1.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udc9f]")
_BUG = re.compile(rb"Traceback \(most recent call last\)|bug in jadfer|mistake in jadfer")
_FORMULA = tuple("=+-@\t\r")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        case: The name of the hostile input; `--only CASE` repeats it.
        what: The kind of defect, the same words for all of its kind.
        command: The command that shows it.
        detail: What it printed.
    """

    case: str
    what: str
    command: str = ""
    detail: str = ""


@dataclass
class Report:
    """The outcome of one part.

    Attributes:
        part: Its name.
        cases: Number of hostile inputs.
        runs: Number of commands.
        figures: Other figures to report.
        findings: What is wrong.
        skipped: Why the part was not run; then it proves nothing.
        seconds: Duration.
        limit_s: Most time; afterwards `over` is true, and no new case begins.
    """

    part: str
    cases: int = 0
    runs: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0
    limit_s: float = math.inf

    def __post_init__(self) -> None:
        self._began_s = time.monotonic()
        self._slowest = self._largest = (0.0, "")

    @property
    def over(self) -> bool:
        """Whether the time for this part is over."""
        return time.monotonic() - self._began_s > self.limit_s

    def add(self, case: str, what: str, command: str = "", detail: str = "") -> None:
        """Adds a finding."""
        self.findings.append(Finding(case, what, command, detail[-400:]))

    def check(self, case: str, ended: Ended, codes: tuple[int, ...] = (0, 1, 2)) -> bool:
        """Checks what holds for every command; returns whether it ended well."""
        self.runs += 1
        self.note_use(f"{case}: {ended.command}", ended.cpu_s, ended.peak_mb)
        before = len(self.findings)
        if ended.stopped:
            limit = f"{ended.cpu_s:.0f} s of {ended.seconds:.0f} s, {ended.peak_mb:.0f} MB"
            self.add(case, f"beyond the limit: {ended.stopped}", ended.command, limit)
        elif ended.code < 0:
            self.add(case, f"crash: signal {-ended.code}", ended.command, ended.error_text)
        elif _BUG.search(ended.out + ended.err):
            self.add(case, "traceback or 'bug in jadfer'", ended.command, ended.error_text)
        elif ended.code not in codes:
            self.add(case, f"exit code {ended.code}", ended.command, ended.error_text)
        elif (
            ended.code
            and not ended.out
            and not re.search("Error|[Ff]ailed|Warning", ended.error_text)
        ):
            self.add(case, "fails without a message", ended.command, ended.error_text)
        for name, data in (("stdout", ended.out), ("stderr", ended.err)):
            if found := _CONTROL.search(data.decode("utf-8", "surrogateescape")):
                near = data.decode("utf-8", "replace")[max(0, found.start() - 60) : found.end() + 9]
                what = f"control character on {name}"
                self.add(case, what, ended.command, f"{found[0]!r} in {near!r}")
        return len(self.findings) == before

    def note_use(self, what: str, cpu_s: float, peak_mb: float) -> None:
        """Keeps the slowest and the largest run."""
        self._slowest = max(self._slowest, (cpu_s, what))
        self._largest = max(self._largest, (peak_mb, what))

    def close(self) -> Report:
        """Completes the figures."""
        self.seconds = time.monotonic() - self._began_s
        if self._slowest[0]:
            self.figures["slowest"] = (
                f"{self._slowest[0]:.1f} s of processor time ({self._slowest[1][:120]})"
            )
        if self._largest[0]:
            self.figures["largest"] = f"{self._largest[0]:.0f} MB ({self._largest[1][:120]})"
        return self

    def kinds(self) -> Counter[str]:
        """The number of findings of each kind."""
        return Counter(finding.what for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: value for name, value in asdict(self).items() if name != "limit_s"}


def wrong_with_output(path: Path) -> str:
    """What is wrong with a file that a command wrote; "" if nothing is."""
    try:
        return _CHECKS.get(path.suffix, lambda p: "")(path)
    except Exception as error:
        return f"output cannot be parsed: {path.suffix}: {type(error).__name__}: {error}"


def _check_table(path: Path) -> str:
    """A spreadsheet must not take any cell for a formula; numbers stay numbers."""
    csv.field_size_limit(1 << 30)
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ","):
            for cell in row:
                if cell.startswith(_FORMULA) and not _is_number(cell):
                    return f"formula in a {path.suffix[1:]} cell: {cell[:60]!r}"
    return ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_xml(path: Path) -> str:
    ElementTree.parse(path)
    return ""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_json(path: Path) -> str:
    json.loads(path.read_text("utf-8"), parse_constant=_no_constant)
    return _check_text(path)


def _check_lines(path: Path) -> str:
    for line in path.read_text("utf-8").split("\n"):
        if line:
            json.loads(line, parse_constant=_no_constant)
    return ""


def _check_parquet(path: Path) -> str:
    import pandas as pd

    pd.read_parquet(path)
    return ""


def _check_video(path: Path) -> str:
    import av

    with av.open(str(path)) as container:
        return "" if any(container.decode(video=0)) else "output video without frames"


def _check_text(path: Path) -> str:
    found = _CONTROL.search(path.read_text("utf-8"))
    return f"control character {found[0]!r} in a {path.suffix} file" if found else ""


def _check_page(path: Path) -> str:
    """No file name or label may become markup."""
    text = path.read_text("utf-8")
    return "markup of a result in the page" if "<script>alert(1)" in text else ""


_CHECKS = {
    ".csv": _check_table, ".tsv": _check_table, ".eaf": _check_xml, ".svg": _check_xml,
    ".json": _check_json, ".jsonl": _check_lines, ".parquet": _check_parquet,
    ".mp4": _check_video, ".TextGrid": _check_text, ".md": _check_text, ".txt": _check_text,
    ".bib": _check_text, ".html": _check_page,
}  # fmt: skip
