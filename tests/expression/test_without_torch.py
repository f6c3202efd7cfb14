"""PyTorch is loaded only where it computes: a short run would spend half of its time on that."""

import subprocess
import sys

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


def test_a_graph_that_is_kept_needs_no_torch_and_scores_the_same():
    start("onnxruntime")  # makes the graph, if none is kept
    with_torch, without = start("torch").split(), start("onnxruntime").split()
    assert (with_torch[0], without[0]) == ("True", "False")
    assert with_torch[1:] == without[1:]


def test_stems_of_the_config_are_those_that_there_are():
    from jadfer_cli.expression.networks.config import STEM_NAMES
    from jadfer_cli.expression.networks.stems import STEMS

    assert set(STEM_NAMES) == set(STEMS)
