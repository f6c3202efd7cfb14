"""Frames that lie on a device: scaled for the detector and cropped there, all at once.

The twins in PyTorch of `placing.letterbox` and `align.warp`, so that a frame is copied to a GPU
once and only its faces come back. Equal to them within the rounding to whole grey values.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from jadfer_cli.faces import align
from jadfer_cli.records import Crops

if TYPE_CHECKING:
    from jadfer_cli.faces.letterbox import Placing
    from jadfer_cli.records import FloatArray, ImageArray

# Bilinear samples in work at once: each takes about 150 bytes for a moment.
_SAMPLES_AT_ONCE = 1 << 21
_MIN_SHARE_PX = 1e-3  # less of a source pixel has no part in a mean; as in OpenCV


class Pictures:
    """Some frames of one size on a device.

    Attributes:
        rgb: uint8 (n, H, W, 3).
    """

    def __init__(self, images_rgb: Sequence[ImageArray], device: str) -> None:
        """Copies frames, uint8 (H, W, 3) each, to a device in one go."""
        where = torch.device(device)
        # From pinned memory a GPU copies by itself, while this thread prepares what comes next;
        # PyTorch keeps the block and gives it out again only when the copy is done.
        stacked = torch.empty(
            (len(images_rgb), *images_rgb[0].shape),
            dtype=torch.uint8,
            pin_memory=where.type == "cuda",
        )
        np.stack(images_rgb, out=stacked.numpy())
        self.rgb = stacked.to(where, non_blocking=True)

    def letterboxed(self, place: Placing) -> torch.Tensor:
        """What `placing.letterbox` makes of each: uint8 (n, H', W', 3) on the device."""
        scaled = self.rgb
        if place.scaled_px != place.frame_px:
            columns, rows = (
                _taps(n_in, n_out, place.shrinks, str(scaled.device))
                for n_in, n_out in zip(place.frame_px, place.scaled_px, strict=True)
            )
            # halves go up, as in OpenCV
            scaled = (_resampled(_resampled(scaled, 1, rows), 2, columns) + 0.5).to(torch.uint8)
        right, below = (a - b for a, b in zip(place.picture_px, place.scaled_px, strict=True))
        return F.pad(scaled, (0, 0, 0, right, 0, below))

    def crops(self, landmarks_px: Sequence[FloatArray], size_px: int) -> list[Crops]:
        """What `align.crop` makes of the faces of each.

        Args:
            landmarks_px: For each frame (m, 5, 2), in its pixels.
            size_px: Side of the crops.
        """
        counts = [len(marks) for marks in landmarks_px]
        matrices = align.similarity(np.concatenate(landmarks_px), size_px)
        frame = np.repeat(np.arange(len(counts)), counts)
        on_device = warp(self.rgb, frame, matrices, size_px)
        rgb = on_device.cpu().numpy()  # the one copy of the batch
        ends = np.cumsum([0, *counts])
        return [Crops(rgb[a:b], on_device[a:b]) for a, b in pairwise(ends)]


@lru_cache(maxsize=8)
def _taps(n_in: int, n_out: int, shrinks: bool, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Which source pixels make each pixel of a scaled axis, and their weights.

    Returns:
        int64 and float32 (K, n_out); the weights of a pixel sum to 1.
    """
    scale = n_in / n_out
    if shrinks:  # the share of each source pixel in the stretch that becomes one
        first = np.arange(n_out) * scale  # (n_out,)
        last = np.minimum(first + scale, n_in)
        place = np.floor(first) + np.arange(int(scale) + 2)[:, None]  # (K, n_out)
        share = np.minimum(last, place + 1) - np.maximum(first, place)
        share[share < _MIN_SHARE_PX] = 0
        weight = share / share.sum(axis=0)
    else:  # bilinear, pixel centres at halves
        centre = np.clip((np.arange(n_out) + 0.5) * scale - 0.5, 0, n_in - 1)
        place = np.floor(centre) + np.arange(2)[:, None]  # (2, n_out)
        weight = 1 - np.abs(centre - place)
    used = weight.any(axis=1)
    index = np.minimum(place[used], n_in - 1).astype(np.int64)
    return (
        torch.from_numpy(index).to(device),
        torch.from_numpy(weight[used].astype(np.float32)).to(device),
    )


def _resampled(
    pixels: torch.Tensor, axis: int, taps: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Weighted means of pixels (n, H, W, 3) along an axis; float32."""
    shape = [1] * pixels.ndim
    shape[axis] = -1
    # not all taps at once, which would take several times the frame
    parts = (
        pixels.index_select(axis, index) * weight.view(shape)
        for index, weight in zip(*taps, strict=True)
    )
    total: torch.Tensor = reduce(torch.Tensor.add_, parts)
    return total


def warp(
    frames_rgb: torch.Tensor, frame: npt.NDArray[np.int_], matrices: npt.ArrayLike, size_px: int
) -> torch.Tensor:
    """Crops of several frames under given maps, as `align.warp` makes them of one.

    Args:
        frames_rgb: uint8 (n, H, W, 3).
        frame: (m,), which frame each crop is of.
        matrices: (m, 2, 3), source to crop; each has an inverse.
        size_px: Side S of the crops.

    Returns:
        uint8 (m, S, S, 3) on the frames' device.
    """
    maps = np.asarray(matrices, np.float64)
    turn = np.linalg.inv(maps[:, :, :2])  # (m, 2, 2), crop to source
    # OpenCV's and PyTorch's pixels have their centres at whole numbers, these maps at halves.
    shift = -turn @ maps[:, :, 2:] - 0.5  # (m, 2, 1)
    # (m, 7): the frame, then the rows of the way back
    ways = np.concatenate([frame[:, None], np.concatenate([turn, shift], 2).reshape(-1, 6)], 1)
    fineness = np.array([align.samples(matrix) for matrix in maps], int)
    crops = frames_rgb.new_empty((len(maps), size_px, size_px, 3))
    for k in np.unique(fineness):
        group = np.flatnonzero(fineness == k)
        way = torch.from_numpy(ways[group].astype(np.float32)).to(frames_rgb.device)
        crops[torch.from_numpy(group)] = _cropped(frames_rgb, way, int(k), size_px)
    return crops


def _cropped(frames_rgb: torch.Tensor, way: torch.Tensor, k: int, size_px: int) -> torch.Tensor:
    """Crops under maps (g, 7) as of `warp`, each pixel the mean of k x k samples."""
    steps = (torch.arange(size_px * k, device=way.device) + 0.5) / k  # (S k,), crop pixels
    lines, at_once = len(way) * size_px, max(_SAMPLES_AT_ONCE // (size_px * k * k), 1)
    parts = []
    for first in range(0, lines, at_once):  # L lines of crops; nearly always all of them
        line = torch.arange(first, min(first + at_once, lines), device=way.device)
        v = steps.view(size_px, k)[line % size_px]  # (L, k)
        frame, xx, xy, x, yx, yy, y = way[line // size_px].T[:, :, None]  # (L, 1) each
        at_x = (xy * v + x)[:, :, None] + (xx * steps)[:, None]  # (L, k, S k)
        at_y = (yy * v + y)[:, :, None] + (yx * steps)[:, None]
        sampled = _sampled(frames_rgb, frame[:, :, None].long(), at_x, at_y)  # (L, k, S k, 3)
        mean = sampled.view(-1, k, size_px, k, 3).mean((1, 3))  # (L, S, 3)
        parts.append(mean.round().to(torch.uint8))
    return torch.cat(parts).view(-1, size_px, size_px, 3)


def _sampled(
    frames_rgb: torch.Tensor, frame: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Bilinear samples at places (...), pixel centres at whole numbers; float32 (..., 3)."""
    _, height, width, _ = frames_rgb.shape
    flat = frames_rgb.view(-1, 3)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)  # the border is repeated
    left, top = x.long(), y.long()
    right, below = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    x_part, y_part = ((place - place.floor())[..., None] for place in (x, y))
    rows = (
        torch.lerp(flat[row + left].float(), flat[row + right].float(), x_part)
        for row in ((frame * height + line) * width for line in (top, below))
    )
    return torch.lerp(next(rows), next(rows), y_part)
