"""What label, network and geometry say about a set's training faces, and a sheet to judge it by.

    python tests/bench/witnesses.py press_faces DIR --landmarker face_landmarker.task \
        --doubted film --sheet changed.png

Prints what each rule of `training.witnesses` changed; with --per-label also quantiles of the
blendshapes that they use, by label, and the share of faces in which geometry supports each
expression. The sheet shows faces whose top expression changed, at random: label, new
target, rule.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.faces import align
from jadfer_cli.faces.landmarker import BLENDSHAPES
from jadfer_cli.labels import LABELS
from jadfer_cli.training import witnesses
from jadfer_cli.training.data import AlignedData, DataOptions, default_cache
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.joined_data import SoftLabels, soft_labels
from jadfer_cli.training.mixture import SetOptions

USED = {
    "smile": ("mouthSmileLeft", "mouthSmileRight"), "jaw": ("jawOpen",),
    "brow_outer": ("browOuterUpLeft", "browOuterUpRight"), "brow_inner": ("browInnerUp",),
    "eyes_wide": ("eyeWideLeft", "eyeWideRight"), "frown": ("mouthFrownLeft", "mouthFrownRight"),
    "brow_down": ("browDownLeft", "browDownRight"),
}  # fmt: skip
QUANTILES = (0.1, 0.5, 0.9)
TILE_PX, TEXT_PX, COLUMNS = 112, 42, 10


def table(data: AlignedData, faces: FaceSet, n: int, seed: int) -> None:
    """Quantiles of the blendshapes, and what they support, of up to n faces per label."""
    labels = faces.targets.argmax(1)
    order = np.random.default_rng(seed).permutation(len(faces))
    chosen = np.concatenate([order[labels[order] == k][:n] for k in np.unique(labels)])
    found = data.with_meshes(faces.take(np.sort(chosen)))
    labels, shapes = found.targets.argmax(1), found.meshes.blendshapes
    seen = witnesses.supported(found.meshes)
    names = LABELS[: witnesses.ANGER + 1]
    head = ["label", "n", *USED, *(f"{name} %" for name in names)]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for k in np.unique(labels):
        own = shapes[(labels == k) & np.isfinite(shapes).all(1)]
        cells = [LABELS[k], str(len(own))]
        for parts in USED.values():
            values = own[:, [BLENDSHAPES.index(name) for name in parts]].max(1)
            cells.append(" ".join(f"{q:.2f}" for q in np.quantile(values, QUANTILES)))
        cells += [f"{100 * seen[labels == k][:, i].mean():.0f}" for i in range(len(names))]
        print("| " + " | ".join(cells) + " |")


def sheet(found: SoftLabels, n: int, seed: int) -> np.ndarray:
    """Crops of n changed faces with label, new top expression and rule; BGR."""
    changed = np.flatnonzero(found.combined.changed)
    chosen = np.random.default_rng(seed).permutation(changed)[:n]
    rows = -(-len(chosen) // COLUMNS)
    out = np.full((rows * (TILE_PX + TEXT_PX), COLUMNS * TILE_PX, 3), 255, np.uint8)
    for k, i in enumerate(sorted(chosen, key=lambda i: (found.combined.rules[i], i))):
        image = found.faces.image_rgb(i)
        marks = found.faces.landmarks_px[i, :1]
        if np.isfinite(marks).all():
            crop = align.warp(image, align.similarity(marks, TILE_PX), TILE_PX)[0]
        else:
            crop = cv2.resize(image, (TILE_PX, TILE_PX))
        y, x = k // COLUMNS * (TILE_PX + TEXT_PX), k % COLUMNS * TILE_PX
        out[y : y + TILE_PX, x : x + TILE_PX] = crop[:, :, ::-1]
        target = found.combined.targets[i]
        lines = (
            f"{k} {LABELS[found.combined.labels[i]][:9]}",
            f">{LABELS[target.argmax()][:9] if target.any() else 'out'} {target.max():.2f}",
            found.combined.rules[i][:18],
        )
        for j, text in enumerate(lines):
            cv2.putText(out, text, (x + 2, y + TILE_PX + 12 + 13 * j), 0, 0.36, (0, 0, 0), 1, 16)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("data", type=Path)
    parser.add_argument("--landmarker", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--doubted", action="append", default=[])
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--per-label", type=int, default=0, help="faces per label of the table")
    parser.add_argument("--precision", default="fp32", help="of the network: fp32 or bf16")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    options = DataOptions(a.dataset, a.data, detectors=("centerface",), landmarker=a.landmarker)
    data = AlignedData(options, 1, ConsoleReporter(stderr_console(), quiet=False))
    chosen = SetOptions(witnesses=a.model, doubted=tuple(a.doubted))
    found = soft_labels(data, chosen, default_cache(), precision=a.precision)
    if a.per_label:
        table(data, found.faces, a.per_label, a.seed)
    print(*found.combined.report(), sep="\n")
    print(found.path)
    if a.sheet:
        cv2.imwrite(str(a.sheet), sheet(found, a.n, a.seed))


if __name__ == "__main__":
    main()
