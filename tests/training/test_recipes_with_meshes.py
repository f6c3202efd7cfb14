"""The promises of every recipe, for those that take face meshes: with meshes made here."""

import pytest
import torch
from training import test_all_recipes as promises
from training.test_ferplus import face_set
from training.test_relabelling import with_meshes

from jadfer_cli.faces.landmarker import MODEL
from jadfer_cli.training import loop, recipes
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import State

NAMES = [name for name in recipes.names() if MODEL in recipes.facts(name)["needs"]]


def test_three_recipes_need_the_landmarker():
    assert NAMES == ["facetopo", "mtac", "ulc-ag"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, tmp_path, monkeypatch):
    monkeypatch.setattr(promises, "face_set", lambda n, seed=0: with_meshes(face_set(n, seed)))
    promises.test_a_run_that_was_stopped_ends_as_one_that_was_not(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "ulc-votes", "phased-cri"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gradient_reaches_every_parameter(name, precision):
    options = promises.small_options(name, frozen_blocks=None, precision=precision)
    faces = with_meshes(face_set(24)).labelled()[0]
    made = loop.Trainer(options, Start(), torch.device("cpu"), faces, "")
    made.train_mode()
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    placements = torch.tensor([[[0.7, 0, 0], [0, 0.7, 0]]] * 4)
    seen: dict[str, torch.Tensor] = {}
    for key, parameter in made.network.named_parameters():
        parameter.register_hook(lambda gradient, key=key: seen.__setitem__(key, gradient))
    made.step(images, torch.from_numpy(faces.targets[:4]), torch.arange(4), State(), placements)
    for key, parameter in made.network.named_parameters():
        assert key in seen and torch.isfinite(seen[key]).all(), key
        assert parameter.ndim < 2 or seen[key].abs().max() > 0, key


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mtac", "ulc-ag", "ulc-votes"])
def test_auxiliary_heads_are_not_exported(name, tmp_path):
    """The graph of the CPU engine holds neither nodes nor templates nor valence and arousal."""
    import onnx
    from expression.networks.test_all_networks import small

    from jadfer_cli.expression import checkpoint
    from jadfer_cli.expression.torch_engine import exported

    network = small(name).eval()
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, network)
    graph = onnx.load_from_string(exported(checkpoint.load(str(path)))).graph
    assert [output.name for output in graph.output] == ["logits"]
    shapes = [tuple(tensor.dims) for tensor in graph.initializer]
    assert (8, 512) in shapes  # the classifier
    extra = {"to_nodes", "graph", "templates", "affect", "activity"}
    for key, tensor in network.state_dict().items():
        if key.split(".")[0] in extra and tensor.ndim > 1 and key != "graph":
            assert tuple(tensor.shape) not in shapes, key
    assert sum(t.numel() for k, t in network.state_dict().items() if k.startswith("to_nodes"))
