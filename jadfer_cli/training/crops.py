"""Aligned crops of a face set, and the order in which training draws them."""

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


class Crops(Dataset[tuple[torch.Tensor, torch.Tensor, int, npt.NDArray[np.float32]]]):
    """Aligned crops of a face set, augmented if options are given.

    An item is requested by its index or, as `EpochSampler` does, by (draw, index), so that an
    image drawn twice in an epoch is augmented in two ways. An item is a crop uint8 (3, S, S),
    RGB, its label distribution float (K,), its index, and the map float (2, 3) from pixels of the
    picture to those of the crop. A face without landmarks is the whole picture, resized.

    Args:
        faces: Labelled faces.
        size_px: Side S of the crops.
        options: Augmentation; None for none.
        seed: Seeds the augmentation, together with `epoch`, draw and index.
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
        """Source-to-crop map (2, 3) by the first detector's landmarks, or by any with an `rng`."""
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

    def __getitem__(
        self, item: int | tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor, int, npt.NDArray[np.float32]]:
        draw, index = item if isinstance(item, tuple) else (0, item)
        image_rgb = self.faces.image_rgb(index)
        if self.options is None:
            matrix = self._placement(index, image_rgb, None)
            crop_rgb = align.warp(image_rgb, matrix[None], self.size_px)[0]
        else:
            # one generator per draw: the same crops however work is split or resumed
            rng = np.random.default_rng((self.seed, self.epoch, draw, index))
            matrix = self._placement(index, image_rgb, rng)
            matrix = augment.jitter(matrix, self.size_px, self.options, rng)
            crop_rgb = align.warp(image_rgb, matrix[None], self.size_px)[0]
            crop_rgb = augment.degrade(crop_rgb, self.options, rng)
        crop = torch.from_numpy(crop_rgb).permute(2, 0, 1)
        return crop, torch.from_numpy(self.faces.targets[index]), index, matrix


class EpochSampler(Sampler[tuple[int, int]]):
    """Draws n images per epoch as (draw, index), with weights that reduce class imbalance.

    Args:
        classes: (n,), the class of each image.
        balance: An image is drawn with weight (size of its class) ** -balance; 0 takes each
            image once.
        seed: Decides the order, together with the epoch.

    Attributes:
        epoch: Set before each epoch.
        skip: Number of draws that an interrupted epoch has finished.
    """

    def __init__(self, classes: npt.NDArray[Any], balance: float, seed: int) -> None:
        counts = np.bincount(classes).astype(float)
        weights = np.maximum(counts, 1)[classes] ** -balance
        self.p = weights / weights.sum()
        self.weighted, self.seed = bool(balance), seed
        self.epoch, self.skip = 0, 0

    def draw_with(self, p: npt.NDArray[np.floating]) -> None:
        """Draws with other probabilities (n,)."""
        self.p, self.weighted = p / p.sum(), True

    def __len__(self) -> int:
        return len(self.p) - self.skip

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        n = len(self.p)
        order = rng.choice(n, n, p=self.p) if self.weighted else rng.permutation(n)
        return iter(list(enumerate(order.tolist()))[self.skip :])
