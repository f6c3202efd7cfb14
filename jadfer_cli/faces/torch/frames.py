"""Frames on a PyTorch device, scaled for the detector and cropped there, several at once.

The counterparts of `letterbox.apply_letterbox` and `align.warp`: a frame is copied to the GPU
once, and only the crops of its faces come back. The results equal those of OpenCV up to
rounding to whole grey values.
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
    from jadfer_cli.faces.letterbox import Letterbox
    from jadfer_cli.records import FloatArray, ImageArray

# Bilinear samples computed per step; each takes about 150 bytes of temporary memory.
SAMPLES_PER_STEP = 1 << 21
_MIN_COVERAGE_PX = 1e-3  # source pixels covered less than this do not count, as in OpenCV


class DeviceFrames:
    """Frames of one size on a device.

    Attributes:
        rgb: uint8 (n, H, W, 3).
    """

    def __init__(self, images_rgb: Sequence[ImageArray], device: str) -> None:
        """Copy frames, uint8 (H, W, 3) each, to a device in one transfer."""
        target = torch.device(device)
        # The copy from pinned memory is asynchronous. PyTorch does not reuse the block before
        # the copy is done.
        stacked = torch.empty(
            (len(images_rgb), *images_rgb[0].shape),
            dtype=torch.uint8,
            pin_memory=target.type == "cuda",
        )
        np.stack(images_rgb, out=stacked.numpy())
        self.rgb = stacked.to(target, non_blocking=True)

    def letterboxed(self, box: Letterbox) -> torch.Tensor:
        """Letterbox each frame like `letterbox.apply_letterbox`: uint8 (n, H', W', 3)."""
        scaled = self.rgb
        if box.scaled_px != box.frame_px:
            columns, rows = (
                _taps(n_in, n_out, box.shrinks, str(scaled.device))
                for n_in, n_out in zip(box.frame_px, box.scaled_px, strict=True)
            )
            # Halves round up, as in OpenCV.
            scaled = (_resampled(_resampled(scaled, 1, rows), 2, columns) + 0.5).to(torch.uint8)
        right, bottom = (a - b for a, b in zip(box.input_px, box.scaled_px, strict=True))
        return F.pad(scaled, (0, 0, 0, right, 0, bottom))

    def crops(self, landmarks_px: Sequence[FloatArray], size_px: int) -> list[Crops]:
        """Crop the faces of each frame like `align.crop`.

        Args:
            landmarks_px: For each frame (m, 5, 2), in its pixels.
            size_px: Side of the crops.

        Returns:
            The crops of each frame.
        """
        counts = [len(marks) for marks in landmarks_px]
        places = np.concatenate(landmarks_px)
        frame = np.repeat(np.arange(len(counts)), counts)
        on_device = warp(self.rgb, frame, align.similarity(places, size_px), size_px)
        rgb = on_device.cpu().numpy()  # one transfer per batch
        ends = np.cumsum([0, *counts])
        if size_px == align.CROP_PX:
            return [Crops(rgb[a:b], on_device[a:b]) for a, b in pairwise(ends)]
        full = warp(self.rgb, frame, align.similarity(places), align.CROP_PX).cpu().numpy()
        return [Crops(rgb[a:b], on_device[a:b], full[a:b]) for a, b in pairwise(ends)]


@lru_cache(maxsize=8)
def _taps(n_in: int, n_out: int, shrinks: bool, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Source pixels and weights of each output pixel along a scaled axis.

    Returns:
        Indices int64 (K, n_out) and weights float32 (K, n_out); the weights of an output pixel
        sum to 1.
    """
    scale = n_in / n_out
    if shrinks:  # area average: how much of each source pixel an output pixel covers
        first = np.arange(n_out) * scale  # (n_out,)
        last = np.minimum(first + scale, n_in)
        source = np.floor(first) + np.arange(int(scale) + 2)[:, None]  # (K, n_out)
        coverage = np.minimum(last, source + 1) - np.maximum(first, source)
        coverage[coverage < _MIN_COVERAGE_PX] = 0
        weight = coverage / coverage.sum(axis=0)
    else:  # bilinear, pixel centres at halves
        centre = np.clip((np.arange(n_out) + 0.5) * scale - 0.5, 0, n_in - 1)
        source = np.floor(centre) + np.arange(2)[:, None]  # (2, n_out)
        weight = 1 - np.abs(centre - source)
    used = weight.any(axis=1)
    index = np.minimum(source[used], n_in - 1).astype(np.int64)
    return (
        torch.from_numpy(index).to(device),
        torch.from_numpy(weight[used].astype(np.float32)).to(device),
    )


def _resampled(
    pixels: torch.Tensor, axis: int, taps: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Weighted means of pixels (n, H, W, 3) along one axis; float32."""
    shape = [1] * pixels.ndim
    shape[axis] = -1
    # One tap at a time: all at once would take several times the memory of the frames.
    parts = (
        pixels.index_select(axis, index) * weight.view(shape)
        for index, weight in zip(*taps, strict=True)
    )
    total: torch.Tensor = reduce(torch.Tensor.add_, parts)
    return total


def warp(
    frames_rgb: torch.Tensor, frame: npt.NDArray[np.int_], matrices: npt.ArrayLike, size_px: int
) -> torch.Tensor:
    """Crop several frames under given transforms, like `align.warp` for one frame.

    Args:
        frames_rgb: uint8 (n, H, W, 3).
        frame: (m,), index of each crop's frame.
        matrices: (m, 2, 3), source to crop; each must be invertible.
        size_px: Side S of the crops.

    Returns:
        uint8 (m, S, S, 3) on the frames' device.
    """
    maps = np.asarray(matrices, np.float64)
    linear = np.linalg.inv(maps[:, :, :2])  # (m, 2, 2), crop to source
    # OpenCV and PyTorch put pixel centres at whole numbers, these transforms at halves.
    shift = -linear @ maps[:, :, 2:] - 0.5  # (m, 2, 1)
    # (m, 7): the frame's index, then the rows of the inverse transform
    inverses = np.concatenate(
        [frame[:, None], np.concatenate([linear, shift], 2).reshape(-1, 6)], 1
    )
    n_samples = np.array([align.samples_per_axis(matrix) for matrix in maps], int)
    crops = frames_rgb.new_empty((len(maps), size_px, size_px, 3))
    for k in np.unique(n_samples):
        group = np.flatnonzero(n_samples == k)
        inverse = torch.from_numpy(inverses[group].astype(np.float32)).to(frames_rgb.device)
        crops[torch.from_numpy(group)] = _sample_crops(frames_rgb, inverse, int(k), size_px)
    return crops


def _sample_crops(
    frames_rgb: torch.Tensor, inverse: torch.Tensor, k: int, size_px: int
) -> torch.Tensor:
    """Crops under inverse transforms (g, 7) as in `warp`, each pixel the mean of k x k samples."""
    steps = (torch.arange(size_px * k, device=inverse.device) + 0.5) / k  # (S k,), crop pixels
    n_lines = len(inverse) * size_px
    lines_per_step = max(SAMPLES_PER_STEP // (size_px * k * k), 1)
    parts = []
    for first in range(0, n_lines, lines_per_step):  # L lines of crops; usually all at once
        line = torch.arange(first, min(first + lines_per_step, n_lines), device=inverse.device)
        v = steps.view(size_px, k)[line % size_px]  # (L, k)
        frame, xx, xy, x, yx, yy, y = inverse[line // size_px].T[:, :, None]  # (L, 1) each
        at_x = (xy * v + x)[:, :, None] + (xx * steps)[:, None]  # (L, k, S k)
        at_y = (yy * v + y)[:, :, None] + (yx * steps)[:, None]
        sampled = _bilinear(frames_rgb, frame[:, :, None].long(), at_x, at_y)  # (L, k, S k, 3)
        mean = sampled.view(-1, k, size_px, k, 3).mean((1, 3))  # (L, S, 3)
        parts.append(mean.round().to(torch.uint8))
    return torch.cat(parts).view(-1, size_px, size_px, 3)


def _bilinear(
    frames_rgb: torch.Tensor, frame: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Bilinear samples at positions (...), pixel centres at whole numbers; float32 (..., 3)."""
    _, height, width, _ = frames_rgb.shape
    flat = frames_rgb.view(-1, 3)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)  # the border is repeated
    left, top = x.long(), y.long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    x_part, y_part = ((position - position.floor())[..., None] for position in (x, y))
    rows = (
        torch.lerp(flat[row + left].float(), flat[row + right].float(), x_part)
        for row in ((frame * height + line) * width for line in (top, bottom))
    )
    return torch.lerp(next(rows), next(rows), y_part)
