"""Finds pairs of pictures that show the same photograph: near-duplicates, not only equal files.

Copies of a photograph differ in size, brightness, compression, watermark, crop and mirroring, all
of which leave its local contrast in place: the grey value relative to the mean and the spread of
its neighbourhood. Two pictures are compared by the correlation of their local contrast, over
shifts and the mirror image. A coarse search of all pairs, as matrix products, selects the pairs
that are compared pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from jadfer_cli.training.faceset import FaceSet

# By eye on FER+ (tests/bench/near_duplicates.py): of the pairs between 0.68 and 0.70 two thirds
# show the same photograph, of those between 0.66 and 0.68 fewer than half.
SAME_PHOTOGRAPH = 0.68
LOWEST = 0.6  # pairs below this correlation are not reported

SIDE_PX = 48
_SIGMA_PX = 3.0  # of the neighbourhood
_MIN_SPREAD = 4.0  # grey values; added to the spread, so that noise in flat areas stays small
_CELL_PX, _CELLS = 3, 13  # coarse: 13 x 13 cells of 3 px, the central 39 px
_SHIFTS_PX = (-4, -2, 0, 2, 4)
# Of 1,584 FER+ pairs above 0.68, coarse values of 0.55 and 0.6 keep 99.75 and 99.68 %.
_COARSE = 0.58
_FINE_MARGIN_PX = 5  # the central 38 px are compared, over shifts of up to 5 px
_BLOCK = 8192  # pictures of the gallery at once
_CHUNK = 1024  # pictures of the query at once
_MAX_HITS = 200_000  # per product: bounds memory if all pictures resemble each other
Thumbnails = npt.NDArray[np.uint8]  # (n, SIDE_PX, SIDE_PX), grey


class Pairs(NamedTuple):
    """Pairs of similar pictures; each is listed once.

    Attributes:
        first: (m,), index of the first picture.
        second: (m,), index of the second picture, which is larger.
        correlation: (m,), float32, largest over shifts.
        mirrored: (m,), whether the second picture resembles the mirror image of the first.
    """

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    correlation: npt.NDArray[np.float32]
    mirrored: npt.NDArray[np.bool_]


def thumbnails(faces: FaceSet, progress: Callable[[int], None] | None = None) -> Thumbnails:
    """All pictures in grey, SIDE_PX x SIDE_PX, whatever their size, shape and colours.

    Raises:
        TrainingError: A picture cannot be read.
    """
    import cv2

    found = np.empty((len(faces), SIDE_PX, SIDE_PX), np.uint8)
    for i in range(len(faces)):
        grey = cv2.cvtColor(faces.image_rgb(i), cv2.COLOR_RGB2GRAY)
        how = cv2.INTER_AREA if min(grey.shape) > SIDE_PX else cv2.INTER_LINEAR
        found[i] = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=how)
        if progress and i % 256 == 255:
            progress(i + 1)
    return found


def search(
    pictures: Thumbnails,
    n_queries: int,
    *,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Pairs:
    """Compares the first `n_queries` pictures with all others.

    Args:
        pictures: (n, SIDE_PX, SIDE_PX), n distinct entries.
        n_queries: Pairs of two later pictures are not sought.
        device: Where the products are computed.
        progress: Called with the number of comparisons done, of `work(n, n_queries)`.

    Returns:
        Pairs whose correlation exceeds LOWEST, by first and second picture.
    """
    best: dict[tuple[int, int, bool], float] = {}
    done = 0
    for begin in range(0, len(pictures), _BLOCK):
        gallery = _coarse(_local_contrast(pictures[begin : begin + _BLOCK], device), 0, 0)
        for start in range(0, n_queries, _CHUNK):
            # the pair (i, j) of two queries is found from i < j
            if begin + len(gallery) > start:
                chunk = pictures[start : min(start + _CHUNK, n_queries)]
                _collect(best, chunk, gallery, start, begin, device)
            done += 1
            if progress:
                progress(done)
    return _compared(pictures, best, device)


def work(n: int, n_queries: int) -> int:
    """Number of steps that `search` reports."""
    return -(-n // _BLOCK) * -(-n_queries // _CHUNK)


def _collect(
    best: dict[tuple[int, int, bool], float],
    chunk: Thumbnails,
    gallery: torch.Tensor,
    start: int,
    begin: int,
    device: str,
) -> None:
    """Adds the pairs of a chunk and a block that the coarse search finds similar."""
    keys, values = [], []
    contrast = _local_contrast(chunk, device)
    for mirrored, dy, dx in _variants():
        query = _coarse(contrast.flip(2) if mirrored else contrast, dy, dx)
        product = query @ gallery.T  # (chunk, block)
        hits = (product > _COARSE).nonzero()  # (k, 2)
        strength = product[hits[:, 0], hits[:, 1]]
        if len(hits) > _MAX_HITS:
            strength, kept = strength.topk(_MAX_HITS)
            hits = hits[kept]
        first, second = (hits + torch.tensor([start, begin], device=device)).T
        kept = first < second
        keys.append(torch.stack([first, second, torch.full_like(first, mirrored)], 1)[kept].cpu())
        values.append(strength[kept].cpu())
    for key, value in zip(torch.cat(keys).tolist(), torch.cat(values).tolist(), strict=True):
        pair = (key[0], key[1], bool(key[2]))
        best[pair] = max(value, best.get(pair, 0.0))


def _variants() -> Iterator[tuple[bool, int, int]]:
    """Mirrored or not, and the shift in y and x."""
    return ((m, y, x) for m in (False, True) for y in _SHIFTS_PX for x in _SHIFTS_PX)


def _local_contrast(pictures: Thumbnails, device: str) -> torch.Tensor:
    """Grey values relative to their neighbourhood's mean and spread, float (n, S, S).

    Jarrett et al. 2009, "What is the best multi-stage architecture for object recognition?".
    """
    import cv2

    found = np.empty(pictures.shape, np.float32)
    for i, picture in enumerate(pictures.astype(np.float32)):
        centred = picture - cv2.GaussianBlur(picture, (0, 0), _SIGMA_PX)
        spread = np.sqrt(cv2.GaussianBlur(centred**2, (0, 0), _SIGMA_PX))
        found[i] = centred / (spread + _MIN_SPREAD)
    return torch.from_numpy(found).to(device)


def _coarse(contrast: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    """Means of the cells of the shifted centre, of unit length, float (n, cells)."""
    side = _CELL_PX * _CELLS
    y, x = ((SIDE_PX - side) // 2 + shift for shift in (dy, dx))
    window = contrast[:, None, y : y + side, x : x + side]
    return _unit(functional.avg_pool2d(window, _CELL_PX).flatten(1))


def _unit(values: torch.Tensor) -> torch.Tensor:
    """Rows without their mean, of length 1; a flat picture stays near 0 and resembles nothing."""
    centred = values - values.mean(1, keepdim=True)
    unit: torch.Tensor = centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-3)
    return unit


def _compared(
    pictures: Thumbnails, pairs: dict[tuple[int, int, bool], float], device: str
) -> Pairs:
    """The candidates with their correlation, pixel by pixel; only those above LOWEST."""
    keys = sorted(pairs)
    found: dict[tuple[int, int], tuple[float, bool]] = {}
    for begin in range(0, len(keys), _CHUNK):
        part = keys[begin : begin + _CHUNK]
        first = _local_contrast(pictures[[key[0] for key in part]], device)
        second = _local_contrast(pictures[[key[1] for key in part]], device)
        flip = torch.tensor([key[2] for key in part], device=device)
        first = torch.where(flip[:, None, None], first.flip(2), first)
        for (i, j, mirrored), value in zip(part, _correlation(first, second), strict=True):
            if value > max(LOWEST, found.get((i, j), (0.0, False))[0]):
                found[i, j] = (value, mirrored)
    return Pairs(
        np.array([i for i, _ in found], np.intp),
        np.array([j for _, j in found], np.intp),
        np.array([value for value, _ in found.values()], np.float32),
        np.array([mirrored for _, mirrored in found.values()], bool),
    )


def _correlation(first: torch.Tensor, second: torch.Tensor) -> list[float]:
    """The largest correlation of each pair (n, S, S) over shifts of the first picture."""
    m = _FINE_MARGIN_PX
    side, shifts = SIDE_PX - 2 * m, 2 * m + 1
    still = _unit(second[:, m : m + side, m : m + side].flatten(1)).view(-1, side, side)
    # all shifts at once; nothing wraps around, because side + 2 m = S
    spectrum = torch.fft.rfft2(first) * torch.fft.rfft2(still, s=(SIDE_PX, SIDE_PX)).conj()
    products = torch.fft.irfft2(spectrum, s=(SIDE_PX, SIDE_PX))[:, :shifts, :shifts]
    mean = functional.avg_pool2d(first[:, None], side, 1)[:, 0]  # (n, shifts, shifts)
    mean_square = functional.avg_pool2d(first[:, None] ** 2, side, 1)[:, 0]
    length = ((mean_square - mean**2).clamp_min(0) * side**2).sqrt().clamp_min(1e-3)
    return [float(value) for value in (products / length).flatten(1).amax(1).tolist()]
