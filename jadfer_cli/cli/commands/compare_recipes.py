"""`jadfer compare-recipes`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from jadfer_cli.cli import comparison_options as c
from jadfer_cli.cli import training_options as o
from jadfer_cli.cli.commands import TRAINING_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.options import DebugOption, DeviceOption, QuietOption, ThreadsOption
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.cli.training_progress import ConsoleReporter, TrainingProgress, stop_at_a_step
from jadfer_cli.options import ModelOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from jadfer_cli.training.loop import Callbacks
    from jadfer_cli.training.options import TrainOptions

PANEL = TRAINING_PANEL
HELP = """Train several recipes alike, and write one table of what each is worth.

Each recipe is trained on each labelling with each seed. All start from one stem, and get the same \
epochs and crops. After each training the table is written anew: table.md, table.json and \
table.png.

By default the front of the stem is fixed, and its maps are stored. They take 100 kB per view and \
image: 5 GB for two views of FER+. With --end-to-end the stem is trained as well, which takes ten \
times as long.

A stopped comparison goes on with the same command, or with --out alone. Give more recipes, \
labellings or seeds to extend it.

Examples:

  jadfer compare-recipes --out cmp --data-set ferplus=FERPlus/data --recipe plain --recipe jadfer \
--seeds 1

  jadfer compare-recipes --out cmp --recipe plain --recipe jadfer --recipe dan --seeds 3

  jadfer compare-recipes --out three --data-set ferplus=FERPlus/data --data-set rafdb=RAF-DB \
--labelling ferplus:majority --labelling rafdb

Labellings: ferplus:majority, ferplus:plurality, fer2013 (FER+ with its first labels), \
press_faces, rafdb, affectnet7, affectnet8, folder, csv. DATASET:PROTOCOL chooses a protocol.
"""

_INTERRUPTED = "Give the same command again, or only --out, to continue."


def compare_recipes(
    out: c.Folder,
    recipes: c.Recipes = None,
    labellings: c.Labellings = None,
    seeds: c.Seeds = None,
    data_sets: o.DataSets = None,
    fer2013: c.Fer2013 = None,
    detector: o.Detector = None,
    twin_threshold: o.TwinThreshold = None,
    cache: o.Cache = None,
    start: c.Start = None,
    end_to_end: c.EndToEnd = None,
    views: c.Views = None,
    maps: c.Maps = None,
    epochs: c.Epochs = None,
    batch_size: o.BatchSize = None,
    lrs: c.LearningRates = None,
    settings: o.Settings = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Train several recipes alike, and write one table."""
    given: dict[str, Any] = {
        "recipes": tuple(recipes) if recipes else None,
        "labellings": tuple(labellings) if labellings else None,
        "seeds": seeds, "fer2013": None if fer2013 is None else str(fer2013.resolve()),
        "detector": detector, "twin_threshold": twin_threshold, "start": start,
        "end_to_end": end_to_end, "views": views, "epochs": epochs, "batch_size": batch_size,
        "lrs": tuple(lrs) if lrs else None,
    }  # fmt: skip
    with errors_as_exit_codes(debug=debug, interrupted=_INTERRUPTED):
        from jadfer_cli.training import run_config

        merged = run_config.assemble(out, None, {"data_sets": data_sets}, settings=settings)
        places = merged.pop("data_sets", {})
        if places:
            given["data_sets"] = {k: str(Path(v["data"]).resolve()) for k, v in places.items()}
        given["settings"] = merged or None
        machine = ModelOptions(device=device, threads=threads, engine="torch")
        _run(out, given, machine, maps, cache, quiet=quiet)


def _run(
    out: Path,
    given: dict[str, Any],
    machine: ModelOptions,
    maps: Path | None,
    cache: Path | None,
    *,
    quiet: bool,
) -> None:
    from jadfer_cli.runtime import settle_for_training
    from jadfer_cli.training.comparison import report as reports
    from jadfer_cli.training.comparison import study

    console = stderr_console()
    report = ConsoleReporter(console, quiet=quiet)
    runtime = settle_for_training(machine)
    prepared = study.prepare(out, given, runtime, report, maps=maps, cache=cache)
    with ExitStack() as stack:
        found = prepared.run(_shown(stack, console, report, quiet=quiet))
    _print(found)
    for name in reports.NAMES:
        report.say(f"wrote {out / name}")


def _shown(
    stack: ExitStack, console: Console, report: ConsoleReporter, *, quiet: bool
) -> Callable[[TrainOptions, int], Callbacks]:
    """Makes callbacks that show a training; the stack is closed with its last epoch."""

    def make(options: TrainOptions, n_valid: int) -> Callbacks:
        from jadfer_cli.training.loop import Callbacks

        stack.close()
        shown = stack.enter_context(TrainingProgress(console, options, n_valid, quiet=quiet))
        stop = stack.enter_context(stop_at_a_step(report.say))

        def on_epoch(record: Any) -> None:
            shown.epoch(record)
            if record.epoch == options.epochs:
                stack.close()

        def on_resume(records: list[Any]) -> None:
            shown.resume(records)
            if len(records) == options.epochs:
                stack.close()

        return Callbacks(on_resume=on_resume, on_epoch=on_epoch, on_step=shown.step, stop=stop)

    return make


def _print(found: dict[str, Any]) -> None:
    """The short table; the files hold all columns."""
    from jadfer_cli.training.comparison import report as reports

    head = ["", "recipe", "seeds", "accuracy, %", "recall, %", "minus plain", "p"]
    position = {name: i for i, name in enumerate(reports.HEAD)}
    wanted = ("rank", "recipe", "seeds", "accuracy, %", "mean recall, %")
    last = (position["minus plain, points"], position["p"])
    for name, labelling in found["labellings"].items():
        cells = [reports.cells(row) for row in labelling["rows"]]
        rows = [[*(row[position[key]] for key in wanted), *(row[i] for i in last)] for row in cells]
        show(title(name), table(head, rows))
        show(*(Text(line) for line in reports.notes(labelling)), Text())
