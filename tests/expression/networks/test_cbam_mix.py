"""CBAM and the mixing of features by uncertainty."""

import pytest
import torch
from expression.networks.test_all_networks import small

from jadfer_cli.expression.networks.cbam_mix import Cbam, CbamMixConfig, mixed

MU = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 8.0]])
PARTNER = torch.tensor([1, 2, 0])


def test_equal_scales_give_the_mean_of_both():
    # (1, 0) with (3, 4), (3, 4) with (0, 8), (0, 8) with (1, 0)
    expected = torch.tensor([[2.0, 2.0], [1.5, 6.0], [0.5, 4.0]])
    assert torch.equal(mixed(MU, torch.full((3, 1), 0.25), PARTNER), expected)


def test_scales_weight_the_faces_and_only_their_ratio_counts():
    scale = torch.tensor([[1.0], [3.0], [1.0]])
    # (1 x (1, 0) + 3 x (3, 4)) / 4 = (2.5, 3)
    assert torch.allclose(mixed(MU, scale, PARTNER)[0], torch.tensor([2.5, 3.0]))
    assert torch.allclose(mixed(MU, scale, PARTNER), mixed(MU, 7 * scale, PARTNER))
    far = torch.tensor([[1e6], [1.0], [1.0]])
    assert torch.allclose(mixed(MU, far, PARTNER)[0], MU[0], atol=1e-4)


def test_mixed_logits_are_those_of_the_mixed_features():
    network = small("cbam-mix", dropout=0.0).train()
    crops = torch.rand(4, 3, 32, 32)
    torch.manual_seed(3)
    output = network(crops)
    torch.manual_seed(3)
    assert output.auxiliary["partner"].tolist() == torch.randperm(4).tolist()
    again = small("cbam-mix", dropout=0.0).train()  # batch statistics as before
    pooled = again.attention(again.features(crops)).mean((2, 3), keepdim=True)
    mu, scale = again.mu(pooled), again.logvar(pooled).exp().mean(1, keepdim=True)
    expected = again.classifier(mixed(mu, scale, output.auxiliary["partner"]))
    assert torch.allclose(output.auxiliary["mixed"], expected, atol=1e-5)
    assert torch.allclose(output.logits, again.classifier(mu), atol=1e-5)


def test_scoring_ignores_the_uncertainty():
    network, crops = small("cbam-mix").eval(), torch.rand(2, 3, 32, 32)
    before = network(crops).logits
    for parameter in network.logvar.parameters():
        parameter.data.normal_()
    assert torch.equal(network(crops).logits, before) and not network(crops).auxiliary


def test_attention_by_hand():
    """Two channels: identity MLPs give channel weights sigmoid(mean + peak)."""
    cbam = Cbam(2, 1, 1)
    for layer in (cbam.channel[0], cbam.channel[2]):
        layer.weight.data, layer.bias.data = torch.eye(2), torch.zeros(2)
    cbam.spatial.weight.data = torch.tensor([[[[1.0]], [[0.0]]]])  # sees the mean channel only
    x = torch.tensor([[[[0.0, 2.0]], [[1.0, 1.0]]]])  # means 1 and 1, peaks 2 and 1
    a, b = torch.tensor(3.0).sigmoid(), torch.tensor(2.0).sigmoid()
    weighted = torch.stack([torch.stack([0 * a, 2 * a]), torch.stack([b, b])])  # (C, W)
    expected = weighted * weighted.mean(0).sigmoid()
    assert torch.allclose(cbam(x)[0, :, 0], expected)


def test_heads_on_all_cells_have_the_size_of_the_public_code():
    config = CbamMixConfig(pooled=False)
    network = small("cbam-mix", crop_px=112, pooled=False, features=64)
    assert network.mu[3].weight.shape == (64, 512 * 7 * 7) and config.features == 64
    with pytest.raises(ValueError, match="kernel must be odd, got 4"):
        CbamMixConfig(kernel=4)
