"""Cached ONNX graphs are invalidated by every change of what shaped them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tolerances import SAME_MACHINE

from jadfer_cli.expression import checkpoint, engines, networks
from jadfer_cli.options import ModelOptions
from jadfer_cli.runtime import settle


def test_editing_a_networks_source_gives_another_graph(tmp_path, monkeypatch):
    model = checkpoint.load()
    before = engines.graph_key(model)
    assert engines.graph_key(model) == before
    copy = tmp_path / "networks"
    shutil.copytree(Path(networks.__file__).parent, copy)
    monkeypatch.setattr(networks, "__path__", [str(copy)])
    assert engines.graph_key(model) == before  # contents count, not the path
    for name in (f"{model.architecture}.py", "stems.py", "base.py"):
        text = (copy / name).read_text()
        (copy / name).write_text(text + "\n# edited\n")
        assert engines.graph_key(model) != before, name
        (copy / name).write_text(text)
    monkeypatch.setattr("importlib.metadata.version", lambda package: "0.0")
    assert engines.graph_key(model) != before


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_threads_that_share_a_batch_give_the_scores_of_one_in_its_order(n):
    model = checkpoint.load()
    crops = np.random.default_rng(n).integers(0, 256, (n, 112, 112, 3), np.uint8)
    alone, shared = (
        engines.make(model, settle(ModelOptions(device="cpu", precision="fp32", threads=threads)))
        for threads in (1, 3)
    )
    assert np.abs(alone(crops) - shared(crops)).max() <= SAME_MACHINE
    assert n == 1 or np.ptp(alone(crops), axis=0).max() > 100 * SAME_MACHINE
