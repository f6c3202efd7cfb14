"""A loaded face detector: faces in full frames, or in square regions around known boxes.

Every network gets the same input: the frame scaled so that its longer side is `detection_size`
(small frames are enlarged at most twofold), padded at the right and bottom to multiples of 32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from jadfer_cli.faces.letterbox import (
    Letterbox,
    apply_letterbox,
    fit_letterbox,
    inside_square,
    scale_to_fit,
    square_crop,
    to_frame,
)
from jadfer_cli.records import Crops, DetectorInfo, Faces
from jadfer_cli.runtime import BatchLimiter

if TYPE_CHECKING:
    from jadfer_cli.options import FaceOptions
    from jadfer_cli.records import FloatArray, ImageArray

# Maps uint8 RGB images (n, H, W, 3) and a score threshold to the faces of each image, in its
# pixels. A network on a PyTorch device takes the images as a tensor, too.
Detect = Callable[[Any, float], list[Faces]]

MAX_BATCH = 16  # frames per call, for a network that is faster on several
REGION_SIDES_PX = (96, 128, 160)  # input sizes for the squares around known faces
_GLANCE, _SMALLEST_GLANCE_PX = 0.5, 160  # resolution of a glance, relative to the full frame's
_MAX_REGION_COST = 0.7  # of the full frame's pixels; above it, detect in the full frame instead


class Network(Protocol):
    """A detection network that is ready to run."""

    @property
    def provider(self) -> str:
        """What runs it, for the metadata."""

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Width and height of the only input it takes; None if it takes any multiples of 32."""

    def __call__(self, images_rgb: Any, threshold: float, /) -> list[Faces]:
        """Detect the faces of each image; see `Detect`."""


class Detector:
    """A loaded face detector. Call it from one thread at a time.

    Attributes:
        info: Which detector it is, for the metadata.
        prefers_batches: True if several frames per call are faster than one.
        device: PyTorch device that full frames are copied to, or None if they stay on the CPU.
        batch_limiter: Limits the inputs per call; shrinks when GPU memory runs out.
    """

    def __init__(
        self,
        info: DetectorInfo,
        network: Detect,
        options: FaceOptions,
        fixed_size: tuple[int, int] | None = None,
        *,
        prefers_batches: bool = False,
        device: str | None = None,
    ) -> None:
        """Wrap a network.

        Args:
            info: Which detector it is.
            network: Maps uint8 RGB (n, H, W, 3) and a threshold to the Faces of each image.
            options: Input size, score threshold, smallest face.
            fixed_size: Width and height of the only input the network takes; None for any.
            prefers_batches: True if several frames per call are faster than one.
            device: PyTorch device on which frames are scaled and cropped, if any; `network`
                then takes tensors on that device.
        """
        self.info = info
        self.prefers_batches, self.device = prefers_batches, device
        self.batch_limiter = BatchLimiter(
            MAX_BATCH, "pictures", "Choose a smaller `detection_size`. "
        )
        self._network = network
        self._options = options
        self._fixed_size = fixed_size

    def detect(self, image_rgb: ImageArray) -> Faces:
        """Detect the faces in one frame.

        Args:
            image_rgb: uint8 (height, width, 3).

        Returns:
            Faces at or above the threshold, best first, in pixels of the frame. Boxes are
            clipped to the frame, landmarks are not. No value is NaN.
        """
        return self.detect_all([image_rgb])[0]

    def glance(self, image_rgb: ImageArray) -> Faces | None:
        """Detect the larger faces in one frame, at a quarter of the cost of `detect`.

        CenterFace sees nearly every face whose shorter side is 12 px or more in its input
        (tests/bench/detection_size.py).

        Returns:
            Faces as of `detect`; None if the network takes one input size only.
        """
        if self._fixed_size is not None:
            return None
        height, width = image_rgb.shape[:2]
        scale = _GLANCE * scale_to_fit(width, height, self._options.detection_size)
        longer_px = max(round(scale * max(width, height)), _SMALLEST_GLANCE_PX)
        box = fit_letterbox(width, height, longer_px)
        return self._on_network([image_rgb], box)[0]

    def detect_all(self, images_rgb: Sequence[ImageArray]) -> list[Faces]:
        """Detect the faces in several frames of equal size; see `detect`."""
        if self.device is not None:
            return [faces for faces, _ in self.detect_and_crop(images_rgb, None)]
        return self._on_network(images_rgb, self._letterbox_for(images_rgb))

    def _on_network(self, images_rgb: Sequence[ImageArray], box: Letterbox) -> list[Faces]:
        found = self._run_network([apply_letterbox(image_rgb, box) for image_rgb in images_rgb])
        return [self._to_frame(faces, box) for faces in found]

    def detect_and_crop(
        self, images_rgb: Sequence[ImageArray], crop_px: int | None
    ) -> list[tuple[Faces, Crops | None]]:
        """Detect the faces in several frames of equal size and crop them, all on the device.

        Only for a detector with a device. Each frame is copied there once, and that copy is
        freed before this returns.

        Args:
            images_rgb: uint8 (height, width, 3) each.
            crop_px: Side of the crops; None for no crops.

        Returns:
            For each frame its faces, as `detect` returns them, and their crops in the same
            order.
        """
        box = self._letterbox_for(images_rgb)
        # Copying and cropping are inside, so that a lack of memory halves them as well.
        found = self.batch_limiter.over(
            lambda batch: self._detect_on_device(batch, box, crop_px), images_rgb
        )
        return [pair for batch in found for pair in batch]

    def _detect_on_device(
        self, images_rgb: Sequence[ImageArray], box: Letterbox, crop_px: int | None
    ) -> list[tuple[Faces, Crops | None]]:
        from jadfer_cli.faces.torch.frames import DeviceFrames

        frames = DeviceFrames(images_rgb, str(self.device))
        found = self._network(frames.letterboxed(box), self._options.detection_threshold)
        per_frame = [self._to_frame(faces, box) for faces in found]
        if crop_px is None:
            return [(faces, None) for faces in per_frame]
        crops = frames.crops([faces.landmarks_px for faces in per_frame], crop_px)
        return list(zip(per_frame, crops, strict=True))

    def _letterbox_for(self, images_rgb: Sequence[ImageArray]) -> Letterbox:
        height, width = images_rgb[0].shape[:2]
        return fit_letterbox(width, height, self._options.detection_size, self._fixed_size)

    def _to_frame(self, found: Faces, box: Letterbox) -> Faces:
        return to_frame(found, box.zoom, box.frame_px, self._options.min_face_px)

    def detect_near(
        self, image_rgb: ImageArray, boxes_px: FloatArray, margin: float
    ) -> list[Faces] | None:
        """Detect the faces in a square region around each box.

        Args:
            image_rgb: uint8 (height, width, 3).
            boxes_px: float32 (n, 4).
            margin: Side of the region, in units of the box's longer side.

        Returns:
            One entry per box: its faces as `detect` returns them, marked as followed, without
            those that the region cuts off. None if detection in the full frame costs no more.
        """
        height, width = image_rgb.shape[:2]
        scale = scale_to_fit(width, height, self._options.detection_size)
        sides_px = np.ceil((boxes_px[:, 2:] - boxes_px[:, :2]).max(axis=1) * margin)
        # At least the resolution of the full frame's input, as far as the largest size allows.
        size_index = np.searchsorted(REGION_SIDES_PX[:-1], sides_px * scale)
        input_px = np.array(REGION_SIDES_PX)[size_index]
        full_frame_cost = height * width * scale**2
        if self._fixed_size is not None or (input_px**2).sum() > _MAX_REGION_COST * full_frame_cost:
            return None
        corners = np.round((boxes_px[:, :2] + boxes_px[:, 2:] - sides_px[:, None]) / 2)
        result = [Faces.none()] * len(boxes_px)
        for side_px in np.unique(input_px):
            group = np.flatnonzero(input_px == side_px)
            regions = [
                square_crop(image_rgb, corners[i].astype(int), int(sides_px[i]), int(side_px))
                for i in group
            ]
            for i, found in zip(group, self._run_network(regions), strict=True):
                zoom = sides_px[i] / side_px
                moved = Faces(
                    (found.boxes_px * zoom + np.tile(corners[i], 2)).astype(np.float32),
                    found.scores,
                    (found.landmarks_px * zoom + corners[i]).astype(np.float32),
                    np.ones(len(found), np.bool_),
                )
                complete = inside_square(moved.boxes_px, corners[i], sides_px[i], (width, height))
                result[i] = to_frame(
                    moved.take(complete), (1.0, 1.0), (width, height), self._options.min_face_px
                )
        return result

    def _run_network(self, inputs_rgb: Sequence[ImageArray]) -> list[Faces]:
        """Faces in network inputs of equal size, in their pixels."""
        threshold = self._options.detection_threshold
        found = self.batch_limiter.over(
            lambda batch: self._network(np.stack(batch), threshold), inputs_rgb
        )
        return [faces for batch in found for faces in batch]
