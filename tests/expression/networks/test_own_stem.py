"""A network may bring a backbone of its own instead of one from the table of stems."""

import pytest
import torch

from jadfer_cli.expression.networks.base import OWN, Network, NetworkConfig, Output


class OwnBackbone(Network):
    """One convolution over patches, and a linear layer."""

    def __init__(self, config):
        super().__init__(config)
        self.stem = torch.nn.Conv2d(3, 4, 10, stride=10)
        self.head = torch.nn.Linear(4, config.n_classes)

    def forward(self, crops):
        return Output(self.head(self.features(crops).mean((2, 3))))


def test_it_scores_crops_of_any_size_from_32_px():
    network = OwnBackbone(NetworkConfig(stem=OWN, crop_px=50))
    assert network(torch.rand(2, 3, 50, 50)).logits.shape == (2, 8)
    for stem, size_px in ((OWN, 30), ("mobilefacenet", 50)):
        with pytest.raises(ValueError, match="at least 32"):
            NetworkConfig(stem=stem, crop_px=size_px)
    with pytest.raises(ValueError, match=r"stem must be one of \(.*, 'own'\), got 'resnet'"):
        NetworkConfig(stem="resnet")


def test_its_backbone_is_trained_at_the_learning_rate_of_stems():
    network = OwnBackbone(NetworkConfig(stem=OWN))
    groups = network.parameter_groups(lr=1.0, stem_lr=0.1, weight_decay=0.01)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[id(network.stem.weight)] == 0.1 and rates[id(network.head.weight)] == 1.0


def test_it_is_frozen_only_if_it_has_blocks():
    network = OwnBackbone(NetworkConfig(stem=OWN))
    assert network.freeze(0) == [] and network.stem.weight.requires_grad
    with pytest.raises(ValueError, match="OwnBackbone has no blocks to freeze, got 2"):
        network.freeze(2)
    network.stem.early = lambda n_blocks: [network.stem][:n_blocks]
    assert network.freeze(1) == [network.stem] and not network.stem.weight.requires_grad
