"""Action units of training faces, by proxy: blendshapes of the face landmarker.

A blendshape is not a FACS code. Each unit here is named after the nearest one, and its value is
the greatest of the blendshapes listed for it: of both sides, so that mirroring a face changes
nothing. Units 6 and 9 are left out: MediaPipe's blendshapes of cheeks and nose stayed below 0.1
in all of 361 validation faces of FER+, where the others exceed 0.2 in 1 to 68 % of the faces.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from jadfer_cli.errors import TrainingError
from jadfer_cli.faces.landmarker import PRESENT
from jadfer_cli.labels import BLENDSHAPES
from jadfer_cli.training.faceset import FaceSet

# FACS unit: blendshapes
UNITS: dict[str, tuple[str, ...]] = {
    "AU1": ("browInnerUp",),
    "AU2": ("browOuterUpLeft", "browOuterUpRight"),
    "AU4": ("browDownLeft", "browDownRight"),
    "AU5": ("eyeWideLeft", "eyeWideRight"),
    "AU7": ("eyeSquintLeft", "eyeSquintRight"),
    "AU10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "AU12": ("mouthSmileLeft", "mouthSmileRight"),
    "AU14": ("mouthDimpleLeft", "mouthDimpleRight"),
    "AU15": ("mouthFrownLeft", "mouthFrownRight"),
    "AU16": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "AU17": ("mouthShrugLower", "mouthShrugUpper"),
    "AU18": ("mouthPucker",),
    "AU20": ("mouthStretchLeft", "mouthStretchRight"),
    "AU22": ("mouthFunnel",),
    "AU24": ("mouthPressLeft", "mouthPressRight"),
    "AU26": ("jawOpen",),
    "AU28": ("mouthRollLower", "mouthRollUpper"),
    "AU43": ("eyeBlinkLeft", "eyeBlinkRight"),
}


def action_units(blendshapes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Values (n, 18) of the units of n faces with blendshapes (n, 52); NaN stays NaN."""
    columns = [[BLENDSHAPES.index(name) for name in names] for names in UNITS.values()]
    return np.stack([blendshapes[:, each].max(1) for each in columns], 1)


def active_units(faces: FaceSet, threshold: float) -> torch.Tensor:
    """Which units of each training face are active.

    Args:
        faces: n faces with meshes.
        threshold: Value from which a unit counts as active, 0 to 1.

    Returns:
        float (n, 18), 0 or 1; NaN for faces without a mesh.

    Raises:
        TrainingError: The faces have no meshes.
    """
    if faces.meshes is None:
        raise TrainingError(
            f"{faces.name} has no face meshes, which this recipe takes action units from.",
            "Attach them with `training.meshes.find_meshes`; `jadfer train` does so itself.",
        )
    units = action_units(faces.meshes.blendshapes)
    active = np.where(np.isnan(units), np.nan, units >= threshold)
    active[faces.meshes.presence < PRESENT] = np.nan
    return torch.from_numpy(active).float()


def conditional(active: torch.Tensor) -> torch.Tensor:
    """The graph of what occurs together: P(j | i), the share of faces with i that have j.

    Args:
        active: (n, N), 0 or 1, or shares such as votes; rows with NaN are left out.

    Returns:
        float (N, N), entry (i, j): sum of min(i, j) over sum of i; 0 where i never occurs.
    """
    known = active[torch.isfinite(active).all(1)]  # (m, N)
    # one column at a time: (m, N, N) would be large
    together = torch.stack([torch.minimum(known, column[:, None]).sum(0) for column in known.T])
    return together / known.sum(0).clamp_min(1e-12)[:, None]
