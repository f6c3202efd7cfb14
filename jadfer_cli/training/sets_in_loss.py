"""Several data sets in one loss: smoothing, logit offsets and classes by the set of each image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jadfer_cli.labels import LABELS
from jadfer_cli.training.crops import EpochSampler
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.mixture import draw_probabilities, logit_offsets
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipes import Recipe


class SetsInLoss:
    """What the loss needs to know about the data set of each image.

    Args:
        faces: n labelled images of joined sets.
        drawn: (n,), how often each is drawn.
        label_smoothing: Of sets without their own.
        device: Where the network trains.
    """

    def __init__(
        self,
        faces: FaceSet,
        drawn: npt.NDArray[np.floating],
        label_smoothing: float,
        device: torch.device,
    ) -> None:
        mixture = faces.mixture
        assert mixture is not None
        smoothing = np.nan_to_num(mixture.smoothing, nan=label_smoothing)
        even = mixture.known / mixture.known.sum(1, keepdims=True)
        self.source = torch.from_numpy(mixture.source).to(device)
        self.smoothing = torch.from_numpy(smoothing).float().to(device)[:, None]
        self.even = torch.from_numpy(even).float().to(device)
        offsets = logit_offsets(mixture, faces.targets, drawn)
        self.offsets = torch.from_numpy(offsets).to(device)

    def _of(self, indices: torch.Tensor) -> torch.Tensor:
        return self.source[indices.to(self.source.device)]

    def offsets_of(self, indices: torch.Tensor) -> torch.Tensor:
        """What is added to the logits of some images, (B, K)."""
        return self.offsets[self._of(indices)]

    def smoothed(self, targets: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Targets (B, K) of some images with their set's label smoothing."""
        source = self._of(indices)
        share = self.smoothing[source]
        return self.named(targets, indices) * (1 - share) + share * self.even[source]

    def named(self, targets: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Targets (B, K) over the expressions that each image's set can name.

        A teacher, for one, may name others.
        """
        kept = targets * (self.even[self._of(indices)] > 0)
        return kept / kept.sum(1, keepdim=True).clamp_min(1e-12)


def sampler_of(
    train_set: FaceSet, recipe: Recipe, options: TrainOptions
) -> tuple[EpochSampler, npt.NDArray[np.float64] | None]:
    """The recipe's sampler of the labelled images; of joined sets each is balanced by itself.

    Returns:
        The sampler, and how often each labelled image of joined sets is drawn; None for one set.
    """
    faces, classes = train_set.labelled()
    if faces.mixture is None:
        return recipe.sampler(classes, options), None
    _, distinct = np.unique(
        faces.mixture.source * faces.targets.shape[1] + classes, return_inverse=True
    )
    sampler = recipe.sampler(np.asarray(distinct, np.intp), options)
    drawn = draw_probabilities(faces.mixture, classes, sampler.p)
    sampler.draw_with(drawn)
    return sampler, drawn


def describe(faces: FaceSet, classes: npt.NDArray[np.intp]) -> list[str]:
    """One line per joined set: its labelled images by class, and what it cannot name."""
    mixture = faces.mixture
    if mixture is None:
        return []
    lines = []
    for k, name in enumerate(mixture.names):
        counts = np.bincount(classes[mixture.source == k], minlength=len(LABELS))
        each = ", ".join(f"{LABELS[i]} {counts[i]:,}" for i in np.flatnonzero(counts))
        silent = [LABELS[i] for i in np.flatnonzero(~mixture.known[k])]
        without = f"; says nothing about {', '.join(silent)}" if silent else ""
        lines.append(f"  {name}, weight {mixture.weights[k]:g}: {counts.sum():,}: {each}{without}")
    return lines


def numbers(labelled: FaceSet) -> dict[str, Any]:
    """The number of training images, of each data set if there are several."""
    found: dict[str, Any] = {"images": len(labelled)}
    if (mixture := labelled.mixture) is not None:
        counts = np.bincount(mixture.source, minlength=len(mixture.names)).tolist()
        found["images_by_set"] = dict(zip(mixture.names, counts, strict=True))
    return found
