"""Aligned crops of a face set, as training and evaluation see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Sampler

from jadfer_cli.faces import align
from jadfer_cli.training import augment
from jadfer_cli.training.faceset import FaceSet


class Crops(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Aligned crops of a face set; augmented where options are given.

    An item is asked for by its index or, as `EpochSampler` does, by (draw, index), so that an
    image drawn twice in an epoch is augmented in two ways. It is a crop uint8 (3, S, S), RGB,
    and its label distribution float (K,). A face without landmarks is placed as the template's
    mean: the whole picture, resized.
    """

    def __init__(
        self, faces: FaceSet, size_px: int, options: augment.AugmentOptions | None, seed: int
    ) -> None:
        self.faces, self.size_px, self.options, self.seed = faces, size_px, options, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.faces)

    def _placement(
        self, index: int, image_rgb: npt.NDArray[np.uint8], rng: np.random.Generator | None
    ) -> npt.NDArray[np.float32]:
        """Source-to-crop map (2, 3): by the first detector, or in training by any."""
        found = np.empty((0, 5, 2), np.float32)
        if self.faces.landmarks_px is not None:
            found = self.faces.landmarks_px[index] if rng else self.faces.landmarks_px[index, :1]
            found = found[np.isfinite(found).all((1, 2))]
        if not len(found):
            height, width = image_rgb.shape[:2]
            return align.mean_placement(width, height, self.size_px)
        choice = found[rng.integers(len(found))] if rng else found[0]
        matrix: npt.NDArray[np.float32] = align.similarity(choice[None], self.size_px)[0]
        return matrix

    def __getitem__(self, item: int | tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        draw, index = item if isinstance(item, tuple) else (0, item)
        image_rgb = self.faces.image_rgb(index)
        if self.options is None:
            matrix = self._placement(index, image_rgb, None)
            crop_rgb = align.warp(image_rgb, matrix[None], self.size_px)[0]
        else:
            # a generator a draw: the same crops however work is split or resumed
            rng = np.random.default_rng((self.seed, self.epoch, draw, index))
            matrix = self._placement(index, image_rgb, rng)
            matrix = augment.jitter(matrix, self.size_px, self.options, rng)
            crop_rgb = align.warp(image_rgb, matrix[None], self.size_px)[0]
            crop_rgb = augment.degrade(crop_rgb, self.options, rng)
        crop = torch.from_numpy(crop_rgb).permute(2, 0, 1)
        return crop, torch.from_numpy(self.faces.targets[index])


class EpochSampler(Sampler[tuple[int, int]]):
    """Draws n images an epoch as (draw, index), with weights that soften class imbalance.

    Args:
        classes: (n,), the class of each image.
        balance: An image is drawn with weight (size of its class) ** -balance; 0 takes each
            image once.
        seed: With the epoch it decides the order.
    """

    def __init__(self, classes: npt.NDArray[Any], balance: float, seed: int) -> None:
        counts = np.bincount(classes).astype(float)
        weights = np.maximum(counts, 1)[classes] ** -balance
        self.p = weights / weights.sum()
        self.balance, self.seed = balance, seed
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return len(self.p) - self.skip

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        n = len(self.p)
        order = rng.choice(n, n, p=self.p) if self.balance else rng.permutation(n)
        return iter(list(enumerate(order.tolist()))[self.skip :])
