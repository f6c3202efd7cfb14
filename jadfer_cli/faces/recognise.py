"""Recognise faces: an ArcFace network turns an aligned face into an embedding.

Faces of one person have embeddings that point the same way; their cosine is the score of
identity. Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition"
(CVPR). The network is a file that the user names or a pack of InsightFace; jadfer brings none.

Embeddings identify people. They stay in memory, unless the user asks for a file of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import file_sha256, require_opencv
from jadfer_cli.errors import ModelError
from jadfer_cli.faces.align import similarity, warp
from jadfer_cli.faces.landmarker import models_folder
from jadfer_cli.faces.packs import INSIGHTFACE_TERMS, PACKS, find_recogniser, packs_folder
from jadfer_cli.runtime import onnx_session_options

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray, ImageArray

INPUT_PX = 112
# InsightFace's `arcface_dst`, in the unit square: left eye, right eye, nose, mouth corners.
ARCFACE_TEMPLATE: FloatArray = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
) / np.float32(INPUT_PX)
ARCFACE_TEMPLATE.setflags(write=False)
CITATION = """@inproceedings{Deng2019,
  author    = {Deng, Jiankang and Guo, Jia and Xue, Niannan and Zafeiriou, Stefanos},
  title     = {ArcFace: Additive Angular Margin Loss for Deep Face Recognition},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2019}
}"""

_USER_FILE_TERMS = "not recorded: a file of the user's own"
_BATCH = 32  # faces per call


@dataclass(frozen=True)
class RecogniserInfo:
    """The recogniser in use, for the metadata.

    Attributes:
        name: The name of the pack, or the file name.
        path: The file that was loaded.
        sha256: SHA-256 of that file.
        terms: Licence of its weights, in words.
        dimensions: Length of an embedding.
        citation: BibTeX entry of the method.
    """

    name: str
    path: str
    sha256: str
    terms: str
    dimensions: int
    citation: str = CITATION


def choices() -> str:
    """The values that `--recogniser` takes, as a sentence for hints."""
    return (
        "Name an ArcFace .onnx file (112x112 pixels), a file in "
        f"{models_folder()}, or an installed InsightFace pack: `jadfer models fetch buffalo_s`."
    )


def find_weights(wanted: str) -> tuple[str, Path, str]:
    """Resolve a recogniser's name: a file, a file in jadfer's folder of models, or a pack.

    Returns:
        Its name, its path and the terms of its weights.

    Raises:
        ModelError: There is no such recogniser.
    """
    path = Path(wanted).expanduser()
    for candidate in (path, models_folder() / path, models_folder() / f"{path}.onnx"):
        if candidate.is_file():
            return candidate.name, candidate, _USER_FILE_TERMS
    if pack_path := find_recogniser(wanted):
        return wanted, pack_path, INSIGHTFACE_TERMS
    if wanted in PACKS:
        raise ModelError(
            f"The InsightFace pack {wanted} is not installed in {packs_folder()}, or its folder "
            "contains no recogniser.",
            f"Run `jadfer models fetch {wanted}`.",
        )
    raise ModelError(f"There is no recogniser {wanted}.", choices())


class Recogniser:
    """A loaded face recogniser. Call it from one thread at a time.

    Args:
        wanted: A file, a file in jadfer's folder of models, or a pack.
        threads: CPU threads.

    Attributes:
        info: Which recogniser it is.

    Raises:
        ModelError: It is missing, damaged, or not an ArcFace network.
    """

    def __init__(self, wanted: str, threads: int) -> None:
        require_opencv()
        name, path, terms = find_weights(wanted)
        self._session, self._scaled = _load(path, threads)
        self._input = self._session.get_inputs()[0].name
        try:
            example = np.zeros((1, INPUT_PX, INPUT_PX, 3), np.uint8)
            dimensions = self._run(example).shape[1]
        except Exception as error:  # ONNX Runtime raises its own
            raise _unsuitable(path) from error
        self.info = RecogniserInfo(name, str(path), file_sha256(path), terms, dimensions)

    def embed(self, image_rgb: ImageArray, landmarks_px: npt.ArrayLike) -> FloatArray:
        """Compute the embeddings of the faces in one image.

        Args:
            image_rgb: uint8 (height, width, 3).
            landmarks_px: (n, 5, 2), as in `records.Faces`.

        Returns:
            float32 (n, D), each of length 1.
        """
        matrices = similarity(landmarks_px, INPUT_PX, ARCFACE_TEMPLATE)
        return self.embed_crops(warp(image_rgb, matrices, INPUT_PX))

    def embed_crops(self, crops_rgb: ImageArray) -> FloatArray:
        """Compute the embeddings of crops that are aligned to `ARCFACE_TEMPLATE`.

        Args:
            crops_rgb: uint8 (n, 112, 112, 3).

        Returns:
            float32 (n, D), each of length 1.
        """
        parts = [self._run(crops_rgb[at : at + _BATCH]) for at in range(0, len(crops_rgb), _BATCH)]
        found = np.concatenate([np.empty((0, self.info.dimensions), np.float32), *parts])
        return unit(found)

    def _run(self, crops_rgb: ImageArray) -> FloatArray:
        pixels = crops_rgb.astype(np.float32).transpose(0, 3, 1, 2)  # (n, 3, 112, 112)
        if self._scaled:
            pixels = (pixels - 127.5) / 127.5
        (embeddings,) = self._session.run(None, {self._input: np.ascontiguousarray(pixels)})
        return np.asarray(embeddings, np.float32).reshape(len(crops_rgb), -1)


def unit(vectors: npt.ArrayLike) -> FloatArray:
    """Return vectors (n, D) scaled to length 1, float32; a zero vector stays zero."""
    values = np.asarray(vectors, np.float64)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    scaled: FloatArray = (values / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


def _load(path: Path, threads: int) -> tuple[Any, bool]:
    """Load a network; also return whether its pixels must be scaled to -1 to 1.

    As InsightFace does: networks converted from MXNet subtract and multiply themselves, in their
    first nodes.
    """
    import onnx
    import onnxruntime

    try:
        nodes = onnx.load(str(path), load_external_data=False).graph.node[:8]
        names = [node.name for node in nodes]
        subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
        multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
        session = onnxruntime.InferenceSession(
            str(path), onnx_session_options(threads), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # protobuf, onnx and ONNX Runtime each raise their own
        raise ModelError(
            f"The recogniser file {path} cannot be loaded; it is damaged or not an ONNX model.",
            choices(),
        ) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or list(inputs[0].shape[1:]) != [3, 112, 112]:
        raise _unsuitable(path)
    return session, not (subtracts and multiplies)


def _unsuitable(path: Path) -> ModelError:
    return ModelError(
        f"{path} is not a face recogniser: it should turn faces of 112x112 pixels into one "
        "embedding each.",
        choices(),
    )
