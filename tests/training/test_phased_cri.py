"""Coupling-regulation loss: LDAM and focal loss as special cases, the tangent, the phases."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.recipes import Batch
from jadfer_cli.training.recipes.phased_cri import (
    RECIPE,
    PhasedCriOptions,
    coupling_regulation,
    exponent,
    focal,
    margins,
    tangent,
)

COUNTS = torch.tensor([1600, 256, 81, 16])


def made(seed=0, n=64, k=4):
    generator = torch.Generator().manual_seed(seed)
    cosines = 2 * torch.rand(n, k, generator=generator) - 1
    classes = torch.randint(0, k, (n,), generator=generator)
    return cosines, classes, functional.one_hot(classes, k).float()


def ldam(cosines, classes, weights, scale):
    """LDAM as in its authors' code: a margin off the true cosine, then weighted cross-entropy."""
    m = COUNTS.double() ** -0.25
    m = m * (0.5 / m.max())
    reduced = cosines.clone().double()
    for i, c in enumerate(classes.tolist()):
        reduced[i, c] -= m[c]
    return functional.cross_entropy(scale * reduced, classes, weight=weights)


def test_margins_by_hand():
    # counts ** -1/4: 1/6.3246, 1/4, 1/3, 1/2; the last becomes 0.5
    assert margins(COUNTS, 0.5).tolist() == pytest.approx([0.158114, 0.25, 1 / 3, 0.5], abs=1e-6)


def test_without_focus_and_correction_it_is_ldam():
    plain = PhasedCriOptions(gamma=0, correction=0)
    for seed in range(3):
        cosines, classes, targets = made(seed)
        ours = coupling_regulation(30 * cosines, targets, COUNTS, scale=30, a=0, options=plain)
        assert ours.item() == pytest.approx(ldam(cosines, classes, None, 30).item(), rel=1e-5)
        # and with a = 1 LDAM with weights 1/n, as its deferred phase has
        late = coupling_regulation(30 * cosines, targets, COUNTS, scale=30, a=1, options=plain)
        weights = 1 / COUNTS.double()
        assert late.item() == pytest.approx(ldam(cosines, classes, weights, 30).item(), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_without_margin_at_scale_one_it_is_focal_loss(gamma):
    cosines, classes, targets = made()
    options = PhasedCriOptions(max_margin=0, gamma=gamma, correction=0)
    ours = coupling_regulation(cosines, targets, COUNTS, scale=1, a=0, options=options)
    p = cosines.double().softmax(-1)[range(len(classes)), classes]
    assert ours.item() == pytest.approx((-((1 - p) ** gamma) * p.log()).mean().item(), rel=1e-5)


def test_focal_loss_by_hand():
    # p = 1/2, gamma 2: (1/2)^2 * log 2
    assert focal(torch.tensor(0.5).log(), 2).item() == pytest.approx(0.25 * math.log(2))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("greatest", [0.0, 0.1])
def test_the_correction_is_the_tangent(gamma, greatest):
    q0, step, last = 0.05, 1e-5, torch.eye(4)[3:].double()

    def at(q, correction=q0):
        """The loss of an image of the smallest class, whose probability before the margin is q."""
        logits = torch.tensor([[(1 - q) / 3] * 3 + [q]], dtype=torch.float64).log()
        options = PhasedCriOptions(max_margin=greatest, gamma=gamma, correction=correction)
        return coupling_regulation(logits, last, COUNTS, scale=30, a=0, options=options).item()

    assert at(q0 - 1e-12) == pytest.approx(at(q0), rel=1e-9)  # continuous
    slope = (at(q0 + step, 0) - at(q0 - step, 0)) / (2 * step)  # of the loss without correction
    for q in (0.001, 0.02, 0.049):  # a straight line with that slope
        assert at(q) == pytest.approx(at(q0) + slope * (q - q0), rel=1e-6)
        assert at(q) < at(q, 0)
    assert at(0.3) == at(0.3, 0)


def test_the_tangent_by_hand():
    # gamma 0, no margin: -log q0 - (q - q0) / q0; with a margin of log 2: p0 = q0 / (2 - q0),
    # loss log(2 / q0 - 1), slope -1/q0 - 1/(2 - q0)
    q = torch.tensor([0.01, 0.01], dtype=torch.float64)
    found = tangent(q, torch.tensor([0.0, math.log(2)]), 0, 0.05)
    slope = 1 / 0.05 + 1 / 1.95
    assert found.tolist() == pytest.approx(
        [math.log(20) + 0.8, math.log(39) + 0.04 * slope], rel=1e-6
    )


def test_a_margin_does_not_make_a_small_class_an_outlier():
    """A rare face at chance pulls as hard as under LDAM; after the margin its p is 1e-7."""
    logits = torch.zeros(1, 4, requires_grad=True)
    coupling_regulation(
        logits, torch.eye(4)[3:], COUNTS, scale=30, a=0, options=PhasedCriOptions()
    ).backward()
    assert logits.grad[0, 3].item() == pytest.approx(-1, abs=1e-4)


def test_outliers_have_a_bounded_loss():
    logits = torch.tensor([[-30.0, 30.0, 0, 0]], requires_grad=True)
    targets = torch.eye(4)[:1]
    value = coupling_regulation(
        logits, targets, COUNTS, scale=30, a=0, options=PhasedCriOptions(max_margin=0)
    )
    # the tangent at p = 0 for gamma 1: 0.95 log 20 + 0.05 (log 20 + 0.95/0.05)
    assert value.item() == pytest.approx(math.log(20) + 0.95, rel=1e-5)
    value.backward()
    assert torch.isfinite(logits.grad).all()


def test_certain_images_have_finite_gradients():
    logits = torch.tensor([[300.0, -300, -300, -300]], requires_grad=True)
    coupling_regulation(
        logits, torch.eye(4)[:1], COUNTS, scale=30, a=1, options=PhasedCriOptions(gamma=0.5)
    ).backward()
    assert torch.isfinite(logits.grad).all()


def test_a_label_distribution_costs_its_share_of_each_class():
    cosines, _, _ = made(n=1)
    share = torch.tensor([[0.7, 0, 0, 0.3]])
    options = PhasedCriOptions()
    mixed, first, last = (
        coupling_regulation(30 * cosines, t, COUNTS, scale=30, a=0, options=options).item()
        for t in (share, torch.eye(4)[:1], torch.eye(4)[3:])
    )
    assert mixed == pytest.approx(0.7 * first + 0.3 * last, rel=1e-5)


def test_phases_by_hand():
    options = PhasedCriOptions()
    # 0 to epoch 60 of 100, linear to 1 at 80
    found = [exponent(e, 100, options) for e in (0, 59, 60, 65, 70, 80, 99)]
    assert found == pytest.approx([0, 0, 0, 0.25, 0.5, 1, 1])
    at_once = PhasedCriOptions(phase_begin=0, phase_end=0)
    assert exponent(0, 10, at_once) == 1


def test_the_recipe_uses_epoch_counts_and_scale():
    cosines, _, targets = made()
    output = Output(30 * cosines, {"scale": torch.tensor(30.0)})

    def at(epoch):
        batch = Batch(targets, torch.arange(64), {"class_counts": COUNTS}, epoch, 10)
        return RECIPE.loss(output, batch, PhasedCriOptions()).item()

    assert at(0) == at(6) != at(7) != at(8) == at(9)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_late_weights_raise_mean_recall_on_a_long_tail(seed):
    """A linear cosine classifier: the phases raise mean recall, by 0.06 to 0.20 for these seeds.

    Four Gaussian classes of 1,000, 200, 40 and 10 points, tested on equally many of each.
    """
    rng = np.random.default_rng(seed)
    sizes = (1000, 200, 40, 10)
    means = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0.6, 0.6]])

    def draw(counts):
        classes = np.repeat(np.arange(4), counts)
        x = means[classes] + rng.normal(0, 0.45, (len(classes), 3))
        return torch.tensor(x, dtype=torch.float32), torch.from_numpy(classes)

    (x, y), (x_test, y_test) = draw(sizes), draw((300,) * 4)
    targets, counts = functional.one_hot(y, 4).float(), torch.tensor(sizes)
    recall = {}
    for last in (0.0, 1.0):
        torch.manual_seed(seed)
        weight = torch.randn(4, 3, requires_grad=True)
        optimiser = torch.optim.Adam([weight], 0.02)
        options = PhasedCriOptions(last_exponent=last, max_margin=0.2)

        def logits(points, weight=weight):
            return 10 * functional.normalize(points, dim=1) @ functional.normalize(weight, dim=1).T

        for epoch in range(200):
            optimiser.zero_grad()
            coupling_regulation(
                logits(x), targets, counts, scale=10, a=exponent(epoch, 200, options),
                options=options,
            ).backward()  # fmt: skip
            optimiser.step()
        right = (logits(x_test).argmax(1) == y_test).float().view(4, 300).mean(1)
        recall[last] = right.tolist()
    assert np.mean(recall[1.0]) > np.mean(recall[0.0]) + 0.03, recall


def test_options_are_checked():
    for wrong in ({"gamma": -1}, {"correction": 1}, {"phase_begin": 0.9, "phase_end": 0.5}):
        with pytest.raises(OptionError):
            PhasedCriOptions(**wrong)
