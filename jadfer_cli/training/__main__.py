"""Trains the preview weights: python -m jadfer_cli.training --help.

A plain entry to the loop, for whoever makes the shipped weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.jadfer import Jadfer
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.options import FaceOptions, ModelOptions
from jadfer_cli.runtime import settle
from jadfer_cli.training import calibrate, evaluate
from jadfer_cli.training.datasets import PROTOCOLS, FaceSet, load_ferplus, winners, without_repeats
from jadfer_cli.training.landmarks import with_landmarks
from jadfer_cli.training.loop import Progress, TrainOptions, logits_of, train


def validation_figures(logits: torch.Tensor, faces: FaceSet) -> dict[str, float]:
    """Accuracy and recall by protocol; "score" chooses the epoch."""
    result = {}
    for protocol in PROTOCOLS:
        found = evaluate.figures(logits.numpy(), faces, protocol)
        result[protocol] = found["accuracy"]
        result[f"{protocol}_recall"] = found["mean_class_recall"]
    result["score"] = result["majority"] + 0.25 * result["majority_recall"]
    return result


def final_figures(network: Jadfer, valid: FaceSet, test: FaceSet) -> tuple[float, dict[str, Any]]:
    """The temperature fitted on validation, and all figures with it."""
    logits = {faces.name: logits_of(network, faces).numpy() for faces in (valid, test)}
    which, classes = winners(valid.votes, "majority")
    temperature = calibrate.fit_temperature(logits[valid.name][which], classes)
    result: dict[str, Any] = {"temperature_fitted_on": f"{valid.name}, majority"}
    for faces in (valid, test):
        for protocol in PROTOCOLS:
            found = evaluate.figures(logits[faces.name], faces, protocol, temperature)
            raw = evaluate.figures(logits[faces.name], faces, protocol)
            found["ece_before_temperature"] = raw["ece"]
            result[f"{faces.name} {protocol}"] = found
    return temperature, result


def main() -> None:
    """Trains, evaluates once on the test split, writes the checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m jadfer_cli.training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="FER+: folder or zip")
    parser.add_argument("--votes", type=Path, help="fer2013new.csv of FER+")
    parser.add_argument("--start", type=Path, help="public MobileFaceNet state dict")
    parser.add_argument("--detector", default="centerface", help="for the alignment")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--frozen-blocks", type=int, default=0)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    runtime = settle(ModelOptions(device="cpu"))
    detector = load_detector(
        FaceOptions(detector=a.detector, detection_threshold=0.3), runtime.threads
    )
    sets = {}
    for split in ("train", "valid", "test"):
        faces = load_ferplus(a.data, split, a.votes)
        faces = with_landmarks(faces, detector.detect, detector.info.sha256, a.out)
        missing = int(np.isnan(faces.landmarks_px[:, 0, 0]).sum())  # type: ignore[index]
        print(f"{faces.name}: {len(faces.images)} images, no face found in {missing}", flush=True)
        sets[split] = faces
    options = TrainOptions(
        epochs=a.epochs,
        batch_size=a.batch_size,
        frozen_blocks=a.frozen_blocks,
        ema=a.ema,
        bf16=a.bf16,
        seed=a.seed,
    )

    def report(p: Progress) -> None:
        figures = {name: round(value, 4) for name, value in p.figures.items()}
        print(f"epoch {p.epoch}: loss {p.train_loss:.4f}, validation {figures}", flush=True)

    network = train(
        options,
        without_repeats(sets["train"], (sets["valid"], sets["test"])),
        sets["valid"],
        a.out,
        start=a.start,
        evaluate=validation_figures,
        report=report,
    )
    temperature, metrics = final_figures(network, sets["valid"], sets["test"])
    path = a.out / "jadfer.safetensors"
    digest = checkpoint.save(path, network, temperature=temperature, metrics=metrics)
    for name, found in metrics.items():
        print(name, found)
    print(f"{path}: sha256 {digest}")


if __name__ == "__main__":
    main()
