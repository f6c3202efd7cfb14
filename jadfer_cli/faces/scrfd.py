"""SCRFD: the face detector of InsightFace's packs. The only module that imports insightface.

Guo et al. 2021, "Sample and Computation Redistribution for Efficient Face Detection"
(arXiv:2105.04714), with five landmarks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jadfer_cli.common import suppressed_output
from jadfer_cli.errors import ModelError
from jadfer_cli.records import Faces
from jadfer_cli.runtime import onnx_session_options

if TYPE_CHECKING:
    from jadfer_cli.records import ImageArray

NMS_IOU = 0.4  # as in InsightFace
CITATION = """@misc{Guo2021,
  author = {Guo, Jia and Deng, Jiankang and Lattas, Alexandros and Zafeiriou, Stefanos},
  title  = {Sample and Computation Redistribution for Efficient Face Detection},
  year   = {2021},
  note   = {arXiv:2105.04714}
}"""


class ScrfdNetwork:
    """SCRFD in ONNX Runtime, through InsightFace."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load the file.

        Args:
            path: An .onnx file.
            threads: CPU threads.

        Raises:
            ModelError: It is not a detector with five landmarks.
        """
        with suppressed_output():
            from insightface.model_zoo import get_model

            model = get_model(
                # InsightFace would look up a bare file name as a pack.
                str(path.absolute()),
                providers=["CPUExecutionProvider"],
                sess_options=onnx_session_options(threads),
                # Share one session across input sizes: by default each video size keeps its own.
                static_shape_sessions=False,
            )
        # InsightFace picks a class by the number of outputs; an unknown file gives None.
        if getattr(model, "taskname", None) != "detection" or not model.use_kps:
            raise ModelError(f"{path} is not a face detector with five landmarks (SCRFD).")
        model.nms_thresh = NMS_IOU
        self._model = model

    @property
    def provider(self) -> str:
        """The ONNX Runtime provider in use."""
        return str(self._model.session.get_providers()[0])

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Width and height fixed in the file, or None."""
        height, width = self._model.session.get_inputs()[0].shape[2:4]
        return (width, height) if isinstance(width, int) and isinstance(height, int) else None

    def __call__(self, images_rgb: ImageArray, threshold: float) -> list[Faces]:
        """Detect the faces in images (n, H, W, 3) of a size that the network takes."""
        return [self._detect(image_rgb, threshold) for image_rgb in images_rgb]

    def _detect(self, image_rgb: ImageArray, threshold: float) -> Faces:
        height, width = image_rgb.shape[:2]
        self._model.det_thresh = threshold
        # The image has the network's size already, so InsightFace neither scales nor pads.
        boxes, landmarks = self._model.detect(
            np.ascontiguousarray(image_rgb[:, :, ::-1]), input_size=(width, height)
        )
        boxes = boxes.astype(np.float32)
        return Faces(boxes[:, :4], boxes[:, 4], landmarks.astype(np.float32).reshape(-1, 5, 2))
