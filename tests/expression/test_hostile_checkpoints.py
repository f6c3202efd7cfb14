"""A checkpoint that is damaged or makes no sense never scores a face, and fails at once."""

import time

import hostile_checkpoints
import numpy as np
import pytest

from jadfer_cli.errors import ModelError
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.runtime import Runtime

pytestmark = pytest.mark.slow  # builds networks

RUNTIME = Runtime("cpu", "CPU", "fp32", 1, "torch", 4)
CROPS = np.full((2, 32, 32, 3), 99, np.uint8)
_LIMIT_S = 10  # far above what any takes, far below a network of 10^7 layers


def scores(data, path):
    path.write_bytes(data)
    return Predictor(checkpoint.load(str(path)), RUNTIME).probabilities(CROPS)


def refused(data, path):
    """The error; an array of scores, or any other exception, fails the test."""
    began = time.process_time()
    with pytest.raises(ModelError) as caught:
        scores(data, path)
    assert time.process_time() - began < _LIMIT_S
    message = caught.value.message
    assert str(path) in message and len(message) < 600 and message.isprintable()
    assert caught.value.hint
    return caught.value


def test_the_file_that_the_others_are_made_from_is_good(tmp_path):
    inner, tensors = hostile_checkpoints.contents()
    again = hostile_checkpoints.packed(
        hostile_checkpoints.json.dumps(inner), tensors, digest=True
    )  # packing by hand is not what is refused
    for data in (hostile_checkpoints.good(), again):
        p = scores(data, tmp_path / "good.safetensors")
        assert p.shape == (2, 8) and np.allclose(p.sum(1), 1)


@pytest.mark.parametrize("name", hostile_checkpoints.KINDS)
def test_a_hostile_checkpoint_is_refused(name, tmp_path):
    refused(hostile_checkpoints.KINDS[name](), tmp_path / "bad.safetensors")


def test_random_changes_never_give_other_scores(tmp_path):
    for seed in range(60):
        refused(hostile_checkpoints.mutation(seed), tmp_path / f"{seed}.safetensors")


def test_there_are_more_than_a_hundred_by_name_and_seed():
    names = [name for name, _ in hostile_checkpoints.make(150)]
    assert len(names) == 150 == len(set(names))
    assert len(hostile_checkpoints.KINDS) >= 100
