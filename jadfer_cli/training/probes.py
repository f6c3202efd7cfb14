"""Probes of a trained network: what is lost when one of its parts is disturbed.

A part that can be flattened, shuffled or exchanged without loss contributes nothing, whatever
the architecture's diagram says. Each probe changes one part while the weights stay as they are,
and scores the same faces again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.expression.networks.jadfer import Jadfer
from jadfer_cli.expression.networks.spatial import Probe
from jadfer_cli.training.crops import Crops
from jadfer_cli.training.evaluate import figures
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.scoring import pixels_of

EXAMPLES = 12  # faces whose maps are drawn
_BATCH = 64

FLAT, SHUFFLED, BLANK = "maps flattened", "maps shuffled", "SB without the image"
CONTEXT = "other face's context"
JAD_OWN, JAD_RANDOM = "JAD on", "random dropping"


@dataclass(frozen=True)
class Probed:
    """What the probes of a network found.

    Attributes:
        figures: JSON-ready; see `probe`.
        mean_maps: (N, H', W'), each path's mean map.
        examples_rgb: uint8 (EXAMPLES, S, S, 3), crops.
        example_maps: (EXAMPLES, N, H', W'), their maps.
    """

    figures: dict[str, Any]
    mean_maps: npt.NDArray[np.float64]
    examples_rgb: npt.NDArray[np.uint8]
    example_maps: npt.NDArray[np.float32]


def probe(
    network: Network,
    faces: FaceSet,
    protocol: str,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Probed:
    """Disturbs one part of a network after the other and scores the faces again.

    Args:
        network: A `Jadfer` network with a spatial branch; set to eval mode.
        faces: Aligned faces.
        protocol: One of `faces.protocols`: the images that count for accuracy and recall.
        seed: Of shuffles and random dropping.
        progress: Called with the number of faces done.

    Returns:
        Figures: by probe "accuracy", "mean_class_recall", and what each lost against the intact
        network; under "context" the share of predictions that follow the other face, among the
        faces whose own prediction differs from it; under "maps", by path, the share of variance
        that depends on the image, and the mean overlap (cosine) between paths of the mean maps
        and of the maps without them.

    Raises:
        OptionError: The network has no spatial maps.
    """
    network = require_maps(network)
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # random dropping
    logits: dict[str, list[torch.Tensor]] = {}
    followed: list[torch.Tensor] = []
    maps: list[torch.Tensor] = []
    examples: list[torch.Tensor] = []
    done = 0
    for crops, *_ in DataLoader(Crops(faces, network.config.crop_px, None, 0), _BATCH):
        for name, scored, seen in _scores(network, crops, generator):
            logits.setdefault(name, []).append(scored)
            if name == "intact":
                maps.append(seen)
        if network.context is not None:
            own = logits["intact"][-1].argmax(1)
            followed.append(_follows(own, logits[CONTEXT][-1].argmax(1)))
        if len(examples) < EXAMPLES:
            examples += list(crops.permute(0, 2, 3, 1)[: EXAMPLES - len(examples)])
        done += len(crops)
        if progress:
            progress(done)
    found = _losses({k: torch.cat(v).numpy() for k, v in logits.items()}, faces, protocol)
    stacked, n = torch.cat(maps), len(examples)
    found["maps"] = map_figures(stacked)
    if followed:
        found["context"] = _shares(torch.cat(followed))
    return Probed(
        found, stacked.double().mean(0).numpy(), torch.stack(examples).numpy(), stacked[:n].numpy()
    )


def require_maps(network: Network) -> Jadfer:
    """Returns the network.

    Raises:
        OptionError: It has no spatial maps.
    """
    if not isinstance(network, Jadfer) or network.spatial is None:
        kind = network.config.architecture
        raise OptionError(f"A network of the kind {kind} has no spatial maps to probe.")
    return network


@torch.no_grad()
def _scores(
    network: Jadfer, crops: torch.Tensor, generator: torch.Generator
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Name, logits (B, K) and maps (B, N, H', W') of each probe of one batch, intact first."""
    fine = network.fine(pixels_of(crops, next(network.parameters()).device))

    def shuffled(maps: torch.Tensor) -> torch.Tensor:
        order = torch.rand(maps.flatten(2).shape, generator=generator).argsort(-1)
        return maps.flatten(2).gather(-1, order.to(maps.device)).view_as(maps)

    probes = {
        "intact": Probe(),
        FLAT: Probe(maps=lambda maps: maps.mean((2, 3), keepdim=True).expand_as(maps)),
        SHUFFLED: Probe(maps=shuffled),
        BLANK: Probe(blank=True),
    }
    if network.context is not None:
        probes[CONTEXT] = Probe(context=torch.arange(len(crops), device=fine.device).roll(1))
        probes |= {JAD_OWN: Probe(jad="own"), JAD_RANDOM: Probe(jad="random")}
    for name, change in probes.items():
        with network.probed(change):
            output = network.score(fine)
        yield name, output.logits.float().cpu(), output.auxiliary["maps"].float().cpu()


def _follows(own: torch.Tensor, swapped: torch.Tensor) -> torch.Tensor:
    """0, 1 or 2 per face: follows itself, the other face, neither; only where the two differ."""
    other = own.roll(1)
    differ = own != other
    follows = torch.where(swapped == own, 0, torch.where(swapped == other, 1, 2))
    return follows[differ]


def _shares(follows: torch.Tensor) -> dict[str, float]:
    n = max(len(follows), 1)
    own, other, neither = (int((follows == k).sum()) / n for k in range(3))
    return {"n": len(follows), "own": own, "other": other, "neither": neither}


def _losses(
    logits: dict[str, npt.NDArray[np.float32]], faces: FaceSet, protocol: str
) -> dict[str, Any]:
    """Accuracy and recall under each probe, and the loss against the intact network."""
    intact = figures(logits["intact"], faces, protocol)
    before = logits["intact"].argmax(1)
    by_probe = {}
    for name, scored in logits.items():
        found = figures(scored, faces, protocol)
        by_probe[name] = {
            "accuracy": found["accuracy"],
            "mean_class_recall": found["mean_class_recall"],
            "accuracy_lost": intact["accuracy"] - found["accuracy"],
            "recall_lost": intact["mean_class_recall"] - found["mean_class_recall"],
            "labels_changed": float((scored.argmax(1) != before).mean()),
        }
    return {"data": faces.name, "protocol": protocol, "n": intact["n"], "by_probe": by_probe}


def map_figures(maps: torch.Tensor) -> dict[str, Any]:
    """Describes the maps (n, N, H', W') of many faces.

    Returns:
        "image_share": by path, the share of the map's variance over faces and cells that is not
        in its mean map. "overlap_of_means" and "overlap_of_rest": mean cosine over pairs of paths
        between mean maps, and between maps without their mean; None for one path.
    """
    flat = maps.double().flatten(2)  # (n, N, cells)
    mean = flat.mean(0)  # (N, cells)
    rest = flat - mean
    total = (flat - flat.mean((0, 2), keepdim=True)).square().mean((0, 2))
    share = rest.square().mean((0, 2)) / total.clamp_min(1e-12)
    first, second = torch.triu_indices(flat.shape[1], flat.shape[1], 1)

    def overlap(values: torch.Tensor) -> float | None:
        unit = torch.nn.functional.normalize(values, dim=-1)
        cosine = (unit[..., first, :] * unit[..., second, :]).sum(-1)
        return float(cosine.mean()) if len(first) else None

    return {
        "image_share": [float(value) for value in share],
        "overlap_of_means": overlap(mean),
        "overlap_of_rest": overlap(rest),
    }
