"""A small network that follows a face: where its five landmarks are now, and if it is still there.

It sees one grey crop around the landmarks of the frame before, and returns them for this frame,
the probability that the crop shows a face, and the error to expect. It costs about a hundredth of
a search in the whole frame. `jadfer train-follower` trains it (`training/follower_session`).
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import weights_folder
from jadfer_cli.errors import ModelError
from jadfer_cli.faces.align import TEMPLATE, similarity
from jadfer_cli.runtime import onnx_session_options

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray, ImageArray

INPUT_PX = 64
MARGIN = 1.6  # side of the crop, in units of the aligned face's
FACE_PX = INPUT_PX / MARGIN
_OFFSET_PX = (INPUT_PX - FACE_PX) / 2
# where the landmarks of an undisturbed face lie in the crop
CROP_TEMPLATE: FloatArray = (TEMPLATE * np.float32(FACE_PX) + np.float32(_OFFSET_PX)).astype(
    np.float32
)
CROP_TEMPLATE.setflags(write=False)
INTEROCULAR_PX = float(CROP_TEMPLATE[1, 0] - CROP_TEMPLATE[0, 0])
FILE = "jadfer-follower.onnx"
SHA256 = "5bec7f06b39e1114960610622a0a038beaff1893d741625d94e078129283542e"  # of the shipped file
INPUT, OUTPUTS = "crops", ("landmarks", "presence", "error")


class Followed(NamedTuple):
    """What the network says about n faces.

    Attributes:
        landmarks_px: float32 (n, 5, 2), in pixels of the frame.
        presence: float32 (n,), probability that the crop shows the face.
        error: float32 (n,), expected mean error of the landmarks, in interocular distances.
    """

    landmarks_px: FloatArray
    presence: FloatArray
    error: FloatArray


def placement(landmarks_px: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The maps (n, 2, 3) from the frame to the crops of faces with landmarks (n, 5, 2)."""
    matrices = similarity(landmarks_px, 1).astype(np.float64) * FACE_PX
    matrices[:, :, 2] += _OFFSET_PX
    return matrices


def moved(points: npt.ArrayLike, matrices: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points (n, k, 2) under maps (n, 2, 3)."""
    result: npt.NDArray[np.float64] = (
        np.asarray(points, np.float64) @ matrices[:, :, :2].transpose(0, 2, 1)
        + matrices[:, None, :, 2]
    )
    return result


def inverted(matrices: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The maps (n, 2, 3) from the crops to the frame."""
    turn = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([turn, -turn @ matrices[:, :, 2:]], axis=2)


def grey_crop(image: ImageArray, matrix: npt.NDArray[np.float64]) -> ImageArray:
    """One grey crop, uint8 (INPUT_PX, INPUT_PX); black beyond the image's edges.

    Args:
        image: uint8 (height, width, 3) in RGB, or (height, width) in grey.
        matrix: (2, 3), image to crop.
    """
    import cv2

    height, width = image.shape[:2]
    corners = np.array([[[0, 0], [INPUT_PX, 0], [0, INPUT_PX], [INPUT_PX, INPUT_PX]]], np.float64)
    there = moved(corners, inverted(matrix[None]))[0]
    low, high = there.min(0), there.max(0)
    # Large faces are first averaged over k x k pixels, so that bilinear samples do not alias.
    k = max(int(1 / math.sqrt(max(abs(float(np.linalg.det(matrix[:, :2]))), 1e-12))), 1)
    x0, y0 = (max(math.floor(value) - k, 0) for value in low)
    x1, y1 = (
        min(math.ceil(value) + k, side) for value, side in zip(high, (width, height), strict=True)
    )
    x1, y1 = x0 + (x1 - x0) // k * k, y0 + (y1 - y0) // k * k
    if x1 <= x0 or y1 <= y0:
        return np.zeros((INPUT_PX, INPUT_PX), np.uint8)
    piece = image[y0:y1, x0:x1]
    grey = cv2.cvtColor(piece, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else piece
    if k > 1:
        grey = cv2.resize(grey, ((x1 - x0) // k, (y1 - y0) // k), interpolation=cv2.INTER_AREA)
    fine = matrix.copy()
    fine[:, 2] += fine[:, :2] @ (x0, y0)
    fine[:, :2] *= k
    # OpenCV puts pixel centres at whole numbers, these maps at halves.
    fine[:, 2] += 0.5 * fine[:, :2].sum(axis=1) - 0.5
    crop = cv2.warpAffine(grey, fine, (INPUT_PX, INPUT_PX), flags=cv2.INTER_LINEAR)
    return np.asarray(crop, np.uint8)


class Follower:
    """The network in ONNX Runtime, with one batch for all faces of a frame.

    Args:
        path: The exported network.
        threads: CPU threads.

    Raises:
        ModelError: The file is missing or not a follower.
    """

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        hint = (
            "`follower` is network, detector, or an .onnx file of `jadfer train-follower`. If "
            "network itself is damaged, install jadfer again."
        )
        try:
            data = path.read_bytes()
            self._session = onnxruntime.InferenceSession(
                data, onnx_session_options(threads), providers=["CPUExecutionProvider"]
            )
            names = tuple(value.name for value in self._session.get_outputs())
        except Exception as error:  # protobuf, onnx and ONNX Runtime each raise their own
            raise ModelError(
                f"The face follower {path} cannot be loaded ({error}).", hint
            ) from error
        if names != OUTPUTS:
            raise ModelError(f"{path} is not a face follower.", hint)
        self._name, self._sha256 = path.name, hashlib.sha256(data).hexdigest()

    def info(self) -> dict[str, str]:
        """The file's name and sha256, for the metadata."""
        return {"name": self._name, "sha256": self._sha256}

    def __call__(self, image_rgb: ImageArray, landmarks_px: npt.ArrayLike) -> Followed:
        """Find faces again near where they were, or are expected.

        Args:
            image_rgb: uint8 (height, width, 3).
            landmarks_px: (n, 5, 2), n >= 1.
        """
        matrices = placement(landmarks_px)
        crops = np.stack([grey_crop(image_rgb, matrix) for matrix in matrices])
        points, presence, error = self._session.run(OUTPUTS, {INPUT: crops[:, None]})
        landmarks = moved(points, inverted(matrices)).astype(np.float32)
        return Followed(landmarks, presence, error)


def load_follower(name: str) -> Follower | None:
    """Load the network that the option `follower` names.

    Args:
        name: "network" for the shipped one, an .onnx file, or "detector" for none.

    Raises:
        ModelError: The file is missing or not a follower.
    """
    if name == "detector":
        return None
    path = weights_folder() / FILE if name == "network" else Path(name)
    follower = Follower(path, threads=1)  # too small to gain from several threads
    if name == "network" and follower.info()["sha256"] != SHA256:
        raise ModelError(
            f"The face follower {path} is damaged: its sha256 is {follower.info()['sha256']}, not "
            f"{SHA256}.",
            "Install jadfer again: pip install --force-reinstall jadfer-cli",
        )
    return follower
