"""FaceTopoNet: cross-entropy, and landmarks of MediaPipe for the head that predicts them.

Kolahdouzi et al. 2022, arXiv 2209.06322; `expression.networks.facetopo` says what was chosen and
what differs. The loss adds the mean distance, in units of the crop's side and by coordinate,
between predicted landmarks and those of the face landmarker, found once per training image and
moved into each crop. In a mirrored crop left and right landmarks are exchanged, so a landmark
always lies on the same side of the crop. Annotation needs no landmarker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.expression.losses import soft_cross_entropy
from jadfer_cli.expression.networks.base import Network, Output
from jadfer_cli.expression.networks.facetopo import Facetopo
from jadfer_cli.faces.landmarker import PRESENT
from jadfer_cli.training.recipes import Batch, Recipe

if TYPE_CHECKING:
    from jadfer_cli.training.faceset import FaceSet

# Points of MediaPipe's mesh, each with its mirror image: brows, eyes, wings of the nose, lips,
# cheeks, jaw (left and right in the image).
PAIRS = (
    (70, 300), (105, 334), (107, 336), (33, 263), (133, 362), (159, 386), (145, 374), (98, 327),
    (61, 291), (39, 269), (181, 405), (50, 280), (205, 425), (172, 397),
)  # fmt: skip
# On the middle line: bridge, tip and base of the nose, lips from top to bottom, chin.
MIDDLE = (168, 1, 2, 0, 13, 14, 17, 152)
POINTS = (*(point for pair in PAIRS for point in pair), *MIDDLE)
# Where each of POINTS is found in the mirror image.
MIRRORED = (*(i ^ 1 for i in range(2 * len(PAIRS))), *range(2 * len(PAIRS), len(POINTS)))


@dataclass(frozen=True)
class FacetopoOptions:
    """Options of the loss.

    Raises:
        OptionError: A value is out of range.
    """

    position_weight: float = 5.0  # of the predicted landmarks

    def __post_init__(self) -> None:
        if not (math.isfinite(self.position_weight) and self.position_weight >= 0):
            raise OptionError(f"position_weight must be at least 0, not {self.position_weight}.")


def statistics(faces: FaceSet) -> dict[str, torch.Tensor]:
    """The landmarks of each training face, (n, 36, 2) in pixels of its picture; NaN if missing.

    Raises:
        TrainingError: The faces have no meshes.
    """
    if faces.meshes is None:
        raise TrainingError(
            f"{faces.name} has no face meshes, which this recipe takes landmarks from.",
            "Attach them with `training.meshes.find_meshes`; `jadfer train` does so itself.",
        )
    points = faces.meshes.points_px[:, POINTS, :2].copy()
    points[faces.meshes.presence < PRESENT] = np.nan
    return {"points_px": torch.from_numpy(points)}


def prepare(network: Network, statistics: Mapping[str, torch.Tensor]) -> None:
    """Checks that the network predicts these landmarks.

    Raises:
        OptionError: It has another number of them.
    """
    assert isinstance(network, Facetopo)
    if network.config.landmarks != len(POINTS):
        raise OptionError(
            f"network.landmarks must be {len(POINTS)}, not {network.config.landmarks}."
        )


def in_crops(
    points_px: torch.Tensor, placements: torch.Tensor, crop_px: torch.Tensor
) -> torch.Tensor:
    """Landmarks in crops, in units of their side, kept within 0 and 1.

    Args:
        points_px: (B, N, 2), in pixels of the pictures, in the order of POINTS.
        placements: (B, 2, 3), from pixels of the pictures to those of the crops.
        crop_px: Side of the crops.
    """
    linear = placements[:, :, :2]  # (B, 2, 2)
    moved = points_px @ linear.transpose(1, 2) + placements[:, None, :, 2]
    flipped = torch.linalg.det(linear) < 0  # (B,)
    moved = torch.where(flipped[:, None, None], moved[:, list(MIRRORED)], moved)
    return (moved / crop_px).clamp(0, 1)  # NaN stays NaN


def loss(output: Output, batch: Batch, options: FacetopoOptions) -> torch.Tensor:
    """Soft cross-entropy + weighted mean distance of the landmarks, by coordinate."""
    total = soft_cross_entropy(output.logits, batch.targets)
    if options.position_weight:
        positions = output.auxiliary["positions"].float()
        assert batch.placements is not None
        known = batch.statistics["points_px"][batch.indices.to(positions.device)]
        truth = in_crops(known, batch.placements, output.auxiliary["crop_px"])
        found = torch.isfinite(truth)
        apart = (positions - truth.nan_to_num()).abs() * found
        total = total + options.position_weight * apart.sum() / found.sum().clamp_min(1)
    return total


RECIPE = Recipe(
    architecture="facetopo",
    title="FaceTopoNet",
    source="a reconstruction from the abstract, on predicted landmarks",
    citation="""@misc{Kolahdouzi2022,
  author = {Kolahdouzi, Mojtaba and Sepas-Moghaddam, Alireza and Etemad, Ali},
  title  = {{FaceTopoNet}: Facial Expression Recognition using Face Topology Learning},
  year   = {2022},
  note   = {arXiv:2209.06322}
}""",
    kind="reconstruction",
    needs=("face_landmarker.task",),
    loss=loss,
    options=FacetopoOptions,
    statistics=statistics,
    prepare=prepare,
)
