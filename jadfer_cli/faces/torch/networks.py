"""CenterFace and SCRFD in PyTorch, for CUDA without ONNX Runtime's CUDA provider.

Called like their ONNX Runtime twins, several pictures at once, also with pictures that lie on
the device already. What lies below the threshold never leaves it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from jadfer_cli.errors import ModelError
from jadfer_cli.faces import centerface
from jadfer_cli.faces.torch.graph import TorchGraph
from jadfer_cli.records import Faces

if TYPE_CHECKING:
    from jadfer_cli.records import FloatArray, ImageArray

    Images = ImageArray | torch.Tensor  # uint8 (n, H, W, 3)


class _InTorch:
    """A graph on a device, in float32 on a CPU and float16 on CUDA."""

    def __init__(self, model: Any, device: str) -> None:
        self.device = torch.device(device)
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        graph = TorchGraph(model).eval().to(self.device, self.dtype)
        self.graph = graph.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def provider(self) -> str:
        """What runs it, for the metadata."""
        return f"PyTorch on {self.device}, {str(self.dtype).removeprefix('torch.')}"

    def run(self, images_rgb: Images, scale: float, mean: float) -> dict[str, torch.Tensor]:
        """The outputs for pictures (n, H, W, 3), as (value - mean) x scale."""
        pixels = torch.as_tensor(images_rgb).to(self.device)
        # (n, 3, H, W); its memory stays channels_last
        x = (pixels.permute(0, 3, 1, 2).float() - mean) * scale
        outputs: dict[str, torch.Tensor] = self.graph(x.to(self.dtype))
        return outputs


def _fetched(*values: torch.Tensor) -> list[FloatArray]:
    """Values (m,) or (m, k) of the same m places as float32 (m, k), in one copy to the CPU.

    Indices of a grid stay exact in float32.
    """
    flat = [(value if value.ndim > 1 else value[:, None]).float() for value in values]
    together = torch.cat(flat, 1).cpu().numpy()
    return np.split(together, np.cumsum([value.shape[1] for value in flat])[:-1], axis=1)


class TorchCenterFace(_InTorch):
    """CenterFace; see `centerface`."""

    def __init__(self, path: Path, device: str) -> None:
        import onnx

        super().__init__(onnx.load(str(path)), device)

    @torch.inference_mode()
    def __call__(self, images_rgb: Images, threshold: float) -> list[Faces]:
        """Faces in images (n, H, W, 3) with sides of 32 px times N, in their pixels, best first."""
        outputs = self.run(images_rgb, 1.0, 0.0)
        heat, log_size, offset, marks = (outputs[name].float() for name in centerface.OUTPUTS)
        image, row, column = (heat[:, 0] > threshold).nonzero(as_tuple=True)
        of, cells, scores, sizes, offsets, points = _fetched(
            image, torch.stack([row, column], 1), heat[image, :, row, column],
            *(values[image, :, row, column] for values in (log_size, offset, marks)),
        )  # fmt: skip
        shape = tuple(heat.shape[2:])
        return [
            centerface.faces_of_cells(
                cells[here].astype(int), scores[here, 0], sizes[here], offsets[here],
                points[here], shape,
            )
            for here in (of[:, 0] == i for i in range(len(images_rgb)))
        ]  # fmt: skip


class TorchScrfd(_InTorch):
    """SCRFD with five landmarks (Guo et al. 2022, arXiv 2105.04714), in InsightFace's layout."""

    def __init__(self, path: Path, device: str) -> None:
        """Load the file.

        Raises:
            ModelError: It is not laid out as SCRFD with five landmarks.
        """
        import onnx

        super().__init__(onnx.load(str(path)), device)
        names = self.graph.output_names
        if len(names) not in (9, 15):
            raise ModelError(f"{path} is not a face detector with five landmarks (SCRFD).")
        levels = len(names) // 3
        self._names = [names[i * levels : (i + 1) * levels] for i in range(3)]
        # three levels have two anchors a cell, five have one
        self._strides = (8, 16, 32, 64, 128)[:levels]
        self._anchors = 2 if levels == 3 else 1

    @torch.inference_mode()
    def __call__(self, images_rgb: Images, threshold: float) -> list[Faces]:
        """Faces in pictures (n, H, W, 3) with sides of 32 px times N, in their pixels."""
        n, height, width = images_rgb.shape[:3]
        outputs = self.run(images_rgb, 1 / 128, 127.5)
        scores, boxes, marks = (
            torch.cat([outputs[name].float().reshape(n, -1, k) for name in names], 1)
            for names, k in zip(self._names, (1, 4, 10), strict=True)
        )
        centres, strides = self._grid(height, width)
        image, place = (scores[:, :, 0] >= threshold).nonzero(as_tuple=True)
        centre, stride = centres[place], strides[place, None]
        reach = boxes[image, place] * stride  # left, top, right, bottom of the centre
        corners = torch.cat([centre - reach[:, :2], centre + reach[:, 2:]], 1)
        points = (marks[image, place].view(-1, 5, 2) * stride[:, None] + centre[:, None]).flatten(1)
        of, all_scores, boxes_px, marks_px = _fetched(image, scores[image, place], corners, points)
        result = []
        for i in range(n):
            here = of[:, 0] == i
            faces = Faces(boxes_px[here], all_scores[here, 0], marks_px[here].reshape(-1, 5, 2))
            keep = centerface.suppress(faces.boxes_px, faces.scores, centerface.SCRFD_NMS_IOU)
            result.append(faces.take(keep))
        return result

    def _grid(self, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Centres (m, 2) and strides (m,) of all anchors, in the order of the outputs."""
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
