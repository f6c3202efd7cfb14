"""DAN: the heads, and what its auxiliary tensors are."""

import pytest
import torch
from expression.networks.test_all_networks import small

from jadfer_cli.expression.networks.dan import CrossAttentionHead, Dan, DanConfig


def test_a_head_against_its_formula():
    """One channel of attention at a time, with loops instead of modules."""
    torch.manual_seed(0)
    head = CrossAttentionHead(16, 4).eval()
    for layer in head.channel:
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data.normal_()
    x = torch.rand(2, 16, 3, 3)
    entry = torch.einsum("oc,bchw->bohw", head.entry[0].weight[:, :, 0, 0], x)
    entry = (entry + head.entry[0].bias[:, None, None]) / (
        1 + 1e-5
    ) ** 0.5  # BatchNorm of a new head
    seen = (
        sum(
            torch.nn.functional.conv2d(
                entry, b[0].weight, b[0].bias, padding=[k // 2 for k in b[0].kernel_size]
            )
            for b in head.branches
        )
        / (1 + 1e-5) ** 0.5
    )
    assert [tuple(b[0].kernel_size) for b in head.branches] == [(3, 3), (1, 3), (3, 1)]
    spatial = seen.clamp_min(0).sum(1)  # (B, H, W)
    pooled = torch.einsum("bchw,bhw->bc", x, spatial) / 9
    with torch.no_grad():
        gate = head.channel(pooled)
        assert torch.allclose(head(x), pooled * gate, atol=1e-5)
    assert 0 < gate.min() and gate.max() < 1


def test_probabilities_over_the_heads_sum_to_one():
    network = small("dan", heads=3).train()
    auxiliary = network(torch.rand(4, 3, 32, 32)).auxiliary
    assert auxiliary["heads"].shape == (4, 3, 512) and auxiliary["pooled"].shape == (4, 512)
    assert torch.allclose(auxiliary["heads"].exp().sum(1), torch.ones(4, 512), atol=1e-5)


def test_auxiliary_tensors_are_for_training_only():
    assert not small("dan").eval()(torch.rand(1, 3, 32, 32)).auxiliary


def test_sizes_are_the_published_ones():
    heads = Dan(DanConfig()).heads
    assert len(heads) == 4
    # 1x1: 512 x 256; 3x3, 1x3, 3x1: 256 x 512 x 15; 512-32-512; biases and norms
    conv = 512 * 256 + 256 + 2 * 256 + 256 * 512 * 15 + 3 * (512 + 2 * 512)
    channel = 512 * 32 + 32 + 2 * 32 + 32 * 512 + 512
    assert sum(p.numel() for p in heads[0].parameters()) == conv + channel == 2_135_904
    with pytest.raises(ValueError, match="heads must be at least 1, got 0"):
        DanConfig(heads=0)
