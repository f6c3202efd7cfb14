"""What every network promises: gradients, batches, files and the ONNX engine."""

import dataclasses

import numpy as np
import pytest
import torch
from tolerances import SAME_MACHINE

from jadfer_cli.expression import checkpoint, networks
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.runtime import Runtime

# sizes of the config that make a network small, where it has them
SMALL = {
    "crop_px": 32, "width": 32, "heads": 2, "hidden": 8, "depth": 2, "paths": 2, "map_hidden": 8,
    "context_layers": 1, "interaction_layers": 1, "features": 8,
}  # fmt: skip


def small(name: str, *, seed: int = 0, **more):
    """A small network of random weights, with batch statistics as after training."""
    config = networks.load(name).config()
    known = {f.name for f in dataclasses.fields(config)}
    changed = {key: value for key, value in SMALL.items() if key in known} | more
    torch.manual_seed(seed)
    network = networks.load(name).build(dataclasses.replace(config, **changed))
    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0  # statistics of this one batch; random ones would hide the faces
    with torch.no_grad():
        network.train()(torch.rand(8, 3, network.config.crop_px, network.config.crop_px))
    for norm in norms:
        norm.momentum = 0.1
    return network


@pytest.mark.parametrize("name", networks.names())
def test_a_batch_of_two_is_two_batches_of_one(name):
    network, crops = small(name).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        together = network(crops).logits.softmax(-1)
        alone = torch.cat([network(crop[None]).logits for crop in crops]).softmax(-1)
    assert together.shape == (2, 8) and torch.isfinite(together).all()
    assert torch.allclose(together, alone, atol=SAME_MACHINE)
    assert (together[0] - together[1]).abs().max() > 0.01  # the faces matter


@pytest.mark.parametrize("name", networks.names())
def test_all_that_follows_the_fine_map_is_in_score(name):
    network, crops = small(name).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        fine = network.fine(crops)
        assert torch.equal(network.score(fine).logits, network(crops).logits)
    assert fine.shape[1:] == (network.stem.fine_channels, 4, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", networks.names())
def test_a_saved_network_scores_the_same_in_the_onnx_engine(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = small(name).eval()
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, network, temperature=0.7)
    model = checkpoint.load(str(path))
    assert model.architecture == name
    for key, tensor in model.build().state_dict().items():
        assert torch.equal(tensor, network.state_dict()[key]), key
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    with torch.no_grad():
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        expected = (network(images).logits / 0.7).softmax(-1).numpy()
    for engine in ("onnxruntime", "torch"):
        score = Predictor(model, Runtime("cpu", "CPU", "fp32", 1, engine, 1)).probabilities
        assert np.abs(score(crops) - expected).max() < SAME_MACHINE, engine
        # another batch size than the exported one
        assert np.abs(score(crops[:1]) - expected[:1]).max() < SAME_MACHINE, engine
