"""One training from data set to finished model: what `jadfer train` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jadfer_cli.common import check_writable
from jadfer_cli.errors import OptionError, OutputError, SplitMissing
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.faces import landmarker
from jadfer_cli.labels import LABELS
from jadfer_cli.runtime import Runtime
from jadfer_cli.text import count_text
from jadfer_cli.training import recipes, run_config, run_folder
from jadfer_cli.training import start as starts
from jadfer_cli.training.data import AlignedData
from jadfer_cli.training.evaluate import selection_figures
from jadfer_cli.training.faceset import FaceSet, without_repeats
from jadfer_cli.training.loop import Callbacks, check_enough, train
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipe_options import as_table
from jadfer_cli.training.reporting import Reporter, figures_line
from jadfer_cli.training.scoring import logits_of
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import STATE, EpochRecord, StepRecord, saved_run
from jadfer_cli.training.teacher import mixed_targets, n_views, teacher_probabilities

_FEW_IMAGES = 200  # of validation
_MANY_MISSING = 0.2  # fraction of images without a face


@dataclass(frozen=True)
class Progress:
    """Callbacks for showing and stopping a training; as in `loop.Callbacks`."""

    on_epoch: Callable[[EpochRecord], None] = lambda _: None
    on_step: Callable[[StepRecord], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


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
    history: list[EpochRecord] = field(default_factory=list)

    def load_images(self) -> tuple[FaceSet, FaceSet]:
        """The training images, with the teachers' probabilities, and the validation images.

        Raises:
            TrainingError: The data set cannot be read.
            OptionError: There are too few training images.
        """
        valid_set = self.data.load("valid", first_only=True)
        train_set = self._without_repeats(self.data.load("train"), valid_set)
        check_enough(train_set.labelled()[0], self.options.batch_size)
        if landmarker.MODEL in recipes.load(self.options.recipe).needs:
            train_set = self.data.with_meshes(train_set.labelled()[0])
        self._introduce(train_set, valid_set)
        return self._taught(train_set), valid_set

    def train(self, train_set: FaceSet, valid_set: FaceSet, progress: Progress) -> Network:
        """Runs or resumes the training; writes config and log into the run's folder.

        Raises: as of `loop.train`.
        """
        config = {**run_config.with_absolute_paths(self.inputs), **as_table(self.options)}

        def on_epoch(record: EpochRecord) -> None:
            self.history.append(record)
            try:
                run_folder.write_log(self.history, self.out / run_folder.LOG)
            except OutputError as error:  # e.g. open in Excel; the next epoch writes it again
                self.report.warn(error.message)
            progress.on_epoch(record)

        callbacks = Callbacks(
            on_begin=lambda: run_folder.write_config(config, self.out / run_folder.CONFIG),
            on_epoch=on_epoch, on_step=progress.on_step, stop=progress.stop,
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
        history = inputs | {
            **{
                key: Path(inputs[key]).name for key in {"data", "votes", "landmarker"} & set(inputs)
            },
            "detectors": [Path(name).name for name in inputs.get("detectors", ("auto",))],
            "start": self.start.name,
            **({"teacher": [t.entry.name for t in self.teachers]} if self.teachers else {}),
            "images": len(train_set.labelled()[0]),
            "best_epoch": max(record.epoch for record in self.history if record.best),
            "method": recipes.facts(self.options.recipe),
            "options": as_table(self.options),
        }
        return run_folder.finish(network, valid_set, self.out, history, self.start.temperature)

    def _without_repeats(self, train_set: FaceSet, valid_set: FaceSet) -> FaceSet:
        """Training images that occur neither in validation nor in test, if there is a test set."""
        held_out = [valid_set]
        try:
            held_out.append(self.data.read("test"))
        except SplitMissing:
            self.report.say(f"{train_set.name}: there is no test set to keep separate")
        kept = without_repeats(train_set, held_out)
        if len(kept) < len(train_set):
            self.report.say(
                f"{train_set.name}: dropped {len(train_set) - len(kept):,} training images that "
                "also occur in validation or test"
            )
        return kept

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
        n_valid = len(valid_set.protocols[valid_set.main_protocol].which)
        if n_valid < _FEW_IMAGES:
            self.report.warn(
                f"{valid_set.name} has only {count_text(n_valid, 'image')} to choose the best "
                "epoch and fit the temperature."
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
        if self.start.resized(network):
            self.report.say(
                f"{self.start.name}: positions are resized for crops of "
                f"{self.options.network.crop_px} px"
            )
        if not (self.out / STATE).exists():
            logits = logits_of(network.to(self.runtime.device), valid_set)
            found = selection_figures(logits.numpy(), valid_set)
            self.report.say(f"before training: validation: {figures_line(found)}")


def prepare(
    out: Path,
    config: run_config.Config,
    runtime: Runtime,
    *,
    cache: Path | None = None,
    report: Reporter,
) -> Session:
    """Loads start weights, teachers and detectors, and checks the options before any image.

    Args:
        out: Folder of the run.
        config: As of `run_config.assemble`.
        runtime: Device and threads.
        cache: Folder for landmarks; None for the user's cache folder.
        report: Receives notes and progress.

    Raises:
        OptionError: An option is missing, not valid, or contradicts the run in `out`.
        ModelError: Start weights, a teacher or a detector cannot be loaded.
        OutputError: The folder cannot be written.
    """
    inputs = run_config.inputs_of(config)
    if "dataset" not in inputs or "data" not in inputs:
        raise OptionError(
            "`dataset` and `data` are needed.",
            "E.g. jadfer train --dataset folder --data faces/ --start default --out runs/mine",
        )
    architecture = run_config.recipe_of(config).architecture
    start = starts.load(inputs.get("start", starts.SCRATCH), architecture)
    teachers = [starts.labelled(name) for name in inputs.get("teacher", ())]
    options = run_config.options_of(config, start)
    saved_run(out, options)
    check_writable(out / STATE)
    wanted = run_config.data_of(inputs, cache)
    if landmarker.MODEL in recipes.load(options.recipe).needs:
        landmarker.Landmarker(wanted.landmarker)  # before hours of alignment
    data = AlignedData(wanted, runtime.threads, report)
    return Session(out, inputs, options, start, teachers, runtime, data, report)
