"""The network that follows a face, and its export to ONNX."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from jadfer_cli.faces.follower import CROP_TEMPLATE, INPUT, INPUT_PX, INTEROCULAR_PX, OUTPUTS

_WIDTHS = (12, 24, 48, 72)


class FollowerOutput(NamedTuple):
    """What the network says about B crops.

    Attributes:
        landmarks: (B, 5, 2), in pixels of the crop.
        presence: (B,), logit that the crop shows a face.
        log_error: (B,), logarithm of the expected mean error, in pixels of the crop.
    """

    landmarks: torch.Tensor
    presence: torch.Tensor
    log_error: torch.Tensor


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class _Block(nn.Module):
    """A convolution with a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = _conv(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to the same shape."""
        return x + self.inner(x)  # type: ignore[no-any-return]


class FollowerNetwork(nn.Module):
    """Plain convolutions: 64 px, then 32, 16, 8 and 4, and one linear layer that keeps places."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = _WIDTHS
        self.body = nn.Sequential(
            _conv(1, a, 2),  # (B, a, 32, 32)
            _conv(a, b, 2), _Block(b), _Block(b),  # (B, b, 16, 16)
            _conv(b, c, 2), _Block(c), _Block(c),  # (B, c, 8, 8)
            _conv(c, d, 2),  # (B, d, 4, 4)
            nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(d * (INPUT_PX // 16) ** 2, 12)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=1e-3)
        self.template: torch.Tensor
        self.register_buffer("template", torch.from_numpy(CROP_TEMPLATE.copy()))

    def forward(self, crops: torch.Tensor) -> FollowerOutput:
        """Follows faces.

        Args:
            crops: (B, 1, INPUT_PX, INPUT_PX), 0 to 255.
        """
        x = crops.float()
        # A face in the dark looks like one in the light.
        mean = x.mean((1, 2, 3), keepdim=True)
        deviation = (x - mean).square().mean((1, 2, 3), keepdim=True).sqrt()
        values = self.head(self.body((x - mean) / (deviation + 4)))
        landmarks = self.template + INPUT_PX * values[:, :10].reshape(-1, 5, 2)
        return FollowerOutput(landmarks, values[:, 10], values[:, 11])


class _Exported(nn.Module):
    """The network with outputs in the units of `faces.follower`."""

    def __init__(self, network: FollowerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Maps uint8 crops to landmarks, presence and error."""
        found = self.network(crops)
        return found.landmarks, found.presence.sigmoid(), found.log_error.exp() / INTEROCULAR_PX


def export(network: FollowerNetwork, path: Path) -> None:
    """Writes the network for ONNX Runtime; its weights in half precision, computed in single.

    Raises:
        OutputError: The file cannot be written.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from jadfer_cli.common import atomic_write

    module = _Exported(network).eval()
    with atomic_write(path) as part, warnings.catch_warnings():
        # PyTorch recommends a newer exporter, which needs more packages
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(2, 1, INPUT_PX, INPUT_PX, dtype=torch.uint8),), str(part),
            input_names=[INPUT], output_names=list(OUTPUTS), opset_version=17, dynamo=False,
            dynamic_axes={name: {0: "B"} for name in (INPUT, *OUTPUTS)},
        )  # fmt: skip
        model = onnx.load(str(part))
        graph = model.graph
        casts = []
        for tensor in list(graph.initializer):
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.size > 100:
                half = numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half")
                graph.initializer.remove(tensor)
                graph.initializer.append(half)
                casts.append(
                    helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT)
                )
        nodes = [*casts, *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        onnx.checker.check_model(model)
        part.write_bytes(model.SerializeToString())
