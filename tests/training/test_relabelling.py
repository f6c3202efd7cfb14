"""Uncertain label correction, its graph of action units, and valence and arousal beside it."""

import dataclasses

import numpy as np
import pytest
import torch
from training.test_ferplus import face_set

from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.expression import networks
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.expression.networks.ulc import Ulc
from jadfer_cli.faces.landmarker import FaceMeshes
from jadfer_cli.labels import BLENDSHAPES, LABELS
from jadfer_cli.training import loop, recipes
from jadfer_cli.training.actions import UNITS, action_units, active_units, conditional
from jadfer_cli.training.recipe_options import defaults
from jadfer_cli.training.recipes import Batch, mtac, ulc_ag
from jadfer_cli.training.recipes.ulc_ag import relabel
from jadfer_cli.training.relabelling import (
    CorrectionOptions,
    confident_faces,
    correction_loss,
    opinions,
    rank_loss,
    update_templates,
)
from jadfer_cli.training.start import Start


def with_meshes(faces, seed=0):
    """Faces whose blendshapes are random, and whose second has no mesh."""
    n = len(faces)
    rng = np.random.default_rng(seed)
    meshes = FaceMeshes(
        rng.uniform(5, 43, (n, 478, 3)).astype(np.float32),
        np.ones(n, np.float32),
        rng.uniform(0, 1, (n, 52)).astype(np.float32),
    )
    if n > 1:
        meshes.presence[1] = 0
    return dataclasses.replace(faces, meshes=meshes)


# ranking


def test_rank_loss_by_hand():
    # of 10 faces the upper 7 have a mean of 0.6, the others of 0.5: 0.15 - 0.1
    alpha = torch.tensor([0.5, 0.6, 0.5, 0.6, 0.6, 0.5, 0.6, 0.6, 0.6, 0.6])
    assert confident_faces(alpha, 0.7).tolist() == [a > 0.55 for a in alpha.tolist()]
    assert rank_loss(alpha, 0.7, 0.15).item() == pytest.approx(0.05)
    assert rank_loss(alpha, 0.7, 0.05).item() == 0
    assert rank_loss(alpha, 1.0, 0.15).item() == rank_loss(alpha, 0.0, 0.15).item() == 0


# templates and relabelling


def test_templates_by_hand():
    templates = torch.zeros(3, 2)
    targets = torch.tensor([[1.0, 0, 0], [0.8, 0.2, 0], [0, 0, 1]])
    update_templates(templates, torch.tensor([[1.0, 0], [3, 0], [0, 4]]), targets, 0.9)
    assert templates.tolist() == [[2, 0], [0, 0], [0, 4]]  # first means; none of class 1
    update_templates(templates, torch.tensor([[12.0, 10]]), targets[:1], 0.9)
    assert templates[0].tolist() == pytest.approx([3, 1])  # 0.9 (2, 0) + 0.1 (12, 10)


def test_opinions_by_hand():
    templates = torch.tensor([[1.0, 0], [0, 0], [0, 2]])
    found = opinions(torch.tensor([[3.0, 4]]), templates, tau=0.5)[0]
    # cosines 0.6 and 0.8; the class without a template gets nothing
    e = np.exp([0.6 / 0.5, 0.8 / 0.5])
    assert found.tolist() == pytest.approx([e[0] / e.sum(), 0, e[1] / e.sum()])


def made_output(semantic, alpha, templates):
    n = len(semantic)
    return Output(torch.zeros(n, 8), {"alpha": alpha, "semantic": semantic, "templates": templates})


def batch_of(targets, epoch=5):
    return Batch(targets, torch.arange(len(targets)), {}, epoch, 10)


def test_relabelling_by_hand():
    """Ten faces, seven confident ones of class 0 along x and y; three unsure ones."""
    semantic = torch.tensor([[1.0, 0]] * 7 + [[0.0, 1]] * 3)
    alpha = torch.tensor([0.9] * 7 + [0.1] * 3)
    targets = torch.eye(8)[[0] * 7 + [2] * 3]
    templates = torch.zeros(8, 2)
    templates[2, 1] = 1.0  # seen before
    output = made_output(semantic, alpha, templates)
    options = CorrectionOptions(relabel_rho=0.6, relabel_tau=0.5)
    found = relabel(output, batch_of(torch.eye(8)[[0] * 10]), options)
    assert torch.equal(found[:7], targets[:7])
    # cosines with the two templates: 0 and 1
    q = 1 / (1 + np.exp(1 / 0.5))
    for row in found[7:]:
        assert row[[0, 2]].tolist() == pytest.approx([0.4 + 0.6 * q, 0.6 * (1 - q)])
        assert row.sum().item() == pytest.approx(1)


def test_rho_zero_and_early_epochs_are_the_identity():
    torch.manual_seed(0)
    semantic, alpha = torch.randn(20, 4), torch.rand(20)
    targets = torch.rand(20, 8).softmax(1)
    for options, epoch in (
        (CorrectionOptions(relabel_rho=0), 5),
        (CorrectionOptions(relabel_from=0.6), 5),
    ):
        templates = torch.zeros(8, 4)
        output = made_output(semantic, alpha, templates)
        assert relabel(output, batch_of(targets, epoch), options) is targets
        assert templates.any()  # learned nevertheless
    changed = relabel(made_output(semantic, alpha, templates), batch_of(targets),
                      CorrectionOptions())  # fmt: skip
    assert (changed != targets).any(1).sum() == 20 - int(0.7 * 20)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_corrected_labels_beat_damaged_and_random_ones(share):
    """Faces of 8 clusters; some labels are flipped, and confidence knows nothing about them."""
    generator = torch.Generator().manual_seed(int(100 * share))
    centres = torch.randn(8, 12, generator=generator)
    templates = torch.zeros(8, 12)
    right = {"damaged": 0, "corrected": 0, "random": 0}
    n_unsure = 0
    for step in range(60):
        truth = torch.randint(0, 8, (64,), generator=generator)
        semantic = centres[truth] + 0.7 * torch.randn(64, 12, generator=generator)
        flipped = torch.rand(64, generator=generator) < share
        other = (truth + torch.randint(1, 8, (64,), generator=generator)) % 8
        damaged = torch.where(flipped, other, truth)
        alpha = torch.rand(64, generator=generator)
        output = made_output(semantic, alpha, templates)
        new = relabel(output, batch_of(torch.eye(8)[damaged]), CorrectionOptions(relabel_rho=0.7))
        unsure = ~confident_faces(alpha, 0.7)
        if step < 10:  # the templates are still moving
            continue
        shuffled = opinions(semantic, templates, 0.1)[:, torch.randperm(8, generator=generator)]
        random = 0.3 * torch.eye(8)[damaged] + 0.7 * shuffled
        n_unsure += int(unsure.sum())
        for name, labels in (
            ("damaged", damaged), ("corrected", new.argmax(1)), ("random", random.argmax(1)),
        ):  # fmt: skip
            right[name] += int((labels == truth)[unsure].sum())
    accuracy = {name: count / n_unsure for name, count in right.items()}
    assert accuracy["damaged"] == pytest.approx(1 - share, abs=0.05)
    assert accuracy["corrected"] > accuracy["damaged"] + 0.5 * share, accuracy
    assert accuracy["random"] < accuracy["damaged"], accuracy


# action units


def test_action_units_by_hand():
    shapes = np.zeros((2, 52), np.float32)
    shapes[0, BLENDSHAPES.index("mouthSmileLeft")] = 0.2
    shapes[0, BLENDSHAPES.index("mouthSmileRight")] = 0.6
    shapes[1, BLENDSHAPES.index("jawOpen")] = np.nan
    units = dict(zip(UNITS, action_units(shapes).T, strict=True))
    assert units["AU12"].tolist() == pytest.approx([0.6, 0])  # the stronger side
    assert np.isnan(units["AU26"][1]) and units["AU26"][0] == 0
    # mirroring a face exchanges its sides, which changes no unit
    sides = [name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")
             for name in BLENDSHAPES]  # fmt: skip
    random = np.random.default_rng(0).uniform(size=(3, 52)).astype(np.float32)
    mirrored = random[:, [BLENDSHAPES.index(side) for side in sides]]
    used = [name for names in UNITS.values() for name in names]
    assert len(used) == len(set(used))
    assert np.array_equal(action_units(mirrored), action_units(random))


def test_conditional_probabilities_by_hand():
    nan = float("nan")
    active = torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 1, 0], [nan, nan, nan]])
    # of 3 faces with the first 2 have the second; of 2 with the second both have the first
    assert conditional(active).tolist() == [
        pytest.approx([1, 2 / 3, 0]), pytest.approx([1, 1, 0]), [0, 0, 0],
    ]  # fmt: skip
    # co-votes: neutral 1/2 and happiness 1/2; all for neutral
    votes = torch.tensor([[0.5, 0.5], [1, 0]])
    assert conditional(votes).tolist() == [pytest.approx([1, 1 / 3]), pytest.approx([1, 1])]


def test_faces_without_a_mesh_are_unknown():
    faces = with_meshes(face_set(6))
    active = active_units(faces, 0.5)
    assert active.shape == (6, 18) and active[1].isnan().all()
    assert set(active[[0, 2, 3, 4, 5]].unique().tolist()) == {0, 1}
    with pytest.raises(TrainingError, match="has no face meshes") as caught:
        active_units(face_set(6), 0.5)
    assert "training.meshes.find_meshes" in caught.value.hint


def test_unknown_units_cost_nothing():
    torch.manual_seed(0)
    activity = torch.randn(4, 3, requires_grad=True)
    active = torch.tensor([[1.0, 0, 1], [float("nan")] * 3, [0, 0, 0], [1, 1, 1]])
    auxiliary = {"alpha": torch.rand(4), "activity": activity}
    output = Output(torch.zeros(4, 8), auxiliary)
    options = CorrectionOptions(rank_weight=0, activity_weight=1)
    total = correction_loss(output, torch.eye(8)[:4], active, options)
    known = torch.nn.functional.binary_cross_entropy_with_logits(
        activity[[0, 2, 3]], active[[0, 2, 3]]
    )
    assert total.item() == pytest.approx(np.log(8) + known.item(), rel=1e-5)
    total.backward()
    assert not activity.grad[1].any() and torch.isfinite(activity.grad).all()


def test_the_graph_has_rows_of_sum_one_and_every_node_for_a_neighbour():
    network = networks.load("ulc-votes").build(networks.load("ulc-votes").config(crop_px=32))
    conditional_p = torch.zeros(8, 8)
    conditional_p[0, 1] = 0.5
    network.set_graph(conditional_p)
    assert network.graph[0, :3].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert torch.equal(network.graph[1:], torch.eye(8)[1:])
    with pytest.raises(ValueError, match="the graph must be"):
        network.set_graph(torch.zeros(3, 3))


# valence and arousal


def test_concordance_by_hand():
    x = torch.tensor([[1.0, 0], [2, 1], [3, 5]])
    assert mtac.concordance(x, x).tolist() == pytest.approx([1, 1])
    assert mtac.concordance(x, -x + 4)[0].item() == pytest.approx(-1)  # mean 2 both
    # shifted by 1: 2 (2/3) / (2/3 + 2/3 + 1)
    assert mtac.concordance(x, x + 1)[0].item() == pytest.approx((4 / 3) / (4 / 3 + 1))
    constant = torch.ones(3, 2)
    assert mtac.concordance(constant, constant).tolist() == [0, 0]


def test_the_place_of_votes_by_hand():
    assert set(mtac.CIRCUMPLEX) == set(LABELS)
    votes = torch.zeros(1, 8)
    votes[0, LABELS.index("happiness")] = votes[0, LABELS.index("surprise")] = 0.5
    assert mtac.affect_of(votes)[0].tolist() == pytest.approx([0.6, 0.6])


# the recipes in the loop


def options_of(recipe, **own):
    base = defaults(recipe)
    network = dataclasses.replace(base.network, crop_px=32)
    return dataclasses.replace(
        base, network=network, own=dataclasses.replace(base.own, **own), epochs=2, batch_size=8,
        workers=0, frozen_blocks=14,
    )  # fmt: skip


def trained(recipe, folder, train_set, valid_set, **own):
    scored = []

    def evaluate(logits, faces):
        scored.append(faces.targets.copy())
        return {"score": float(logits.mean())}

    calls = loop.Callbacks(evaluate=evaluate)
    network = loop.train(options_of(recipe, **own), train_set, valid_set, folder, start=Start(),
                         callbacks=calls)  # fmt: skip
    return network, scored


@pytest.mark.slow
def test_only_training_targets_are_relabelled(tmp_path, monkeypatch):
    """Relabelling acts on batches of training: labels of every set stay as they are."""
    seen = []

    def noted(output, batch, options):
        new = relabel(output, batch, options)
        seen.append((batch.indices.tolist(), not torch.equal(new, batch.targets)))
        return new

    recipe = recipes.load("ulc-votes")
    monkeypatch.setattr(recipes, "load", lambda name: dataclasses.replace(recipe, relabel=noted))
    train_set, valid_set = face_set(24), face_set(12, seed=1)
    before = train_set.targets.copy(), valid_set.targets.copy()
    _, scored = trained("ulc-votes", tmp_path, train_set, valid_set, relabel_from=0)
    assert len(seen) == 4 and any(changed for _, changed in seen)
    assert all(index < 16 for indices, _ in seen for index in indices)  # the 16 that count
    assert np.array_equal(train_set.targets, before[0])
    assert np.array_equal(valid_set.targets, before[1])
    assert all(np.array_equal(targets, before[1]) for targets in scored)


@pytest.mark.slow
def test_mtac_without_its_task_is_ulc_ag_bit_for_bit(tmp_path):
    train_set, valid_set = with_meshes(face_set(24)), face_set(6, seed=1)
    ours, _ = trained("mtac", tmp_path / "mtac", train_set, valid_set, affect_weight=0.0)
    base, _ = trained("ulc-ag", tmp_path / "ulc", train_set, valid_set)
    theirs = base.state_dict()
    for name, tensor in ours.state_dict().items():
        if not name.startswith("affect."):
            assert torch.equal(tensor, theirs[name]), name
    other, _ = trained("mtac", tmp_path / "other", train_set, valid_set)
    assert not torch.equal(other.classifier.weight, base.classifier.weight)


@pytest.mark.slow
def test_graph_and_templates_are_saved_with_the_run(tmp_path):
    train_set, valid_set = with_meshes(face_set(24)), face_set(6, seed=1)
    network, _ = trained("ulc-ag", tmp_path, train_set, valid_set)
    assert isinstance(network, Ulc) and network.templates.any()
    expected = conditional(active_units(train_set.labelled()[0], ulc_ag.THRESHOLD))
    assert torch.allclose(network.graph[0, 1], expected[0, 1] / expected[0].sum(), atol=1e-6)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)["network"]
    assert saved["templates"].any() and not torch.equal(saved["graph"], torch.eye(18))


@pytest.mark.slow
def test_another_number_of_nodes_is_an_option_error():
    options = options_of("ulc-ag")
    options = dataclasses.replace(options, network=dataclasses.replace(options.network, nodes=5))
    with pytest.raises(OptionError, match=r"network\.nodes must be 18, not 5"):
        loop.Trainer(options, Start(), torch.device("cpu"), with_meshes(face_set(24)), "")


def test_options_are_checked():
    for wrong in ({"relabel_rho": 2}, {"relabel_tau": 0}, {"rank_weight": -1}):
        with pytest.raises(OptionError):
            CorrectionOptions(**wrong)
    with pytest.raises(OptionError):
        mtac.MtacOptions(affect_weight=-1)
