"""Occluded faces for the ablation: mouth, eyes, a hand's shape, random squares over 30 %."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from jadfer_cli.expression.networks.base import Network
from jadfer_cli.faces.align import TEMPLATE
from jadfer_cli.training.crops import Crops
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.scoring import pixels_of

KINDS = ("mouth", "eyes", "hand", "squares")
SHARE = 0.3  # of the crop that squares cover
_GREY = 110  # of skin in FER+'s grey pictures, about


def mask(kind: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """bool (side, side): the pixels of an aligned crop that are covered."""
    found = np.zeros((side, side), np.uint8)
    eyes, mouth = TEMPLATE[:2] * side, TEMPLATE[3:] * side
    reach = float(eyes[1, 0] - eyes[0, 0])  # distance between the eyes
    if kind in ("mouth", "eyes"):
        points = mouth if kind == "mouth" else eyes
        (x1, y1), (x2, y2) = points.min(0) - 0.3 * reach, points.max(0) + 0.3 * reach
        cv2.rectangle(found, (int(x1), int(y1)), (int(x2), int(y2)), 1, -1)
    elif kind == "hand":
        # a palm beside the mouth and four fingers over it, from either side of the face
        left = bool(rng.integers(2))
        toward = 1 if left else -1
        palm = mouth.mean(0) + reach * np.array([-0.75 * toward, 0.25])
        palm += rng.normal(0, 0.05 * reach, 2)
        cv2.ellipse(found, _px(palm), _px((0.5 * reach, 0.4 * reach)), 20 * toward, 0, 360, 1, -1)
        for finger in range(4):
            angle = np.radians(-50 + 22 * finger)
            tip = palm + reach * np.array([toward * np.cos(angle), np.sin(angle)]) * 1.1
            cv2.line(found, _px(palm), _px(tip), 1, max(int(0.2 * reach), 1))
    elif kind == "squares":
        edge = max(side // 7, 1)
        while found.mean() < SHARE:
            x, y = rng.integers(0, side - edge + 1, 2)
            found[y : y + edge, x : x + edge] = 1
    else:
        raise ValueError(f"kind must be one of {KINDS}, not {kind!r}")
    return found.astype(bool)


def _px(point: object) -> tuple[int, int]:
    x, y = np.asarray(point, float)
    return round(float(x)), round(float(y))


def covered(crops: torch.Tensor, kind: str, first: int) -> torch.Tensor:
    """Crops uint8 (B, 3, S, S) with the mask of each face; squares are black, a hand is grey."""
    result = crops.clone()
    for k, crop in enumerate(result):
        rng = np.random.default_rng((KINDS.index(kind), first + k))
        where = torch.from_numpy(mask(kind, crop.shape[-1], rng))
        crop[:, where] = _GREY if kind == "hand" else 0
    return result


@torch.no_grad()
def maps(network: Network, faces: FaceSet, kind: str, folder: Path) -> np.ndarray:
    """Fine maps of the occluded faces, stored once; records as of `cached.FineMaps`."""
    side = network.config.crop_px // network.stem.fine_reduction
    row = np.dtype([("maps", "<i2", (1, network.stem.fine_channels, side, side))])
    file = folder / f"occluded-{kind}.bin"
    if not file.exists():
        network.eval()
        part, first = file.with_suffix(".part"), 0
        with part.open("wb") as out:
            for crops, *_ in DataLoader(Crops(faces, network.config.crop_px, None, 0), 64):
                pixels = pixels_of(covered(crops, kind, first), torch.device("cpu"))
                fine = network.fine(pixels.contiguous(memory_format=torch.channels_last))
                bits = fine.to(torch.bfloat16).contiguous().view(torch.int16)
                out.write(bits.numpy().tobytes())
                first += len(crops)
        part.replace(file)
    return np.memmap(file, row, "r", shape=(1, len(faces)))
