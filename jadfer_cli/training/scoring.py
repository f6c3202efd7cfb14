"""Logits of a face set without augmentation, for validation, evaluation and teachers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.data import DataLoader

from jadfer_cli.expression.networks.base import Network
from jadfer_cli.training.crops import Crops
from jadfer_cli.training.faceset import FaceSet


def pixels_of(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Moves uint8 images (B, 3, S, S) to the device as float in [0, 1]."""
    return images.to(device, non_blocking=True).float() / 255


@torch.no_grad()
def logits_of(
    network: Network,
    faces: FaceSet,
    batch_size: int = 256,
    *,
    precision: str = "fp32",
    mirrored: bool = False,
    progress: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """Logits (n, K) of all faces, computed on the network's device.

    Args:
        network: Set to eval mode.
        faces: n faces; those without landmarks are resized as a whole.
        batch_size: Faces scored at once.
        precision: "fp32" or "bf16".
        mirrored: Score the mirror images.
        progress: Called after each batch with the number of faces in it.
    """
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for crops, *_ in DataLoader(Crops(faces, network.config.crop_px, None, 0), batch_size):
        images = pixels_of(crops.flip(-1) if mirrored else crops, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            parts.append(network(images).logits.float().cpu())
        if progress:
            progress(len(crops))
    return torch.cat(parts)
