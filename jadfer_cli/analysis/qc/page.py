"""The report as one HTML page without scripts, which needs no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from jadfer_cli._version import __version__
from jadfer_cli.analysis.plots.colours import ABSENT
from jadfer_cli.analysis.qc.checks import CHECKS
from jadfer_cli.analysis.qc.report import EXCLUDE, KEEP, LOOK, Entry, Report
from jadfer_cli.analysis.qc.strip import NO_FACE, USABLE
from jadfer_cli.common import atomic_write, short_time
from jadfer_cli.text import count_text, one_line

ENDINGS = (".html",)
# Tol's "muted" scheme (Technical Note SRON/EPS/TN/09-002): told apart with colour blindness too.
_COLOURS = {
    USABLE: "#44AA99", NO_FACE: ABSENT, "too_small": "#882255", "blurred": "#CC6677",
    "turned": "#DDCC77", "low_score": "#999933", "cut_off": "#AA4499", "too_dark": "#332288",
    "overexposed": "#88CCEE", "occluded": "#117733",
}  # fmt: skip
_OTHER_COLOUR = "#777777"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5em auto; max-width: 1100px;
  padding: 0 1em; color: #222; background: #fff }
h1 { font-size: 1.5em; margin: 0 0 0.3em } h2 { font-size: 1.15em; margin: 1.8em 0 0.2em }
p { margin: 0.3em 0 } .quiet { color: #555 } .wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 0.2em 1em 0.2em 0; border-bottom: 1px solid #ddd;
  vertical-align: top }
td.n, th.n { text-align: right }
code, pre { font: 13px/1.5 ui-monospace, monospace; background: #f4f4f4; padding: 0.1em 0.3em;
  overflow-wrap: anywhere; white-space: pre-wrap }
.exclude { color: #a2231d; font-weight: 600 } .look { color: #8a5a00; font-weight: 600 }
svg { display: block; width: 100%; height: 18px; margin: 0.4em 0 }
svg.key { display: inline-block; width: 18px; height: 12px; margin: 0 0.35em 0 0 }
.legend span { margin-right: 1.2em; white-space: nowrap }
figure { display: inline-block; margin: 0.4em 0.6em 0.4em 0 } figcaption { color: #555 }
img { max-width: 240px; max-height: 180px; display: block }
"""


@dataclass(frozen=True)
class Thumbnail:
    """A picture for the page.

    Attributes:
        jpeg: The file's bytes.
        caption: Below it.
    """

    jpeg: bytes
    caption: str


def write(
    report: Report, out: Path, thumbnails: Mapping[str, Sequence[Thumbnail]] | None = None
) -> None:
    """Write the page atomically.

    Args:
        report: What it shows.
        out: The .html file.
        thumbnails: Pictures by the entry's name; none by default, since they show faces.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_write(out) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for piece in _pieces(report, thumbnails or {}):
            file.write(piece + "\n")


def _pieces(report: Report, thumbnails: Mapping[str, Sequence[Thumbnail]]) -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    title = f"Quality of {count_text(len(report.entries), 'clip')}"
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>\n<style>{_STYLE}</style></head><body>\n<h1>{title}</h1>"
    )
    yield f"<p>{headline(report)}</p>"
    yield f'<p class="legend">{"".join(_legend(report))}</p>'
    yield from _overview(report.entries)
    for i, entry in enumerate(report.entries):
        if entry.findings or entry.reasons or entry.name in thumbnails:
            yield from _section(i, entry, thumbnails.get(entry.name, ()))
    if report.rules:
        yield f"<h2>Rules: {_text(report.rules.path)}</h2><pre>{escape(report.rules.text)}</pre>"
    yield "<h2>What was checked</h2><ul>"
    for check in CHECKS:
        yield f"<li>{_text(check.title)} <code>{_text(check.name)}</code></li>"
    yield f'</ul>\n<p class="quiet">Made by jadfer qc {__version__}.</p>\n</body></html>'


def headline(report: Report) -> str:
    """Return how many clips are kept, excluded or to be looked at, in one sentence."""
    kept, excluded, look = (report.count(decision) for decision in (KEEP, EXCLUDE, LOOK))
    if report.rules:
        return f"By the rules, {count_text(kept, 'clip')} kept, {excluded:,} excluded."
    broken = f", {excluded:,} not readable or not annotated" if excluded else ""
    return f"{count_text(kept, 'clip')} without a finding, {look:,} to look at{broken}."


def _legend(report: Report) -> Iterator[str]:
    shown = {span.state for entry in report.entries for span in entry.spans}
    for state in sorted(shown, key=lambda state: [*_COLOURS, state].index(state)):
        yield f"<span>{_swatch(_colour(state))}{_text(state)}</span>"


def _swatch(colour: str) -> str:
    # a fill is an attribute of SVG; a style would need an exception in the policy
    return (
        f'<svg class="key" viewBox="0 0 18 12"><rect width="18" height="12" fill="{colour}"/></svg>'
    )


def _colour(state: str) -> str:
    return _COLOURS.get(state, _OTHER_COLOUR)


def _overview(entries: Sequence[Entry]) -> Iterator[str]:
    yield (
        '<div class="wide"><table><tr><th>clip</th><th class="n">length</th>'
        '<th class="n">face</th><th class="n">usable</th><th class="n">of video</th>'
        "<th>decision</th><th>findings</th></tr>"
    )
    for i, entry in enumerate(entries):
        seconds = entry.measures.get("analysed_s")
        cells = [
            "-" if seconds is None else short_time(seconds),
            *(_share(entry.measures.get(f"{name}_share")) for name in ("face", "usable")),
            _share(entry.measures.get("usable_share_of_video")),
        ]
        name = _text(entry.name)
        linked = f'<a href="#clip{i}">{name}</a>' if entry.findings or entry.reasons else name
        found = ", ".join(_text(finding.brief) for finding in entry.findings)
        yield (
            f"<tr><td>{linked}</td>"
            + "".join(f'<td class="n">{cell}</td>' for cell in cells)
            + f'<td class="{entry.decision}">{entry.decision}</td><td>{found}</td></tr>'
        )
    yield "</table></div>"


def _section(i: int, entry: Entry, thumbnails: Sequence[Thumbnail]) -> Iterator[str]:
    """One clip: what was found, the command that looks closer, its time as a strip, pictures."""
    yield f'<h2 id="clip{i}">{_text(entry.name)}</h2>'
    yield f'<p class="quiet">{_text(entry.path)}</p>'
    if entry.spans:
        yield _strip(entry)
    if entry.decision == EXCLUDE:
        yield f'<p class="exclude">Excluded: {_text("; ".join(entry.reasons))}</p>'
    commands: dict[str, list[str]] = {}
    for finding in entry.findings:
        commands.setdefault(entry.command(finding), []).append(finding.text)
    for command, texts in commands.items():
        yield "".join(f"<p>{_text(text)}</p>" for text in texts)
        yield f"<p><code>{_text(command)}</code></p>"
    for one in thumbnails:
        data = base64.b64encode(one.jpeg).decode("ascii")
        caption = _text(one.caption)
        yield (
            f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )


def _strip(entry: Entry) -> str:
    begin, end = entry.spans[0].start_s, entry.spans[-1].end_s
    scale = 1000 / max(end - begin, 1e-9)
    drawn = "".join(
        f'<rect x="{(span.start_s - begin) * scale:.2f}" height="18" '
        f'width="{max((span.end_s - span.start_s) * scale, 0.5):.2f}" '
        f'fill="{_colour(span.state)}"><title>{_text(span.state)}, {short_time(span.start_s)} to '
        f"{short_time(span.end_s)}</title></rect>"
        for span in entry.spans
    )
    return (
        f'<svg viewBox="0 0 1000 18" preserveAspectRatio="none" role="img" '
        f'aria-label="usable time">{drawn}</svg>'
    )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _text(value: object) -> str:
    return escape(one_line(str(value)))
