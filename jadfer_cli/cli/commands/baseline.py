"""`jadfer baseline`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_warning
from jadfer_cli.cli.formatting import names_text
from jadfer_cli.cli.score_options import AllFacesOption, NameOption, ScaleOption, ScoresOption
from jadfer_cli.cli.tables import figures, show
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from jadfer_cli.analysis.baselines import Baseline, Key
    from jadfer_cli.results.load import Result

PANEL = RESULTS_PANEL
HELP = """Subtract each person's own neutral face, as new columns of new results.

A baseline is the median over time of each score in a neutral span. --neutral gives that span: the \
same seconds of every video, or a CSV file with the columns video, start_s, end_s, and if needed \
person or track_id. Without --neutral, the calmest span is found: the --seconds without a gap in \
which the probabilities change least. Spans in which neutral is the most probable come first. The \
printed table says which were taken; watch them before you rely on them.

A baseline holds for a person in all results together, by the column person. Without it, it holds \
for one track of one video. A face without a baseline gets no value, and a warning says why.

Differences of probabilities depend on where they are: from 0.01 to 0.11 is more than from 0.45 to \
0.55. --scale logit subtracts log odds, for which this does not matter. The columns say which was \
used: p_happiness_change or logit_happiness_change.

Examples:

  jadfer baseline results/ -r -o changes/

  jadfer baseline results/ -r -o changes/ --neutral 0,3 --scale logit

  jadfer baseline results/ -r -o changes/ --neutral neutral.csv --baselines baselines.csv

  jadfer baseline smooth/ -r -o changes/ --scores smooth
"""

_OutOption = Annotated[
    str,
    shared.out_option(
        "The new result (.parquet) of one result, or a folder for many.", metavar="FILE|FOLDER"
    ),
]
_NeutralOption = Annotated[
    str | None,
    typer.Option(
        metavar="START,END|CSV",
        help="The neutral span, seconds; or a file with one per video.",
        show_default="the calmest is found",
    ),
]
_SecondsOption = Annotated[float, typer.Option(help="Length of the calmest span, seconds.")]
_BaselinesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write the baselines, one row per person: .csv, .xlsx, .sav and others.",
        show_default=False,
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]


def baseline(
    inputs: shared.ResultsArgument,
    out: _OutOption,
    recursive: shared.RecursiveOption = False,
    neutral: _NeutralOption = None,
    seconds: _SecondsOption = 2.0,
    scores: ScoresOption = "raw",
    scale: ScaleOption = None,
    all_faces: AllFacesOption = False,
    name: NameOption = None,
    baselines: _BaselinesOption = None,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Subtract each person's own neutral face."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis import tabular
        from jadfer_cli.analysis.baselines import BaselineRule, add_changes, find_baselines
        from jadfer_cli.analysis.neutral_spans import given_spans
        from jadfer_cli.analysis.provenance import mixed
        from jadfer_cli.analysis.score_columns import read_scores, score_set
        from jadfer_cli.results.derived import output_paths, write_derived

        rule = BaselineRule(seconds, (), scores, scale, all_faces, name)
        results = reading.opened(inputs, recursive=recursive)
        if neutral is not None:
            spans = given_spans(neutral, results)
            rule = BaselineRule(seconds, spans, scores, scale, all_faces, name)
        used, *_ = [score_set(result, scores, scale) for result in results]
        if baselines is not None:
            tabular.check_target(baselines, overwrite=overwrite, endings=tabular.table_endings())
        paths = output_paths(results, inputs, out, overwrite=overwrite)
        for text in () if quiet else mixed(results):
            print_warning(text)
        found, reasons = find_baselines(
            (read_scores(each, scores, scale)
             for each in reading.each(results, "finding baselines", quiet=quiet)), rule,
        )  # fmt: skip
        for path, result in reading.each(list(paths.items()), "writing", quiet=quiet):
            added = add_changes(read_scores(result, scores, scale), found, rule)
            n_rows = write_derived(result, path, added)
            reading.wrote(path, count_text(n_rows, "row"), quiet=quiet)
        if baselines is not None:
            tabular.write_table(_table(found, results[0], scores, used.scale), baselines)
            reading.wrote(baselines, count_text(len(found), "baseline"), quiet=quiet)
        names = display_names(result.path for result in results)
        if not quiet:
            show(_shown(found, names))
        _warn(found, reasons, names)


def _table(found: Mapping[Key, Baseline], result: Result, scores: str, scale: str) -> Any:
    import pandas as pd

    labels = list(result.labels)
    columns = ["person", "track_id", "spans", "result", "start_s", "end_s", "how", "seconds"]
    columns += ["is_neutral", *labels]
    rows = []
    for each in found.values():  # a cell holds no list, so the first span stands for all
        row = each.row(labels)
        rows.append(row | row["spans"][0] | {"spans": len(each.spans)})
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "scale", scale)
    table.insert(0, "scores", scores)
    return table.astype({"track_id": "Int64"})


def _shown(found: Mapping[Key, Baseline], names: Mapping[str, str]) -> Any:
    rows = [
        [
            each.person or f"track {each.track_id}",
            names[span.result],
            f"{span.start_s:.2f}",
            f"{span.end_s:.2f}",
            each.how,
            "yes" if each.is_neutral else "no",
        ]
        for each in found.values()
        for span in each.spans
    ]
    return figures(("who", "in", "from s", "to s", "span", "neutral"), rows, right=(2, 3))


def _warn(
    found: Mapping[Key, Baseline], reasons: Mapping[Key, str], names: Mapping[str, str]
) -> None:
    by_reason: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        by_reason.setdefault(reason, []).append(_who(key, names))
    for reason, people in by_reason.items():
        print_warning(f"No baseline for {names_text(people)}: {reason}. They get no values.")
    other = [_who(key, names) for key, each in found.items() if not each.is_neutral]
    if other:
        print_warning(
            f"The span of {names_text(other)} is not mostly neutral by its scores. Watch it, or "
            "give another one with --neutral."
        )


def _who(key: Key, names: Mapping[str, str]) -> str:
    person, result, track = key
    return person or f"{names[result]} track {track}"
