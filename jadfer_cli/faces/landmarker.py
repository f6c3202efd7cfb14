"""MediaPipe's face landmarker: 478 landmarks and 52 blendshapes of each face, run by LiteRT.

A model file (`face_landmarker.task`, Apache-2.0) is a zip of TensorFlow Lite graphs. Two of them
are used: the mesh of a face crop, and the blendshapes of a mesh. Faces come from jadfer's own
detectors, so MediaPipe's detector and the package `mediapipe` are not needed.

Crops, input ranges and the order of points and names follow MediaPipe's own graphs
(mediapipe/tasks/cc/vision/face_landmarker). A mesh is found twice: in a square guessed from the
five landmarks of a detector, then in the square that MediaPipe would track, 1.5 times as large
as the mesh. The file is not bundled, and this module never accesses the network.

Faces are run one by one: the graphs take batches, but not in less time
(tests/bench/actions_speed.py). MediaPipe also smooths landmarks over time, which jadfer does not,
and its crops put pixel centres at whole numbers, which moves landmarks by up to half a pixel.
tests/bench/actions_reference.py shows that nothing else differs.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import owns_process
from jadfer_cli.errors import ModelError
from jadfer_cli.faces import canonical
from jadfer_cli.faces.canonical import CanonicalFace
from jadfer_cli.labels import BLENDSHAPES
from jadfer_cli.records import FloatArray, ImageArray

MODEL, MODEL_NAME = "face_landmarker.task", "face_landmarker"
TERMS = "Apache License 2.0 (Google, MediaPipe)"
# version float16/1, the only one published
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
MODEL_VARIABLE = "JADFER_FACE_LANDMARKER"
N_POINTS = 478
PRESENT = 0.5  # presence from which MediaPipe takes a mesh for that of a face

# Points of the mesh that the blendshapes' graph takes.
_BLENDSHAPE_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65,
    66, 67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136,
    144, 145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172,
    173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283,
    284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324,
    332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385,
    386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472,
    473, 474, 475, 476, 477,
)  # fmt: skip

_CROP_PX = 256
_CROP_FACTOR = 1.5  # side of the crop over that of the mesh
# outer corners of the eyes that are left and right in the image; they give the rotation
_EYE_CORNERS = (33, 263)
# Side and centre of a mesh, in units of the distance from eyes to mouth: means over the
# developers' clips (2.3 to 2.6, and 0.40 to 0.57). The second pass corrects the rest.
_MESH_SIDE, _MESH_CENTRE = 2.45, 0.48
_PROFILE = 1.1  # distance from eyes to mouth over that between the eyes, in a frontal face


@dataclass(frozen=True)
class FaceMeshes:
    """Meshes and blendshapes of n faces.

    Attributes:
        points_px: float32 (n, 478, 3): x and y in pixels of the image, z (depth, towards the
            camera negative) on the same scale; NaN where there is no mesh.
        presence: float32 (n,), probability that the crop shows a face.
        blendshapes: float32 (n, 52), 0 to 1, in the order of BLENDSHAPES; NaN where there is no
            mesh.
    """

    points_px: FloatArray
    presence: FloatArray
    blendshapes: FloatArray

    def __post_init__(self) -> None:
        n = len(self.presence)
        for array, shape in (
            (self.points_px, (n, N_POINTS, 3)),
            (self.blendshapes, (n, len(BLENDSHAPES))),
        ):
            if array.shape != shape:
                raise ValueError(f"expected an array of shape {shape}, got {array.shape}")

    @classmethod
    def missing(cls, n: int) -> FaceMeshes:
        """Faces without a mesh."""
        return cls(
            np.full((n, N_POINTS, 3), np.nan, np.float32),
            np.zeros(n, np.float32),
            np.full((n, len(BLENDSHAPES)), np.nan, np.float32),
        )

    def __len__(self) -> int:
        return len(self.presence)

    def take(self, which: npt.ArrayLike) -> FaceMeshes:
        """The faces at `which` (indices or a mask)."""
        index = np.asarray(which)
        return FaceMeshes(self.points_px[index], self.presence[index], self.blendshapes[index])


def models_folder() -> Path:
    """The folder of model files that jadfer does not bundle; it may not exist."""
    from platformdirs import user_data_path

    return user_data_path("jadfer") / "models"


def find_model(file: Path | None = None) -> Path:
    """Finds the model file.

    Args:
        file: Where it is; None for $JADFER_FACE_LANDMARKER, then the folder of models.

    Raises:
        ModelError: It is missing.
    """
    named = file or (Path(os.environ[MODEL_VARIABLE]) if os.environ.get(MODEL_VARIABLE) else None)
    path = named or models_folder() / MODEL
    if not path.is_file():
        raise ModelError(
            f"There is no face landmarker model at {path}.",
            f"Either run `jadfer models fetch {MODEL_NAME}`; or carry Google's {MODEL} here and "
            f"run `jadfer models add {MODEL}`, or set {MODEL_VARIABLE} to the file.",
        )
    return path


def check_available() -> None:
    """Checks that the model file and LiteRT are there, without loading them.

    Raises:
        ModelError: One is missing.
    """
    if importlib.util.find_spec("ai_edge_litert") is None:
        error = _no_litert("No module named 'ai_edge_litert'")
        try:
            find_model()
        except ModelError as other:  # name both at once: each alone would be the next error
            raise ModelError(
                f"{error.message} {other.message}", f"{error.hint} For the model: {other.hint}"
            ) from None
        raise error
    find_model()


def _no_litert(reason: object) -> ModelError:
    return ModelError(
        f"The face landmarker needs LiteRT, which cannot be loaded ({reason}).",
        "Either pip install 'jadfer-cli[actions]', or pip install ai-edge-litert.",
    )


class Landmarker:
    """Finds meshes and blendshapes of the faces in an image.

    Args:
        file: The model file; None to find it as `find_model` does.
        threads: CPU threads.

    Attributes:
        path: The model file.
        sha256: Its hash.

    Raises:
        ModelError: The file is missing or damaged, or LiteRT is not installed.
    """

    def __init__(self, file: Path | None = None, threads: int = 1) -> None:
        self.path = find_model(file)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise _no_litert(error) from error
        try:
            self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
            with zipfile.ZipFile(self.path) as archive:
                graphs = [
                    archive.read(f"{name}.tflite")
                    for name in ("face_landmarks_detector", "face_blendshapes")
                ]
                self._canonical = CanonicalFace.read(archive.read(canonical.FILE))
            self._mesh, self._shapes = (
                Interpreter(model_content=graph, num_threads=threads) for graph in graphs
            )
            with _native_stderr_hidden():
                for interpreter in (self._mesh, self._shapes):
                    interpreter.allocate_tensors()
        except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"{self.path} is not a readable face landmarker model ({error}).",
                f"Remove it, and run `jadfer models fetch {MODEL_NAME}`. Google's file has the "
                f"sha256 {MODEL_SHA256}.",
            ) from error

    def canonical_face(self) -> CanonicalFace:
        """The face that looks into the camera, from the model file."""
        return self._canonical

    def find(self, image_rgb: ImageArray, landmarks_px: npt.ArrayLike) -> FaceMeshes:
        """Meshes and blendshapes of the faces in one image.

        Args:
            image_rgb: uint8 (height, width, 3).
            landmarks_px: (n, 5, 2), as of a detector; a face with NaN gets no mesh.

        Returns:
            n meshes. A crop that shows no face has a low `presence`, but values nevertheless.
        """
        five = np.asarray(landmarks_px, np.float64)
        found = FaceMeshes.missing(len(five))
        for i, landmarks in enumerate(five):
            if np.isfinite(landmarks).all():
                points, _ = self._points(image_rgb, square_of_landmarks(landmarks))
                points, presence = self._points(image_rgb, square_of_mesh(points))
                found.points_px[i], found.presence[i] = points, presence
                found.blendshapes[i] = self._blendshapes(points)
        return found

    def _points(
        self, image_rgb: ImageArray, matrix: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], float]:
        """The mesh (478, 3) in image pixels, and its presence, by an image-to-crop map (2, 3)."""
        from jadfer_cli.faces import align

        crop_rgb = align.warp(image_rgb, matrix[None], _CROP_PX)
        pixels: FloatArray = crop_rgb.astype(np.float32) / np.float32(255)
        mesh, presence = _run(self._mesh, pixels)[:2]
        points = mesh.reshape(N_POINTS, 3).astype(np.float64)
        turn = np.linalg.inv(matrix[:, :2])
        points[:, :2] = (points[:, :2] - matrix[:, 2]) @ turn.T
        points[:, 2] *= np.sqrt(np.linalg.det(turn))
        return points, float(1 / (1 + np.exp(-presence.item())))

    def _blendshapes(self, points: npt.NDArray[np.float64]) -> FloatArray:
        """Blendshapes (52,) of a mesh (478, 3) in pixels.

        MediaPipe passes the mesh as it lies in the image; here it is turned upright first, as
        the coefficients of a tilted head would differ (by up to 0.26 after a quarter turn).
        """
        matrix = square_of_mesh(points)
        upright = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        chosen = upright[None, _BLENDSHAPE_POINTS].astype(np.float32)  # (1, 146, 2)
        shapes: FloatArray = _run(self._shapes, chosen)[0].reshape(len(BLENDSHAPES))
        return shapes


@contextlib.contextmanager
def _native_stderr_hidden() -> Iterator[None]:
    """Hides what native code prints, such as LiteRT's "INFO: Created ... delegate".

    Only in a process of jadfer's own: all threads share the file descriptor.
    """
    if not owns_process():
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _run(interpreter: Any, value: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """The outputs of a graph with one input, in their order."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def square_of_landmarks(landmarks_px: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The image-to-crop map (2, 3) of the square about a face with five landmarks (5, 2)."""
    eyes, mouth = landmarks_px[:2].mean(0), landmarks_px[3:].mean(0)
    across = landmarks_px[1] - landmarks_px[0]
    # in profile the eyes are close together, in a face seen from above eyes and mouth
    height = max(float(np.hypot(*(mouth - eyes))), _PROFILE * float(np.hypot(*across)), 1.0)
    return _square(eyes + _MESH_CENTRE * (mouth - eyes), across, _MESH_SIDE * height)


def square_of_mesh(points_px: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The image-to-crop map (2, 3) of the square about a mesh (478, 3), as MediaPipe tracks it."""
    low, high = points_px[:, :2].min(0), points_px[:, :2].max(0)
    across = points_px[_EYE_CORNERS[1], :2] - points_px[_EYE_CORNERS[0], :2]
    return _square((low + high) / 2, across, max(float((high - low).max()), 1.0))


def _square(
    centre: npt.NDArray[np.float64], across: npt.NDArray[np.float64], side_px: float
) -> npt.NDArray[np.float64]:
    """The map of a face of side `side_px` about `centre`, with `across` made horizontal."""
    angle = np.arctan2(across[1], across[0])
    scale = _CROP_PX / (_CROP_FACTOR * side_px)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.concatenate([turn, (_CROP_PX / 2 - turn @ centre)[:, None]], 1)
