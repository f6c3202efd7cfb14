"""Which parts of JADFER help? A paired ablation on stored feature maps, resumable.

    PYTHONPATH=tests python tests/bench/ablation.py --data FERPLUS --stem half_a_stem.pt --out RUN

1. FER+ training without twins of validation or test is halved by picture. A stem is trained on
   half A (recipe `plain`; --stem FILE takes a trained one). `half_a_stem.pt` is such a stem: eight
   epochs from MobileFaceNet in bf16, 85.4 % on validation (majority), matrices in half precision.
2. The stem's fine maps of half B, of augmented views and their mirror images, are stored once.
3. Every variant trains what follows the fine map on half B, with the same seeds: a pair shares
   start, order of images and views. The averaged weights of the last epoch count, so that
   validation chooses nothing.
4. Every trained variant is also scored on occluded validation faces (`ablation_occlusion.py`).

Each result is a line of RUN/results.jsonl, and the same command continues. `--report` only prints
the statistics of `ablation_report.py`. --features FOLDER takes maps that were stored before:
train0.pt, train0m.pt, ..., valid.pt (bfloat16, n x 128 x 14 x 14), labels.pt and stem.pt. Then
--data is only needed for occlusion.

--study methods compares ways to train the whole network instead (`ablation_methods.py`).

--end-to-end trains the stem as well, on crops; its results are in RUN/end-to-end.jsonl, without
occlusion. --set network.paths=8 changes the network of all variants. All figures are of validation.
"""

import argparse
import dataclasses
import functools
import json
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import ablation_methods as methods
from bench import ablation_occlusion as occlusion
from bench import ablation_report as report

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.labels import LABELS
from jadfer_cli.training import cached, loop, recipe_options
from jadfer_cli.training import start as starts
from jadfer_cli.training.calibrate import softmax
from jadfer_cli.training.data import AlignedData, DataOptions
from jadfer_cli.training.evaluate import figures, pooled_recall
from jadfer_cli.training.faceset import Counted, FaceSet
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipe_options import from_table
from jadfer_cli.training.scoring import logits_of
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import STATE
from jadfer_cli.training.trainer import Trainer

VARIANTS: dict[str, dict[str, Any]] = {
    report.FULL: {},
    "no JAD": {"network": {"jad": "none", "jad_interaction": "none"}},
    "random dropping": {"network": {"jad": "random", "jad_interaction": "random"}},
    "no Variety": {"variety_weight": 0.0},
    report.SPATIAL: {"network": {"branches": "spatial"}},
    report.CONTEXT: {"network": {"branches": "context"}},
}


class TensorMaps(cached.FineMaps):
    """Fine maps in files of PyTorch, one per view and mirror image, that were stored before."""

    def __init__(self, key: str, views: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__(key, TensorRows(views))  # type: ignore[arg-type]

    def at(self, view: int, index: int, mirrored: bool) -> tuple[torch.Tensor, np.ndarray]:
        pair = torch.stack([each[index] for each in self.rows.views[view]])
        return pair.flip(0) if mirrored else pair, np.eye(2, 3, dtype=np.float32)


class TensorRows:
    """Looks like the records of `FineMaps`."""

    def __init__(self, views: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.views = views

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, at: tuple[int, slice]) -> dict[str, np.ndarray]:
        view, which = at
        pair = torch.stack([each[which] for each in self.views[view]], 1)  # (m, 2, C, H, W)
        return {"maps": pair.contiguous().view(torch.int16).numpy()}


@dataclasses.dataclass
class Data:
    """What all variants train on.

    Attributes:
        train, valid: Faces; without pictures if the maps were stored before.
        maps, valid_maps: Their fine maps; None to train end to end.
        start: The stem that made them.
        pictures: Aligned validation faces for occlusion, or None.
    """

    train: FaceSet
    valid: FaceSet
    maps: cached.FineMaps | None
    valid_maps: cached.FineMaps | None
    start: Start
    pictures: FaceSet | None


def settings(texts: list[str]) -> dict[str, Any]:
    """Nested tables from KEY=VALUE; a value that is not TOML is a text."""
    table: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        try:
            parsed = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            parsed = value
        *groups, name = key.split(".")
        inner = table
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = parsed
    return table


def stored(folder: Path, a: argparse.Namespace) -> Data:
    """Maps that were stored before, with their labels and stem."""
    labels = torch.load(folder / "labels.pt", weights_only=False)  # a file of our own
    sets = {}
    for split in ("train", "valid"):
        own = labels[split]
        n = len(own["targets"])
        protocols = {name: Counted(which, of) for name, (which, of) in own["protocols"].items()}
        sets[split] = FaceSet(
            f"stored {split}", [np.zeros((1, 1), np.uint8)] * n, own["names"],
            own["targets"].numpy().astype(np.float32), protocols,
        )  # fmt: skip
    n_views = min(a.views, len(list(folder.glob("train*m.pt"))))

    def read(name: str) -> torch.Tensor:
        return torch.load(folder / f"{name}.pt", mmap=True, weights_only=True)

    views = [(read(f"train{v}"), read(f"train{v}m")) for v in range(n_views)]
    state = read("stem")
    stem = {k.removeprefix("stem."): v for k, v in state.items() if k.startswith("stem.")}
    valid = read("valid")
    pictures = None
    if a.data is not None:
        pictures = aligned(a).load("valid")
        names = [Path(name).name for name in pictures.image_names]
        if names != [Path(name).name for name in sets["valid"].image_names]:
            raise SystemExit(f"{folder} and {a.data} hold other validation images")
    return Data(
        sets["train"], sets["valid"], TensorMaps(f"stored {n_views}", views),
        TensorMaps("stored valid", [(valid, valid)]), Start("half-a", stem=stem), pictures,
    )  # fmt: skip


def aligned(a: argparse.Namespace) -> AlignedData:
    options = DataOptions("ferplus", a.data, a.votes, detectors=(a.detector,))
    return AlignedData(options, a.threads, ConsoleReporter(stderr_console(), quiet=False))


def computed(a: argparse.Namespace, options: TrainOptions) -> Data:
    """Half B and the maps of a stem that is trained on half A."""
    data = aligned(a)
    sets = {split: data.load(split) for split in ("train", "valid", "test")}
    dropped = data.twins(sets, "cpu").having("train", ("valid", "test"))
    train = sets["train"].take(~dropped).labelled()[0]
    # by the picture, so that equal ones are on one side
    in_a = np.array([train.digest(i)[0] & 1 for i in range(len(train))]) == 0
    half_a, half_b = train.take(in_a), train.take(~in_a)
    if a.images:
        half_b = half_b.take(np.arange(min(a.images, len(half_b))))
    if a.stem:
        start = starts.load(str(a.stem), options.network.architecture)
    else:
        plain = recipe_options.defaults("plain")
        plain = dataclasses.replace(
            plain, epochs=a.stem_epochs, precision=options.precision,
            batch_size=loop.fitting_batch_size(len(half_a), plain.batch_size),
        )  # fmt: skip
        network = loop.train(plain, half_a, sets["valid"], a.out / "stem",
                             start=starts.load(a.start, "plain"))  # fmt: skip
        start = Start("half-a", stem=network.stem.state_dict())
    if a.end_to_end:
        return Data(half_b, sets["valid"], None, None, start, None)
    network = start.build(options.network)
    maps = cached.fine_maps(network, half_b, a.out / "maps", views=a.views,
                            augmentation=options.augmentation)  # fmt: skip
    valid_maps = cached.fine_maps(network, sets["valid"], a.out / "maps")
    return Data(half_b, sets["valid"], maps, valid_maps, start, sets["valid"])


def measured(logits: np.ndarray, valid: FaceSet) -> dict[str, float]:
    """Figures of logits (n, K): log likelihood of the votes and of the majority, and recalls."""
    log_p = np.log(np.maximum(softmax(logits), 1e-12))
    voted = valid.targets.sum(1) > 0
    counted = valid.protocols["majority"]
    f = figures(logits, valid, "majority")
    return {
        "log_likelihood": float((valid.targets * log_p).sum(1)[voted].mean()),
        "log_likelihood_majority": float(log_p[counted.which, counted.classes].mean()),
        "accuracy": f["accuracy"],
        "recall": f["mean_class_recall"],
        "pooled_recall": pooled_recall(np.array(f["confusion"])),
    }


def last_epoch_counts() -> loop.Callbacks:
    """Keeps the weights of the last epoch, also after resuming."""
    done = 0

    def resume(history: list[Any]) -> None:
        nonlocal done
        done = len(history)

    def evaluate(logits: torch.Tensor, faces: FaceSet) -> dict[str, float]:
        nonlocal done
        done += 1
        return {"score": float(done)}

    return loop.Callbacks(on_resume=resume, evaluate=evaluate)


class Unvalidated(Trainer):
    """Validation chooses nothing here, so it is scored once, after the last epoch."""

    def validation_logits(self, faces: FaceSet) -> torch.Tensor:
        return torch.zeros(len(faces), len(LABELS))


class UnvalidatedOnMaps(Unvalidated, cached.CachedTrainer):
    """The same on stored maps."""


def run(name: str, seed: int, base: TrainOptions, data: Data, out: Path) -> Network:
    """Trains a variant, or resumes it."""
    table = VARIANTS[name] if name in VARIANTS else methods.VARIANTS[name]
    options = dataclasses.replace(from_table(table, base), seed=seed, workers=0)
    make: Callable[..., Trainer] = Unvalidated if data.maps is None else UnvalidatedOnMaps
    if name in methods.TRAINERS:
        make = type(name, (methods.TRAINERS[name], make), {})  # type: ignore[arg-type]
    if data.maps is not None:
        make = functools.partial(make, maps=data.maps, valid_maps=data.valid_maps)
    kind = "" if data.maps is not None else "end-to-end-"
    folder = out / f"{kind}{name.replace(' ', '-')}-{seed}-{base.epochs}"
    network = loop.train(
        options, data.train, data.valid, folder, start=data.start, callbacks=last_epoch_counts(),
        make=make,
    )  # fmt: skip
    (folder / STATE).unlink()  # 50 MB, only for resuming
    return network


@torch.no_grad()
def scores(network: Network, rows: Any, n: int, precision: str) -> np.ndarray:
    """Logits (n, K) of stored maps, in the precision of the training."""
    parts = []
    for first in range(0, n, 128):
        bits = np.array(rows[0, first : first + 128]["maps"][:, 0])
        maps = torch.from_numpy(bits).view(torch.bfloat16).float()
        maps = maps.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            parts.append(network.score(maps).logits.float().numpy())
    return np.concatenate(parts)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="FER+, as for jadfer train")
    parser.add_argument("--votes", type=Path)
    parser.add_argument("--detector", default="centerface")
    parser.add_argument("--features", type=Path, help="maps that were stored before")
    parser.add_argument("--start", default="scratch", help="of the stem on half A")
    parser.add_argument("--stem", type=Path, help="a stem trained on half A")
    parser.add_argument("--stem-epochs", type=int, default=10)
    parser.add_argument("--images", type=int, help="of half B at most; for a try")
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--study", choices=("parts", "methods"), default="parts")
    parser.add_argument("--variant", action="append", choices=VARIANTS | methods.VARIANTS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true", help="for CPUs with bfloat16 instructions")
    parser.add_argument("--end-to-end", action="store_true", help="train the stem as well")
    parser.add_argument("--report", action="store_true", help="only print the statistics")
    a = parser.parse_args(arguments)
    table = a.out / ("end-to-end.jsonl" if a.end_to_end else "results.jsonl")
    if not a.report:
        train_all(a, table)
    print(report.text(report.read(table)))


def train_all(a: argparse.Namespace, table: Path) -> None:
    """Trains and measures every variant and seed that the table does not have."""
    if a.data is None and (a.features is None or a.end_to_end):
        raise SystemExit("give --data" + ("" if a.end_to_end else " or --features"))
    torch.set_num_threads(a.threads)
    a.out.mkdir(parents=True, exist_ok=True)
    base = dataclasses.replace(
        from_table(settings(a.set), recipe_options.defaults("jadfer")),
        epochs=a.epochs, batch_size=a.batch_size, precision="bf16" if a.bf16 else "fp32",
    )  # fmt: skip
    from_store = a.features is not None and not a.end_to_end
    data = stored(a.features, a) if from_store else computed(a, base)
    occluded = {}
    names = list(VARIANTS) if a.study == "parts" else [report.FULL, *methods.VARIANTS]
    if data.pictures is not None and a.study == "parts":
        network = data.start.build(base.network)
        occluded = {
            kind: occlusion.maps(network, data.pictures, kind, a.out) for kind in occlusion.KINDS
        }
    done = {(row["variant"], row["seed"]) for row in report.read(table)}
    for seed in range(a.seeds):
        for name in a.variant or names:
            if (name, seed) in done:
                continue
            began = time.monotonic()
            network = run(name, seed, base, data, a.out)
            n = len(data.valid)
            if data.valid_maps is None:
                logits = logits_of(network, data.valid, precision=base.precision).numpy()
            else:
                logits = scores(network, data.valid_maps.rows, n, base.precision)
            row = {
                "variant": name, "seed": seed, "epochs": a.epochs, "images": len(data.train),
                **measured(logits, data.valid),
                "occluded": {kind: measured(scores(network, rows, n, base.precision), data.valid)
                             for kind, rows in occluded.items()},
                "settings": a.set, "seconds": round(time.monotonic() - began),
            }  # fmt: skip
            with table.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps({k: v for k, v in row.items() if k != "occluded"}), flush=True)


if __name__ == "__main__":
    main()
