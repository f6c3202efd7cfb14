"""ULC-AG: labels of uncertain faces corrected with a graph of action units (Liu et al. 2022).

arXiv 2204.11053 (RAF-DB 89.31, AffectNet 61.57 in its abstract). A reconstruction: of the paper
only the abstract was at hand. It names a weighted regularisation that highlights valid images,
graph convolutions over action units beside the expression branch, and relabelling of ambiguous
images by the similarity of their features to semantic templates. Ranking follows SCN's public
code; `training.relabelling` and `expression.networks.ulc` say what was chosen for the rest.

Different here: no FACS codes exist for the training images, so the action units are blendshapes
of MediaPipe's face landmarker above a threshold, found once per image (`training.actions`). Their
graph is P(j | i) in the training set. Classes are drawn as for every recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.networks.base import Network, Output
from jadfer_cli.expression.networks.ulc import Ulc
from jadfer_cli.training.actions import active_units, conditional
from jadfer_cli.training.recipes import Batch, Recipe
from jadfer_cli.training.relabelling import CorrectionOptions, correction_loss, relabelled

if TYPE_CHECKING:
    from jadfer_cli.training.faceset import FaceSet

THRESHOLD = 0.2  # from which a blendshape counts as active


@dataclass(frozen=True)
class UlcAgOptions(CorrectionOptions):
    """Options of uncertain label correction.

    Raises:
        OptionError: A value is out of range.
    """


def statistics(faces: FaceSet) -> dict[str, torch.Tensor]:
    """Which action units are active in each training face, (n, 18), and their graph (18, 18)."""
    active = active_units(faces, THRESHOLD)
    return {"active": active, "graph": conditional(active)}


def prepare(network: Network, statistics: Mapping[str, torch.Tensor]) -> None:
    """Gives the network its graph.

    Raises:
        OptionError: The network has another number of nodes.
    """
    assert isinstance(network, Ulc)
    try:
        network.set_graph(statistics["graph"])
    except ValueError as error:
        raise OptionError(
            f"network.nodes must be {len(statistics['graph'])}, not {network.config.nodes}."
        ) from error


def relabel(output: Output, batch: Batch, options: CorrectionOptions) -> torch.Tensor:
    """Mixes the templates' opinion into the targets of unsure faces; moves the templates."""
    return relabelled(output, batch.targets, batch.epoch / batch.epochs, options)


def loss(output: Output, batch: Batch, options: CorrectionOptions) -> torch.Tensor:
    """Cross-entropy, rank loss, and action units."""
    active = batch.statistics["active"][batch.indices.to(output.logits.device)]
    return correction_loss(output, batch.targets, active, options)


RECIPE = Recipe(
    architecture="ulc-ag",
    title="ULC-AG",
    source="a reconstruction from the abstract and the public code of SCN, with blendshapes for "
    "action units",
    citation="""@inproceedings{Liu2022ulcag,
  author    = {Liu, Yang and Zhang, Xingming and Kauttonen, Janne and Zhao, Guoying},
  title     = {Uncertain Label Correction via Auxiliary Action Unit Graphs for Facial Expression
               Recognition},
  booktitle = {26th International Conference on Pattern Recognition},
  year      = {2022},
  doi       = {10.1109/ICPR56361.2022.9956650},
  note      = {arXiv:2204.11053}
}""",
    kind="reconstruction",
    needs=("face_landmarker.task",),
    loss=loss,
    options=UlcAgOptions,
    statistics=statistics,
    prepare=prepare,
    relabel=relabel,
)
