"""APViT: which patches and tokens are kept, and what the others do."""

import pytest
import torch
from expression.networks.test_all_networks import small

from jadfer_cli.expression.networks.apvit import ApvitConfig, PoolingBlock, top


def test_the_largest_weights_are_kept_in_their_order():
    weight = torch.tensor([[0.3, 0.9, 0.1, 0.8], [4.0, 3.0, 2.0, 1.0]])
    assert top(weight, 2).tolist() == [[1, 3], [0, 1]]
    assert top(weight, 3).tolist() == [[0, 1, 3], [0, 1, 2]]


def test_the_published_numbers_of_patches_and_tokens():
    """160 of 196 patches; with the class token 161, then 1 + int(0.9 x 160) and so on."""
    network = small("apvit", crop_px=112, width=8, depth=4).eval()
    seen = []
    for block in network.blocks:
        block.register_forward_hook(
            lambda _, given, made: seen.append((given[0].shape[1], made.shape[1]))
        )
    network.score(torch.rand(1, 128, 14, 14))
    assert seen == [(161, 161), (161, 161), (161, 145), (145, 130)]


def test_keeping_everything_is_a_plain_transformer():
    """Against PyTorch's own encoder layers with the same weights."""
    network = small("apvit", kept_patches=1.0, kept_tokens=1.0).eval()
    fine = torch.randn(2, 128, 4, 4)
    patches = network.project(fine).flatten(2).transpose(1, 2)
    tokens = torch.cat([network.cls.expand(2, -1, -1), patches + network.position], 1)
    for block in network.blocks:
        layer = torch.nn.TransformerEncoderLayer(
            32,
            2,
            96,
            dropout=0,
            activation="gelu",
            norm_first=True,
            batch_first=True,
            layer_norm_eps=1e-6,
        ).train()  # eval mode takes another path
        layer.load_state_dict({
            "self_attn.in_proj_weight": block.query_key_value.weight,
            "self_attn.in_proj_bias": torch.zeros(96),
            "self_attn.out_proj.weight": block.out.weight,
            "self_attn.out_proj.bias": block.out.bias,
            "linear1.weight": block.mlp[0].weight, "linear1.bias": block.mlp[0].bias,
            "linear2.weight": block.mlp[2].weight, "linear2.bias": block.mlp[2].bias,
            "norm1.weight": block.norm_attention.weight, "norm1.bias": block.norm_attention.bias,
            "norm2.weight": block.norm_mlp.weight, "norm2.bias": block.norm_mlp.bias,
        })  # fmt: skip
        tokens = layer(tokens)
    expected = network.head(network.norm(tokens[:, 0]))
    assert torch.allclose(network.score(fine).logits, expected, atol=1e-5)


def test_dropped_patches_get_no_gradient_and_kept_ones_do():
    network = small("apvit", kept_patches=0.5, kept_tokens=1.0).train()
    fine = torch.randn(1, 128, 4, 4, requires_grad=True)
    activity = network.project(fine).detach().abs().sum(1).flatten()  # (16,)
    kept = activity >= activity.sort(descending=True).values[7]
    network.score(fine).logits.square().sum().backward()
    reached = fine.grad.abs().sum(1).flatten() > 0
    assert kept.sum() == 8 and torch.equal(reached, kept)


def test_a_block_drops_the_tokens_that_the_class_token_attends_to_least():
    """Queries and keys are the tokens themselves, so the logits are known products."""
    config = ApvitConfig(width=2, heads=1, crop_px=32)
    block = PoolingBlock(config, kept=2).eval()
    block.norm_attention = torch.nn.Identity()
    eye, zero = torch.eye(2), torch.zeros(2, 2)
    block.query_key_value.weight.data = torch.cat([eye, eye, zero])
    for layer in (block.out, block.mlp[2]):  # the block changes nothing else
        layer.weight.data.zero_(), layer.bias.data.zero_()
    # products with the class token (1, 0): 3, -5, 4, 1; a norm would choose -5
    tokens = torch.tensor([[[1.0, 0], [3, 0], [-5, 0], [4, 0], [1, 9]]])
    assert block(tokens).tolist() == [[[1, 0], [3, 0], [4, 0]]]


def test_a_batch_as_large_as_the_number_of_tokens_is_pooled_too():
    """The public code skips pooling when 161 faces meet 161 tokens."""
    network = small("apvit", crop_px=112, width=8, depth=2).eval()
    fine = torch.randn(161, 128, 14, 14)
    with torch.no_grad():
        together = network.score(fine).logits
        alone = torch.cat([network.score(fine[i : i + 1]).logits for i in (0, 77, 160)])
    assert torch.allclose(together[[0, 77, 160]], alone, atol=1e-5)


def test_the_part_of_the_stem_that_it_does_not_use_is_removed():
    names = dict(small("apvit").named_parameters())
    assert any(name.startswith("stem.features.11.") for name in names)
    assert not any(name.startswith(("stem.features.12.", "stem.conv2.")) for name in names)
    with pytest.raises(ValueError, match="kept_patches must lie above 0, up to 1, got 0"):
        ApvitConfig(kept_patches=0)
