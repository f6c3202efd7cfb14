"""Stems: convolutional networks that turn a face crop into a feature map.

Both are face-recognition networks, cut before their embedding layers.
`mobilefacenet`: Chen et al. 2018, arXiv 1804.07573, in the layout of the public ArcFace
training of foamliu/MobileFaceNet (inverted residuals with ReLU6), so that its weights load.
`ir50`: improved residual units, Deng et al. 2019 (ArcFace), arXiv 1801.07698, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

# expansion, channels, repeats, stride of the first (Chen et al. 2018, table 1)
MOBILEFACENET_STAGES = (
    (2, 64, 5, 2),
    (4, 128, 1, 2),
    (2, 128, 6, 1),
    (4, 128, 1, 2),
    (2, 128, 2, 1),
)
# channels, units; every stage halves height and width
IR50_STAGES = ((64, 3), (128, 4), (256, 14))


class _StridedDepthwise(nn.Conv2d):
    """A strided depthwise convolution that trains in float32 on a CPU.

    oneDNN's bfloat16 gradient takes 3 to 17 times as long as the float32 one (measured with
    PyTorch 2.13 on AVX-512; 30 % of a training step).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, C, H/stride, W/stride) in the dtype of the input."""
        if x.device.type != "cpu" or x.dtype != torch.bfloat16 or not torch.is_grad_enabled():
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)


def _conv_bn(
    c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, *, relu6: bool = True
) -> nn.Sequential:
    strided_depthwise = stride > 1 and groups > 1
    conv = _StridedDepthwise if strided_depthwise else nn.Conv2d
    layers: list[nn.Module] = [
        conv(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
    ]
    if relu6:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection; a shortcut if the shape is unchanged."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        self.shortcut = stride == 1 and c_in == c_out
        self.conv = nn.Sequential(
            _conv_bn(c_in, hidden, 1),
            _conv_bn(hidden, hidden, 3, stride, groups=hidden),
            _conv_bn(hidden, c_out, 1, relu6=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        y: torch.Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileFaceNetStem(nn.Module):
    """MobileFaceNet up to its last 1x1 convolution: (B, 3, 112, 112) to (B, 512, 7, 7)."""

    channels = 512
    reduction = 16  # crop side over map side
    fine_channels = 128
    fine_reduction = 8
    _fine_blocks = 12  # residual blocks before the last halving

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _conv_bn(3, 64, 3, stride=2)
        self.dw_conv = nn.Sequential(  # depthwise separable, plain ReLU in the public weights
            nn.Conv2d(64, 64, 3, 1, 1, groups=64, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
        )
        blocks: list[nn.Module] = []
        c_in = 64
        for expansion, c_out, repeats, stride in MOBILEFACENET_STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(c_in, c_out, stride if i == 0 else 1, expansion))
                c_in = c_out
        self.features = nn.Sequential(*blocks)
        self.conv2 = _conv_bn(c_in, self.channels, 1)

    def early(self, n_blocks: int) -> list[nn.Module]:
        """The entry and the first `n_blocks` residual blocks: which short trainings freeze."""
        return [self.conv1, self.dw_conv, *list(self.features)[:n_blocks]]

    def end_at_fine(self) -> None:
        """Removes what follows the fine map, for networks that do not use it."""
        self.features = nn.Sequential(*list(self.features)[: self._fine_blocks])
        self.conv2 = nn.Sequential()

    def fine(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, 3, S, S) to (B, 128, S/8, S/8)."""
        y: torch.Tensor = self.features[: self._fine_blocks](self.dw_conv(self.conv1(x)))
        return y

    def coarse(self, fine: torch.Tensor) -> torch.Tensor:
        """Maps (B, 128, S/8, S/8) to (B, 512, S/16, S/16)."""
        y: torch.Tensor = self.conv2(self.features[self._fine_blocks :](fine))
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, 3, S, S) to (B, 512, S/16, S/16)."""
        return self.coarse(self.fine(x))


class _IRUnit(nn.Module):
    """BN-conv-BN-PReLU-conv-BN with a projected shortcut where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.shortcut: nn.Module = (
            nn.MaxPool2d(1, stride)
            if c_in == c_out
            else _conv_bn(c_in, c_out, 1, stride, relu6=False)
        )
        self.residual = nn.Sequential(
            nn.BatchNorm2d(c_in),
            nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.PReLU(c_out),
            nn.Conv2d(c_out, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        y: torch.Tensor = self.shortcut(x) + self.residual(x)
        return y


class IR50Stem(nn.Module):
    """Stages 1 to 3 of IR-50: (B, 3, 112, 112) to (B, 256, 14, 14)."""

    channels = fine_channels = 256
    reduction = fine_reduction = 8

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
        )
        units: list[nn.Module] = []
        c_in = 64
        for c_out, repeats in IR50_STAGES:
            for i in range(repeats):
                units.append(_IRUnit(c_in, c_out, 2 if i == 0 else 1))
                c_in = c_out
        self.features = nn.Sequential(*units)

    def early(self, n_blocks: int) -> list[nn.Module]:
        """The entry and the first `n_blocks` residual units: which short trainings freeze."""
        return [self.input, *list(self.features)[:n_blocks]]

    def end_at_fine(self) -> None:
        """Nothing follows this stem's fine map."""

    def fine(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, 3, S, S) to (B, 256, S/8, S/8)."""
        y: torch.Tensor = self.features(self.input(x))
        return y

    def coarse(self, fine: torch.Tensor) -> torch.Tensor:
        """The same map: this stem's last is its finest."""
        return fine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, 3, S, S) to (B, 256, S/8, S/8)."""
        return self.fine(x)


STEMS: dict[str, type[MobileFaceNetStem] | type[IR50Stem]] = {
    "mobilefacenet": MobileFaceNetStem,
    "ir50": IR50Stem,
}


def mobilefacenet_from_public(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames the public ArcFace MobileFaceNet state dict to `MobileFaceNetStem`'s names.

    Args:
        state: State dict of foamliu/MobileFaceNet; its embedding layers are left out.

    Returns:
        A state dict that `MobileFaceNetStem.load_state_dict` takes strictly.

    Raises:
        KeyError: A layer that the stem needs is not in `state`.
    """
    dw_names = {"depthwise": "0", "bn1": "1", "pointwise": "3", "bn2": "4"}
    renamed = {}
    for name in MobileFaceNetStem().state_dict():
        parts = name.split(".")
        if parts[0] == "dw_conv":
            public = {new: old for old, new in dw_names.items()}[parts[1]]
            source = ".".join(["dw_conv", public, *parts[2:]])
        elif parts[0] == "features" and parts[3] == "2":  # projection: flat in the public layout
            source = ".".join([*parts[:3], str(2 + int(parts[4])), *parts[5:]])
        else:
            source = name
        if source not in state and name.endswith("num_batches_tracked"):
            renamed[name] = torch.zeros((), dtype=torch.long)
        else:
            renamed[name] = state[source]
    return renamed
