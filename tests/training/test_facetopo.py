"""FaceTopoNet: the tree against SciPy and Prim, the walk, landmarks in crops, what is learned."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from training.test_ferplus import face_set
from training.test_relabelling import with_meshes

from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.expression.networks.facetopo import (
    Facetopo,
    FacetopoConfig,
    preorder,
    sampled,
    spanning_tree,
)
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.landmarker import MODEL, Landmarker
from jadfer_cli.options import FaceOptions
from jadfer_cli.training import loop
from jadfer_cli.training.recipe_options import defaults
from jadfer_cli.training.recipes import Batch, facetopo
from jadfer_cli.training.start import Start


def strengths(seed, n=12):
    drawn = np.random.default_rng(seed).normal(size=(n, n))
    return drawn + drawn.T


def prim(strength, root):
    """Prim's algorithm for the maximum spanning tree, as in a textbook."""
    inside, links = {root}, set()
    while len(inside) < len(strength):
        a, b = max(
            ((i, j) for i in inside for j in range(len(strength)) if j not in inside),
            key=lambda link: strength[link],
        )
        inside.add(b)
        links.add(frozenset((a, b)))
    return links


@pytest.mark.parametrize("seed", range(5))
def test_the_tree_is_prims_and_weighs_as_scipys(seed):
    strength = strengths(seed)
    tree = spanning_tree(strength, maximum=True)
    assert np.array_equal(tree, tree.T) and tree.sum() == 2 * 11
    assert {frozenset(link) for link in np.argwhere(tree).tolist()} == prim(strength, seed)
    weight = strength[tree].sum() / 2
    # SciPy on distances; a tree of N nodes has N - 1 links, so a constant changes nothing else
    far = 100 - strength
    np.fill_diagonal(far, 0)
    assert 11 * 100 - weight == pytest.approx(minimum_spanning_tree(far).sum())
    least = spanning_tree(strength, maximum=False)
    assert np.array_equal(least, spanning_tree(-strength, maximum=True))
    assert strength[least].sum() < strength[tree].sum()


def test_equal_and_zero_strengths_give_a_whole_tree():
    for value in (0.0, 1.0):
        assert spanning_tree(np.full((6, 6), value), maximum=True).sum() == 2 * 5


def test_the_walk_by_hand():
    # 0 - 1 (0.5), 0 - 2 (0.9), 2 - 3 (0.1), 2 - 4 (0.7)
    strength = np.zeros((5, 5))
    for a, b, value in ((0, 1, 0.5), (0, 2, 0.9), (2, 3, 0.1), (2, 4, 0.7)):
        strength[a, b] = strength[b, a] = value
    assert preorder(strength > 0, strength, 0) == ([0, 2, 4, 3, 1], [0, 0, 2, 2, 0])


@pytest.mark.parametrize("seed", range(5))
def test_parents_come_before_children(seed):
    strength = strengths(seed)
    tree = spanning_tree(strength, maximum=True)
    order, parents = preorder(tree, strength, 3)
    assert sorted(order) == list(range(12)) and (order[0], parents[0]) == (3, 3)
    for i in range(1, 12):
        assert parents[i] in order[:i] and tree[order[i], parents[i]]


@pytest.mark.parametrize("seed", range(3))
def test_other_numbers_for_the_nodes_change_nothing(seed):
    strength = strengths(seed)
    new = np.random.default_rng(seed + 100).permutation(12)  # node i is now new[i]
    old = np.argsort(new)
    renamed = strength[np.ix_(old, old)]
    order, parents = preorder(spanning_tree(strength, maximum=True), strength, 2)
    order2, parents2 = preorder(spanning_tree(renamed, maximum=True), renamed, int(new[2]))
    assert [int(new[node]) for node in order] == order2
    assert [int(new[node]) for node in parents] == parents2


def small(**more):
    torch.manual_seed(0)
    return Facetopo(FacetopoConfig(crop_px=32, width=8, hidden=8, **more))


def test_the_network_does_not_depend_on_the_order_of_its_landmarks():
    network, renamed = small().eval(), small().eval()
    new = torch.from_numpy(np.random.default_rng(0).permutation(36))
    old = new.argsort()
    renamed.config = dataclasses.replace(renamed.config, root=int(new[29]))
    renamed.links.data = network.links.data[old][:, old]
    last = renamed.positions.maps[3]
    last.weight.data, last.bias.data = last.weight.data[old], last.bias.data[old]
    crops = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(network(crops).logits, renamed(crops).logits, atol=1e-5)


def test_the_random_tree_is_a_control_that_is_not_learned():
    learned, random = small(), small(tree="random")
    other = small(tree="random", tree_seed=1)
    before = {name: net.walk() for name, net in (("learned", learned), ("random", random))}
    assert before["learned"] != before["random"] != other.walk()
    for network in (learned, random):
        network.links.data = torch.randn(36, 36)
    assert learned.walk() != before["learned"]
    assert random.walk() == before["random"]


def test_sampling_by_hand_and_against_grid_sample():
    features = torch.arange(4.0).view(1, 1, 2, 2)  # 0 1 / 2 3, centres at 1/4 and 3/4
    at = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]])
    assert sampled(features, at)[0, :, 0].tolist() == pytest.approx([0, 1, 1.5, 2])
    torch.manual_seed(0)
    features, at = torch.rand(2, 5, 14, 14), torch.rand(2, 9, 2)
    expected = torch.nn.functional.grid_sample(
        features, 2 * at[:, :, None] - 1, padding_mode="border", align_corners=False
    )[..., 0].transpose(1, 2)
    assert torch.allclose(sampled(features, at), expected, atol=1e-5)


def test_positions_are_where_the_maps_peak():
    network = small()
    weights = torch.full((1, 36, 4, 4), -50.0)
    weights[0, :, 1, 2] = 50.0
    network.positions.maps = torch.nn.Identity()
    assert network.positions(weights)[0, 0].tolist() == pytest.approx([2.5 / 4, 1.5 / 4])


def test_the_scores_do_not_move_the_landmarks():
    network = small(dropout=0).train()
    network(torch.rand(4, 3, 32, 32)).logits.square().sum().backward()
    assert all(p.grad is None for p in network.positions.parameters())
    assert network.links.grad.abs().sum() > 0


# landmarks in crops


def test_landmarks_in_crops_by_hand():
    points = torch.full((2, 36, 2), 20.0)
    points[:, 0] = torch.tensor([10.0, 30])  # outer brow, left in the image
    points[:, 1] = torch.tensor([30.0, 30])  # and right
    points[:, 35] = torch.tensor([20.0, 60])  # chin, below the crop
    doubled = torch.tensor([[2.0, 0, 0], [0, 2, 0]])
    mirrored = torch.tensor([[-2.0, 0, 100], [0, 2, 0]])  # x: 100 - 2 x
    found = facetopo.in_crops(points, torch.stack([doubled, mirrored]), torch.tensor(100.0))
    assert found[0, 0].tolist() == pytest.approx([0.2, 0.6])
    assert found[0, 35].tolist() == pytest.approx([0.4, 1.0])
    # mirrored: the right brow, at 100 - 60 = 40, is now the left one
    assert found[1, 0].tolist() == pytest.approx([0.4, 0.6])
    assert found[1, 1].tolist() == pytest.approx([0.8, 0.6])


def test_mirrored_points_are_an_involution():
    mirrored = list(facetopo.MIRRORED)
    assert [mirrored[i] for i in mirrored] == list(range(36))
    assert len(set(facetopo.POINTS)) == 36 and facetopo.POINTS[29] == 1  # the root: nose tip
    for left, right in facetopo.PAIRS:
        i = facetopo.POINTS.index(left)
        assert facetopo.POINTS[mirrored[i]] == right


def test_missing_landmarks_cost_nothing():
    points = torch.full((2, 36, 2), 50.0)
    points[1] = float("nan")
    positions = torch.full((2, 36, 2), 0.7, requires_grad=True)
    output = Output(torch.zeros(2, 8), {"positions": positions, "crop_px": torch.tensor(100.0)})
    placements = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]] * 2)
    batch = Batch(torch.eye(8)[:2], torch.tensor([0, 1]), {"points_px": points}, 0, 1,
                  placements=placements)  # fmt: skip
    total = facetopo.loss(output, batch, facetopo.FacetopoOptions(position_weight=2))
    assert total.item() == pytest.approx(np.log(8) + 2 * 0.2, rel=1e-5)
    total.backward()
    assert not positions.grad[1].any() and torch.isfinite(positions.grad).all()


def test_meshes_are_needed_and_those_of_absent_faces_ignored():
    with pytest.raises(TrainingError, match="has no face meshes"):
        facetopo.statistics(face_set(6))
    faces = with_meshes(face_set(6))
    points = facetopo.statistics(faces)["points_px"]
    assert points.shape == (6, 36, 2) and points[1].isnan().all()
    assert points[0, 29].tolist() == faces.meshes.points_px[0, 1, :2].tolist()


def options_of(**more):
    base = defaults("facetopo")
    network = dataclasses.replace(base.network, crop_px=32, width=8, hidden=16, **more)
    return dataclasses.replace(
        base, network=network, epochs=1, batch_size=8, workers=0, frozen_blocks=14
    )


def test_another_number_of_landmarks_is_an_option_error():
    with pytest.raises(OptionError, match=r"network\.landmarks must be 36, not 30"):
        loop.Trainer(options_of(landmarks=30), Start(), torch.device("cpu"),
                     with_meshes(face_set(24)), "")  # fmt: skip


@pytest.mark.slow
def test_the_loop_trains_it_on_flipped_and_turned_crops(tmp_path):
    calls = loop.Callbacks(evaluate=lambda logits, _: {"score": float(logits.mean())})
    network = loop.train(options_of(), with_meshes(face_set(24)), face_set(6, seed=1), tmp_path,
                         start=Start(), callbacks=calls)  # fmt: skip
    assert isinstance(network, Facetopo)


@pytest.mark.slow
def test_the_head_learns_positions_that_follow_the_face():
    """Bright spots at random places: predicted positions follow them, a fixed guess cannot."""
    torch.manual_seed(0)
    network = small(landmarks=2, root=0)
    optimiser = torch.optim.Adam(network.positions.parameters(), 0.02)

    def draw(n):
        cells = torch.randint(0, 14, (n, 2, 2))
        fine = 0.1 * torch.rand(n, 128, 14, 14)
        for i in range(n):
            for k in range(2):
                fine[i, k, cells[i, k, 1], cells[i, k, 0]] += 3
        return fine, (cells + 0.5) / 14

    for _ in range(150):
        fine, truth = draw(16)
        optimiser.zero_grad()
        (network.positions(fine) - truth).abs().mean().backward()
        optimiser.step()
    fine, truth = draw(64)
    network.eval()
    with torch.inference_mode():
        error = (network.positions(fine) - truth).abs().mean().item()
    assert error < 0.05 < (truth - truth.mean(0)).abs().mean().item()


@pytest.mark.data
def test_pairs_are_mirror_images_on_a_real_face(shared):
    """The mesh of a mirrored picture is the mirrored mesh with left and right exchanged."""
    pytest.importorskip("ai_edge_litert")
    import av

    with av.open(str(shared / "clips" / "single_face.mp4")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    finder = Landmarker(shared / "models" / MODEL)
    detector = load_detector(FaceOptions(detector="centerface"), 1)
    meshes = []
    for picture in (image, np.ascontiguousarray(image[:, ::-1])):
        meshes.append(finder.find(picture, detector.detect(picture).landmarks_px[:1]).points_px[0])
    plain, mirrored = (mesh[list(facetopo.POINTS), :2] for mesh in meshes)
    mirrored[:, 0] = image.shape[1] - mirrored[:, 0]
    size = np.ptp(plain, axis=0).max()
    apart = np.linalg.norm(plain - mirrored[list(facetopo.MIRRORED)], axis=1) / size
    assert apart.max() < 0.05, apart
