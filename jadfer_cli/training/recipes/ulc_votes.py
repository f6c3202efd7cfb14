"""A control for `ulc-ag`: labels corrected with a graph of the expressions, without action units.

The nodes of the graph are the 8 expressions. A node is active as far as raters voted for it, and
P(j | i) is how often votes for i come with votes for j. It needs no face landmarker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.actions import conditional
from jadfer_cli.training.recipes import Batch, Recipe
from jadfer_cli.training.recipes.ulc_ag import prepare, relabel
from jadfer_cli.training.relabelling import CorrectionOptions, correction_loss

if TYPE_CHECKING:
    from jadfer_cli.training.faceset import FaceSet


def statistics(faces: FaceSet) -> dict[str, torch.Tensor]:
    """The share of votes of each training face, (n, 8), and the graph of co-votes (8, 8)."""
    votes = torch.from_numpy(faces.targets)
    return {"votes": votes, "graph": conditional(votes)}


def loss(output: Output, batch: Batch, options: CorrectionOptions) -> torch.Tensor:
    """Cross-entropy, rank loss, and the votes once more, in the graph branch."""
    votes = batch.statistics["votes"][batch.indices.to(output.logits.device)]
    return correction_loss(output, batch.targets, votes, options)


RECIPE = Recipe(
    architecture="ulc-votes",
    title="label correction by co-votes",
    source="a control of this program for ULC-AG, without action units",
    citation="",
    kind="control",
    needs=(),
    loss=loss,
    options=CorrectionOptions,
    statistics=statistics,
    prepare=prepare,
    relabel=relabel,
)
