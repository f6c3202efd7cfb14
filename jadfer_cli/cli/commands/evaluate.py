"""`jadfer evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from jadfer_cli.cli import data_options as cli_data
from jadfer_cli.cli.commands import TRAINING_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.options import MACHINE_PANEL, BatchSizeOption, DeviceOption, ThreadsOption
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.common import atomic_write, check_writable, explain_os_errors
from jadfer_cli.errors import ModelError, OptionError
from jadfer_cli.labels import LABELS
from jadfer_cli.options import ModelOptions

PANEL = TRAINING_PANEL
HELP = """Measure a model on labelled faces: accuracy, recall, calibration.

The shipped model by default, without test-time averaging. Images count by a protocol; each \
figure is printed with its protocol, n and a 95 % interval (bootstrap over images).

Examples:

  jadfer evaluate --dataset ferplus --data FERPlus/data --split test

  jadfer evaluate runs/mine/model.safetensors --dataset folder --data faces/ --json mine.json

  jadfer evaluate --dataset rafdb --data RAF-DB/ --plots figures/

Layouts: ferplus, rafdb and affectnet as they are distributed; folder: DATA/test/CLASS/*.jpg; \
csv: columns file and label.
"""

_MODEL, _OUTPUT = MACHINE_PANEL, "Output"
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
    dataset: cli_data.DatasetOption = None,
    data: cli_data.PlaceOption = None,
    split: Annotated[
        str,
        typer.Option(help="train, valid or test.", rich_help_panel=cli_data.DATA_PANEL),
    ] = "test",
    votes: cli_data.VotesOption = None,
    classes: cli_data.ClassOption = None,
    detector: cli_data.DetectorOption = None,
    cache: cli_data.CacheOption = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="FER+: majority or plurality, printed first and given at the top of the JSON.",
            show_default="majority",
            rich_help_panel=cli_data.DATA_PANEL,
        ),
    ] = None,
    refit_temperature: Annotated[
        bool,
        typer.Option(
            "--refit-temperature",
            help="Fit the temperature anew on this data set's valid split, and use it.",
            rich_help_panel=_MODEL,
        ),
    ] = False,
    device: DeviceOption = _M.device,
    threads: ThreadsOption = _M.threads,
    batch_size: BatchSizeOption = _M.batch_size,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Write all figures here, and the two plots beside it unless --plots is given.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            help="Folder for confusion.png and reliability.png.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_OUTPUT)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Measure a model on a labelled data set."""
    with errors_as_exit_codes(debug=debug):
        if dataset is None or data is None:
            raise OptionError(
                "--dataset and --data are needed.",
                "E.g. jadfer evaluate --dataset ferplus --data FERPlus/data",
            )
        places = cli_data.DataOptions(
            dataset, data, votes, tuple(classes or ()), (detector or "auto",), cache
        )
        for file in (json_file, None if plots is None else plots / "confusion.png"):
            if file is not None:
                check_writable(file)
        machine = ModelOptions(
            engine="torch", model=checkpoint, device=device, threads=threads, batch_size=batch_size
        )
        found, charts = _measure(places, split, protocol, machine, refit_temperature, quiet)
        show(*_report(found))
        for path in _write(found, charts, json_file, plots):
            stderr_console().print(Text(f"wrote {path}"))


def _measure(
    places: cli_data.DataOptions,
    split: str,
    protocol: str | None,
    machine: ModelOptions,
    refit: bool,
    quiet: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All figures, and what the charts need."""
    import numpy as np

    from jadfer_cli._version import __version__
    from jadfer_cli.expression import checkpoint as checkpoints
    from jadfer_cli.runtime import settle
    from jadfer_cli.training import calibrate
    from jadfer_cli.training.evaluate import figures, intervals, scored
    from jadfer_cli.training.loop import logits_of

    console = stderr_console()
    runtime = settle(machine)
    loaded = checkpoints.load(machine.model)
    aligner = cli_data.Aligner(places, runtime.threads, console, quiet=quiet)
    network: Any = loaded.build().to(runtime.device)

    if loaded.labels != LABELS:
        raise ModelError(
            f"{loaded.entry.name} has the labels {', '.join(loaded.labels)}; only models of all "
            f"eight ({', '.join(LABELS)}) can be measured."
        )

    def score(faces: Any) -> Any:
        with cli_data.counting(console, f"scoring {faces.name}", len(faces), quiet=quiet) as step:
            done = 0

            def count(n: int) -> None:
                nonlocal done
                done += n
                step(done)

            return logits_of(network, faces, runtime.batch_size, progress=count).numpy()

    faces = aligner.load(split)
    main = protocol or faces.main_protocol
    if main not in faces.protocols:
        raise OptionError(f"--protocol must be one of {', '.join(faces.protocols)}, not {main}.")
    temperature, fitted_on = loaded.temperature, loaded.metrics.get("temperature_fitted_on")
    if refit:
        valid = aligner.load("valid")
        which, classes = valid.protocols[valid.main_protocol]
        if len(classes) < calibrate.FEWEST:
            raise OptionError(
                f"--refit-temperature needs {calibrate.FEWEST} labelled validation images; "
                f"{valid.name} has {len(classes)}."
            )
        temperature = calibrate.fit_temperature(score(valid)[which], classes)
        fitted_on = f"{valid.name}, {valid.main_protocol}, {len(classes):,} images"
    logits = score(faces)
    order = [main, *(name for name in faces.protocols if name != main)]
    by_protocol = {}
    for name in order:
        found = figures(logits, faces, name, temperature)
        found["intervals_95"] = intervals(logits, faces, name, temperature)
        found["ece_before_temperature"] = figures(logits, faces, name)["ece"]
        by_protocol[name] = found
    marks: Any = faces.landmarks_px
    missing = int(np.isnan(marks[:, 0, 0, 0]).sum())
    info = aligner.detectors[0].info
    result = {
        **by_protocol[main],
        "dataset": places.dataset,
        "split": split,
        "data_path": str(places.data),
        "data_notes": list(faces.notes),
        "temperature": temperature,
        "temperature_fitted_on": fitted_on,
        "test_time_averaging": False,
        "images": len(faces),
        "images_without_face": missing,
        "detector": info.name,
        "detector_sha256": info.sha256,
        "model": loaded.entry.name,
        "model_sha256": loaded.sha256,
        "jadfer_version": __version__,
        "protocols": {name: by_protocol[name] for name in order},
    }
    before, classes = scored(logits, faces, main)
    after, _ = scored(logits, faces, main, temperature)
    return result, {"before": before, "after": after, "classes": classes}


def _report(found: dict[str, Any]) -> list[Any]:
    by_protocol = found["protocols"]
    rows = [
        [_NAMES[key], *(_with_interval(f, key) for f in by_protocol.values())] for key in _NAMES
    ]
    before = [f"{f['ece_before_temperature']:.3f}" for f in by_protocol.values()]
    labels, recall = found["labels"], found["recall"]
    confusion = [
        [label, *map(str, counts), f"{recall[label]:.1%}" if label in recall else "-"]
        for label, counts in zip(labels, found["confusion"], strict=True)
    ]
    among: list[Any] = []
    if len(labels) < len(LABELS):
        among = [
            Text(
                f"Scored among the {len(labels)} of {len(LABELS)} expressions that the data set "
                f"names: {', '.join(labels)}. Among all, as `jadfer annotate` chooses, accuracy is "
                f"{found['accuracy_among_all']:.1%} ({found['protocol']})."
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
        table(["", *(label[:5] for label in labels), "recall"], confusion),
    ]


def _with_interval(found: dict[str, Any], key: str) -> str:
    low, high = found["intervals_95"][key]
    if key == "ece":
        return f"{found[key]:.3f} [{low:.3f}, {high:.3f}]"
    return f"{100 * found[key]:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _write(
    found: dict[str, Any], charts: dict[str, Any], json_file: Path | None, plots: Path | None
) -> list[Path]:
    """Writes the JSON and the PNGs where asked for; gives their paths."""
    written: list[Path] = []
    if json_file is not None:
        with atomic_write(json_file) as part:
            part.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        written.append(json_file)
    if plots is not None or json_file is not None:
        with explain_os_errors(plots or json_file or Path()):
            written += _draw(found, charts, json_file, plots)
    return written


def _draw(
    found: dict[str, Any], charts: dict[str, Any], json_file: Path | None, plots: Path | None
) -> list[Path]:
    from jadfer_cli.training.charts import confusion_chart, reliability_chart, write

    if plots is not None:
        places = {kind: plots / f"{kind}.png" for kind in ("confusion", "reliability")}
    elif json_file is not None:
        places = {
            kind: json_file.with_name(f"{json_file.stem}-{kind}.png")
            for kind in ("confusion", "reliability")
        }
    head = f"{found['model']}, {found['data']}, {found['protocol']}, n = {found['n']:,}"
    accuracy = f"accuracy {found['accuracy']:.1%}, mean recall {found['mean_class_recall']:.1%}"
    write(confusion_chart(found, f"{head}\n{accuracy}"), places["confusion"])
    reliability = reliability_chart(
        charts["before"],
        charts["after"],
        charts["classes"],
        found["temperature"],
        (found["ece_before_temperature"], found["ece"]),
        head,
    )
    write(reliability, places["reliability"])
    return list(places.values())
