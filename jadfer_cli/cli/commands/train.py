"""`jadfer train`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from jadfer_cli.cli import data_options as cli_data
from jadfer_cli.cli import recipe as recipes
from jadfer_cli.cli.commands import TRAINING_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.options import MACHINE_PANEL, DeviceOption, ThreadsOption
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.cli.training_progress import TrainingProgress, figures_line
from jadfer_cli.common import check_writable
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.labels import LABELS
from jadfer_cli.options import ModelOptions

if TYPE_CHECKING:
    from jadfer_cli.expression.checkpoint import Checkpoint
    from jadfer_cli.runtime import Runtime
    from jadfer_cli.training.faceset import FaceSet
    from jadfer_cli.training.options import TrainOptions
    from jadfer_cli.training.start import Start
    from jadfer_cli.training.state import EpochRecord

PANEL = TRAINING_PANEL
HELP = """Train a model, or fine-tune the shipped one on faces of your own.

The run's folder holds recipe (config.toml), log (log.csv), state and, at the end, \
model.safetensors with its temperature, for --model of the other commands. Stopped or killed, \
a run goes on from its last saved step: give the same command again, or only --out.

Examples:

  jadfer train --dataset folder --data faces/ --start default --out runs/mine

  jadfer train --dataset ferplus --data FERPlus/data --start mobilefacenet.pt --out runs/ferplus \
--epochs 18 --schedule trapezoid --balance 0.3

  jadfer train --config recipe.toml --set network.jad=queries --set augmentation.blur=0 --out runs/q

  jadfer train --out runs/mine

Layouts: ferplus, rafdb and affectnet as they are distributed; folder: DATA/train/CLASS/*.jpg \
(and valid/, test/), or DATA/CLASS/*.jpg; csv: columns file and label. A class is an expression: \
neutral, happiness, surprise, sadness, anger, disgust, fear or contempt. Keep all pictures of \
a person or a recording in one split.
"""

_RECIPE, _MODEL, _OUTPUT = "Recipe", MACHINE_PANEL, "Output"
_INTERRUPTED = "Give the same command again to go on from the last saved step."
_FEW = 200  # validation images
_MANY_MISSING = 0.2


def _recipe(help_text: str, **more: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel=_RECIPE, **more)


def train(
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder of the run.", rich_help_panel=_OUTPUT, show_default=False
        ),
    ],
    config: Annotated[
        Path | None,
        _recipe(
            "Recipe as TOML, such as another run's config.toml; options given here go first.",
            show_default=False,
        ),
    ] = None,
    dataset: cli_data.DatasetOption = None,
    data: cli_data.PlaceOption = None,
    votes: cli_data.VotesOption = None,
    classes: cli_data.ClassOption = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            help="Finds the landmarks that faces are aligned by: auto, centerface, a pack, or an "
            "SCRFD .onnx file. Given several times, training takes any of them at random and "
            "validation the first.",
            rich_help_panel=cli_data.DATA_PANEL,
            show_default="auto",
        ),
    ] = None,
    cache: cli_data.CacheOption = None,
    start: Annotated[
        str | None,
        _recipe(
            "scratch; default, a model's name or a .safetensors file: fine-tune it; or a PyTorch "
            "state dict (.pt): of MobileFaceNet, of a stem, of a whole network.",
            show_default="scratch",
        ),
    ] = None,
    stem: Annotated[
        str | None, _recipe("mobilefacenet or ir50.", show_default="mobilefacenet")
    ] = None,
    epochs: Annotated[
        int | None, _recipe("Passes over the training images.", show_default="30; 10 to fine-tune")
    ] = None,
    batch_size: Annotated[int | None, _recipe("Faces a step.", show_default="64")] = None,
    optimiser: Annotated[
        str | None,
        _recipe("adamw, or sam: sharpness-aware, twice the time.", show_default="adamw"),
    ] = None,
    lr: Annotated[
        float | None,
        _recipe("Peak rate of the new modules.", show_default="1e-3; 2e-4 to fine-tune"),
    ] = None,
    stem_lr: Annotated[
        float | None, _recipe("Peak rate of the stem.", show_default="3e-4; 5e-5 to fine-tune")
    ] = None,
    weight_decay: Annotated[float | None, _recipe("AdamW's.", show_default="0.05")] = None,
    schedule: Annotated[
        str | None,
        _recipe(
            "cosine, or trapezoid: constant, then down over the last --cooldown epochs; such a "
            "run may be given more --epochs later.",
            show_default="cosine",
        ),
    ] = None,
    cooldown: Annotated[float | None, _recipe("Epochs.", show_default="4")] = None,
    variety: Annotated[
        str | None, _recipe("Variety loss: cosine, partition or none.", show_default="cosine")
    ] = None,
    variety_weight: Annotated[float | None, _recipe("Its weight.", show_default="0.1")] = None,
    label_smoothing: Annotated[
        float | None, _recipe("Share spread over all classes.", show_default="0.05")
    ] = None,
    teacher: Annotated[
        list[str] | None,
        _recipe(
            "default, a model's name or a .safetensors file: its probabilities, averaged over "
            "views, are mixed into the labels. Given several times: the mean of all.",
            show_default="none",
        ),
    ] = None,
    teacher_weight: Annotated[float | None, _recipe("Their share.", show_default="0.5")] = None,
    augment: Annotated[
        bool | None,
        _recipe("Augmentation; its parts by --set augmentation.PART=VALUE.", show_default="on"),
    ] = None,
    balance: Annotated[
        float | None,
        _recipe(
            "Images are drawn with weight (size of their class) ** -BALANCE; 0: as they are, 1: "
            "classes evenly.",
            show_default="0.25",
        ),
    ] = None,
    ema: Annotated[
        float | None, _recipe("Decay of the averaged weights a step.", show_default="0.998")
    ] = None,
    frozen_blocks: Annotated[
        int | None,
        _recipe(
            "The stem's entry and its first N blocks stay as they are; saves time.",
            show_default="nothing is frozen",
        ),
    ] = None,
    seed: Annotated[
        int | None, _recipe("Of order, augmentation, dropout and new weights.", show_default="0")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other value of the recipe (config.toml lists all); may be repeated.",
            rich_help_panel=_RECIPE,
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, or bf16 where the machine is fast at it.",
            rich_help_panel=_MODEL,
            show_default="fp32",
        ),
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that prepare images.",
            rich_help_panel=_MODEL,
            show_default="half of the cores, at most 8",
        ),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Warnings and errors only.", rich_help_panel=_OUTPUT),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Train a model."""
    with errors_as_exit_codes(debug=debug, interrupted=_INTERRUPTED):
        given = {
            "dataset": dataset,
            "data": None if data is None else str(data),
            "votes": None if votes is None else str(votes),
            "classes": classes or None,
            "detectors": detector or None,
            "start": start,
            "epochs": epochs,
            "batch_size": batch_size,
            "optimiser": optimiser,
            "lr": lr,
            "stem_lr": stem_lr,
            "weight_decay": weight_decay,
            "schedule": schedule,
            "cooldown": cooldown,
            "variety": variety,
            "variety_weight": variety_weight,
            "label_smoothing": label_smoothing,
            "teacher": teacher or None,
            "teacher_weight": teacher_weight,
            "balance": balance,
            "ema": ema,
            "frozen_blocks": frozen_blocks,
            "seed": seed,
            "precision": precision,
            "workers": workers,
        }
        recipe = recipes.assemble(out, config, given, stem, augment, settings or [])
        machine = ModelOptions(device=device, threads=threads, engine="torch")
        _run(out, recipe, cache, machine, quiet=quiet)


def _run(
    out: Path, recipe: dict[str, Any], cache: Path | None, machine: ModelOptions, *, quiet: bool
) -> None:
    from jadfer_cli.runtime import keep_freed_memory, settle
    from jadfer_cli.training import start as starts
    from jadfer_cli.training.state import STATE, check_resumable

    places = recipes.places_of(recipe)
    if "dataset" not in places or "data" not in places:
        raise OptionError(
            "--dataset and --data are needed.",
            "E.g. jadfer train --dataset folder --data faces/ --start default --out runs/mine",
        )
    runtime = settle(machine)
    if runtime.device == "cpu":
        keep_freed_memory()
    # what can be refused is refused before the images are looked at
    start = starts.load(places.get("start", starts.SCRATCH))
    teachers = [starts.labelled(name) for name in places.get("teacher", ())]
    options = recipes.options_of(recipe, start)
    check_resumable(out, options)
    check_writable(out / STATE)
    console = stderr_console()
    data = recipes.data_of(places, cache)
    aligner = cli_data.Aligner(data, runtime.threads, console, quiet=quiet)
    run = _Run(out, places, options, start, teachers, runtime, console, quiet)
    run.train(aligner)


@dataclass
class _Run:
    """One training, told as it goes."""

    out: Path
    places: dict[str, Any]
    options: TrainOptions
    start: Start
    teachers: list[Checkpoint]
    runtime: Runtime
    console: Console
    quiet: bool
    history: list[EpochRecord] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Prints a note; warnings also with --quiet."""
        if not self.quiet or text.startswith("Warning"):
            self.console.print(escape(text))

    def train(self, aligner: cli_data.Aligner) -> None:
        """Loads the images, trains, writes the model and says what came of it."""
        from jadfer_cli.training import outputs
        from jadfer_cli.training.evaluate import selection_figures
        from jadfer_cli.training.loop import check_enough, train
        from jadfer_cli.training.options import as_table

        valid_set = aligner.load("valid", first_only=True)
        train_set = self._without_repeats(aligner.load("train"), valid_set, aligner)
        self._introduce(train_set, valid_set)
        check_enough(train_set.labelled()[0], self.options.batch_size)
        if self.teachers:
            train_set = self._taught(train_set)
        recipe = {**recipes.lasting(self.places), **as_table(self.options)}
        with (
            TrainingProgress(self.console, self.options, quiet=self.quiet) as progress,
            _stop_at_a_step(self.say) as stop,
        ):

            def on_epoch(record: EpochRecord) -> None:
                self.history.append(record)
                try:
                    outputs.write_log(self.history, self.out / outputs.LOG)
                except OutputError as error:  # open in Excel; the next epoch writes it all
                    self.say(f"Warning: {error.message}")
                progress.epoch(record)

            network = train(
                self.options, train_set, valid_set, self.out, start=self.start,
                device=self.runtime.device,
                on_begin=lambda: outputs.write_config(recipe, self.out / outputs.CONFIG),
                on_epoch=on_epoch, on_step=progress.step, stop=stop,
                evaluate=lambda logits, faces: selection_figures(logits.numpy(), faces),
            )  # fmt: skip
        made = self.places | {
            **{k: Path(self.places[k]).name for k in {"data", "votes"} & set(self.places)},
            "detectors": [Path(d).name for d in self.places.get("detectors", ("auto",))],
            "start": self.start.name,
            **({"teacher": [t.entry.name for t in self.teachers]} if self.teachers else {}),
            "images": len(train_set.labelled()[0]),
            "best_epoch": max(r.epoch for r in self.history if r.best),
            "options": as_table(self.options),
        }
        path, metrics = outputs.finish(network, valid_set, self.out, made, self.start.temperature)
        _report(path, metrics, valid_set.name)

    def _without_repeats(
        self, train_set: FaceSet, valid_set: FaceSet, aligner: cli_data.Aligner
    ) -> FaceSet:
        """Training images that are neither validation nor, where there are some, test images."""
        from jadfer_cli.errors import SplitMissing
        from jadfer_cli.training.faceset import without_repeats

        held_out = [valid_set]
        try:
            held_out.append(aligner.read("test"))
        except SplitMissing:
            self.say(f"{train_set.name}: there are no test images to keep apart")
        kept = without_repeats(train_set, held_out)
        if len(kept) < len(train_set):
            self.say(
                f"{train_set.name}: {len(train_set) - len(kept):,} images leave, as they are also "
                "validation or test images"
            )
        return kept

    def _taught(self, train_set: FaceSet) -> FaceSet:
        """The labelled training images with the teachers' mean mixed into their labels."""
        import numpy as np

        from jadfer_cli.training.teacher import looked_at, n_views, taught

        train_set, _ = train_set.labelled()
        views = n_views(train_set)
        looks = []
        for teacher in self.teachers:
            what = f"{teacher.entry.name} looks at {train_set.name}, {views} views"
            with cli_data.counting(
                self.console, what, views * len(train_set), quiet=self.quiet
            ) as counted:
                looks.append(
                    looked_at(
                        train_set, teacher, device=self.runtime.device,
                        precision=self.options.precision, keep_in=self.out, progress=counted,
                    )
                )  # fmt: skip
        return taught(train_set, np.mean(looks, axis=0), self.options.teacher_weight)

    def _introduce(self, train_set: FaceSet, valid_set: FaceSet) -> None:
        """What a user should know before hours are spent."""
        from jadfer_cli.training.evaluate import selection_figures
        from jadfer_cli.training.loop import logits_of
        from jadfer_cli.training.state import STATE

        labelled, classes = train_set.labelled()
        counts = ", ".join(
            f"{LABELS[i]} {int((classes == i).sum()):,}" for i in sorted(set(classes.tolist()))
        )
        self.say(f"{train_set.name}: {len(labelled):,} labelled images: {counts}")
        n_valid = len(valid_set.protocols[valid_set.main_protocol].which)
        if n_valid < _FEW:
            self.say(
                f"Warning: {valid_set.name} has {n_valid} images only; the best epoch and the "
                "temperature rest on them."
            )
        for faces in (train_set, valid_set):
            marks: Any = faces.landmarks_px
            missing = float((marks != marks).any((2, 3)).mean())
            if missing > _MANY_MISSING:
                self.say(
                    f"Warning: {faces.name}: no face was found in {missing:.0%} of the images; "
                    "look at them, or try another --detector."
                )
        self.say(
            f"{self.out}: {self.options.epochs} epochs on {self.runtime.device_name}, "
            f"{self.options.precision}, start {self.start.name}"
        )
        sides = self.start.resized(self.options.network)
        if sides:
            self.say(
                f"{self.start.name}: positions on a map of {sides[0]} x {sides[0]} are resized to "
                f"{sides[1]} x {sides[1]}, for crops of {self.options.network.crop_px} px"
            )
        if self.start.whole and not (self.out / STATE).exists():
            network = self.start.build(self.options.network).to(self.runtime.device)
            found = selection_figures(logits_of(network, valid_set).numpy(), valid_set)
            self.say(f"before training: validation: {figures_line(found)}")


@contextmanager
def _stop_at_a_step(say: Callable[[str], None]) -> Iterator[Any]:
    """Ctrl-C and SIGTERM end the run after its step, saved; a second one ends it at once."""
    wanted = False

    def handler(number: int, _: Any) -> None:
        nonlocal wanted
        if wanted:
            raise KeyboardInterrupt
        wanted = True
        with suppress(RuntimeError):  # the signal came amid a write to the same stream
            say("Stopping after this step; once more stops at once and loses what is not saved.")

    before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: wanted
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _report(path: Path, metrics: dict[str, Any], name: str) -> None:
    rows = [
        [
            key.removeprefix(f"{name} "),
            f"{found['n']:,}",
            f"{found['accuracy']:.1%}",
            f"{found['mean_class_recall']:.1%}",
            f"{found['macro_f1']:.1%}",
            f"{found['ece_before_temperature']:.3f}",
            f"{found['ece']:.3f}",
        ]
        for key, found in metrics.items()
        if isinstance(found, dict) and key.startswith(name)
    ]
    temperature = metrics["temperature"]
    head = ["protocol", "n", "accuracy", "mean recall", "macro F1", "ECE before", "ECE after"]
    show(
        title(f"Best on {name}"),
        table(head, rows),
        Text(f"Temperature {temperature:.3f}, fitted on {metrics['temperature_fitted_on']}."),
        Text(f"Written: {path}"),
        Text(f"Try it:  jadfer annotate clip.mp4 -o clip.parquet --model {path}"),
        Text(f"Measure: jadfer evaluate {path} --dataset ... --data ... --split test"),
    )
