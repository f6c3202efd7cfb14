"""The losses of the published recipes, by hand."""

import dataclasses
import math

import pytest
import torch

from jadfer_cli.expression.networks.base import Output
from jadfer_cli.expression.networks.plain import Plain, PlainConfig
from jadfer_cli.training.optimisation import lr_factor, optimiser_of
from jadfer_cli.training.recipe_options import defaults
from jadfer_cli.training.recipes import Batch, cbam_mix, dan, eac

ONE_HOT = torch.eye(3)


def batch(targets: torch.Tensor, second: Output | None = None, **statistics) -> Batch:
    return Batch(targets, torch.arange(len(targets)), statistics, 0, 1, second)


# CBAM with class weights and uncertainty mixing


def test_class_weights_are_inverse_to_sizes_with_mean_one():
    # 1/4, 1/2, 1/1 have mean 7/12
    weights = cbam_mix.class_weights(torch.tensor([4, 2, 1]))
    assert weights.tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])
    # a class without images takes no part: 1/1 and 1/3 have mean 2/3
    weights = cbam_mix.class_weights(torch.tensor([1, 0, 3]))
    assert weights.tolist() == pytest.approx([1.5, 0, 0.5])


def test_a_distribution_weighs_what_its_classes_do():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    weights = torch.tensor([1.0, 3.0, 0.0])
    targets = torch.tensor([[0.5, 0.5, 0.0]])
    # (0.5 x 1 + 0.5 x 3) (0.5 log 2 + 0.5 log 4) = 2 x 1.5 log 2
    found = cbam_mix.weighted_cross_entropy(logits, targets, weights)
    assert found.item() == pytest.approx(3 * math.log(2))


def test_a_mixed_face_is_recognised_as_both():
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]])
    auxiliary = {"mixed": probabilities.log(), "partner": torch.tensor([1, 0])}
    output = Output(torch.zeros(2, 3), auxiliary)  # the logits of mu are not used
    counts = torch.tensor([1, 1, 1])
    found = cbam_mix.loss(output, batch(ONE_HOT[:2], class_counts=counts), None)
    # face 0 as classes 0 and 1: (log 2 + log 4) / 2; face 1 as 1 and 0: -log(0.3 x 0.2) / 2
    expected = (math.log(8) / 2 - math.log(0.06) / 2) / 2
    assert found.item() == pytest.approx(expected, rel=1e-6)


# DAN


def test_affinity_is_the_distance_to_the_own_centre_over_the_variance_of_centres():
    centres = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]])
    # variances with n - 1: of (0, 2, 1) it is 1, of (0, 0, 3) it is 3; their sum is 4
    pooled = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    # |(1, 1) - (0, 0)|^2 = 2 and |(2, 2) - (2, 0)|^2 = 4, mean 3
    found = dan.affinity_loss(pooled, centres, ONE_HOT[:2])
    assert found.item() == pytest.approx(3 / 4, rel=1e-5)
    # half a vote for each of the classes 0 and 2: (2 + 4) / 2, then 3.5 on average
    shared = torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    assert dan.affinity_loss(pooled, centres, shared).item() == pytest.approx(3.5 / 4, rel=1e-5)


def test_partition_by_hand():
    # two heads, one feature: probabilities 0.8 and 0.2; variance with n - 1
    heads = torch.tensor([[[math.log(0.8)], [math.log(0.2)]]])
    variance = math.log(4) ** 2 / 2
    assert dan.partition_loss(heads).item() == pytest.approx(math.log(1 + 2 / variance), rel=1e-5)


def test_equal_heads_give_a_large_finite_loss_and_one_head_none():
    equal = torch.zeros(2, 4, 3).log_softmax(1).requires_grad_()
    found = dan.partition_loss(equal)
    assert 10 < found.item() < 20
    found.backward()
    assert torch.isfinite(equal.grad).all()
    assert dan.partition_loss(torch.rand(2, 1, 3)).item() == 0


# EAC


def test_the_mean_of_a_map_is_its_logit_without_bias():
    torch.manual_seed(0)
    network = Plain(PlainConfig(crop_px=64, dropout=0)).train()
    output = network(torch.rand(2, 3, 64, 64))
    cams = output.auxiliary["cams"]
    assert cams.shape == (2, 8, 4, 4)
    logits = cams.mean((2, 3)) + network.head[-1].bias
    assert torch.allclose(logits, output.logits, atol=1e-5)
    assert not network.eval()(torch.rand(1, 3, 64, 64)).auxiliary


def test_mirrored_maps_agree_and_others_do_not():
    maps = torch.tensor([[[[1.0, 2.0, 4.0]]]])
    assert eac.consistency_loss(maps, torch.tensor([[[[4.0, 2.0, 1.0]]]])).item() == 0
    # against (4, 2, 1): 9 + 0 + 9 over three cells
    assert eac.consistency_loss(maps, maps).item() == pytest.approx(6)


def test_the_loss_is_cross_entropy_and_five_times_consistency():
    first = Output(torch.zeros(1, 3), {"cams": torch.tensor([[[[1.0, 2.0, 4.0]]]])})
    wild = Output(torch.full((1, 3), 9.0), first.auxiliary)  # its logits are not used
    found = eac.loss(first, batch(ONE_HOT[:1], wild), eac.EacOptions())
    assert found.item() == pytest.approx(math.log(3) + 5 * 6)


def test_consistency_does_not_move_the_classifier():
    torch.manual_seed(0)
    network = Plain(PlainConfig(crop_px=32, dropout=0)).train()
    crops = torch.rand(2, 3, 32, 32)
    maps = [network(view).auxiliary["cams"] for view in (crops, eac.mirrored(crops))]
    loss = eac.consistency_loss(*maps)
    assert loss > 0
    loss.backward()
    assert network.head[-1].weight.grad is None and network.head[-1].bias.grad is None
    assert network.stem.conv2[0].weight.grad.abs().max() > 0


# what authors trained with


def test_published_schedules_and_optimisers():
    options = defaults("eac")
    step = [lr_factor(changed(options, schedule="step"), 4, n) for n in (0, 39, 40, 80)]
    assert step == pytest.approx([1, 1, 0.1, 0.01])
    down = [lr_factor(changed(options, schedule="exponential"), 4, n) for n in (0, 3, 4, 8)]
    assert down == pytest.approx([1, 1, 0.9, 0.81])
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.1}]
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW,
             "sam": torch.optim.AdamW}  # fmt: skip
    for name, kind in kinds.items():
        made = optimiser_of(groups, changed(options, optimiser=name))
        assert type(made) is kind
    assert optimiser_of(groups, changed(options, optimiser="sgd")).defaults["momentum"] == 0.9


def changed(options, **more):
    return dataclasses.replace(options, warmup=0, **more)
