"""`jadfer train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from jadfer_cli.cli import training_options as o
from jadfer_cli.cli.commands import TRAINING_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.options import DebugOption, DeviceOption, QuietOption, ThreadsOption
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.cli.training_progress import (
    ConsoleReporter,
    TrainingProgress,
    stop_at_a_step,
)
from jadfer_cli.options import ModelOptions

if TYPE_CHECKING:
    from jadfer_cli.training.faceset import FaceSet

PANEL = TRAINING_PANEL
HELP = """Train a model, or fine-tune a shipped one on faces of your own.

The run's folder holds options (config.toml), log (log.csv), state and, at the end, \
model.safetensors with its temperature, for --model of the other commands. To resume a stopped \
run from its last saved step, give the same command again, or only --out.

Examples:

  jadfer train --dataset folder --data faces/ --start default --out runs/mine

  jadfer train --dataset ferplus --data FERPlus/data --start mobilefacenet.pt --out runs/ferplus \
--epochs 18 --schedule trapezoid --balance 0.3

  jadfer train --data-set ferplus=FERPlus/data --data-set folder=faces/ --set \
data_sets.folder.weight=0.5 --start default --out runs/both

  jadfer train --config runs/mine/config.toml --set network.jad=queries --out runs/queries

  jadfer train --out runs/mine

Layouts: ferplus, rafdb and affectnet as they are distributed; folder: DATA/train/CLASS/*.jpg \
(and valid/, test/), or DATA/CLASS/*.jpg; csv: columns file and label. A class is an expression: \
neutral, happiness, surprise, sadness, anger, disgust, fear or contempt. Keep all pictures of \
a person or a recording in one split.
"""

_INTERRUPTED = "Give the same command again to resume from the last saved step."
_CHOSEN_ON = (
    "{name} chose this epoch, so its figures flatter. Measure the model on images that it has "
    "not seen."
)
# options that are not entries of the run's config.toml under their own name
_NOT_IN_CONFIG = {
    "out", "config", "cache", "stem", "augment", "settings", "device", "threads", "quiet", "debug",
}  # fmt: skip


def train(
    out: o.RunFolder,
    recipe: o.RecipeName = None,
    config: o.ConfigFile = None,
    dataset: o.Dataset = None,
    data: o.Data = None,
    votes: o.Votes = None,
    classes: o.Classes = None,
    data_sets: o.DataSets = None,
    detectors: o.Detectors = None,
    cache: o.Cache = None,
    twin_threshold: o.TwinThreshold = None,
    start: o.StartWeights = None,
    init: o.Init = None,
    stem: o.Stem = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    optimiser: o.Optimiser = None,
    lr: o.LearningRate = None,
    stem_lr: o.StemLearningRate = None,
    weight_decay: o.WeightDecay = None,
    schedule: o.Schedule = None,
    cooldown: o.Cooldown = None,
    variety: o.Variety = None,
    variety_weight: o.VarietyWeight = None,
    label_smoothing: o.LabelSmoothing = None,
    teacher: o.Teachers = None,
    teacher_weight: o.TeacherWeight = None,
    augment: o.Augment = None,
    balance: o.Balance = None,
    ema: o.MovingAverage = None,
    frozen_blocks: o.FrozenBlocks = None,
    seed: o.Seed = None,
    settings: o.Settings = None,
    precision: o.Precision = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workers: o.Workers = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a model."""
    given = _as_config(locals())
    with errors_as_exit_codes(debug=debug, interrupted=_INTERRUPTED):
        from jadfer_cli.training import run_config

        merged = run_config.assemble(
            out, config, given, stem=stem, augment=augment, settings=settings
        )
        machine = ModelOptions(device=device, threads=threads, engine="torch")
        _run(out, merged, cache, machine, quiet=quiet)


def _as_config(options: dict[str, Any]) -> dict[str, Any]:
    """The options that config.toml holds, as TOML has them; None if not given."""
    return {
        name: str(value) if isinstance(value, Path) else None if value == [] else value
        for name, value in options.items()
        if name not in _NOT_IN_CONFIG
    }


def _run(
    out: Path, config: dict[str, Any], cache: Path | None, machine: ModelOptions, *, quiet: bool
) -> None:
    from jadfer_cli.runtime import settle_for_training
    from jadfer_cli.training.session import Progress, prepare

    console = stderr_console()
    report = ConsoleReporter(console, quiet=quiet)
    runtime = settle_for_training(machine)
    session = prepare(out, config, runtime, cache=cache, report=report)
    train_set, valid_set = session.load_images()
    n_valid = len(valid_set.protocols[valid_set.main_protocol].which)
    with (
        TrainingProgress(console, session.options, n_valid, quiet=quiet) as shown,
        stop_at_a_step(report.say) as stop,
    ):
        progress = Progress(
            on_resume=shown.resume, on_epoch=shown.epoch, on_step=shown.step, stop=stop
        )
        network = session.train(train_set, valid_set, progress)
    path, metrics = session.finish(network, train_set, valid_set)
    if not quiet:
        _report(path, metrics, valid_set)


def _report(path: Path, metrics: dict[str, Any], valid_set: FaceSet) -> None:
    from jadfer_cli.expression import lineage

    name = valid_set.name
    sets = [part.name for part in valid_set.parts.values()] or [name]
    rows = [
        [
            key if len(sets) > 1 else key.removeprefix(f"{name} "),
            f"{found['n']:,}",
            *_figures(found),
        ]
        for key, found in metrics.items()
        if isinstance(found, dict) and any(key.startswith(f"{each} ") for each in sets)
    ]
    head = ["protocol", "n", "accuracy", "mean recall", "macro F1", "ECE before", "ECE after"]
    show(
        title(f"Best on {name}"),
        table(head, rows),
        Text(lineage.temperature_text(metrics["temperature"], metrics)),
        Text(_CHOSEN_ON.format(name=name)),
        Text(f"Written: {path}"),
        Text(f"Try it:  jadfer annotate clip.mp4 -o clip.parquet --model {path}"),
        Text(f"Measure: jadfer evaluate {path} --dataset ... --data ... --split test"),
    )


def _figures(found: dict[str, Any]) -> list[str]:
    """Figures on validation: shares, or counts where a share would promise too much."""
    from jadfer_cli.expression.lineage import MIN_QUOTED_IMAGES

    n = found["n"]
    if n < MIN_QUOTED_IMAGES:
        return [f"{round(found['accuracy'] * n)} of {n}", *["-"] * 4]
    return [
        f"{found['accuracy']:.1%}",
        f"{found['mean_class_recall']:.1%}",
        f"{found['macro_f1']:.1%}",
        f"{found['ece_before_temperature']:.3f}",
        f"{found['ece']:.3f}",
    ]
