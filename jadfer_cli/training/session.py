"""One training from data set to finished model: what `jadfer train` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import check_writable
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.expression import lineage
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.faces import landmarker
from jadfer_cli.labels import LABELS
from jadfer_cli.runtime import Runtime
from jadfer_cli.text import count_text
from jadfer_cli.training import calibrate, joined_data, recipes, run_config, run_folder
from jadfer_cli.training import start as starts
from jadfer_cli.training.data import AlignedData
from jadfer_cli.training.evaluate import selection_figures
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.loop import Callbacks, check_enough, fitting_batch_size, train
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipe_options import as_table
from jadfer_cli.training.reporting import Reporter, figures_line
from jadfer_cli.training.scoring import logits_of
from jadfer_cli.training.sets_in_loss import describe, numbers
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import STATE, EpochRecord, StepRecord, saved_run
from jadfer_cli.training.teacher import mixed_targets, n_views, teacher_probabilities

_FEW_IMAGES = 200  # of validation
_MANY_MISSING = 0.2  # fraction of images without a face


@dataclass(frozen=True)
class Progress:
    """Callbacks for showing and stopping a training; as in `loop.Callbacks`."""

    on_epoch: Callable[[EpochRecord], None] = lambda _: None
    on_resume: Callable[[list[EpochRecord]], None] = lambda _: None
    on_step: Callable[[StepRecord], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class TrainingImages:
    """Which training images are used, and why not the others.

    Attributes:
        kept: bool (n,), those without a twin in validation or test.
        n_labelled: How many of them are labelled.
        facts: Counts of twins, for the model's record.
    """

    kept: npt.NDArray[np.bool_]
    n_labelled: int
    facts: dict[str, float]


@dataclass
class Session:
    """A training whose options and start weights have been checked; see `prepare`."""

    out: Path
    inputs: run_config.Config
    options: TrainOptions
    start: Start
    teachers: list[Checkpoint]
    runtime: Runtime
    data: AlignedData
    report: Reporter
    chosen: TrainingImages
    history: list[EpochRecord] = field(default_factory=list)

    def load_images(self) -> tuple[FaceSet, FaceSet]:
        """The training images, with the teachers' probabilities, and the validation images.

        Raises:
            TrainingError: The data set cannot be read.
        """
        valid_set = self.data.load("valid", first_only=True)
        train_set = self.data.load("train").take(self.chosen.kept)
        if landmarker.MODEL in recipes.load(self.options.recipe).needs:
            train_set = self.data.with_meshes(train_set.labelled()[0])
        self._introduce(train_set, valid_set)
        return self._taught(train_set), valid_set

    def train(self, train_set: FaceSet, valid_set: FaceSet, progress: Progress) -> Network:
        """Runs or resumes the training; writes config and log into the run's folder.

        Raises: as of `loop.train`.
        """
        config = {**run_config.with_absolute_paths(self.inputs), **as_table(self.options)}

        def on_resume(records: list[EpochRecord]) -> None:
            self.history.extend(records)
            if records:
                self._write_log()
            progress.on_resume(records)

        def on_epoch(record: EpochRecord) -> None:
            self.history.append(record)
            self._write_log()
            progress.on_epoch(record)

        callbacks = Callbacks(
            on_begin=lambda: run_folder.write_config(config, self.out / run_folder.CONFIG),
            on_resume=on_resume, on_epoch=on_epoch, on_step=progress.on_step, stop=progress.stop,
        )  # fmt: skip
        return train(
            self.options, train_set, valid_set, self.out, start=self.start,
            device=self.runtime.device, callbacks=callbacks,
        )  # fmt: skip

    def finish(
        self, network: Network, train_set: FaceSet, valid_set: FaceSet
    ) -> tuple[Path, dict[str, Any]]:
        """Calibrates the network and writes the model; gives the file and its metrics.

        Raises:
            OutputError: It cannot be written.
        """
        inputs = self.inputs
        history = run_config.without_folders(inputs) | {
            "detectors": [Path(name).name for name in inputs.get("detectors", ("auto",))],
            "start": self.start.name,
            **({"start_model": self.start.origin} if self.start.origin else {}),
            **self._taught_by(),
            **numbers(train_set.labelled()[0]),
            "twins": self.chosen.facts,
            "best_epoch": max(record.epoch for record in self.history if record.best),
            "method": recipes.facts(self.options.recipe),
            "options": as_table(self.options),
        }
        return run_folder.finish(network, valid_set, self.out, history, self.start)

    def _taught_by(self) -> dict[str, Any]:
        if not self.teachers:
            return {}
        return {
            "teacher": [teacher.entry.name for teacher in self.teachers],
            "teacher_models": [lineage.origin(teacher, "teacher") for teacher in self.teachers],
        }

    def _write_log(self) -> None:
        try:
            run_folder.write_log(self.history, self.out / run_folder.LOG)
        except OutputError as error:  # e.g. open in Excel; the next epoch writes it again
            self.report.warn(error.message)

    def _taught(self, train_set: FaceSet) -> FaceSet:
        """The labelled training images with the teachers' mean mixed into their labels."""
        if not self.teachers:
            return train_set
        train_set, _ = train_set.labelled()
        views = n_views(train_set)
        opinions = []
        for teacher in self.teachers:
            task = f"{teacher.entry.name} scores {train_set.name}, {views} views"
            with self.report.counting(task, views * len(train_set)) as progress:
                opinions.append(
                    teacher_probabilities(
                        train_set, teacher, device=self.runtime.device,
                        precision=self.options.precision, keep_in=self.out, progress=progress,
                    )
                )  # fmt: skip
        return mixed_targets(train_set, np.mean(opinions, axis=0), self.options.teacher_weight)

    def _introduce(self, train_set: FaceSet, valid_set: FaceSet) -> None:
        """Reports what the user should know before hours are spent."""
        labelled, classes = train_set.labelled()
        counts = ", ".join(
            f"{LABELS[i]} {int((classes == i).sum()):,}" for i in sorted(set(classes.tolist()))
        )
        self.report.say(f"{train_set.name}: {len(labelled):,} labelled images: {counts}")
        for line in describe(labelled, classes):
            self.report.say(line)
        n_valid = len(valid_set.protocols[valid_set.main_protocol].which)
        if n_valid < _FEW_IMAGES:
            use = "choose the best epoch and fit the temperature"
            if n_valid < calibrate.MIN_IMAGES:
                use = (
                    "choose the best epoch; too few to fit the temperature "
                    f"({calibrate.MIN_IMAGES} are needed)"
                )
            self.report.warn(
                f"{valid_set.name} has only {count_text(n_valid, 'image')}, which {use}. "
                "Percentages of so few images are rough."
            )
        for faces in (train_set, valid_set):
            marks: Any = faces.landmarks_px
            missing = float(np.isnan(marks).any((2, 3)).mean())
            if missing > _MANY_MISSING:
                self.report.warn(
                    f"{faces.name}: no face was found in {missing:.0%} of the images; check them, "
                    "or try another `detector`."
                )
        self.report.say(
            f"{self.out}: recipe {self.options.recipe}, "
            f"{count_text(self.options.epochs, 'epoch')} on "
            f"{self.runtime.device_name}, {self.options.precision}, start {self.start.name}"
        )
        if self.start.stem:
            self.report.say(f"{self.start.name}: used for the stem only")
        self._introduce_start(valid_set)

    def _introduce_start(self, valid_set: FaceSet) -> None:
        """Reports resized positions of a whole start network, and its figures on validation."""
        if not self.start.whole:
            return
        network = self.start.build(self.options.network)
        if self.start.partial:
            taken, new, unused = self.start.fit(network)
            self.report.say(
                f"{self.start.name}: {count_text(len(taken), 'tensor')} taken; new: "
                f"{', '.join(new) or 'none'}; not used: {', '.join(unused) or 'none'}"
            )
        if self.start.resized(network):
            self.report.say(
                f"{self.start.name}: positions are resized for crops of "
                f"{self.options.network.crop_px} px"
            )
        if not (self.out / STATE).exists():
            logits = logits_of(network.to(self.runtime.device), valid_set)
            found = selection_figures(logits.numpy(), valid_set)
            n = len(valid_set.protocols[valid_set.main_protocol].which)
            self.report.say(f"before training: validation (n = {n:,}): {figures_line(found)}")


def prepare(
    out: Path,
    config: run_config.Config,
    runtime: Runtime,
    *,
    cache: Path | None = None,
    report: Reporter,
) -> Session:
    """Checks everything that ends a run early, before any image is aligned.

    Loads start weights, teachers and detectors, chooses the training images, and fits the batch
    size to their number. Notes in `out` which images have twins.

    Args:
        out: Folder of the run.
        config: As of `run_config.assemble`.
        runtime: Device and threads.
        cache: Folder for landmarks; None for the user's cache folder.
        report: Receives notes and progress.

    Raises:
        OptionError: An option is missing, not valid, or contradicts the run in `out`.
        ModelError: Start weights, a teacher or a detector cannot be loaded.
        TrainingError: The data set or the run in `out` cannot be read.
        OutputError: The folder cannot be written.
    """
    inputs = run_config.inputs_of(config)
    if "data_sets" not in inputs and not {"dataset", "data"} <= set(inputs):
        raise OptionError(
            "`dataset` and `data` are needed.",
            "E.g. jadfer train --dataset folder --data faces/ --start default --out runs/mine",
        )
    architecture = run_config.recipe_of(config).architecture
    start = starts.chosen(inputs.get("start"), inputs.get("init"), architecture)
    teachers = [starts.labelled(name) for name in inputs.get("teacher", ())]
    options = run_config.options_of(config, start)
    check_writable(out / STATE)
    if "batch_size" in config:  # always so in a resumed run, whose config holds it
        saved_run(out, options)
    data = joined_data.data_of(inputs, cache, runtime, report)
    if landmarker.MODEL in recipes.load(options.recipe).needs:
        landmarker.Landmarker(data.options.landmarker)  # before hours of alignment
    chosen = _training_images(data, out, config.get("batch_size"), runtime.device, report)
    if "batch_size" not in config:
        fitting = fitting_batch_size(chosen.n_labelled, options.batch_size)
        if fitting < options.batch_size:
            report.say(
                f"{out}: batches of {fitting} instead of {options.batch_size}, to fit "
                f"{chosen.n_labelled:,} labelled training images"
            )
            options = dataclasses.replace(options, batch_size=fitting)
        saved_run(out, options)
    return Session(out, inputs, options, start, teachers, runtime, data, report, chosen)


def _training_images(
    data: AlignedData, out: Path, batch_size: int | None, device: str, report: Reporter
) -> TrainingImages:
    """Chooses the training images without a twin in validation or test, before any is aligned.

    Args:
        data: The data set.
        out: Folder of the run; receives a list of the twins if there are any.
        batch_size: As given by the user; None if it may be chosen.
        device: Where pictures are compared.
        report: Receives notes and progress.

    Raises:
        TrainingError: The data set cannot be read.
        OptionError: There are too few images.
        OutputError: The list cannot be written.
    """
    # both must exist, which is known before the search, which may take minutes
    train_set, valid_set = data.read("train"), data.read("valid")
    twins = data.twins({"train": train_set, "valid": valid_set}, device)
    if "test" not in twins.names:
        report.say(f"{train_set.name}: there is no test set to keep separate")
    dropped = twins.having("train", ("valid", "test"))
    both = int(twins.having("valid", ("test",)).sum())
    facts = {
        "threshold": twins.threshold,
        "training_images_dropped": int(dropped.sum()),
        "validation_images_with_twin_in_test": both,
    }
    if dropped.any() or both:
        twins.write(out / run_folder.TWINS)
        report.say(
            f"{train_set.name}: dropped {count_text(int(dropped.sum()), 'training image')} with a "
            "twin in validation or test (an equal picture, or another copy of the photograph); "
            f"{count_text(both, 'validation image')} {'has' if both == 1 else 'have'} a twin in "
            f"test; {run_folder.TWINS} lists them"
        )
    labelled, _ = train_set.take(~dropped).labelled()
    try:
        check_enough(labelled, batch_size or 2)
    except OptionError:
        for note in train_set.notes:  # may say why
            report.say(f"{train_set.name}: {note}")
        raise
    return TrainingImages(~dropped, len(labelled), facts)
