"""PyTorch is imported only where it computes: that takes half the time of a short run."""

import subprocess
import sys

import pytest

from jadfer_cli.expression import networks

CODE = """
import sys
from jadfer_cli.common import claim_process
claim_process()
from jadfer_cli.options import AnnotateOptions, ModelOptions
from jadfer_cli.pipeline.annotator import Annotator
annotator = Annotator(AnnotateOptions(model=ModelOptions(device="cpu", engine=sys.argv[1])))
import numpy as np
p = annotator.networks.predictor.probabilities(np.full((1, 112, 112, 3), 99, np.uint8))
print("TORCH", "torch" in sys.modules, *np.round(p[0], 3))
"""


def start(engine: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", CODE, engine], capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split("TORCH ")[1]


@pytest.mark.slow
def test_a_cached_graph_needs_no_torch_and_scores_the_same():
    start("onnxruntime")  # exports the graph unless it is cached
    with_torch, without = start("torch").split(), start("onnxruntime").split()
    assert (with_torch[0], without[0]) == ("True", "False")
    assert with_torch[1:] == without[1:]


LISTING = """
import sys
from jadfer_cli.expression import networks
from jadfer_cli.training import recipes
names = networks.names()
print(names, recipes.names(), [networks.facts(name)["title"] for name in names])
print("TORCH", "torch" in sys.modules)
"""


def test_networks_and_recipes_are_listed_and_described_without_torch():
    result = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "jadfer" in result.stdout and "JADFER" in result.stdout
    assert result.stdout.endswith("TORCH False\n")


def test_facts_read_from_the_source_are_those_of_the_record():
    for name in networks.names():
        kind = networks.load(name)
        found = {"title": kind.title, "source": kind.source, "citation": kind.citation}
        assert networks.facts(name) == found and kind.title and kind.source
        assert kind.config().architecture == name


CHECKING = """
import sys
from jadfer_cli.expression import build, networks
for name in networks.names():
    kind = networks.load(name)
    with build._without_values():
        state = kind.build(kind.config()).state_dict()
    build._check_shapes(kind.build, kind.config(), state)
    print(name, {tensor.device.type for tensor in state.values()})
print("COMPILER", "torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_the_shapes_of_a_file_are_checked_without_memory_and_without_pytorchs_compiler():
    """Importing it takes two seconds of a core."""
    result = subprocess.run([sys.executable, "-c", CHECKING], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    *checked, last = result.stdout.splitlines()
    assert checked == [f"{name} {{'meta'}}" for name in networks.names()]
    assert last == "COMPILER False"
