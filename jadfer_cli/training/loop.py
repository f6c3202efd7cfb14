"""Training as one readable loop, the same for all recipes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from jadfer_cli.errors import JadferError, OptionError, TrainingError
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.runtime import usable_cores
from jadfer_cli.text import count_text
from jadfer_cli.training import tensor_file
from jadfer_cli.training.crops import Crops
from jadfer_cli.training.evaluate import selection_figures
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import (
    BEST,
    DAMAGED_RUN,
    EpochRecord,
    State,
    StepRecord,
    fingerprint,
)
from jadfer_cli.training.trainer import Trainer

_GRACE_S = 5
_MAX_WORKERS = 8
_ERROR_CLASS = re.compile(r"^jadfer_cli\.errors\.\w+: ")  # before the message in a traceback


@dataclass(frozen=True)
class Callbacks:
    """What the caller of `train` wants to know and to decide.

    Attributes:
        on_begin: Called once it is certain that the run in `out`, if any, can be resumed.
        on_resume: Called once before the first step, with the epochs that an earlier run finished.
        on_epoch: Called after each epoch.
        on_step: Called after each step.
        stop: Called after each step; if true, the state is saved and the run ends.
        save_every_s: Interval between saved states within an epoch.
        evaluate: Figures of logits (n, K) for the validation set; "score" chooses the epoch.
    """

    on_begin: Callable[[], None] = lambda: None
    on_epoch: Callable[[EpochRecord], None] = lambda _: None
    on_resume: Callable[[list[EpochRecord]], None] = lambda _: None
    on_step: Callable[[StepRecord], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False
    save_every_s: float = 300.0
    evaluate: Callable[[torch.Tensor, FaceSet], dict[str, float]] = lambda logits, faces: (
        selection_figures(logits.numpy(), faces)
    )


def check_enough(labelled: FaceSet, batch_size: int) -> None:
    """Checks that there is at least one batch to train on.

    Raises:
        OptionError: There are fewer images.
    """
    n = len(labelled)
    if not n:
        raise OptionError(
            f"{labelled.name} has no labelled image without a twin in validation or test.",
            "Twins are equal pictures, or copies of one photograph. Give each split images of its "
            "own.",
        )
    if n < batch_size:
        raise OptionError(
            f"{labelled.name} has {count_text(n, 'labelled image')} without a twin in validation "
            f"or test, fewer than one batch of {batch_size}.",
            "A batch needs two images at least: add labelled images."
            if n < 2
            else f"Set `batch_size` to {fitting_batch_size(n, batch_size)}, or leave it out.",
        )


def fitting_batch_size(n_images: int, wanted: int) -> int:
    """The wanted batch size, or the largest power of two that gives four steps per epoch.

    A step needs two images at least.
    """
    if n_images >= wanted:
        return wanted
    return 1 << (max(n_images // 4, 2).bit_length() - 1)


def train(
    options: TrainOptions,
    train_set: FaceSet,
    valid_set: FaceSet,
    out: Path,
    *,
    start: Start,
    device: str = "cpu",
    callbacks: Callbacks | None = None,
    make: Callable[..., Trainer] = Trainer,
) -> Network:
    """Trains a network, and keeps the averaged weights that score best on validation.

    A run whose state is in `out` is resumed from its last saved step and ends as an
    uninterrupted one would: order, augmentation and dropout depend on seed, epoch and step.

    Args:
        options: The recipe and its options.
        train_set: Aligned training faces, without repeats of the held-out splits.
        valid_set: Aligned validation faces, which choose the epoch.
        out: Folder for `state.pt` (to resume) and `best.pt` (averaged weights).
        start: Weights to start from.
        device: "cpu" or "cuda:N".
        callbacks: Progress, stopping and evaluation.
        make: Makes the trainer; `cached.train` gives one that computes on stored feature maps.

    Returns:
        The network with the best averaged weights, in eval mode.

    Raises:
        OptionError: `out` holds a run with other options, or the set is smaller than a batch.
        TrainingError: The loss is not finite, or an image cannot be read.
        KeyboardInterrupt: `callbacks.stop` returned true.
        OutputError: The state cannot be written.
    """
    calls = callbacks or Callbacks()
    train_set, _ = train_set.labelled()
    check_enough(train_set, options.batch_size)
    _one_opencv_thread()
    data = fingerprint(train_set, valid_set, start)
    trainer = make(options, start, torch.device(device), train_set, data)
    state = trainer.restore(out)
    calls.on_begin()
    crops = trainer.dataset(train_set.decoded())
    valid_set = valid_set.decoded()
    calls.on_resume([EpochRecord(**earlier) for earlier in state.history])
    while state.epoch < options.epochs:
        crops.epoch = trainer.sampler.epoch = state.epoch
        trainer.sampler.skip = state.step * options.batch_size
        _train_epoch(trainer, _loader(crops, trainer), state, out, calls)
        state = _validate(trainer, valid_set, state, out, calls)
    try:
        trainer.network.load_state_dict(tensor_file.read(out / BEST))
    except (tensor_file.Unreadable, RuntimeError, TypeError) as error:
        raise TrainingError(
            f"{out / BEST}, the best weights of the run, cannot be read "
            f"({str(error).splitlines()[0]}).",
            DAMAGED_RUN,
        ) from error
    return trainer.network.eval()


def _train_epoch(
    trainer: Trainer, loader: DataLoader[Any], state: State, out: Path, calls: Callbacks
) -> None:
    """The steps of one epoch that `state` has not finished; counts them there."""
    trainer.train_mode()
    clock = saved = time.monotonic()
    for images, targets, indices, placements in _batches(trainer, loader, state, out, calls):
        loss, hits = trainer.step(images, targets, indices, state, placements)
        state.count(loss, hits, time.monotonic() - clock)
        clock = time.monotonic()
        calls.on_step(trainer.step_record(state))
        stopping = calls.stop()
        if stopping or clock - saved > calls.save_every_s:
            saved = clock
            trainer.save(out, state)
        if stopping:
            raise KeyboardInterrupt


def _batches(
    trainer: Trainer, loader: DataLoader[Any], state: State, out: Path, calls: Callbacks
) -> Iterator[Any]:
    """The batches; where a signal ends a worker before a batch is ready, the state is saved."""
    try:
        yield from _plain_errors(loader)
    except RuntimeError:
        if not calls.stop():
            raise
        trainer.save(out, state)
        raise KeyboardInterrupt from None


def _validate(
    trainer: Trainer, valid_set: FaceSet, state: State, out: Path, calls: Callbacks
) -> State:
    """Ends an epoch: figures on validation, the best weights, and the saved state."""
    began = time.monotonic()
    figures = calls.evaluate(trainer.validation_logits(valid_set), valid_set)
    record = trainer.epoch_record(state, figures, time.monotonic() - began)
    if record.best:
        tensor_file.write(trainer.averaged.state_dict(), out / BEST)
    state = State(
        epoch=record.epoch,
        best=max(state.best, figures["score"]),
        history=[*state.history, dataclasses.asdict(record)],
    )
    trainer.save(out, state)
    calls.on_epoch(record)
    return state


def _loader(crops: Crops, trainer: Trainer) -> DataLoader[Any]:
    return DataLoader(
        crops, trainer.options.batch_size, sampler=trainer.sampler, drop_last=True,
        num_workers=_workers(trainer.options), pin_memory=trainer.device.type == "cuda",
        worker_init_fn=_leave_signals_to_the_parent,
    )  # fmt: skip


def _plain_errors(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches; a JadferError in a worker is raised without the worker's traceback."""
    try:
        yield from loader
    except JadferError as error:
        last = error.message.strip().splitlines()[-1]
        raise TrainingError(_ERROR_CLASS.sub("", last)) from error


def _workers(options: TrainOptions) -> int:
    """Processes that prepare crops: half of the cores unless the options say otherwise."""
    if options.workers is not None:
        return options.workers
    return max(1, min(usable_cores() // 2, _MAX_WORKERS))


def _leave_signals_to_the_parent(_: int) -> None:
    """A signal to the process group must not kill workers before the parent has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):  # SIGTERM ends a worker as well, but some seconds later
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_S))
    if multiprocessing.get_start_method() != "fork":  # in a forked worker this can deadlock
        _one_opencv_thread()


def _one_opencv_thread() -> None:
    """OpenCV's thread pool does not survive a fork, and a spawned worker needs none."""
    import cv2

    cv2.setNumThreads(1)
