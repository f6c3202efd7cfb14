"""The four classic kinds of spatiotemporal model for micro-expressions, as small versions.

DFME (Zhao et al. 2023, arXiv 2301.00985) compares large networks of these kinds. These have some
ten to a hundred thousand parameters, so they say which kind of input helps, not what the paper's
figures are. Each takes clips (B, T, 3, S, S), float in [0, 1], and gives logits (B, K).

A clip's first frame is subtracted from all, because faces differ far more than they move; the
frame features therefore see the movement since onset.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

_WIDTH, _FEATURES = 16, 32
_GAIN = 8.0  # movements change the grey by a few hundredths


class Difference(nn.Module):
    """A 2D network on the difference between one later frame and the first.

    With the sampler `key` it is the apex minus the onset, as in Liong et al. 2018 (OFF-ApexNet,
    arXiv 1805.08699), which computes optical flow of the two; this takes the difference.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.features = _frame_features()
        self.classifier = nn.Linear(_FEATURES, n_classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Logits (B, K), from the middle frame."""
        logits: torch.Tensor = self.classifier(self.features(_movement(clips)[:, _middle(clips)]))
        return logits


class Convolution3d(nn.Module):
    """Convolutions over space and time (Tran et al. 2015, C3D, arXiv 1412.0767)."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(3, _WIDTH, 3, (1, 2, 2), 1), nn.BatchNorm3d(_WIDTH), nn.ReLU(),
            nn.Conv3d(_WIDTH, _FEATURES, 3, (1, 2, 2), 1), nn.BatchNorm3d(_FEATURES), nn.ReLU(),
            nn.AdaptiveAvgPool3d(2), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Linear(_FEATURES * 8, n_classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Logits (B, K)."""
        volume = _movement(clips).transpose(1, 2)  # (B, 3, T, S, S)
        logits: torch.Tensor = self.classifier(self.features(volume))
        return logits


class Recurrent(nn.Module):
    """Features of each frame, and a GRU over time (Cho et al. 2014, arXiv 1406.1078)."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.features = _frame_features()
        self.gru = nn.GRU(_FEATURES, _FEATURES, batch_first=True)
        self.classifier = nn.Linear(_FEATURES, n_classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Logits (B, K), from the mean over time of the GRU's states."""
        states, _ = self.gru(_each_frame(self.features, clips))  # (B, T, D)
        logits: torch.Tensor = self.classifier(states.mean(1))
        return logits


class Transformer(nn.Module):
    """Features of each frame, and attention over time (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.features = _frame_features()
        self.attention = nn.TransformerEncoderLayer(
            _FEATURES, 4, 2 * _FEATURES, dropout=0.1, batch_first=True, norm_first=True
        )
        self.classifier = nn.Linear(_FEATURES, n_classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Logits (B, K), from the mean over time."""
        frames = _each_frame(self.features, clips)  # (B, T, D)
        mixed = self.attention(frames + _positions(frames))
        logits: torch.Tensor = self.classifier(mixed.mean(1))
        return logits


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "difference": Difference,
    "conv3d": Convolution3d,
    "gru": Recurrent,
    "transformer": Transformer,
}


def _frame_features() -> nn.Sequential:
    """Features (n, _FEATURES) of pictures (n, 3, S, S)."""
    return nn.Sequential(
        nn.Conv2d(3, _WIDTH, 3, 2, 1), nn.BatchNorm2d(_WIDTH), nn.ReLU(),
        nn.Conv2d(_WIDTH, _WIDTH, 3, 2, 1), nn.BatchNorm2d(_WIDTH), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * _WIDTH, _FEATURES), nn.ReLU(),
    )  # fmt: skip


def _movement(clips: torch.Tensor) -> torch.Tensor:
    """Frames minus the first, (B, T, 3, S, S)."""
    return _GAIN * (clips - clips[:, :1])


def _middle(clips: torch.Tensor) -> int:
    """The frame between first and last: the apex of three; of two the second."""
    return min(max(clips.shape[1] // 2, 1), clips.shape[1] - 1)


def _each_frame(features: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """Features (B, T, D) of each frame's movement."""
    flat: torch.Tensor = features(_movement(clips).flatten(0, 1))  # (B T, D)
    return flat.reshape(clips.shape[0], clips.shape[1], -1)


def _positions(frames: torch.Tensor) -> torch.Tensor:
    """Sines and cosines (T, D) of the place in the clip, from 0 at its start to 1 at its end."""
    place = torch.linspace(0, 1, frames.shape[1], device=frames.device)[:, None]
    waves = torch.arange(1, frames.shape[2] // 2 + 1, device=frames.device) * torch.pi
    return torch.cat([(place * waves).sin(), (place * waves).cos()], 1)
