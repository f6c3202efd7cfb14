"""The digest in the header: of shipped and own files; files from before there was one."""

import json

import numpy as np
import pytest
from hostile_checkpoints import contents, good, packed

from jadfer_cli.errors import ModelError
from jadfer_cli.expression import checkpoint, header
from jadfer_cli.expression.checkpoint import registry


@pytest.mark.slow
def test_a_copy_of_the_shipped_file_with_one_flipped_bit_does_not_load(tmp_path):
    shipped = next(iter(registry().values()))
    data = shipped.path.read_bytes()
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(data)
    assert checkpoint.load(str(copy)).note == ""
    rng = np.random.default_rng(0)
    n_header = int.from_bytes(data[:8], "little")
    for at in (*rng.integers(8, n_header, 6), *rng.integers(n_header, len(data), 4), len(data) - 1):
        bad = bytearray(data)
        bad[int(at)] ^= 1 << int(rng.integers(8))
        copy.write_bytes(bad)
        with pytest.raises(ModelError, match=r"copy\.safetensors"):
            checkpoint.load(str(copy))


def test_the_shipped_file_tells_its_terms_and_history(tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(next(iter(registry().values())).path.read_bytes())
    loaded = checkpoint.load(str(copy))
    assert loaded.entry.terms == next(iter(registry().values())).terms
    training, starts = loaded.metrics["training"], []
    while start := training.get("start_model"):
        starts.append((start["name"], bool(start["sha256"])))
        training = start.get("training", {})
    assert starts[0] == ("jadfer-compact-0.4", True)
    assert starts[-1] == ("mobilefacenet_arcface.pt", True)


def test_the_digest_covers_names_shapes_types_and_header():
    inner, tensors = contents()
    plain = {k: header.Tensor(d, tuple(s), b) for k, (d, s, b) in tensors.items()}
    before = header.digest(inner, plain)
    name = "head.2.weight"
    t = plain[name]
    changes = [
        header.Tensor(t.dtype, t.shape[::-1], t.data),
        header.Tensor("I32", t.shape, t.data),
        header.Tensor(t.dtype, t.shape, t.data[::-1]),
    ]
    found = {header.digest(inner, plain | {name: changed}) for changed in changes}
    renamed = {("x" if key == name else key): tensor for key, tensor in plain.items()}
    found |= {header.digest(inner, renamed), header.digest(inner | {"terms": "x"}, plain)}
    assert before not in found and len(found) == 5


def test_a_file_without_a_digest_loads_with_a_note(tmp_path, monkeypatch):
    inner, tensors = contents()
    path = tmp_path / "old.safetensors"
    del inner["architecture"], inner["terms"]  # as jadfer 0.2 wrote it
    path.write_bytes(packed(json.dumps(inner, sort_keys=True), tensors))
    loaded = checkpoint.load(str(path))
    assert "damage to it cannot be detected" in loaded.note and loaded.architecture == "jadfer"
    shipped = checkpoint.ModelEntry("x", path, "0" * 64, earlier_sha256=(loaded.sha256,))
    monkeypatch.setattr(checkpoint, "registry", lambda: {"x": shipped})
    assert checkpoint.load(str(path)).note == (
        "These are the weights x as an earlier jadfer shipped them."
    )


def test_a_file_of_jadfer_0_5_still_loads_and_its_damage_is_noticed(tmp_path):
    inner, tensors = contents()
    plain = {k: header.Tensor(d, tuple(s), b) for k, (d, s, b) in tensors.items()}
    inner["sha256"] = header._old_digest(inner, plain)
    data = packed(json.dumps(inner, sort_keys=True), tensors)
    path = tmp_path / "old.safetensors"
    path.write_bytes(data)
    assert checkpoint.load(str(path)).note == ""
    path.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    with pytest.raises(ModelError, match="are damaged: they differ from what was written"):
        checkpoint.load(str(path))


@pytest.mark.parametrize(
    ("name", "content", "says", "hints"),
    [
        ("text.mp4", b"hello", "is not a file of weights: those end in .safetensors", "Available"),
        ("net.pt", b"\x80\x04", "is not a file of weights", "start of training"),
        ("w.safetensors", b"hello", "is not a jadfer checkpoint", ".safetensors file written by"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_called_that(tmp_path, name, content, says, hints):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        checkpoint.load(str(tmp_path / name))
    assert says in caught.value.message and hints in caught.value.hint
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ModelError, match=r"folder\.safetensors is not a file"):
        checkpoint.load(str(tmp_path / "folder.safetensors"))


def test_scores_that_are_no_numbers_are_an_error(tmp_path):
    import torch

    from jadfer_cli.expression.predict import Predictor
    from jadfer_cli.runtime import Runtime

    path = tmp_path / "good.safetensors"
    path.write_bytes(good())
    predictor = Predictor(checkpoint.load(str(path)), Runtime("cpu", "CPU", "fp32", 1, "torch", 4))
    for value in (float("nan"), float("inf"), -float("inf")):
        predictor.engine = lambda crops, value=value: torch.tensor(
            [[value] + [0.0] * 7] * len(crops)
        ).numpy()
        with pytest.raises(ModelError, match="gives scores that are not finite numbers"):
            predictor.probabilities(np.zeros((2, 32, 32, 3), np.uint8))
