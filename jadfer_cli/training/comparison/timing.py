"""How long networks take on this machine, measured in turns so that other work hits all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from jadfer_cli.expression import networks
from jadfer_cli.expression.networks.base import NetworkConfig
from jadfer_cli.runtime import Runtime

BATCH, ROUNDS = 16, 7


@torch.no_grad()
def milliseconds(configs: Mapping[str, NetworkConfig], runtime: Runtime) -> dict[str, Any]:
    """Milliseconds per face of each network, in batches of BATCH: the median of ROUNDS.

    Args:
        configs: By recipe.
        runtime: Device and threads.

    Returns:
        "recipes", by recipe, and how it was measured.
    """
    device = torch.device(runtime.device)
    built = {
        name: networks.load(config.architecture).build(config).to(device).eval()
        for name, config in configs.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in built}
    for turn in range(ROUNDS + 1):
        for name, network in built.items():
            side = network.config.crop_px
            faces = torch.zeros(BATCH, 3, side, side, device=device)
            faces = faces.contiguous(memory_format=torch.channels_last)
            began = time.perf_counter()
            network(faces).logits.sum().item()  # waits for a GPU
            if turn:  # the first one allocates
                seconds[name].append(time.perf_counter() - began)
    return {
        "recipes": {
            name: round(1000 * float(np.median(own)) / BATCH, 3) for name, own in seconds.items()
        },
        "device": runtime.device_name,
        "threads": torch.get_num_threads(),
        "batch": BATCH,
        "torch": torch.__version__,
    }
