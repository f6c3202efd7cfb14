"""`jadfer agree`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from jadfer_cli.cli import code_options as coding
from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note, print_warning
from jadfer_cli.cli.event_options import MergeGapOption, MinDurationOption, OffOption, OnOption
from jadfer_cli.cli.tables import Cell, figures, show, title
from jadfer_cli.common import atomic_write, short_time
from jadfer_cli.errors import OptionError
from jadfer_cli.options import EVENT_MERGE_GAP_S, EVENT_MIN_DURATION_S, EVENT_OFF, EVENT_ON
from jadfer_cli.text import count_text, printable

if TYPE_CHECKING:
    from rich.table import Table

    from jadfer_cli.analysis.agreement.pairs import Pair, Settings, Value
    from jadfer_cli.analysis.agreement.study import Agreement, Material
    from jadfer_cli.analysis.methods import Methods

PANEL = RESULTS_PANEL
HELP = """Compare results with human coding: kappa, alpha, ICC, sensitivity, precision, confusion.

CODES are files of ELAN (.eaf), exports of BORIS (tabular or aggregated events), or tables with \
the columns clip, coder, start_s, end_s and label. Labels such as happy are understood; --map \
explains others. With several coders, they are also compared among each other.

Frame level: at each moment that both judged, in steps of the frames. Event level: events, as \
`jadfer events` finds them, and coded spans are matched one to one. They must overlap, or lie at \
most --tolerance apart. Sensitivity is the share of the coders' judgements that jadfer \
shares, precision the reverse. ICC(2,1) compares the share of time of each class.

95% intervals come from resampling blocks of time (--block), and from resampling clips. Quote \
those over clips, if there are enough.

Statistics need an extra: pip install 'jadfer-cli\\[stats]'.

Examples:

  jadfer agree results/ codes/ -r

  jadfer agree results/ codes.csv --map smile=happiness --uncoded neutral -o agreement.csv

  jadfer agree results/ codes/ --coder-from folder --figure agreement.png --text agreement.md

  jadfer agree results/ codes.csv --participants participants.csv --by group
"""
_TEXT_ENDINGS = (".md", ".txt", ".bib")

_ToleranceOption = Annotated[
    float,
    typer.Option(help="Longest gap between matched events, seconds.", metavar="SECONDS"),
]
_BlockOption = Annotated[
    float, typer.Option(help="Length of the blocks that are resampled, seconds.", metavar="SECONDS")
]
_DrawsOption = Annotated[int, typer.Option(help="Number of resamples; 0 for no intervals.")]
_StepOption = Annotated[
    float | None,
    typer.Option(
        help="Compare every so many seconds.", metavar="SECONDS", show_default="the frames' own"
    ),
]
_ByOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Also compare by group: a column of --participants, or of the results.",
        show_default=False,
    ),
]
_OutOption = Annotated[
    Path | None,
    shared.out_option("Write all measures with intervals, one row each: .csv, .tsv, .xlsx, ..."),
]


def _file(help_text: str) -> object:
    return typer.Option(
        metavar="FILE", help=help_text, show_default=False, rich_help_panel=shared.OUTPUT_PANEL
    )


_ConfusionOption = Annotated[Path | None, _file("Write the confusion of each pair of raters.")]
_FigureOption = Annotated[Path | None, _file("Draw confusion and kappa: .png, .svg or .pdf.")]
_TextOption = Annotated[
    Path | None, _file("Write the sentences for a paper: .md, .txt, or .bib for the works alone.")
]


def agree(
    inputs: shared.ResultsArgument,
    codes: coding.CodesArgument,
    recursive: shared.RecursiveOption = False,
    given: coding.MapOption = None,
    uncoded: coding.UncodedOption = None,
    coder_from: coding.CoderOption = "recorded",
    tier: coding.TierOption = None,
    participants: coding.ParticipantsOption = None,
    by: _ByOption = None,
    all_faces: coding.AllFacesOption = False,
    tolerance: _ToleranceOption = 0.5,
    block: _BlockOption = 10.0,
    draws: _DrawsOption = 1000,
    step: _StepOption = None,
    on: OnOption = EVENT_ON,
    off: OffOption = EVENT_OFF,
    min_duration: MinDurationOption = EVENT_MIN_DURATION_S,
    merge_gap: MergeGapOption = EVENT_MERGE_GAP_S,
    out: _OutOption = None,
    confusion: _ConfusionOption = None,
    figure: _FigureOption = None,
    text: _TextOption = None,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Compare results with human coding."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.agreement import clips, coefficients, study
        from jadfer_cli.analysis.event_rule import Rule

        coefficients.require_statistics()
        _check(out, confusion, figure, text, overwrite=overwrite)
        _positive(tolerance, block, draws)
        rule = Rule(on, off, min_duration, merge_gap, all_faces)
        found = coding.material(
            reading.opened(inputs, recursive=recursive), codes, given, uncoded=uncoded,
            coder_from=coder_from, tiers=tier, rule=rule, step=step,
        )  # fmt: skip
        table = clips.read_participants(participants) if participants else None
        groups = study.groups_of(found, by, table) if by else []
        settings = _settings(found, tolerance, block, draws)
        agreed = study.analyse(found, settings, groups)
        for note in () if quiet else found.notes:
            print_warning(note)
        _write(agreed, found, settings, out, confusion, figure, text, quiet=quiet)
        _show(agreed, found)


def _positive(tolerance: float, block: float, draws: int) -> None:
    """Check the numbers.

    Raises:
        OptionError: One is out of range.
    """
    if not 0 <= tolerance < 3600:
        raise OptionError(f"--tolerance takes seconds, 0 or more, not {tolerance:g}.")
    if not 0.1 <= block < 86400:
        raise OptionError(f"--block takes seconds, from 0.1, not {block:g}.")
    if not 0 <= draws <= 100_000:
        raise OptionError(f"--draws takes a number from 0 to 100,000, not {draws}.")


def _settings(found: Material, tolerance: float, block: float, draws: int) -> Settings:
    from jadfer_cli.analysis.agreement.pairs import Settings

    return Settings(found.words.classes, found.words.neutral, tolerance, block, draws)


def _check(
    out: Path | None,
    confusion: Path | None,
    figure: Path | None,
    text: Path | None,
    *,
    overwrite: bool,
) -> None:
    """Check before the work that the files may be written."""
    from jadfer_cli.analysis import tabular
    from jadfer_cli.analysis.plots.agreement import ENDINGS

    endings = tabular.table_endings()
    wanted = [(out, endings), (confusion, endings), (figure, ENDINGS), (text, _TEXT_ENDINGS)]
    targets = [path.absolute() for path, _ in wanted if path is not None]
    if len(set(targets)) < len(targets):
        raise OptionError("Two outputs name the same file; give each a file of its own.")
    for path, allowed in wanted:
        if path is not None:
            tabular.check_target(path, overwrite=overwrite, endings=allowed)


def _write(
    agreed: Sequence[Agreement], found: Material, settings: Settings, out: Path | None,
    confusion: Path | None, figure: Path | None, text: Path | None, *, quiet: bool,
) -> None:  # fmt: skip
    from jadfer_cli.analysis import tabular
    from jadfer_cli.analysis.agreement import measures_table, sentences
    from jadfer_cli.analysis.plots import agreement as plots

    if out is not None:
        table = measures_table.table(agreed)
        tabular.write_table(table, out)
        reading.wrote(out, count_text(len(table), "measure"), quiet=quiet)
    if confusion is not None:
        tabular.write_table(measures_table.confusion_table(agreed, settings.classes), confusion)
        reading.wrote(confusion, "confusion of each pair of raters", quiet=quiet)
    if figure is not None:
        plots.write(agreed[0].main, agreed[0].human, settings.classes, figure)
        reading.wrote(figure, "confusion and kappa", quiet=quiet)
    if text is not None:
        _write_text(sentences.describe(agreed, found, settings), text)
        reading.wrote(text, "sentences for a paper", quiet=quiet)


def _write_text(methods: Methods, path: Path) -> None:
    written = {".md": methods.markdown, ".txt": methods.text, ".bib": methods.bib}[path.suffix]()
    with atomic_write(path) as part:
        part.write_text(printable(written), "utf-8", newline="\n")


def _show(agreed: Sequence[Agreement], found: Material) -> None:
    from jadfer_cli.analysis.agreement import study
    from jadfer_cli.analysis.agreement.pairs import FRAME

    whole, *groups = agreed
    main = whole.main
    rated = f"{count_text(main.n_clips, 'clip')}, {short_time(main.rated_s)} that both judged"
    if main.a == study.CODERS:
        rated += ", summed over coders"
    show(title(f"{main.a} and {main.b}: {rated}"), _classes(main, found.words.classes))
    rows = [_row(f"{pair.a} and {pair.b}", pair) for pair in whole.pairs]
    rows += [_row(f"group {group.group}", group.main) for group in groups]
    head = ["raters", "agree", "kappa [95% interval]", "alpha", "events found", "right"]
    together = [
        Text(f"Krippendorff's alpha of {name} together: {_interval(value)}")
        for name, value in whole.sets.items()
    ]
    show(Text(), title("All classes"), figures(head, rows, right=range(1, 6)), *together)
    if not math.isfinite(main.find(FRAME, "kappa").clips[0]):
        print_note(
            "Note: There are too few clips, or clips with several classes, for intervals over "
            "clips; those shown are over blocks of time."
        )


def _row(name: str, pair: Pair) -> list[Cell]:
    """Two raters over all classes."""
    from jadfer_cli.analysis.agreement.pairs import EVENT, FRAME

    return [
        name,
        _number(pair.find(FRAME, "agreement")),
        _interval(pair.find(FRAME, "kappa")),
        _number(pair.find(FRAME, "alpha")),
        _number(pair.find(EVENT, "sensitivity")),
        _number(pair.find(EVENT, "precision")),
    ]


def _classes(pair: Pair, classes: Sequence[str]) -> Table:
    """One row per class that either rater used."""
    from jadfer_cli.analysis.agreement.pairs import FRAME, SHARE

    rows: list[list[Cell]] = []
    for k, cls in enumerate(classes):
        if not (pair.confusion[k].any() or pair.confusion[:, k].any() or pair.events[k].any()):
            continue
        icc = pair.find(SHARE, "icc_clips", cls)
        if not math.isfinite(icc.value):
            icc = pair.find(SHARE, "icc_blocks", cls)
        a, b, matched = pair.events[k].tolist()
        rows.append(
            [
                cls, _interval(pair.find(FRAME, "kappa", cls)),
                _number(pair.find(FRAME, "sensitivity", cls)),
                _number(pair.find(FRAME, "precision", cls)),
                _number(icc), f"{matched} of {a}" if a or b else "-",
                f"{matched} of {b}" if a or b else "-",
            ]
        )  # fmt: skip
    head = ["class", "kappa [95% interval]", "sens.", "prec.", "ICC", "events found", "right"]
    return figures(head, rows, right=range(1, 7))


def _number(value: Value) -> str:
    return _text(value.value) if math.isfinite(value.value) else "-"


def _text(number: float) -> str:
    return f"{round(number, 2) + 0.0:.2f}"  # never -0.00


def _interval(value: Value) -> str:
    ends = value.clips if math.isfinite(value.clips[0]) else value.blocks
    if not math.isfinite(value.value) or not math.isfinite(ends[0]):
        return _number(value)
    return f"{_text(value.value)} [{_text(ends[0])}, {_text(ends[1])}]"
