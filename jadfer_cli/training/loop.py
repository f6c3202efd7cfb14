"""Training as one readable loop."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from jadfer_cli.expression.backbones import mobilefacenet_from_public
from jadfer_cli.expression.jadfer import Jadfer, JadferConfig
from jadfer_cli.expression.losses import soft_cross_entropy, variety_loss
from jadfer_cli.faces import align
from jadfer_cli.training import augment
from jadfer_cli.training.datasets import FaceSet, distributions, winners


@dataclass(frozen=True)
class TrainOptions:
    """One training run."""

    network: JadferConfig = field(default_factory=JadferConfig)
    augmentation: augment.AugmentOptions = field(default_factory=augment.AugmentOptions)
    epochs: int = 30
    batch_size: int = 128
    lr: float = 1e-3  # of the new modules, at the peak
    stem_lr: float = 3e-4
    weight_decay: float = 0.05
    warmup: float = 0.05  # share of all steps
    variety: str = "cosine"  # one of losses.VARIETY_KINDS
    variety_weight: float = 0.1  # lambda
    label_smoothing: float = 0.05
    balance: float = 0.25  # sampling weight of a class: n ** -balance; 0 samples as it is
    ema: float = 0.999  # decay of the averaged weights
    frozen_blocks: int = 0  # the stem's first convolutions and so many blocks stay as they are
    bf16: bool = False
    seed: int = 0
    workers: int = 0


class Crops(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Aligned crops of a face set; augmented where options are given.

    Item i is a crop float (3, S, S) in [0, 1] and its label distribution (K,).
    """

    def __init__(
        self, faces: FaceSet, size_px: int, options: augment.AugmentOptions | None, seed: int
    ) -> None:
        self.faces, self.size_px, self.options, self.seed = faces, size_px, options, seed
        self.epoch = 0
        side = faces.images.shape[1]
        whole = align.mean_placement(side, side, size_px)
        self.matrices = np.tile(whole, (len(faces.images), 1, 1))  # (n, 2, 3)
        if faces.landmarks_px is not None:
            found = np.isfinite(faces.landmarks_px).all((1, 2))
            self.matrices[found] = align.similarity(faces.landmarks_px[found], size_px)
        self.targets = distributions(faces.votes)

    def __len__(self) -> int:
        return len(self.faces.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image_rgb = np.repeat(self.faces.images[index][:, :, None], 3, 2)
        matrix = self.matrices[index]
        # a generator an image and epoch: the same crops however work is split or resumed
        rng = np.random.default_rng((self.seed, self.epoch, index))
        if self.options is not None:
            matrix = augment.jitter(matrix, self.size_px, self.options, rng)
        crop_rgb = align.warp(image_rgb, matrix[None], self.size_px)[0]
        if self.options is not None:
            crop_rgb = augment.degrade(crop_rgb, self.options, rng)
        crop = torch.from_numpy(crop_rgb).permute(2, 0, 1).float() / 255
        return crop, torch.from_numpy(self.targets[index])


class _EpochSampler(Sampler[int]):
    """Draws n indices an epoch with weights that soften class imbalance, by seed and epoch."""

    def __init__(self, classes: np.ndarray[Any, Any], balance: float, seed: int) -> None:
        counts = np.bincount(classes).astype(float)
        weights = np.maximum(counts, 1)[classes] ** -balance
        self.p = weights / weights.sum()
        self.balance, self.seed, self.epoch = balance, seed, 0

    def __len__(self) -> int:
        return len(self.p)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        n = len(self.p)
        order = rng.choice(n, n, p=self.p) if self.balance else rng.permutation(n)
        return iter(order.tolist())


@dataclass
class Progress:
    """What a run has reached; handed to the caller after every epoch."""

    epoch: int
    train_loss: float
    figures: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def logits_of(network: Any, faces: FaceSet, batch_size: int = 256) -> torch.Tensor:
    """Logits (n, K) of a whole face set, without augmentation, on the network's device."""
    network.eval()
    device = next(network.parameters()).device
    data = DataLoader(Crops(faces, network.config.crop_px, None, 0), batch_size)
    return torch.cat([network(crops.to(device)).logits.float().cpu() for crops, _ in data])


def build(options: TrainOptions, start: Path | None) -> Jadfer:
    """A new network; its stem from the public ArcFace state dict where `start` is given."""
    torch.manual_seed(options.seed)
    network = Jadfer(options.network)
    if start is not None:
        state = torch.load(start, map_location="cpu", weights_only=True)
        network.stem.load_state_dict(mobilefacenet_from_public(state))
    for module in _frozen(network, options):
        module.requires_grad_(False)
    return network


def _frozen(network: Jadfer, options: TrainOptions) -> list[torch.nn.Module]:
    if not options.frozen_blocks:
        return []
    stem: Any = network.stem
    return [stem.conv1, stem.dw_conv, *stem.features[: options.frozen_blocks]]


def train(
    options: TrainOptions,
    train_set: FaceSet,
    valid_set: FaceSet,
    out: Path,
    *,
    start: Path | None = None,
    evaluate: Callable[[torch.Tensor, FaceSet], dict[str, float]],
    report: Callable[[Progress], None],
) -> Jadfer:
    """Trains and keeps the averaged weights that score best on validation.

    A run that finds its own state in `out` goes on from the last finished epoch and ends as
    an uninterrupted one would: data order and augmentation depend on seed and epoch alone.

    Args:
        options: The recipe.
        train_set: Aligned training faces, without repeats of the held-out splits.
        valid_set: Aligned validation faces; the epoch is chosen on these.
        out: Folder for `state.pt` (resume) and `best.pt` (averaged weights).
        start: A state dict for the stem; None trains from scratch.
        evaluate: Gives figures from logits and faces; "score" decides.
        report: Called after every epoch.

    Returns:
        The network with the best averaged weights.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    which, classes = winners(train_set.votes, "plurality")
    train_set = train_set.take(which)
    network = build(options, start).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        network,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(options.ema),  # type: ignore[no-untyped-call]
        use_buffers=True,
    )
    crops = Crops(train_set, options.network.crop_px, options.augmentation, options.seed)
    sampler = _EpochSampler(classes, options.balance, options.seed)
    loader = DataLoader(
        crops, options.batch_size, sampler=sampler, drop_last=True, num_workers=options.workers
    )
    optimiser = _optimiser(network, options)
    steps = options.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: _cosine(s, steps, options))
    best, first = -1.0, 0
    state_file = out / "state.pt"
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        if state["options"] != repr(dataclasses.replace(options, workers=0)):
            raise ValueError(f"{state_file} belongs to a run with other options")
        for name, part in _parts(network, average, optimiser, schedule).items():
            part.load_state_dict(state[name])
        best, first = state["best"], state["epoch"] + 1
    for epoch in range(first, options.epochs):
        crops.epoch = sampler.epoch = epoch
        torch.manual_seed(options.seed * 1000 + epoch)  # dropout and JAD, the same on resume
        network.train()
        for module in _frozen(network, options):
            module.eval()
        total = 0.0
        for images, targets in loader:
            images = images.to(device, memory_format=torch.channels_last)
            targets = targets.to(device)
            smooth = options.label_smoothing
            targets = targets * (1 - smooth) + smooth / targets.shape[1]
            with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
                output = network(images)
            loss = soft_cross_entropy(output.logits.float(), targets)
            loss = loss + options.variety_weight * variety_loss(output.maps, options.variety)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(network)
            total += loss.item()
        figures = evaluate(logits_of(average.module, valid_set), valid_set)
        if figures["score"] > best:
            best = figures["score"]
            _replace(average.module.state_dict(), out / "best.pt")
        state = {
            n: p.state_dict() for n, p in _parts(network, average, optimiser, schedule).items()
        }
        state |= {
            "epoch": epoch,
            "best": best,
            "options": repr(dataclasses.replace(options, workers=0)),
        }
        _replace(state, state_file)
        report(Progress(epoch, total / len(loader), figures))
    network.load_state_dict(torch.load(out / "best.pt", map_location=device, weights_only=True))
    return network.eval()


def _parts(network: Any, average: Any, optimiser: Any, schedule: Any) -> dict[str, Any]:
    return {"network": network, "average": average, "optimiser": optimiser, "schedule": schedule}


def _replace(state: Any, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    torch.save(state, part)
    os.replace(part, path)


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


def _cosine(step: int, steps: int, options: TrainOptions) -> float:
    """Linear warm-up, then cosine to zero; a factor on the learning rates."""
    warm = max(int(options.warmup * steps), 1)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
