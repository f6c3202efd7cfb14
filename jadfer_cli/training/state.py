"""The state of a training run: network, averages, optimiser, schedule; one step, save, restore."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from jadfer_cli.common import atomic_write
from jadfer_cli.errors import OptionError, OutputError, TrainingError
from jadfer_cli.expression.losses import soft_cross_entropy, variety_loss
from jadfer_cli.expression.networks.jadfer import Jadfer
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.start import Start

STATE, BEST = "state.pt", "best.pt"
_CLIP_NORM = 5.0


@dataclass
class EpochRecord:
    """What one epoch came to."""

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float  # of the augmented images, as they were drawn
    lr: float  # of the new modules, at its end
    seconds: float
    best: bool  # the best on validation so far
    figures: dict[str, float] = field(default_factory=dict)  # of the averaged weights


@dataclass(frozen=True)
class StepRecord:
    """Where a run stands after one step."""

    epoch: int  # from 1
    step: int  # of the epoch, from 1
    steps: int  # an epoch
    loss: float  # mean of this epoch so far
    accuracy: float


@dataclass
class State:
    """What a resumed run needs beside the tensors."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the next one
    loss: float = 0.0  # sums over those steps
    hits: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)

    def count(self, loss: float, hits: int, seconds: float) -> None:
        """Adds one step."""
        self.step += 1
        self.loss += loss
        self.hits += hits
        self.seconds += seconds


def pixels_of(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 (B, 3, S, S) as float in [0, 1] on the device."""
    return images.to(device, non_blocking=True).float() / 255


class Run:
    """Network, averaged weights, optimiser and schedule, and one step of them."""

    def __init__(
        self, options: TrainOptions, start: Start, device: torch.device, n_images: int, data: str
    ) -> None:
        self.options, self.device, self.data = options, device, data
        torch.manual_seed(options.seed)
        self.network = start.build(options.network).to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frozen: list[torch.nn.Module] = []
        if options.frozen_blocks is not None:
            stem: Any = self.network.stem
            self.frozen = stem.early(options.frozen_blocks)
        for module in self.frozen:
            module.requires_grad_(False)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network,
            multi_avg_fn=_moving_average(options.ema),
            use_buffers=True,
        )
        self.steps_an_epoch = n_images // options.batch_size
        self.optimiser = _optimiser(self.network, options)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self.factor)

    def factor(self, step: int) -> float:
        """Share of the peak learning rate: linear warm-up, then the schedule."""
        o, per_epoch = self.options, self.steps_an_epoch
        steps, warm = o.epochs * per_epoch, o.warmup * per_epoch
        if step < warm:
            return (step + 1) / (warm + 1)
        if o.schedule == "trapezoid":
            return max(min(1.0, (steps - step) / max(o.cooldown * per_epoch, 1)), 0.0)
        return 0.5 * (1 + math.cos(math.pi * min((step - warm) / max(steps - warm, 1), 1)))

    @property
    def averaged(self) -> Jadfer:
        """The network with averaged weights."""
        network: Jadfer = self.average.module  # type: ignore[assignment]
        return network

    def step_record(self, state: State) -> StepRecord:
        """Where the run stands after a step."""
        return StepRecord(
            epoch=state.epoch + 1,
            step=state.step,
            steps=self.steps_an_epoch,
            loss=state.loss / state.step,
            accuracy=state.hits / (state.step * self.options.batch_size),
        )

    def epoch_record(
        self, state: State, figures: dict[str, float], evaluation_s: float
    ) -> EpochRecord:
        """What the finished epoch came to."""
        last = self.step_record(state)
        return EpochRecord(
            epoch=last.epoch,
            train_loss=last.loss,
            train_accuracy=last.accuracy,
            lr=self.options.lr * self.factor(self.schedule.last_epoch),
            seconds=state.seconds + evaluation_s,
            best=figures["score"] > state.best,
            figures=figures,
        )

    def train_mode(self) -> None:
        """Training mode, but for what is frozen: its batch statistics stay too."""
        self.network.train()
        for module in self.frozen:
            module.eval()

    def step(self, images: torch.Tensor, targets: torch.Tensor, state: State) -> tuple[float, int]:
        """One batch: uint8 (B, 3, S, S) and (B, K). Gives loss and right guesses."""
        o = self.options
        pixels, targets = pixels_of(images, self.device), targets.to(self.device)
        smooth = targets * (1 - o.label_smoothing) + o.label_smoothing / targets.shape[1]
        # the same dropout and JAD whether or not the run was interrupted
        seed = (o.seed * 1_000 + state.epoch) * 1_000_000 + state.step

        def loss_and_logits() -> tuple[torch.Tensor, torch.Tensor]:
            torch.manual_seed(seed)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=o.precision == "bf16"):
                output = self.network(pixels)
            logits = output.logits.float()
            loss = soft_cross_entropy(logits, smooth)
            return loss + o.variety_weight * variety_loss(output.maps, o.variety), logits

        self.optimiser.zero_grad(set_to_none=True)
        loss, logits = loss_and_logits()
        loss.backward()  # type: ignore[no-untyped-call]
        if o.optimiser == "sam":
            with _shifted(self.network, o.sam_rho), _batch_statistics_kept(self.network):
                self.optimiser.zero_grad(set_to_none=True)
                loss_and_logits()[0].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP_NORM)
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            raise TrainingError(
                f"The loss is {value} and its gradient {norm.item()} in epoch {state.epoch + 1}.",
                "Give a lower --lr, and another --out; the state saved last is sound.",
            )
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.network)
        return value, int((logits.argmax(1) == targets.argmax(1)).sum())

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
        }

    def save(self, out: Path, state: State) -> None:
        """Writes everything that a resumed run needs."""
        tensors = {name: part.state_dict() for name, part in self._parts().items()}
        write_tensors(
            tensors
            | {
                "run": dataclasses.asdict(state),
                "options": _identity(self.options),
                "data": self.data,
            },
            out / STATE,
        )

    def restore(self, out: Path) -> State:
        """Where the run in `out` stands; a fresh state where there is none."""
        saved = _saved_run(out, self.options)
        if saved is None:
            return State()
        if saved.get("data", self.data) != self.data:
            raise OptionError(
                f"{out / STATE} belongs to a run with other images, labels, teacher, "
                "alignment or start weights.",
                "Give another --out, or the data as they were to go on with it.",
            )
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        return State(**saved["run"])


def _moving_average(decay: float) -> Callable[..., None]:
    """An exponential moving average whose decay grows from 0.1, so that short runs move too."""

    def update(averaged: Any, current: Any, n_averaged: Any) -> None:
        n = int(n_averaged)
        now = min(decay, (1 + n) / (10 + n))
        torch.optim.swa_utils.get_ema_multi_avg_fn(now)(averaged, current, n_averaged)  # type: ignore[no-untyped-call]

    return update


def fingerprint(train_set: FaceSet, valid_set: FaceSet, start: Start) -> str:
    """A hash of what a run is made of beside its options: images, labels, alignment, start."""
    digest = hashlib.sha256(start.name.encode())
    for tensor in (*start.whole.values(), *start.stem.values()):
        digest.update(tensor.detach().cpu().numpy().tobytes())
    for faces in (train_set, valid_set):
        digest.update("\n".join(faces.image_names).encode())
        digest.update(faces.targets.tobytes())
        if faces.landmarks_px is not None:
            digest.update(faces.landmarks_px.tobytes())
    return digest.hexdigest()[:16]


def check_resumable(out: Path, options: TrainOptions) -> None:
    """Whether a run in `out`, if there is one, has these options.

    Raises:
        OptionError: It has others.
    """
    _saved_run(out, options)


def _saved_run(out: Path, options: TrainOptions) -> dict[str, Any] | None:
    """What a run in `out` saved, if there is one; it must have these options."""
    file = out / STATE
    if not file.exists():
        return None
    saved = _saved(file)
    if saved.get("options") != _identity(options):
        raise OptionError(
            f"{file} belongs to a run with other options.",
            "Give another --out, or the same options as before to go on with it.",
        )
    return saved


def _saved(file: Path) -> dict[str, Any]:
    try:
        # on the CPU: AdamW wants its step counts there; load_state_dict moves the rest
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the unpickler raise
        raise TrainingError(
            f"{file} cannot be read ({type(error).__name__}).", "Give another --out."
        ) from error
    return saved


def _identity(options: TrainOptions) -> str:
    """What must be equal for a run to go on; a trapezoid may be made longer or shorter."""
    length = 1 if options.schedule == "trapezoid" else options.epochs
    return repr(dataclasses.replace(options, workers=0, epochs=length))


def write_tensors(state: Any, path: Path) -> None:
    """Saves beside the name, then renames.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_write(path) as part:
        try:
            torch.save(state, part)
        except RuntimeError as error:  # how it says that the disk is full
            raise OutputError(f"{path} cannot be written ({error}).") from error


def _optimiser(network: Jadfer, options: TrainOptions) -> torch.optim.Optimizer:
    """AdamW; the stem learns slower, and norms, biases and positions do not decay."""
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and "position" not in name and "cls" not in name
            groups.setdefault((name.startswith("stem."), decays), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": options.stem_lr if in_stem else options.lr,
                "weight_decay": options.weight_decay if decays else 0.0,
            }
            for (in_stem, decays), parameters in groups.items()
        ]
    )


@contextlib.contextmanager
def _shifted(network: Jadfer, rho: float) -> Iterator[None]:
    """The weights moved up the gradient by `rho` (Foret et al. 2021, arXiv 2010.01412, Eq. 2)."""
    climbing = [(p, p.grad) for p in network.parameters() if p.grad is not None]
    norm = torch.stack([gradient.norm() for _, gradient in climbing]).norm()
    before = [(p, p.detach().clone()) for p, _ in climbing]  # so that they come back bit by bit
    with torch.no_grad():
        for parameter, gradient in climbing:
            parameter.add_(gradient * (rho / (norm + 1e-12)))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in before:
                parameter.copy_(value)


@contextlib.contextmanager
def _batch_statistics_kept(network: Jadfer) -> Iterator[None]:
    """BatchNorm normalises by the batch and leaves its running statistics alone."""
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
