"""`jadfer evaluate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
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
from jadfer_cli.cli.tables import figures, show, table, title
from jadfer_cli.cli.timeline import letters
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.common import check_writable
from jadfer_cli.errors import OptionError
from jadfer_cli.labels import LABELS
from jadfer_cli.options import ModelOptions

PANEL = TRAINING_PANEL
HELP = """Measure a model on labelled faces: accuracy, recall, calibration.

Measures the shipped model by default, without test-time averaging. A protocol decides which \
images count; each figure is printed with its protocol, n and a 95 % interval (bootstrap over \
images).

Examples:

  jadfer evaluate --dataset ferplus --data FERPlus/data --split test

  jadfer evaluate runs/mine/model.safetensors --dataset folder --data faces/ --json mine.json

  jadfer evaluate --dataset rafdb --data RAF-DB/ --plots figures/

Layouts: ferplus, rafdb and affectnet as they are distributed; folder: DATA/test/CLASS/*.jpg; \
csv: columns file and label.
"""

_M = ModelOptions()
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
            help="A name from `jadfer models list`, or a .safetensors file.",
            show_default=False,
        ),
    ] = "default",
    dataset: o.Dataset = None,
    data: o.Data = None,
    split: o.Split = "test",
    votes: o.Votes = None,
    classes: o.Classes = None,
    detector: o.Detector = None,
    cache: o.Cache = None,
    protocol: o.Protocol = None,
    refit_temperature: o.Refit = False,
    device: DeviceOption = _M.device,
    threads: ThreadsOption = _M.threads,
    batch_size: BatchSizeOption = _M.batch_size,
    json_file: o.JsonFile = None,
    plots: o.Plots = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure a model on a labelled data set."""
    with errors_as_exit_codes(debug=debug):
        if dataset is None or data is None:
            raise OptionError(
                "--dataset and --data are needed.",
                "E.g. jadfer evaluate --dataset ferplus --data FERPlus/data",
            )
        for file in (json_file, None if plots is None else plots / "confusion.png"):
            if file is not None:
                check_writable(file)
        from jadfer_cli.runtime import settle
        from jadfer_cli.training.data import DataOptions
        from jadfer_cli.training.measure import measure, write

        report = ConsoleReporter(stderr_console(), quiet=quiet)
        found = measure(
            checkpoint,
            DataOptions(dataset, data, votes, tuple(classes or ()), (detector or "auto",), cache),
            split,
            settle(
                ModelOptions(engine="torch", device=device, threads=threads, batch_size=batch_size)
            ),
            protocol=protocol, refit_temperature=refit_temperature, report=report,
        )  # fmt: skip
        show(*_report(found.figures))
        for path in write(found, json_file, plots):
            stderr_console().print(Text(f"wrote {path}"))


def _report(found: dict[str, Any]) -> list[Any]:
    by_protocol = found["protocols"]
    rows = [
        [_NAMES[key], *(_with_interval(f, key) for f in by_protocol.values())] for key in _NAMES
    ]
    before = [f"{f['ece_before_temperature']:.3f}" for f in by_protocol.values()]
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
    among: list[Any] = []
    if len(labels) < len(LABELS):
        among = [
            Text(
                f"Scored among the {len(labels)} of {len(LABELS)} expressions that the data set "
                f"names: {', '.join(labels)}. Among all expressions, as in `jadfer annotate`, "
                f"accuracy is {found['accuracy_among_all']:.1%} ({found['protocol']})."
            )
        ]
    return [
        title(f"{found['model']} on {found['dataset']} {found['split']}"),
        table(
            ["", *(f"{name}, n = {f['n']:,}" for name, f in by_protocol.items())],
            [*rows, ["ECE before", *before]],
        ),
        Text(
            "In brackets: 95 % bootstrap interval over images. No test-time averaging. "
            f"Temperature {found['temperature']:.3f}, fitted on "
            f"{found['temperature_fitted_on'] or 'an unknown set'}."
        ),
        *among,
        title(f"Confusion, {found['protocol']}: rows label, columns top expression"),
        figures(["", *marks.values(), "recall"], confusion, right=range(1, len(labels) + 2)),
    ]


def _with_interval(found: dict[str, Any], key: str) -> str:
    low, high = found["intervals_95"][key]
    if key == "ece":
        return f"{found[key]:.3f} [{low:.3f}, {high:.3f}]"
    return f"{100 * found[key]:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
