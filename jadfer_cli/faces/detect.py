"""Find faces: InsightFace's SCRFD or the embedded CenterFace, behind one small class.

The only place that imports insightface. Both networks get the same picture: the frame scaled
so that its longer side is `detection_size`, small ones at most doubled, and padded to multiples
of 32 at the right and below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jadfer_cli.common import file_sha256, require_opencv, suppressed_output
from jadfer_cli.errors import ModelError
from jadfer_cli.faces import centerface
from jadfer_cli.faces.letterbox import Placing, letterbox, placing, scale_for, square, tidy, uncut
from jadfer_cli.faces.packs import (
    INSIGHTFACE_TERMS,
    PACKS,
    find_detector,
    installed_packs,
    packs_folder,
)
from jadfer_cli.records import Crops, DetectorInfo, Faces
from jadfer_cli.runtime import BatchLimiter, onnx_session_options

if TYPE_CHECKING:
    from jadfer_cli.faces.torch.networks import TorchCenterFace, TorchScrfd
    from jadfer_cli.options import FaceOptions
    from jadfer_cli.records import FloatArray, ImageArray

# uint8 RGB (n, H, W, 3) and a threshold to the faces of each, in its pixels; a network in
# PyTorch also takes a tensor
Network = Callable[[Any, float], list[Faces]]

FRAMES_AT_ONCE = 16  # by a network that is faster on several
REGION_SIDES_PX = (96, 128, 160)  # of the squares around faces that are followed
_WORTH = 0.7  # looking at regions pays while they have this share of the whole frame's pixels

_OWN_TERMS = "not recorded: a file of the user's own"
_FETCH_HINT = "`jadfer models fetch buffalo_sc` brings an InsightFace pack."
_CHOICES = "Give auto, centerface, the name of an installed pack, or a path to an SCRFD .onnx file."


class Detector:
    """A face detector that is loaded and ready; not for several threads at once.

    Attributes:
        info: Which detector it is, for the metadata.
        batches: Whether it is faster on several frames at once.
        device: Where frames go whole, for a network in PyTorch; else None.
        looks: How many pictures are looked at at once, and whether that had to be made less.
    """

    def __init__(
        self,
        info: DetectorInfo,
        network: Network,
        options: FaceOptions,
        fixed_size: tuple[int, int] | None = None,
        *,
        batches: bool = False,
        device: str | None = None,
    ) -> None:
        """Wrap a network.

        Args:
            info: Which detector it is.
            network: Takes uint8 RGB (n, H, W, 3) and a threshold, gives the Faces of each.
            options: Size, threshold, smallest face.
            fixed_size: Width and height that the network insists on, if it does.
            batches: Whether it is faster on several frames at once.
            device: PyTorch's name of where frames go whole, are scaled and cropped, if they
                are; `network` then takes tensors there.
        """
        self.info = info
        self.batches, self.device = batches, device
        self.batch_limiter = BatchLimiter(
            FRAMES_AT_ONCE, "pictures", "Choose a smaller --detection-size. "
        )
        self._network = network
        self._options = options
        self._fixed_size = fixed_size

    def detect(self, image_rgb: ImageArray) -> Faces:
        """The faces in one frame.

        Args:
            image_rgb: uint8 (height, width, 3).

        Returns:
            Faces at or above the threshold, best first, in pixels of the frame: boxes lie
            inside it, landmarks may lie outside. Nothing is NaN.
        """
        return self.detect_all([image_rgb])[0]

    def detect_all(self, images_rgb: Sequence[ImageArray]) -> list[Faces]:
        """The faces in several frames of one size; see `detect`."""
        if self.device is not None:
            return [faces for faces, _ in self.detect_and_crop(images_rgb, None)]
        place = self._placing(images_rgb)
        found = self._look([letterbox(image_rgb, place) for image_rgb in images_rgb])
        return [self._tidy(faces, place) for faces in found]

    def detect_and_crop(
        self, images_rgb: Sequence[ImageArray], crop_px: int | None
    ) -> list[tuple[Faces, Crops | None]]:
        """The faces in several frames of one size and their crops; for a detector with a device.

        Each frame is copied to the device once, and is gone from there when this returns.

        Args:
            images_rgb: uint8 (height, width, 3) each.
            crop_px: Side of the crops; None for none.

        Returns:
            For each frame its faces as of `detect`, and their crops in the same order.
        """
        place = self._placing(images_rgb)
        # copied and cropped in there as well, so that too little memory halves all of it
        found = self.batch_limiter.over(
            lambda some: self._on_device(some, place, crop_px), images_rgb
        )
        return [pair for part in found for pair in part]

    def _on_device(
        self, images_rgb: Sequence[ImageArray], place: Placing, crop_px: int | None
    ) -> list[tuple[Faces, Crops | None]]:
        from jadfer_cli.faces.torch.pictures import Pictures

        pictures = Pictures(images_rgb, str(self.device))
        found = self._network(pictures.letterboxed(place), self._options.detection_threshold)
        faces = [self._tidy(some, place) for some in found]
        if crop_px is None:
            return [(some, None) for some in faces]
        crops = pictures.crops([some.landmarks_px for some in faces], crop_px)
        return list(zip(faces, crops, strict=True))

    def _placing(self, images_rgb: Sequence[ImageArray]) -> Placing:
        height, width = images_rgb[0].shape[:2]
        return placing(width, height, self._options.detection_size, self._fixed_size)

    def _tidy(self, found: Faces, place: Placing) -> Faces:
        return tidy(found, place.zoom, place.frame_px, self._options.min_face_px)

    def detect_near(
        self, image_rgb: ImageArray, boxes_px: FloatArray, margin: float
    ) -> list[Faces] | None:
        """The faces in a square around each box.

        Args:
            image_rgb: uint8 (height, width, 3).
            boxes_px: float32 (n, 4).
            margin: Side of the square in longer sides of the box.

        Returns:
            As `detect` gives them, a list entry for each box, marked as followed; without
            those that the square cuts. None where a look at the whole frame costs no more.
        """
        height, width = image_rgb.shape[:2]
        scale = scale_for(width, height, self._options.detection_size)
        sides = np.ceil((boxes_px[:, 2:] - boxes_px[:, :2]).max(axis=1) * margin)
        # seen at least as large as in the whole frame, up to the largest size
        which = np.searchsorted(REGION_SIDES_PX[:-1], sides * scale)
        shown = np.array(REGION_SIDES_PX)[which]
        whole = height * width * scale**2
        if self._fixed_size is not None or (shown**2).sum() > _WORTH * whole:
            return None
        corners = np.round((boxes_px[:, :2] + boxes_px[:, 2:] - sides[:, None]) / 2)
        result = [Faces.none()] * len(boxes_px)
        for side_px in np.unique(shown):
            group = np.flatnonzero(shown == side_px)
            squares = [
                square(image_rgb, corners[i].astype(int), int(sides[i]), int(side_px))
                for i in group
            ]
            for i, found in zip(group, self._look(squares), strict=True):
                zoom = sides[i] / side_px
                moved = Faces(
                    (found.boxes_px * zoom + np.tile(corners[i], 2)).astype(np.float32),
                    found.scores,
                    (found.landmarks_px * zoom + corners[i]).astype(np.float32),
                    np.ones(len(found), np.bool_),
                )
                moved = moved.take(uncut(moved.boxes_px, corners[i], sides[i], (width, height)))
                result[i] = tidy(moved, (1.0, 1.0), (width, height), self._options.min_face_px)
        return result

    def _look(self, pictures_rgb: Sequence[ImageArray]) -> list[Faces]:
        """The network's faces in pictures of one size, in their pixels."""
        threshold = self._options.detection_threshold
        found = self.batch_limiter.over(
            lambda some: self._network(np.stack(some), threshold), pictures_rgb
        )
        return [faces for some in found for faces in some]


@dataclass(frozen=True)
class _Where:
    """What runs a network: ONNX Runtime on the CPU, or PyTorch."""

    threads: int
    device: str
    in_torch: bool

    @property
    def holds(self) -> str | None:
        """The device that takes whole frames, if there is one."""
        return self.device if self.in_torch else None


def load_detector(
    options: FaceOptions, threads: int, device: str = "cpu", *, in_torch: bool | None = None
) -> Detector:
    """Resolve `options.detector` and load it.

    Args:
        options: Which detector, and its size, threshold and smallest face.
        threads: CPU threads of ONNX Runtime.
        device: "cpu", "cuda" or "cuda:N".
        in_torch: Whether PyTorch runs the network, several frames at once; None: on CUDA, so
            that a CUDA build of PyTorch is enough. `info.provider` says what does.

    Returns:
        The detector. With "auto" and no pack, CenterFace with a hint in `info.hint`.

    Raises:
        ModelError: The detector is missing, damaged, or no face detector with landmarks.
    """
    require_opencv()
    where = _Where(threads, device, device != "cpu" if in_torch is None else in_torch)
    wanted = options.detector
    if wanted == "auto":
        return _load_auto(options, where)
    if wanted == "centerface":
        return _load_centerface(options, where)
    if wanted in PACKS or find_detector(wanted) is not None:
        path = find_detector(wanted)
        if path is None:
            raise ModelError(
                f"The InsightFace pack {wanted} is not installed in {packs_folder()}, or its "
                "folder holds no detector.",
                f"`jadfer models fetch {wanted}` brings it; `--detector centerface` needs none.",
            )
        return _load_scrfd(path, wanted, options, where)
    path = Path(wanted).expanduser()
    if path.suffix.lower() != ".onnx" and not path.exists():
        raise ModelError(f"There is no detector {wanted}.", _CHOICES)
    if not path.is_file():
        raise ModelError(f"The detector file {path} does not exist.", _CHOICES)
    return _load_scrfd(path, path.name, options, where, _OWN_TERMS)


def _load_auto(options: FaceOptions, where: _Where) -> Detector:
    """The first installed pack that loads, else CenterFace with a hint."""
    hint = f"No InsightFace pack is installed, so the embedded CenterFace is used; {_FETCH_HINT}"
    for pack in installed_packs():
        try:
            return _load_scrfd(pack.detector_path, pack.name, options, where)
        except ModelError as error:
            hint = f"{error.message} The embedded CenterFace is used; {_FETCH_HINT}"
    return _load_centerface(options, where, hint)


def _load_centerface(options: FaceOptions, where: _Where, hint: str | None = None) -> Detector:
    path = centerface.weights_path()
    network: centerface.CenterFaceNetwork | TorchCenterFace
    if where.in_torch:
        from jadfer_cli.faces.torch.networks import TorchCenterFace

        network = TorchCenterFace(path, where.device)
    else:
        network = centerface.CenterFaceNetwork(path, onnx_session_options(where.threads))
    info = DetectorInfo(
        name="centerface",
        kind="centerface",
        path=str(path),
        sha256=file_sha256(path),
        terms=centerface.TERMS,
        provider=network.provider,
        hint=hint,
    )
    return Detector(info, network, options, batches=where.in_torch, device=where.holds)


def _load_scrfd(
    path: Path, name: str, options: FaceOptions, where: _Where, terms: str = INSIGHTFACE_TERMS
) -> Detector:
    """SCRFD through InsightFace, or in PyTorch.

    Raises:
        ModelError: The file cannot be loaded, or is no detector with five landmarks.
    """
    network: _ScrfdNetwork | TorchScrfd
    try:
        sha256 = file_sha256(path)
        if where.in_torch:
            from jadfer_cli.faces.torch.networks import TorchScrfd

            network, fixed_size = TorchScrfd(path, where.device), None
        else:
            network = _ScrfdNetwork(path, where.threads)
            fixed_size = network.fixed_size
    except ModelError:
        raise
    except Exception as error:  # protobuf, onnx and ONNX Runtime each raise their own
        raise ModelError(
            f"The detector file {path} cannot be loaded; it is damaged or no ONNX model.",
            _CHOICES,
        ) from error
    info = DetectorInfo(
        name=name,
        kind="scrfd",
        path=str(path),
        sha256=sha256,
        terms=terms,
        provider=network.provider,
    )
    return Detector(info, network, options, fixed_size, batches=where.in_torch, device=where.holds)


class _ScrfdNetwork:
    """InsightFace's SCRFD, called like CenterFace."""

    def __init__(self, path: Path, threads: int) -> None:
        with suppressed_output():
            from insightface.model_zoo import get_model

            model = get_model(
                # A relative name without a folder would be looked up as a pack.
                str(path.absolute()),
                providers=["CPUExecutionProvider"],
                sess_options=onnx_session_options(threads),
                # One session takes every size; else each new video size would keep its own.
                static_shape_sessions=False,
            )
        # InsightFace routes by the number of outputs, and gives None for what it does not know.
        if getattr(model, "taskname", None) != "detection" or not model.use_kps:
            raise ModelError(
                f"{path} is not a face detector with five landmarks (SCRFD).", _CHOICES
            )
        model.nms_thresh = centerface.SCRFD_NMS_IOU
        self._model = model

    @property
    def provider(self) -> str:
        """The ONNX Runtime provider that runs it."""
        return str(self._model.session.get_providers()[0])

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Width and height that the file has baked in, or None."""
        height, width = self._model.session.get_inputs()[0].shape[2:4]
        return (width, height) if isinstance(width, int) and isinstance(height, int) else None

    def __call__(self, images_rgb: ImageArray, threshold: float) -> list[Faces]:
        """Faces in pictures of a size the network takes, in their pixels."""
        return [self._one(image_rgb, threshold) for image_rgb in images_rgb]

    def _one(self, image_rgb: ImageArray, threshold: float) -> Faces:
        height, width = image_rgb.shape[:2]
        self._model.det_thresh = threshold
        # The picture has the network's size already, so InsightFace neither scales nor pads.
        found, marks = self._model.detect(
            np.ascontiguousarray(image_rgb[:, :, ::-1]), input_size=(width, height)
        )
        found = found.astype(np.float32)
        return Faces(found[:, :4], found[:, 4], marks.astype(np.float32).reshape(-1, 5, 2))
