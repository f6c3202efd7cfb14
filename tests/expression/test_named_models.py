"""Several shipped models: the default is the first, earlier ones load by their name."""

import json
import shutil

import pytest
import safetensors.torch

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import ModelError
from jadfer_cli.expression import checkpoint

OLD, NEW = "jadfer-compact-0.4", "jadfer-compact"


@pytest.fixture
def two_models(tmp_path, monkeypatch):
    """The shipped weights under the name of a release, and a successor with other tensors."""
    shipped = checkpoint.load("default")
    table = json.loads((checkpoint.weights_dir() / "registry.json").read_text())
    entry = table["models"][table["default"]]
    shutil.copy(shipped.entry.path, tmp_path / f"{OLD}.safetensors")
    network = shipped.build()
    next(iter(network.parameters())).data += 0.25
    new = tmp_path / f"{NEW}.safetensors"
    checkpoint.save(new, network, temperature=1.5, metrics={}, scores=shipped.scores)
    successor = {**entry, "file": new.name, "sha256": file_sha256(new), "earlier_sha256": []}
    models = {OLD: {**entry, "file": f"{OLD}.safetensors"}, NEW: successor}
    (tmp_path / "registry.json").write_text(json.dumps({"default": NEW, "models": models}))
    monkeypatch.setattr(checkpoint, "weights_dir", lambda: tmp_path)
    return shipped, entry


@pytest.mark.slow
def test_earlier_weights_load_by_name_and_are_known_by_their_hashes(two_models):
    shipped, entry = two_models
    old, default = checkpoint.load(OLD), checkpoint.load("default")
    assert (old.entry.name, default.entry.name) == (OLD, NEW)
    assert safetensors.torch.load(old.data).keys() == safetensors.torch.load(shipped.data).keys()
    assert old.sha256 == shipped.sha256 != default.sha256
    # results made with the earlier file are still those of the earlier weights
    assert checkpoint.shipped_metrics(entry["sha256"]) == shipped.metrics
    current = checkpoint.current_hashes()
    assert all(current[sha256] == old.sha256 for sha256 in entry["earlier_sha256"])
    with pytest.raises(ModelError) as caught:
        checkpoint.load("jadfer-compact-0.3")
    assert OLD in caught.value.hint and NEW in caught.value.hint


@pytest.mark.slow
def test_a_model_has_a_shorter_name(two_models):
    place = checkpoint.weights_dir() / "registry.json"
    table = json.loads(place.read_text())
    table["models"][OLD]["alias"] = "old"
    place.write_text(json.dumps(table))
    assert checkpoint.load("old").entry.name == OLD  # results hold the full name
    with pytest.raises(ModelError, match="There is no model named fresh"):
        checkpoint.load("fresh")
    with pytest.raises(ModelError):
        checkpoint.load("")  # the other model has no alias
