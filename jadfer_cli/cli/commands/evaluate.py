"""`jadfer evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from jadfer_cli.cli import training_options as o
from jadfer_cli.cli.commands import TRAINING_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.options import (
    BatchSizeOption,
    DebugOption,
    DeviceOption,
    QuietOption,
    ThreadsOption,
)
from jadfer_cli.cli.probe_tables import probe_tables
from jadfer_cli.cli.suite_tables import run_suite
from jadfer_cli.cli.tables import figures, show, table, title
from jadfer_cli.cli.timeline import letters
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.common import check_writable
from jadfer_cli.errors import OptionError
from jadfer_cli.expression.lineage import temperature_text
from jadfer_cli.labels import LABELS
from jadfer_cli.options import ModelOptions
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from jadfer_cli.training.data import DataOptions

PANEL = TRAINING_PANEL
HELP = """Measure a model on labelled faces: accuracy, recall, calibration.

Measures the default model if none is given, without test-time averaging. A protocol decides \
which images count; each figure is printed with its protocol, n and a 95 % interval (bootstrap).

Clean figures leave out images that have a twin in the data set's training split: an equal \
picture, or another copy of the same photograph. Twins are searched for once, and cached.

Examples:

  jadfer evaluate --dataset ferplus --data FERPlus/data --split test

  jadfer evaluate runs/mine/model.safetensors --dataset folder --data faces/ --json mine.json

  jadfer evaluate --dataset rafdb --data RAF-DB/ --plots figures/

  jadfer evaluate --dataset folder --data faces/ --probes --probe-figure maps.png
  jadfer evaluate runs/mine/model.safetensors --beside default --suite suite.toml

Layouts: ferplus, rafdb and affectnet as they are distributed; folder: DATA/test/CLASS/*.jpg; \
csv: columns file and label.
"""

_M = ModelOptions()
_PICTURES = (".png", ".svg", ".pdf")
_NAMES = {
    "accuracy": "accuracy",
    "mean_class_recall": "mean class recall",
    "macro_f1": "macro F1",
    "ece": "ECE",
}


def evaluate(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="[CHECKPOINT]",
            help="default, fast, another name from `jadfer models list`, or a .safetensors file.",
            show_default=False,
        ),
    ] = "default",
    dataset: o.Dataset = None,
    data: o.Data = None,
    split: o.Split = "test",
    votes: o.Votes = None,
    classes: o.Classes = None,
    suite: o.SuiteFile = None,
    beside: o.Beside = None,
    detector: o.Detector = None,
    cache: o.Cache = None,
    twin_threshold: o.TwinThreshold = None,
    protocol: o.Protocol = None,
    refit_temperature: o.Refit = False,
    device: DeviceOption = _M.device,
    threads: ThreadsOption = _M.threads,
    batch_size: BatchSizeOption = _M.batch_size,
    json_file: o.JsonFile = None,
    plots: o.Plots = None,
    probes: o.Probes = False,
    probe_figure: o.ProbeFigure = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure a model on a labelled data set."""
    with errors_as_exit_codes(debug=debug):
        machine = ModelOptions(
            engine="torch", device=device, threads=threads, batch_size=batch_size
        )
        report = ConsoleReporter(stderr_console(), quiet=quiet)
        if suite is not None:
            run_suite(suite, (checkpoint, *(beside or ())), machine, json_file, report)
            return
        options = _data_options(dataset, data, votes, classes, detector, cache, twin_threshold)
        _check_files(json_file, plots, probe_figure, probes=probes)
        from jadfer_cli.runtime import settle
        from jadfer_cli.training.measure import measure, write

        found = measure(
            checkpoint, options, split, settle(machine),
            protocol=protocol, refit_temperature=refit_temperature, probes=probes, report=report,
        )  # fmt: skip
        show(*_report(found.figures))
        for path in write(found, json_file, plots, probe_figure):
            if not quiet:
                stderr_console().print(Text(f"wrote {path}"))


def _check_files(
    json_file: Path | None, plots: Path | None, probe_figure: Path | None, *, probes: bool
) -> None:
    """Refuses early what could not be written."""
    if probe_figure is not None and not probes:
        raise OptionError("--probe-figure needs --probes.")
    if probe_figure is not None and probe_figure.suffix.lower() not in _PICTURES:
        raise OptionError(
            f"--probe-figure takes a name that ends in {', '.join(_PICTURES)}, not {probe_figure}."
        )
    chart = None if plots is None else plots / "confusion.png"
    for file in (json_file, chart, probe_figure):
        if file is not None:
            check_writable(file)


def _data_options(
    dataset: str | None,
    data: Path | None,
    votes: Path | None,
    classes: list[str] | None,
    detector: str | None,
    cache: Path | None,
    twin_threshold: float | None,
) -> DataOptions:
    """The data set of the options; raises OptionError if it is not given."""
    from jadfer_cli.training.data import DataOptions

    if dataset is None or data is None:
        raise OptionError(
            "--dataset and --data are needed.",
            "E.g. jadfer evaluate --dataset ferplus --data FERPlus/data",
        )
    chosen: Any = {} if twin_threshold is None else {"twin_threshold": twin_threshold}
    return DataOptions(
        dataset, data, votes, tuple(classes or ()), (detector or "auto",), cache, **chosen
    )


def _report(found: dict[str, Any]) -> list[Any]:
    by_protocol = found["protocols"]
    labels, recall = found["labels"], found["recall"]
    marks = letters(labels)
    confusion = [
        [
            f"{marks[label]} {label}",
            *map(str, counts),
            f"{recall[label]:.1%}" if label in recall else "-",
        ]
        for label, counts in zip(labels, found["confusion"], strict=True)
    ]
    return [
        title(f"{found['model']} on {found['dataset']} {found['split']}"),
        _figures_table(by_protocol),
        *_clean(found),
        Text(
            "In brackets: 95 % bootstrap interval over images; copies of one photograph, and "
            "pictures of one person where they are named, are drawn together. No test-time "
            "averaging. " + temperature_text(found["temperature"], found)
        ),
        *_ties(by_protocol),
        *_among_fewer(found),
        *_votes(found["votes"]),
        title(f"Confusion, {found['protocol']}: rows label, columns top expression"),
        figures(["", *marks.values(), "recall"], confusion, right=range(1, len(labels) + 2)),
        *probe_tables(found["probes"]),
    ]


def _figures_table(by_protocol: dict[str, Any]) -> Table:
    rows = [
        [_NAMES[key], *(_with_interval(f, key) for f in by_protocol.values())] for key in _NAMES
    ]
    before = [f"{f['ece_before_temperature']:.3f}" for f in by_protocol.values()]
    return table(
        ["", *(f"{name}, n = {f['n']:,}" for name, f in by_protocol.items())],
        [*rows, ["ECE before", *before]],
    )


def _clean(found: dict[str, Any]) -> list[Any]:
    """The figures without images that have a twin in training, or why there are none."""
    twins = found["twins"]
    if found["clean"] is None:
        if found["split"] == "train":
            return []
        if twins and twins["images_with_twin_in_train"]:
            return [Text("No clean figures: all images have a twin in training.")]
        return [Text("No clean figures: they need the data set's training split.")]
    n, within = twins["images_with_twin_in_train"], twins["images_with_twin_in_split"]
    return [
        title(f"clean: without {n:,} of {found['images']:,} images that have a twin in training"),
        _figures_table(found["clean"]),
        Text(
            f"Twins: equal pictures, or correlation above {twins['threshold']:.2f}. Within the "
            f"split {count_text(within, 'image')} {'has' if within == 1 else 'have'} one."
        ),
    ]


def _ties(by_protocol: dict[str, Any]) -> list[Text]:
    return [
        Text(
            f"{name}: in {count_text(f['n_tied'], 'image')} several expressions tie; any of them "
            "counts as right."
        )
        for name, f in by_protocol.items()
        if f["n_tied"]
    ]


def _among_fewer(found: dict[str, Any]) -> list[Text]:
    labels = found["labels"]
    if len(labels) == len(LABELS):
        return []
    return [
        Text(
            f"Scored among the {len(labels)} of {len(LABELS)} expressions that the data set "
            f"names: {', '.join(labels)}. Among all expressions, as in `jadfer annotate`, "
            f"accuracy is {found['accuracy_among_all']:.1%} ({found['protocol']})."
        )
    ]


def _votes(found: dict[str, Any] | None) -> list[Any]:
    """The definitions of scores, each against the raters' votes."""
    if found is None:
        return []
    head = ["score", "images", "n", "KL", "ECE", "ECE by class", "r"]
    rows = [
        [
            name.replace("_", " "), subset, f"{f['n']:,}", f"{f['kl']:.3f}", f"{f['ece_top']:.3f}",
            f"{f['ece_by_class']:.3f}", f"{f['correlation']:.3f}",
        ]
        for name, subsets in found["definitions"].items()
        for subset, f in subsets.items()
    ]  # fmt: skip
    return [
        title("Scores against the share of raters who chose the expression"),
        figures(head, rows, right=range(2, len(head))),
        Text(
            "KL of the scores from the shares; ECE of the highest score; r over all scores. "
            "Shares are of the raters who named an expression; "
            f"{found['unknown_share']['all']:.1%} of all votes did not. "
            f"votes: fitted on: {found['vote_share_fitted_on']}."
        ),
    ]


def _with_interval(found: dict[str, Any], key: str) -> str:
    low, high = found["intervals_95"][key]
    if key == "ece":
        return f"{found[key]:.3f} [{low:.3f}, {high:.3f}]"
    return f"{100 * found[key]:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
