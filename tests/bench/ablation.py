"""Ablation of JADFER on FER+ validation: each part off in turn, two seeds, equal schedules.

    python tests/bench/ablation.py --data ../shared/data \
        --start ../shared/models/mobilefacenet_arcface.pt --out /tmp/ablation

On two CPU cores a full network per variant would take days. So the stem's convolutions up to
its 7 x 7 stage stay frozen at the start weights, which were trained neither on expressions nor
with JADFER, and their outputs are cached on disk for a few augmented views of each image. The
rest - the last two blocks, the branches and the head - is trained from scratch for every variant
and seed, over the same views in the same order. Results are appended to OUT/ablation.csv; a
repeated command computes only what is missing. The results of `--images 8000 --views 3 --epochs
3 --bf16` are in ablation.csv beside this file.
"""

import argparse
import csv
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.expression.losses import soft_cross_entropy, variety_loss
from jadfer_cli.expression.networks.jadfer import Jadfer, JadferConfig
from jadfer_cli.options import ModelOptions
from jadfer_cli.runtime import settle
from jadfer_cli.training import start as starts
from jadfer_cli.training.augment import AugmentOptions
from jadfer_cli.training.calibrate import softmax
from jadfer_cli.training.crops import Crops, EpochSampler
from jadfer_cli.training.data import AlignedData, DataOptions
from jadfer_cli.training.evaluate import figures
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.state import fingerprint

FULL = JadferConfig()
FROZEN_BLOCKS = 13  # to 128 x 7 x 7
SHAPE = (128, 7, 7)

# name: the network, the kind of Variety loss
VARIANTS = {
    "full (JAD heads, N=4)": (FULL, "cosine"),
    "no JAD": (dataclasses.replace(FULL, jad="none"), "cosine"),
    "random dropping, same count": (dataclasses.replace(FULL, jad="random"), "cosine"),
    "JAD queries": (dataclasses.replace(FULL, jad="queries"), "cosine"),
    "JAD similar": (dataclasses.replace(FULL, jad="similar"), "cosine"),
    "no Variety loss": (FULL, "none"),
    "N=2": (dataclasses.replace(FULL, paths=2), "cosine"),
    "N=1": (dataclasses.replace(FULL, paths=1), "cosine"),
    "CB only": (dataclasses.replace(FULL, branches="context"), "cosine"),
    "SB only": (dataclasses.replace(FULL, branches="spatial"), "cosine"),
    "pooling only": (dataclasses.replace(FULL, branches="pool"), "cosine"),
}


class Tail(nn.Module):
    """The part of the stem after the frozen part."""

    channels, reduction = 512, 16

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*list(stem.features)[FROZEN_BLOCKS:], stem.conv2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


@torch.inference_mode()
def cached(faces: FaceSet, views: int, start: starts.Start, file: Path, bf16: bool) -> np.ndarray:
    """float16 (views, n, 128, 7, 7): the frozen part's output for augmented views."""
    shape = (views, len(faces), *SHAPE)
    if file.exists():
        return np.memmap(file, np.float16, "r", shape=shape)
    part = file.with_suffix(".part")
    kept = np.memmap(part, np.float16, "w+", shape=shape)
    network = start.build(JadferConfig()).eval()
    front = nn.Sequential(*network.stem.early(FROZEN_BLOCKS)).to(memory_format=torch.channels_last)
    for view in range(views):
        crops = Crops(faces, 112, AugmentOptions() if views > 1 else None, seed=1)
        crops.epoch = view
        done = 0
        for pixels, *_ in torch.utils.data.DataLoader(crops, 128, num_workers=1):
            x = (pixels.float() / 255 - network.mean) / network.std
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                y = front(x.contiguous(memory_format=torch.channels_last))
            kept[view, done : done + len(y)] = y.float().numpy()
            done += len(y)
        print(f"{faces.name}: view {view + 1} of {views} cached", flush=True)
    kept.flush()
    part.rename(file)
    return np.memmap(file, np.float16, "r", shape=shape)


def train_variant(
    config: JadferConfig, variety: str, seed: int, a: argparse.Namespace, data: dict
) -> dict[str, float]:
    """Trains what follows the frozen part; returns figures of the last averaged weights."""
    torch.manual_seed(seed)
    network = Jadfer(config)
    stem = data["start"].build(JadferConfig()).stem
    network.stem = Tail(stem)
    # the frozen part has already normalised
    network.mean, network.std = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    network.to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    groups = [
        {"params": [p for n, p in network.named_parameters() if n.startswith("stem.")], "lr": 3e-4},
        {"params": [p for n, p in network.named_parameters() if not n.startswith("stem.")]},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.05)
    n, kept = len(data["targets"]), data["train"]
    steps = a.epochs * (n // a.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [3e-4, 1e-3], steps, pct_start=0.1, cycle_momentum=False
    )
    sampler = EpochSampler(data["classes"], 0.25, seed)
    for epoch in range(a.epochs):
        sampler.epoch = epoch
        order = np.array([index for _, index in sampler])
        network.train()
        for first in range(0, n - a.batch_size + 1, a.batch_size):
            index = order[first : first + a.batch_size]
            x = torch.from_numpy(np.asarray(kept[epoch % len(kept)][index]))
            x = x.float().contiguous(memory_format=torch.channels_last)
            target = data["targets"][index] * 0.95 + 0.05 / 8
            with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
                output = network(x)
            loss = soft_cross_entropy(output.logits.float(), target)
            loss = loss + 0.1 * variety_loss(output.auxiliary["maps"], variety)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(network)
    return evaluate(average.module.eval(), data)


@torch.inference_mode()
def evaluate(network: nn.Module, data: dict) -> dict[str, float]:
    """Accuracy, recall and mean negative log likelihood on validation, majority."""
    kept, valid = data["valid"][0], data["valid_set"]
    parts = [
        network(torch.from_numpy(np.asarray(kept[i : i + 256])).float()).logits
        for i in range(0, len(kept), 256)
    ]
    logits = torch.cat(parts).numpy()
    found = figures(logits, valid, "majority")
    counted = valid.protocols["majority"]
    p = softmax(logits[counted.which])[np.arange(len(counted.which)), counted.classes]
    return {
        "accuracy": found["accuracy"],
        "mean_class_recall": found["mean_class_recall"],
        "nll": float(-np.log(p).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--start", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--images", type=int, default=14000, help="training images used")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="for CPUs with bfloat16 instructions")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    runtime = settle(ModelOptions(device="cpu"))
    options = DataOptions("ferplus", a.data, detectors=(a.detector,))
    data_set = AlignedData(options, runtime.threads, ConsoleReporter(stderr_console(), quiet=False))
    sets = {split: data_set.load(split) for split in ("train", "valid", "test")}
    dropped = data_set.twins(sets, runtime.device).having("train", ("valid", "test"))
    train = sets["train"].take(~dropped)
    train = train.take(np.random.default_rng(0).permutation(len(train))[: a.images])
    train, classes = train.labelled()
    start = starts.load(a.start, "jadfer")
    key = fingerprint(train, sets["valid"], start)
    data = {
        "start": start, "classes": classes, "targets": torch.from_numpy(train.targets),
        "valid_set": sets["valid"],
        "train": cached(train, a.views, start, a.out / f"train-{key}-{a.views}.f16", a.bf16),
        "valid": cached(sets["valid"], 1, start, a.out / f"valid-{key}.f16", a.bf16),
    }  # fmt: skip
    table = a.out / "ablation.csv"
    done = set()
    if table.exists():
        with table.open() as file:
            done = {(row["variant"], row["seed"]) for row in csv.DictReader(file)}
    for seed in range(a.seeds):
        for name, (config, variety) in VARIANTS.items():
            if (name, str(seed)) in done:
                continue
            began = time.monotonic()
            found = train_variant(config, variety, seed, a, data)
            row = {"variant": name, "seed": seed, **found, "seconds": time.monotonic() - began}
            new = not table.exists()
            with table.open("a", newline="") as file:
                writer = csv.DictWriter(file, list(row))
                if new:
                    writer.writeheader()
                writer.writerow(row)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
