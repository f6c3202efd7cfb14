"""CenterFace and SCRFD in PyTorch, which runs them on CUDA without a CUDA build of ONNX Runtime.

They are called like their counterparts in ONNX Runtime, with several images per call, and also
take images that are on the device already. Only faces above the threshold are copied back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from jadfer_cli.errors import ModelError
from jadfer_cli.faces import centerface, scrfd
from jadfer_cli.faces.boxes import suppress
from jadfer_cli.faces.torch.graph import TorchGraph
from jadfer_cli.records import Faces

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray, ImageArray

    Images = ImageArray | torch.Tensor  # uint8 (n, H, W, 3)


class _TorchNetwork:
    """A graph on a device, in float32 on a CPU and in float16 on CUDA."""

    fixed_size = None  # the graph is rebuilt with free dimensions

    def __init__(self, model: Any, device: str) -> None:
        self.device = torch.device(device)
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        graph = TorchGraph(model).eval().to(self.device, self.dtype)
        self.graph = graph.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def provider(self) -> str:
        """Device and precision, for the metadata."""
        return f"PyTorch on {self.device}, {str(self.dtype).removeprefix('torch.')}"

    def run(self, images_rgb: Images, scale: float, mean: float) -> dict[str, torch.Tensor]:
        """Run the graph on images (n, H, W, 3), normalised as (value - mean) x scale."""
        pixels = torch.as_tensor(images_rgb).to(self.device)
        # (n, 3, H, W), channels_last in memory
        x = (pixels.permute(0, 3, 1, 2).float() - mean) * scale
        outputs: dict[str, torch.Tensor] = self.graph(x.to(self.dtype))
        return outputs


def _to_cpu(*values: torch.Tensor) -> list[FloatArray]:
    """Copy tensors (m,) or (m, k) to the CPU in one transfer, as float32 (m, 1) or (m, k).

    Grid indices are small enough to be exact in float32.
    """
    columns = [(value if value.ndim > 1 else value[:, None]).float() for value in values]
    joined = torch.cat(columns, 1).cpu().numpy()
    return np.split(joined, np.cumsum([value.shape[1] for value in columns])[:-1], axis=1)


class TorchCenterFace(_TorchNetwork):
    """CenterFace; see `centerface`."""

    def __init__(self, path: Path, device: str) -> None:
        import onnx

        super().__init__(onnx.load(str(path)), device)

    @torch.inference_mode()
    def __call__(self, images_rgb: Images, threshold: float) -> list[Faces]:
        """Detect the faces in images (n, H, W, 3) whose sides are multiples of 32, best first."""
        outputs = self.run(images_rgb, 1.0, 0.0)
        heat, log_size, offset, marks = (outputs[name].float() for name in centerface.OUTPUTS)
        image, row, column = (heat[:, 0] > threshold).nonzero(as_tuple=True)
        image_of, cells, scores, sizes, offsets, points = _to_cpu(
            image, torch.stack([row, column], 1), heat[image, :, row, column],
            *(values[image, :, row, column] for values in (log_size, offset, marks)),
        )  # fmt: skip
        shape = tuple(heat.shape[2:])
        return [
            centerface.faces_of_cells(
                cells[here].astype(int), scores[here, 0], sizes[here], offsets[here],
                points[here], shape,
            )
            for here in (image_of[:, 0] == i for i in range(len(images_rgb)))
        ]  # fmt: skip


class TorchScrfd(_TorchNetwork):
    """SCRFD with five landmarks, in InsightFace's layout; see `scrfd`."""

    def __init__(self, path: Path, device: str) -> None:
        """Load the file.

        Raises:
            ModelError: Its outputs are not those of SCRFD with five landmarks.
        """
        import onnx

        super().__init__(onnx.load(str(path)), device)
        names = self.graph.output_names
        if len(names) not in (9, 15):
            raise ModelError(f"{path} is not a face detector with five landmarks (SCRFD).")
        levels = len(names) // 3
        self._names = [names[i * levels : (i + 1) * levels] for i in range(3)]
        # with three levels two anchors per cell, with five levels one
        self._strides = (8, 16, 32, 64, 128)[:levels]
        self._anchors = 2 if levels == 3 else 1

    @torch.inference_mode()
    def __call__(self, images_rgb: Images, threshold: float) -> list[Faces]:
        """Detect the faces in images (n, H, W, 3) whose sides are multiples of 32, best first."""
        n, height, width = images_rgb.shape[:3]
        outputs = self.run(images_rgb, 1 / 128, 127.5)
        scores, boxes, marks = (
            torch.cat([outputs[name].float().reshape(n, -1, k) for name in names], 1)
            for names, k in zip(self._names, (1, 4, 10), strict=True)
        )
        centres, strides = self._grid(height, width)
        image, anchor = (scores[:, :, 0] >= threshold).nonzero(as_tuple=True)
        centre, stride = centres[anchor], strides[anchor, None]
        # Distances from the centre to the left, top, right and bottom edges.
        edges = boxes[image, anchor] * stride
        corners = torch.cat([centre - edges[:, :2], centre + edges[:, 2:]], 1)
        points = (marks[image, anchor].view(-1, 5, 2) * stride[:, None] + centre[:, None]).flatten(
            1
        )
        image_of, all_scores, boxes_px, marks_px = _to_cpu(
            image, scores[image, anchor], corners, points
        )
        result = []
        for i in range(n):
            here = image_of[:, 0] == i
            faces = Faces(boxes_px[here], all_scores[here, 0], marks_px[here].reshape(-1, 5, 2))
            keep = suppress(faces.boxes_px, faces.scores, scrfd.NMS_IOU)
            result.append(faces.take(keep))
        return result

    def _grid(self, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Centres (m, 2) and strides (m,) of all anchors, in the order of the network's outputs."""
        centres, strides = [], []
        for stride in self._strides:
            rows, columns = (
                torch.arange(side // stride, device=self.device) for side in (height, width)
            )
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            cells = torch.stack([x, y], -1).reshape(-1, 2).repeat_interleave(self._anchors, 0)
            centres.append(cells.float() * stride)
            strides.append(torch.full((len(cells),), float(stride), device=self.device))
        return torch.cat(centres), torch.cat(strides)
