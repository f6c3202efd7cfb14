"""`jadfer diff`."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_json
from jadfer_cli.cli.tables import Cell, show, table
from jadfer_cli.errors import JadferError, OptionError, ResultError
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from jadfer_cli.analysis.compare import Comparison, Setting

PANEL = RESULTS_PANEL
HELP = """Compare two results: do frames, times, faces, track IDs, boxes and probabilities agree?

The first line is the answer. The exit code is 0 if they agree, 1 if they differ or cannot be \
read. Two folders are compared file by file, by their paths below the folders. Differing settings, \
versions and devices are listed, but only the rows decide.

Tolerances: --tolerance for probabilities, 0.1 px for boxes, 0.000001 s for times. Typical \
tolerances with the same settings: 0.0001 on the same machine, 0.001 on another machine, 0.05 for \
half precision against fp32. With another --redetect, boxes move a little: expect another top \
expression for 1 to 3 % of the faces. Results that jadfer 0.5.0 and earlier made on a GPU searched \
every frame (--redetect 0).

Examples:

  jadfer diff monday.parquet tuesday.parquet

  jadfer diff fp32/ bf16/ --tolerance 0.05

  jadfer diff a.parquet b.parquet --json | jq .max_p
"""

_MAX_IDS = 5


_FirstArgument = Annotated[
    str, typer.Argument(metavar="A", help="A result, or a folder of results.")
]
_SecondArgument = Annotated[
    str, typer.Argument(metavar="B", help="The other result, or the other folder.")
]
_ToleranceOption = Annotated[
    float, typer.Option(help="Largest difference of a probability that counts as agreement.")
]
_QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Print only the answer; for folders, hide progress.",
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]


def diff(
    a: _FirstArgument,
    b: _SecondArgument,
    tolerance: _ToleranceOption = 1e-4,
    as_json: shared.JsonOption = False,
    quiet: _QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Compare two results."""
    with errors_as_exit_codes(debug=debug):
        if not (math.isfinite(tolerance) and 0 <= tolerance <= 1):
            raise OptionError(f"--tolerance must lie between 0 and 1, not {tolerance}.")
        folders = [_holds_results(path) for path in (a, b)]
        if folders[0] != folders[1]:
            raise _unlike(*((a, b) if folders[0] else (b, a)))
        compare = _folders if folders[0] else _files
        if not compare(a, b, tolerance, as_json, quiet):
            raise typer.Exit(1)


def _holds_results(path: str) -> bool:
    """Whether it is a folder, or a dataset of `jadfer collect`."""
    from jadfer_cli.results.members import is_collected

    return Path(path).is_dir() or is_collected(Path(path))


def _unlike(folder: str, other: str) -> JadferError:
    if not Path(other).exists():
        return ResultError(f"There is no folder {other} to compare {folder} with.")
    return OptionError(
        f"{folder} holds several results, but {other} is a file of one.",
        "Name two results, two folders, or two datasets of `jadfer collect`.",
    )


def _files(a: str, b: str, tolerance: float, as_json: bool, quiet: bool) -> bool:
    from jadfer_cli.analysis.compare import compare
    from jadfer_cli.results.load import load

    found = compare(load(a), load(b), tolerance)
    if as_json:
        print_json(_facts(found))
    else:
        lines: list[Any] = [_answer(found)]
        if not quiet:
            lines += _settings_table("Made with different settings:", found.settings)
            lines += _settings_table("Computed by different means:", found.origins)
            lines += [table((), _figures(found))]
        show(*lines)
    return found.agree


def _answer(found: Comparison) -> Text:
    if found.agree:
        return Text(f"The results agree within {found.tolerance:g}.", style="bold green")
    return Text(f"The results differ: {'; '.join(found.differences)}.", style="bold red")


def _settings_table(heading: str, settings: Sequence[Setting]) -> list[Table]:
    """A table of what differs; none if nothing does."""
    rows: list[list[Cell]] = [
        [(heading if i == 0 else "", "yellow"), s.name, f"A {s.a}", f"B {s.b}"]
        for i, s in enumerate(settings)
    ]
    return [table((), rows)] if rows else []


def _of_faces(n: int, found: Comparison) -> str:
    """A number of the matched faces, with its share."""
    return f"{n:,} of {count_text(found.faces, 'face')} ({100 * n / max(found.faces, 1):.1f}%)"


def _figures(found: Comparison) -> list[list[Cell]]:
    worst = ""
    if found.worst_frame is not None:
        worst = f", in frame {found.worst_frame}, track {found.worst_track}"
    first = "" if found.first_unmatched is None else f"; first in frame {found.first_unmatched}"
    ids = [f"{pair} ({n:,})" for pair, n in found.ids.items()]
    more = "" if len(ids) <= _MAX_IDS else ", ..."
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
        ["frame status", f"differs in {count_text(found.statuses, 'frame')}"],
        ["track IDs", f"differ for {count_text(found.other_ids, 'face')}"],
    ]
    if ids:
        lines.append(["", "A -> B (faces): " + ", ".join(ids[:_MAX_IDS]) + more])
    lines += [
        ["boxes", f"differ by up to {found.max_box_px:.3f} px"],
        ["usable", f"differs for {_of_faces(found.usable, found)}"],
        ["probabilities", f"differ by up to {found.max_p:.2g}{worst}; mean {found.mean_p:.2g}"],
        ["top expression", f"differs for {_of_faces(found.expressions, found)}"],
    ]
    return lines


def _facts(found: Comparison) -> dict[str, Any]:
    answer = {"agree": found.agree, "differences": list(found.differences)}
    return answer | dataclasses.asdict(found)


def _folders(a: str, b: str, tolerance: float, as_json: bool, quiet: bool) -> bool:
    """Compares results of the same relative path; one without a counterpart is a difference."""
    from jadfer_cli.analysis.compare import compare

    inside = []
    for folder in (a, b):
        files = reading.found([folder], recursive=True)
        inside.append({files.relative_path(each).as_posix(): each for each in files.results})
    names = sorted({*inside[0], *inside[1]})
    facts: list[dict[str, Any]] = []
    lines: list[list[Cell]] = []
    for name in reading.each(names, "comparing", quiet=quiet):
        if name in inside[0] and name in inside[1]:
            found = compare(inside[0][name], inside[1][name], tolerance)
            facts.append(_facts(found))
            word = ("agree", "green") if found.agree else ("differ", "red")
            others = [f"different {s.name}" for s in (*found.settings, *found.origins)]
            lines.append([name, word, "; ".join([*found.differences, *others])])
        else:
            side = "A" if name in inside[0] else "B"
            facts.append({"agree": False, "differences": [f"only in {side}"], "name": name})
            lines.append([name, (f"only {side}", "red"), f"{b if side == 'A' else a} has none"])
    agreeing = sum(bool(found["agree"]) for found in facts)
    if as_json:
        print_json(facts)
    else:
        all_agree = agreeing == len(names)
        pairs = ("all " if len(names) > 1 else "") + count_text(len(names), "pair")
        answer = f"agree within {tolerance:g}: {pairs}"
        if not all_agree:
            answer = f"differ: {len(names) - agreeing} of {len(names)} do not agree"
        head = Text(f"The results {answer}.", style="bold green" if all_agree else "bold red")
        show(head, table(("result", "answer", "what differs"), lines))
    return agreeing == len(names)
