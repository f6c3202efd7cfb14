"""One training run in memory: network, averaged weights, optimiser, schedule, and one step."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch

from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.expression.networks.base import Network, Output
from jadfer_cli.training import recipes, tensor_file
from jadfer_cli.training.crops import Crops
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.optimisation import moving_average, running_statistics_kept, shifted
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipes import Batch
from jadfer_cli.training.scoring import logits_of, pixels_of
from jadfer_cli.training.sets_in_loss import SetsInLoss, sampler_of
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import (
    DAMAGED_RUN,
    STATE,
    EpochRecord,
    State,
    StepRecord,
    identity,
    saved_run,
)

_CLIP_NORM = 5.0


class Trainer:
    """Everything that a run changes, and one step of it.

    Args:
        options: The recipe and its options.
        start: Weights to start from.
        device: Where the network trains.
        train_set: The labelled training images.
        data: `state.fingerprint` of images and start.
    """

    def __init__(
        self,
        options: TrainOptions,
        start: Start,
        device: torch.device,
        train_set: FaceSet,
        data: str,
    ) -> None:
        self.options, self.device, self.data = options, device, data
        self.recipe = recipes.load(options.recipe)
        torch.manual_seed(options.seed)
        self.network = start.build(options.network).to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frozen: list[torch.nn.Module] = []
        if options.frozen_blocks is not None:
            self.frozen = self.network.freeze(options.frozen_blocks)
        statistics = self.recipe.statistics(train_set)
        self.statistics = {name: tensor.to(device) for name, tensor in statistics.items()}
        if self.recipe.prepare is not None:
            self.recipe.prepare(self.network, self.statistics)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=moving_average(options.ema), use_buffers=True
        )
        self.sampler, drawn = sampler_of(train_set, self.recipe, options)
        self.sets: SetsInLoss | None = None
        if drawn is not None:
            self.sets = SetsInLoss(train_set.labelled()[0], drawn, options.label_smoothing, device)
        self.steps_per_epoch = len(self.sampler) // options.batch_size
        groups = self.network.parameter_groups(options.lr, options.stem_lr, options.weight_decay)
        self.optimiser = self.recipe.optimiser(groups, options)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._lr_factor)

    def _lr_factor(self, step: int) -> float:
        return self.recipe.lr_factor(self.options, self.steps_per_epoch, step)

    @property
    def averaged(self) -> Network:
        """The network with averaged weights."""
        network: Network = self.average.module  # type: ignore[assignment]
        return network

    def step_record(self, state: State) -> StepRecord:
        """Position and results after a step."""
        return StepRecord(
            epoch=state.epoch + 1,
            step=state.step,
            steps=self.steps_per_epoch,
            loss=state.loss / state.step,
            accuracy=state.hits / (state.step * self.options.batch_size),
        )

    def epoch_record(
        self, state: State, figures: dict[str, float], evaluation_s: float
    ) -> EpochRecord:
        """Results of the finished epoch."""
        last = self.step_record(state)
        return EpochRecord(
            epoch=last.epoch,
            train_loss=last.loss,
            train_accuracy=last.accuracy,
            lr=self.options.lr * self._lr_factor(self.schedule.last_epoch),
            seconds=state.seconds + evaluation_s,
            best=figures["score"] > state.best,
            figures=figures,
        )

    def train_mode(self) -> None:
        """Training mode, except for frozen modules: their batch statistics must not change."""
        self.network.train()
        for module in self.frozen:
            module.eval()

    def step(
        self,
        images: torch.Tensor,
        targets: torch.Tensor,
        indices: torch.Tensor,
        state: State,
        placements: torch.Tensor | None = None,
    ) -> tuple[float, int]:
        """Trains on one batch.

        Args:
            images: As `dataset` gives them; uint8 (B, 3, S, S), RGB.
            targets: (B, K), label distributions.
            indices: (B,), positions in the training set.
            state: Position of the run.
            placements: (B, 2, 3), from pixels of the pictures to those of the crops.

        Returns:
            The loss, and the number of images whose top expression is right.

        Raises:
            TrainingError: The loss or its gradient is not finite.
        """
        o, recipe = self.options, self.recipe
        faces, targets = self.prepared(images), targets.to(self.device)
        if self.sets is None:
            smooth = targets * (1 - o.label_smoothing) + o.label_smoothing / targets.shape[1]
        else:
            smooth = self.sets.smoothed(targets, indices)
        batch = Batch(
            smooth, indices, self.statistics, state.epoch, o.epochs,
            placements=None if placements is None else placements.to(self.device),
            offsets=None if self.sets is None else self.sets.offsets_of(indices),
        )  # fmt: skip
        # dropout and JAD depend on the position alone, so a resumed run equals an uninterrupted one
        seed = (o.seed * 1_000 + state.epoch) * 1_000_000 + state.step
        self.optimiser.zero_grad(set_to_none=True)
        output, second = self.outputs(faces, seed, batch.offsets)
        if recipe.relabel is not None:
            with torch.no_grad():
                relabelled = recipe.relabel(output, batch._replace(second=second), o.own)
            if self.sets is not None:
                relabelled = self.sets.named(relabelled, indices)
            batch = batch._replace(targets=relabelled)
        loss = recipe.loss(output, batch._replace(second=second), o.own)
        loss.backward()  # type: ignore[no-untyped-call]
        if o.optimiser == "sam":
            with shifted(self.network, o.sam_rho), running_statistics_kept(self.network):
                self.optimiser.zero_grad(set_to_none=True)
                again, second = self.outputs(faces, seed, batch.offsets)
                recipe.loss(again, batch._replace(second=second), o.own).backward()  # type: ignore[no-untyped-call]
        self._update(loss.item(), state)
        return loss.item(), int((output.logits.argmax(1) == targets.argmax(1)).sum())

    def dataset(self, faces: FaceSet) -> Crops:
        """The training images as the loop draws them."""
        return Crops(
            faces, self.options.network.crop_px, self.options.augmentation, self.options.seed
        )

    def prepared(self, images: torch.Tensor) -> torch.Tensor:
        """A batch of the dataset on the device: crops, float (B, 3, S, S) in [0, 1]."""
        return pixels_of(images, self.device)

    def views(self, faces: torch.Tensor) -> list[torch.Tensor]:
        """The prepared batch and, if the recipe has one, the second view of it."""
        second = self.recipe.second_view
        return [faces] if second is None else [faces, second(faces)]

    def forward(self, view: torch.Tensor) -> Output:
        """The network's output for one view."""
        output: Output = self.network(view)
        return output

    def validation_logits(self, faces: FaceSet) -> torch.Tensor:
        """Logits (n, K) of validation images by the averaged weights."""
        return logits_of(self.averaged, faces)

    def outputs(
        self, faces: torch.Tensor, seed: int, offsets: torch.Tensor | None = None
    ) -> tuple[Output, Output | None]:
        """The network's output for a prepared batch and, if there is one, for its second view.

        Args:
            faces: As `prepared` gives them.
            seed: Of dropout and the like.
            offsets: (B, K), added to the logits; None for nothing.
        """
        torch.manual_seed(seed)
        bf16 = self.options.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            outputs = [self.forward(view) for view in self.views(faces)]
        added = 0 if offsets is None else offsets
        first, *rest = [Output(each.logits.float() + added, each.auxiliary) for each in outputs]
        return first, rest[0] if rest else None

    def _update(self, loss: float, state: State) -> None:
        """Applies the gradients to weights, schedule and averaged weights."""
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP_NORM).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"The loss is {loss} and its gradient {norm} in epoch {state.epoch + 1}.",
                "Give a lower `lr`, and another `out`; the last saved state is intact.",
            )
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.network)

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
        }

    def save(self, out: Path, state: State) -> None:
        """Writes everything that a resumed run needs.

        Raises:
            OutputError: It cannot be written.
        """
        saved: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        saved |= {
            "run": dataclasses.asdict(state),
            "options": identity(self.options),
            "data": self.data,
        }
        tensor_file.write(saved, out / STATE)

    def restore(self, out: Path) -> State:
        """Loads the run in `out`, if there is one, and returns its position.

        Raises:
            OptionError: It has other options, images, labels or start weights.
            TrainingError: It cannot be read.
        """
        saved = saved_run(out, self.options)
        if saved is None:
            return State()
        if saved.get("data", self.data) != self.data:
            raise OptionError(
                f"{out / STATE} belongs to a run with other images, labels, teacher, "
                "alignment or start weights.",
                "Give another `out`, or resume it with the same data as before.",
            )
        try:
            for name, part in self._parts().items():
                part.load_state_dict(saved[name])
            return State(**saved["run"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise TrainingError(
                f"{out / STATE} is damaged, or was written by another version of jadfer.",
                DAMAGED_RUN,
            ) from error
