"""Training as one readable loop."""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from jadfer_cli.errors import JadferError, OptionError, TrainingError
from jadfer_cli.expression.networks.jadfer import Jadfer
from jadfer_cli.runtime import usable_cores
from jadfer_cli.training.crops import Crops, EpochSampler
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import (
    BEST,
    EpochRecord,
    Run,
    State,
    StepRecord,
    fingerprint,
    pixels_of,
    write_tensors,
)

_GRACE_S = 5  # s
_MOST_WORKERS = 8


@torch.no_grad()
def logits_of(
    network: Jadfer,
    faces: FaceSet,
    batch_size: int = 256,
    *,
    precision: str = "fp32",
    mirrored: bool = False,
    progress: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """Logits (n, K) of a whole face set, without augmentation, on the network's device."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for crops, _ in DataLoader(Crops(faces, network.config.crop_px, None, 0), batch_size):
        images = pixels_of(crops.flip(-1) if mirrored else crops, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            parts.append(network(images).logits.float().cpu())
        if progress:
            progress(len(crops))
    return torch.cat(parts)


def check_enough(labelled: FaceSet, batch_size: int) -> None:
    """Whether there is one batch to train on.

    Raises:
        OptionError: The set is smaller.
    """
    n = len(labelled)
    if not n:
        raise OptionError(
            f"{labelled.name} has no labelled image that is not a validation or test image too."
        )
    if n < batch_size:
        raise OptionError(
            f"{labelled.name} has {n} images, fewer than one batch of {batch_size}; give a smaller "
            "--batch-size."
        )


def train(
    options: TrainOptions,
    train_set: FaceSet,
    valid_set: FaceSet,
    out: Path,
    *,
    start: Start,
    device: str = "cpu",
    evaluate: Callable[[torch.Tensor, FaceSet], dict[str, float]],
    on_begin: Callable[[], None] = lambda: None,
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
    on_step: Callable[[StepRecord], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    save_every_s: float = 300.0,
) -> Jadfer:
    """Trains and keeps the averaged weights that score best on validation.

    A run that finds its own state in `out` goes on from the last saved step and ends as an
    uninterrupted one would: order, augmentation and dropout depend on seed, epoch and step.

    Args:
        options: The recipe.
        train_set: Aligned training faces, without repeats of the held-out splits.
        valid_set: Aligned validation faces; the epoch is chosen on these.
        out: Folder for `state.pt` (resume) and `best.pt` (averaged weights).
        start: Weights to start from.
        device: "cpu" or "cuda:N".
        evaluate: Gives figures from logits and faces; "score" decides.
        on_begin: Called once it is certain that the run in `out`, if any, can go on.
        on_epoch: Called after every epoch, also once for each that an earlier run did.
        on_step: Called after every step.
        stop: Asked after every step; once true, the state is saved and the run ends.
        save_every_s: State is saved so often within an epoch, and after each.

    Returns:
        The network with the best averaged weights, in eval mode.

    Raises:
        OptionError: `out` holds a run with other options, or the set is smaller than a batch.
        JadferError: The loss is no longer a number.
        KeyboardInterrupt: `stop` said so.
        OutputError: The state cannot be written.
    """
    train_set, classes = train_set.labelled()
    check_enough(train_set, options.batch_size)
    _one_opencv_thread()
    data = fingerprint(train_set, valid_set, start)
    run = Run(options, start, torch.device(device), len(train_set), data)
    state = run.restore(out)
    on_begin()
    crops = Crops(train_set, run.network.config.crop_px, options.augmentation, options.seed)
    sampler = EpochSampler(classes, options.balance, options.seed)
    for earlier in state.history:
        on_epoch(EpochRecord(**earlier))
    while state.epoch < options.epochs:
        crops.epoch = sampler.epoch = state.epoch
        sampler.skip = state.step * options.batch_size
        loader = DataLoader(
            crops, options.batch_size, sampler=sampler, drop_last=True,
            num_workers=_workers(options), pin_memory=run.device.type == "cuda",
            worker_init_fn=_leave_signals_to_the_parent,
        )  # fmt: skip
        run.train_mode()
        clock = saved = time.monotonic()
        for images, targets in _plain_errors(loader):
            loss, hits = run.step(images, targets, state)
            state.count(loss, hits, time.monotonic() - clock)
            clock = time.monotonic()
            on_step(run.step_record(state))
            ending = stop()
            if ending or clock - saved > save_every_s:
                saved = clock
                run.save(out, state)
            if ending:
                raise KeyboardInterrupt
        figures = evaluate(logits_of(run.averaged, valid_set), valid_set)
        record = run.epoch_record(state, figures, time.monotonic() - clock)
        if record.best:
            write_tensors(run.averaged.state_dict(), out / BEST)
        state = State(
            epoch=record.epoch,
            best=max(state.best, figures["score"]),
            history=[*state.history, dataclasses.asdict(record)],
        )
        run.save(out, state)
        on_epoch(record)
    best = torch.load(out / BEST, map_location=run.device, weights_only=True)
    run.network.load_state_dict(best)
    return run.network.eval()


def _plain_errors(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches; an error of ours in a worker comes without the worker's traceback."""
    try:
        yield from loader
    except JadferError as error:
        last = error.message.strip().splitlines()[-1]
        raise TrainingError(last.removeprefix(f"{type(error).__module__}.JadferError: ")) from error


def _workers(options: TrainOptions) -> int:
    """Processes that prepare crops: half of the cores, where the recipe does not say."""
    if options.workers is not None:
        return options.workers
    return max(1, min(usable_cores() // 2, _MOST_WORKERS))


def _leave_signals_to_the_parent(_: int) -> None:
    """A signal to the whole group must not kill the workers before the parent has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):  # SIGTERM ends a worker too, but some seconds later
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_S))
    if multiprocessing.get_start_method() != "fork":  # in a forked one it can wait for ever
        _one_opencv_thread()


def _one_opencv_thread() -> None:
    """A forked worker must not meet OpenCV's thread pool, a spawned one needs none."""
    import cv2

    cv2.setNumThreads(1)
