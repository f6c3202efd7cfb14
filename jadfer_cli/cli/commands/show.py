"""`jadfer show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from jadfer_cli.cli import reading
from jadfer_cli.cli.console import errors_as_exit_codes
from jadfer_cli.cli.tables import Cell, figures, show, table, title
from jadfer_cli.cli.timeline import timeline
from jadfer_cli.common import atomic_write, short_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jadfer_cli.analysis.overview import Overview
    from jadfer_cli.results.load import Result

HELP = """Look at results: warnings, video, model, coverage, tracks, expressions, a timeline.

Up to three results are shown one after the other; more as a table, a row a result. Shares of \
expressions are shares of the time in which a face is usable, each frame counted by the time it \
stands for.

Examples:

  jadfer show demo.parquet

  jadfer show results/ -r

  jadfer show results/ -r -o overview.csv

  jadfer show demo.parquet --json | jq '.[0].expression_shares'
"""

_BLOCKS = 3  # more results than these become a table
_LISTED_TRACKS = 30


def show_results(
    inputs: reading.Inputs,
    recursive: reading.Recursive = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON, a list of results.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", show_default=False,
            help="Write it to a .json file, or a row a result: .csv, .tsv, .jsonl, .parquet.",
        ),
    ] = None,
    overwrite: reading.Overwrite = False,
    quiet: reading.Quiet = False,
    debug: reading.Debug = False,
) -> None:  # fmt: skip
    """Look at results."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis import tabular
        from jadfer_cli.analysis.overview import overview
        from jadfer_cli.analysis.provenance import mixed

        if out is not None:
            tabular.check_target(out, overwrite=overwrite, endings=tabular.table_endings())
        results = reading.opened(inputs, recursive=recursive)
        if out is None and not as_json and len(results) <= _BLOCKS:
            show(*_warned(mixed(results)))
            for result in results:
                show(*_block(overview(result)))
            return
        facts, rows, lines = [], [], []
        for result in reading.each(results, "reading", quiet=quiet):
            found = overview(result)
            facts.append(found.facts())
            rows.append(found.row())
            lines.append(_Line(found, results))
        if out is not None:
            _write(facts, rows, out)
            reading.wrote(out, f"{len(rows)} result{'s' * (len(rows) != 1)}", quiet=quiet)
        if as_json:
            typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        elif out is None:
            show(*_warned(mixed(results)), *_many(lines))


def _write(facts: list[dict[str, Any]], rows: list[dict[str, Any]], out: Path) -> None:
    import pandas as pd

    from jadfer_cli.analysis.tabular import write_table

    if out.suffix == ".json":  # nested, with the tracks
        with atomic_write(out) as part:
            part.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")
    else:
        write_table(pd.DataFrame(rows), out)


def shares_text(shares: Mapping[str, float], most: int = 3) -> str:
    """The most shown expressions: "happiness 62%, neutral 30%"; "-" where nothing counts."""
    named = [f"{name} {share:.0%}" for name, share in list(shares.items())[:most] if share >= 0.005]
    return ", ".join(named) or "-"


def share_text(share: float | None) -> str:
    """A share in per cent; "-" where there is none."""
    return "-" if share is None else f"{share:.0%}"


def _warned(sentences: Sequence[str]) -> list[Text]:
    return [Text.assemble(("Warning: ", "bold yellow"), text) for text in sentences]


def _block(found: Overview) -> list[Any]:
    tracks = found.tracks[:_LISTED_TRACKS]
    parts: list[Any] = [
        title(str(found.result.path)),
        *_warned(found.warnings),
        table((), [((name, "bold"), text) for name, text in _facts(found)]),
    ]
    if tracks:
        rows = [
            [
                str(track.track_id),
                f"{short_time(track.first_seen_s or 0)} - {short_time(track.last_seen_s or 0)}",
                f"{track.seconds_seen:.2f}",
                share_text(track.usable_share),
                shares_text(track.shares),
            ]
            for track in tracks
        ]
        head = ("track", "seen", "seconds", "usable", "expressions (of usable time)")
        parts += [Text(""), figures(head, rows, right=(0, 1, 2, 3))]
    if len(tracks) < len(found.tracks):
        parts.append(Text(f"... and {len(found.tracks) - len(tracks)} more tracks."))
    lines = timeline(found.annotated)
    return [*parts, *([Text("")] if lines else []), *lines, Text("")]


def _facts(found: Overview) -> list[tuple[str, str]]:
    from jadfer_cli.analysis.provenance import detector_text, model_text, options_text

    m, whole = found.result.metadata, found.whole
    video, n = m["video"], len(found.annotated.frame_start_s)
    rate = f"{video['nominal_fps']:.4g} frames/s"
    size = f"{video['width_px']}x{video['height_px']} px"
    facts = [
        ("Video", f"{found.annotated.video}"),
        (
            "",
            f"{size}, {short_time(video['duration_s'])}, {rate}"
            f"{' on average' if video['variable_frame_rate'] else ''}, {video['codec']}",
        ),
        ("Model", f"{model_text(m)}, {len(m['labels'])} expressions"),
        ("Detector", f"{detector_text(m)}, tracker {m['options']['faces']['tracker']}"),
        ("Options", options_text(m) or "the defaults"),
        ("Made by", f"jadfer {m['jadfer_version']}, {m['precision']} on {m['device_name']}"),
        ("Frames", f"{n:,} analysed, {whole.frames:,} with a face ({_part(whole.frames, n)})"),
    ]
    if whole.face_s:
        people = "1 track" if whole.tracks == 1 else f"{whole.tracks} tracks"
        facts += [
            (
                "Faces",
                f"{people}, {short_time(whole.face_s)}, "
                f"of which {short_time(whole.usable_s)} usable ({share_text(whole.usable_share)})",
            ),
            ("Expressions", shares_text(whole.shares, most=8)),
        ]
    return facts


def _part(n: int, of: int) -> str:
    return f"{n / of:.0%}" if of else "-"


class _Line:
    """What the table of many results keeps of one; its rows are let go."""

    def __init__(self, found: Overview, results: Sequence[Result]) -> None:
        self.name = short_name(found.result, results)
        self.duration_s: float = found.result.metadata["video"]["duration_s"]
        self.n_frames = len(found.annotated.frame_start_s)
        self.whole = found.whole
        self.warnings = found.warnings


def short_name(result: Result, results: Sequence[Result]) -> str:
    """The result's name, or its path where another result has the same name."""
    same = sum(other.name == result.name for other in results)
    return result.name if same == 1 else str(result.path)


def _many(lines: Sequence[_Line]) -> list[Any]:
    """A table with a row a result and the totals, warnings first."""
    warnings: dict[str, list[str]] = {}
    for line in lines:
        for text in line.warnings:
            warnings.setdefault(text, []).append(line.name)
    parts: list[Any] = [
        Text.assemble(("Warning: ", "bold yellow"), f"{_named(names)}: {text}")
        for text, names in warnings.items()
    ]
    rows: list[list[Cell]] = [
        [
            line.name,
            short_time(line.duration_s),
            f"{line.n_frames:,}",
            _part(line.whole.frames, line.n_frames),
            str(line.whole.tracks),
            share_text(line.whole.usable_share),
            shares_text(line.whole.shares, most=2),
        ]
        for line in lines
    ]
    return [*parts, figures(_HEAD, [*rows, _total(lines)], right=(1, 2, 3, 4, 5))]


_HEAD = ("result", "length", "frames", "face", "tracks", "usable", "most shown")


def _total(lines: Sequence[_Line]) -> list[Cell]:
    n = sum(line.n_frames for line in lines)
    face_s = sum(line.whole.face_s for line in lines)
    counted_s = sum(line.whole.counted_s for line in lines)
    shown_s: dict[str, float] = {}
    for line in lines:
        for label, seconds in zip(line.whole.labels, line.whole.shown_s.tolist(), strict=True):
            shown_s[label] = shown_s.get(label, 0.0) + seconds
    order = sorted(shown_s, key=lambda label: -shown_s[label])
    shares = {label: shown_s[label] / counted_s for label in order} if counted_s else {}
    cells = [
        f"all {len(lines)}",
        short_time(sum(line.duration_s for line in lines)),
        f"{n:,}",
        _part(sum(line.whole.frames for line in lines), n),
        str(sum(line.whole.tracks for line in lines)),
        share_text(sum(line.whole.usable_s for line in lines) / face_s if face_s else None),
        shares_text(shares, most=2),
    ]
    return [(cell, "bold") for cell in cells]


def _named(names: Sequence[str]) -> str:
    few = ", ".join(names[:3])
    return few if len(names) <= 3 else f"{few} and {len(names) - 3} more"
