"""`jadfer diff`."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from jadfer_cli.cli import reading
from jadfer_cli.cli.console import errors_as_exit_codes
from jadfer_cli.cli.tables import Cell, show, table
from jadfer_cli.errors import OptionError

if TYPE_CHECKING:
    from jadfer_cli.analysis.compare import Comparison

HELP = """Compare two results: do frames, times, faces, ids, boxes and probabilities agree?

The first line is the answer; the exit code is 0 if they agree, 1 if they differ or cannot be \
read. Two folders are compared file by file, by the same path below them. Other settings are \
named, but only rows decide. Tolerances: probabilities as given, boxes 0.1 px, times 0.000001 s.

As a guide: the same program again on the same machine 0.0001, another machine 0.001, \
half precision against fp32 0.05.

Examples:

  jadfer diff monday.parquet tuesday.parquet

  jadfer diff fp32/ bf16/ --tolerance 0.05

  jadfer diff a.parquet b.parquet --json | jq .max_p
"""

_IDS_SHOWN = 5


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A result, or a folder of results.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other result, or folder.")],
    tolerance: Annotated[float, typer.Option(help="Probabilities may differ by so much.")] = 1e-4,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all figures as JSON; for folders, a list.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the answer only; for folders no progress.")
    ] = False,
    debug: reading.Debug = False,
) -> None:
    """Compare two results."""
    with errors_as_exit_codes(debug=debug):
        if not (math.isfinite(tolerance) and 0 <= tolerance <= 1):
            raise OptionError(f"--tolerance must lie between 0 and 1, not {tolerance}.")
        folders = [Path(path).is_dir() for path in (a, b)]
        if folders[0] != folders[1]:
            raise OptionError(
                f"{a if folders[0] else b} is a folder and {b if folders[0] else a} is none.",
                "Name two results, or two folders.",
            )
        compare = _folders if folders[0] else _files
        if not compare(a, b, tolerance, as_json, quiet):
            raise typer.Exit(1)


def _files(a: str, b: str, tolerance: float, as_json: bool, quiet: bool) -> bool:
    from jadfer_cli.analysis.compare import compare
    from jadfer_cli.results.load import load

    found = compare(load(a), load(b), tolerance)
    if as_json:
        typer.echo(json.dumps(_facts(found), indent=2, ensure_ascii=False))
    else:
        lines: list[Any] = [_answer(found)]
        if not quiet:
            lines += [table((), _settings(found))] if found.settings else []
            lines += [table((), _figures(found))]
        show(*lines)
    return found.agree


def _answer(found: Comparison) -> Text:
    if found.agree:
        return Text(f"The results agree within {found.tolerance:g}.", style="bold green")
    return Text(f"The results differ: {'; '.join(found.differences)}.", style="bold red")


def _settings(found: Comparison) -> list[list[Cell]]:
    return [
        [("Made with other settings:" if i == 0 else "", "yellow"), s.name, f"A {s.a}", f"B {s.b}"]
        for i, s in enumerate(found.settings)
    ]


def _figures(found: Comparison) -> list[list[Cell]]:
    worst = ""
    if found.worst_frame is not None:
        worst = f", in frame {found.worst_frame}, track {found.worst_track}"
    first = "" if found.first_unmatched is None else f"; first in frame {found.first_unmatched}"
    ids = [f"{pair} ({n:,})" for pair, n in found.ids.items()]
    more = "" if len(ids) <= _IDS_SHOWN else ", ..."
    rows = [
        ("frames", f"{found.frames:,} in both", found.frames_only_a, found.frames_only_b, ""),
        ("faces", f"{found.faces:,} in both", found.faces_only_a, found.faces_only_b, first),
    ]
    lines: list[list[Cell]] = [
        [name, f"{both}, {only_a:,} only in A, {only_b:,} only in B{rest}"]
        for name, both, only_a, only_b, rest in rows
    ]
    lines += [
        ["times", f"differ by up to {found.max_time_s:.6f} s"],
        ["frame status", f"other in {found.statuses:,} frames"],
        ["track ids", f"other for {found.other_ids:,} faces"],
    ]
    if ids:
        lines.append(["", "A -> B (faces): " + ", ".join(ids[:_IDS_SHOWN]) + more])
    lines += [
        ["boxes", f"differ by up to {found.max_box_px:.3f} px"],
        ["usable", f"other for {found.usable:,} faces"],
        ["probabilities", f"differ by up to {found.max_p:.2g}{worst}; mean {found.mean_p:.2g}"],
        ["top expression", f"other for {found.expressions:,} faces"],
    ]
    return lines


def _facts(found: Comparison) -> dict[str, Any]:
    answer = {"agree": found.agree, "differences": list(found.differences)}
    return answer | dataclasses.asdict(found)


def _folders(a: str, b: str, tolerance: float, as_json: bool, quiet: bool) -> bool:
    """Pairs by the path below the folders; a result without a counterpart is a difference."""
    from jadfer_cli.analysis.compare import compare
    from jadfer_cli.analysis.find import find_results

    inside = []
    for folder in (a, b):
        files = find_results([folder], recursive=True)
        inside.append({files.relative_path(each).as_posix(): each for each in files.results})
    names = sorted({*inside[0], *inside[1]})
    facts: list[dict[str, Any]] = []
    lines: list[list[Cell]] = []
    for name in reading.each(names, "comparing", quiet=quiet):
        if name in inside[0] and name in inside[1]:
            found = compare(inside[0][name], inside[1][name], tolerance)
            facts.append(_facts(found))
            word = ("agree", "green") if found.agree else ("differ", "red")
            others = [f"other {s.name}" for s in found.settings]
            lines.append([name, word, "; ".join([*found.differences, *others])])
        else:
            side = "A" if name in inside[0] else "B"
            facts.append({"agree": False, "differences": [f"only in {side}"], "name": name})
            lines.append([name, (f"only {side}", "red"), f"{b if side == 'A' else a} has none"])
    agreeing = sum(bool(found["agree"]) for found in facts)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        whole = agreeing == len(names)
        answer = f"agree within {tolerance:g}: all {len(names)} pairs"
        if not whole:
            answer = f"differ: {len(names) - agreeing} of {len(names)} do not agree"
        head = Text(f"The results {answer}.", style="bold green" if whole else "bold red")
        show(head, table(("result", "answer", "what differs"), lines))
    return agreeing == len(names)
