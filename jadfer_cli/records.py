"""The records that stages exchange: arrays that belong together, with their shapes checked.

Stages never import each other; they accept and return these records. Boxes and landmarks are in
pixels of the displayed (rotated) frame, x to the right, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS

FloatArray = npt.NDArray[np.float32]
TimeArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]
ImageArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

FRAME_STATUSES = ("ok", "corrupt", "repeated")
OK, CORRUPT, REPEATED = range(3)
# Why a face is not usable, by code; of several reasons the first one counts. 0 is a usable face.
UNUSABLE_REASONS = (
    "cut_off", "low_score", "too_small", "too_dark", "overexposed", "occluded", "turned", "blurred",
)  # fmt: skip


def _check(name: str, array: npt.NDArray[Any], shape: tuple[int | None, ...], kind: type) -> None:
    """Raise ValueError unless `array` has the shape (None matches any length) and dtype."""
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype != kind:
        wanted = tuple("n" if s is None else s for s in shape)
        have = f"{array.dtype.name}{array.shape}"
        raise ValueError(f"{name} must be {np.dtype(kind).name}{wanted}, got {have}")


@dataclass(frozen=True)
class VideoInfo:
    """What the container reports about one video, and the time of every frame it shows.

    Attributes:
        path: The file, as given.
        container: Format name, e.g. "mov,mp4,m4a,3gp,3g2,mj2".
        codec: Codec name, e.g. "h264".
        pixel_format: e.g. "yuv420p".
        width_px, height_px: Size of the displayed frame, after rotation.
        rotation_deg: Clockwise rotation applied for display: 0, 90, 180 or 270.
        time_s: float64 (n,), time of every shown frame, 0 at the first, ascending.
        duration_s: float64 (n,), how long each frame is shown.
        pts: int64 (n,), the container's own presentation time stamps, ascending.
        time_base_s: Seconds per tick of `pts`.
        start_offset_s: The container's own time of the first shown frame, seconds.
        n_packets: Packets in the stream, shown or not.
        nominal_fps: The container's average rate; informative only, never used for times.
        file_bytes: Size of the file.
        warnings: Oddities of the file that the user should know about.
        stamped: True if time stamps identify decoded pictures. False if the container has none
            or numbers them in decoding order (AVI): the nth decoded picture is then the nth shown.
        rotation_overridden: True if the user chose `rotation_deg`, not the file.
    """

    path: str
    container: str
    codec: str
    pixel_format: str
    width_px: int
    height_px: int
    rotation_deg: int
    time_s: TimeArray
    duration_s: TimeArray
    pts: npt.NDArray[np.int64]
    time_base_s: float
    start_offset_s: float
    n_packets: int
    nominal_fps: float
    file_bytes: int
    warnings: tuple[str, ...] = ()
    stamped: bool = True
    rotation_overridden: bool = False

    def __post_init__(self) -> None:
        n = len(self.time_s)
        _check("time_s", self.time_s, (None,), np.float64)
        _check("duration_s", self.duration_s, (n,), np.float64)
        _check("pts", self.pts, (n,), np.int64)

    @property
    def n_frames(self) -> int:
        """Number of shown frames."""
        return len(self.time_s)


@dataclass(frozen=True)
class ReaderNotes:
    """What the reader noted since the previous frame it returned.

    An index may be that of a frame that was decoded but not analysed (`--every`).

    Attributes:
        decoders: (index of the first frame, name and version) of each decoder that took over.
        warnings: (index of the frame, sentence) for everything that went wrong.
    """

    decoders: tuple[tuple[int, str], ...] = ()
    warnings: tuple[tuple[int, str], ...] = ()


NO_NOTES = ReaderNotes()


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
        index: 0-based index among the source's shown frames.
        time_s, duration_s: From the container's timeline, 0 at the first shown frame.
        status: OK, CORRUPT or REPEATED.
        image_rgb: uint8 (height, width, 3) as displayed; None if no decoder returned a picture,
            and once the picture is no longer needed.
        notes: What the reader noted since the previous frame.
    """

    index: int
    time_s: float
    duration_s: float
    status: int
    image_rgb: ImageArray | None
    notes: ReaderNotes = NO_NOTES

    def __post_init__(self) -> None:
        if self.image_rgb is not None:
            _check("image_rgb", self.image_rgb, (None, None, 3), np.uint8)


@dataclass(frozen=True)
class Faces:
    """The faces found in one frame, in the detector's order.

    Attributes:
        boxes_px: float32 (n, 4), x1 y1 x2 y2.
        scores: float32 (n,), the detector's confidence, 0 to 1.
        landmarks_px: float32 (n, 5, 2): the eye on the image's left, the eye on its right,
            the nose tip, the mouth corner on the left, the mouth corner on the right.
        followed: bool (n,), True if found by searching only near its position in another frame,
            or placed between two frames in which it was found; all False by default.
    """

    boxes_px: FloatArray
    scores: FloatArray
    landmarks_px: FloatArray
    followed: BoolArray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.followed is None:
            object.__setattr__(self, "followed", np.zeros(n, np.bool_))
        _check("followed", self.followed, (n,), np.bool_)
        for name, shape in (("boxes_px", (n, 4)), ("scores", (n,)), ("landmarks_px", (n, 5, 2))):
            _check(name, getattr(self, name), shape, np.float32)

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, which: npt.NDArray[Any]) -> Faces:
        """Returns the faces at `which` (indices or a mask), in that order."""
        return Faces(*(getattr(self, field.name)[which] for field in fields(self)))

    def left_to_right(self) -> Faces:
        """Returns the faces in an order that depends on their boxes alone."""
        return self.take(self.order())

    def order(self) -> npt.NDArray[np.intp]:
        """Returns the indices of the faces from left to right."""
        x1, y1, x2, y2 = self.boxes_px.T
        return np.lexsort((self.scores, y2, x2, y1, x1))

    @classmethod
    def join(cls, parts: Sequence[Faces]) -> Faces:
        """Concatenates several records."""
        parts = [cls.none(), *parts]
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))

    @classmethod
    def none(cls) -> Faces:
        """Returns a record without faces."""
        empty = [np.empty(size, np.float32) for size in ((0, 4), (0,), (0, 5, 2))]
        return cls(empty[0], empty[1], empty[2])


@dataclass(frozen=True)
class Crops:
    """Aligned crops of n faces.

    Attributes:
        rgb: uint8 (n, S, S, 3), for the network.
        on_device: The same crops as a torch.Tensor if they were made on a device; else None.
        for_quality: Crops of 112 px, on which quality is measured; None if `rgb` has that size.
    """

    rgb: ImageArray
    on_device: Any = None
    for_quality: ImageArray | None = None

    def __post_init__(self) -> None:
        _check("rgb", self.rgb, (None, None, None, 3), np.uint8)

    def __len__(self) -> int:
        return len(self.rgb)

    def take(self, which: npt.NDArray[np.intp]) -> Crops:
        """Returns the crops at `which` (indices), in that order."""
        if np.array_equal(which, np.arange(len(self))):  # the usual case; saves work on a GPU
            return self
        others = (self.on_device, self.for_quality)
        return Crops(self.rgb[which], *(None if each is None else each[which] for each in others))

    @classmethod
    def join(cls, parts: Sequence[Crops]) -> Crops:
        """Concatenates several records; the result is on the device only if all parts are."""
        rgb = np.concatenate([part.rgb for part in parts])
        of_quality = [part.for_quality for part in parts if part.for_quality is not None]
        for_quality = np.concatenate(of_quality) if of_quality else None
        on_device = [part.on_device for part in parts if len(part)]
        if on_device and all(crops is not None for crops in on_device):
            import torch  # already loaded: it made the crops

            return cls(rgb, torch.cat(on_device), for_quality)
        return cls(rgb, None, for_quality)


@dataclass(frozen=True)
class Quality:
    """How reliably each of n faces can be scored.

    Attributes:
        interocular_px: float32 (n,), distance of the eye landmarks in the source frame.
        blur: float32 (n,), 0 sharp to 1 blurred (Crete et al. 2007), on the crop.
        light, clipped, mouth_contrast: float32 (n,), see `faces.quality.light`, `mouth_contrast`.
        yaw_deg, pitch_deg, roll_deg: float32 (n,), head pose; see `faces.quality` for signs.
        reason: int32 (n,), 0 for a usable face, otherwise 1 + the index in `UNUSABLE_REASONS`.
    """

    interocular_px: FloatArray
    blur: FloatArray
    light: FloatArray
    clipped: FloatArray
    mouth_contrast: FloatArray
    yaw_deg: FloatArray
    pitch_deg: FloatArray
    roll_deg: FloatArray
    reason: IntArray

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = np.int32 if field.name == "reason" else np.float32
            _check(field.name, getattr(self, field.name), (len(self.reason),), kind)

    @property
    def usable(self) -> BoolArray:
        """Whether each face is usable by the rule of `faces.quality`, bool (n,)."""
        return np.equal(self.reason, 0)

    def take(self, which: slice | npt.NDArray[Any]) -> Quality:
        """Returns the quality of the faces at `which`."""
        return Quality(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True)
class Actions:
    """What the muscles of n faces do, from a mesh of each.

    Attributes:
        values: float32 (n, A), columns `labels.ACTION_COLUMNS`, `MEASURE_COLUMNS`; NaN: no mesh.
        points_px: float32 (n, 478, 3), the mesh: x, y and depth; None unless it is wanted.
    """

    values: FloatArray
    points_px: FloatArray | None = None

    def __post_init__(self) -> None:
        columns = (*ACTION_COLUMNS, *MEASURE_COLUMNS)
        _check("values", self.values, (None, len(columns)), np.float32)
        if self.points_px is not None:
            _check("points_px", self.points_px, (len(self.values), None, 3), np.float32)


@dataclass(frozen=True)
class DetectorInfo:
    """The detector in use, for the metadata.

    Attributes:
        name: "centerface", the name of the pack, or the file name.
        kind: Name of the kind, as in `faces.detect.DETECTORS`.
        path, sha256: The file that was loaded, and its SHA-256.
        terms, provider: Licence of its weights, in words; e.g. "CPUExecutionProvider".
        input_px: Width and height of the only input that it takes; None for any.
        hint: One line for the user, e.g. how to install another detector; may be None.
        title, citation: Name in running text, e.g. "SCRFD", and BibTeX; empty in old results.
    """

    name: str
    kind: str
    path: str
    sha256: str
    terms: str
    provider: str
    hint: str | None = None
    title: str = ""
    citation: str = ""
    input_px: tuple[int, int] | None = None


@dataclass(frozen=True)
class AnnotatedFrame:
    """The result for one analysed frame, without its picture.

    Attributes:
        index, time_s, duration_s, status, notes: As in `Frame`.
        faces, track_ids: The n faces in the order of their IDs, int32 (n,), unique in the frame.
        quality: How reliably each face can be scored.
        probabilities: float32 (n, K), calibrated, rows sum to 1, in the model's label order.
        restartable: True if an interrupted run may resume here; see `faces.follow`.
        actions: Of the n faces; None unless they are wanted.
    """

    index: int
    time_s: float
    duration_s: float
    status: int
    faces: Faces
    track_ids: IntArray
    quality: Quality
    probabilities: FloatArray
    restartable: bool = False
    notes: ReaderNotes = NO_NOTES
    actions: Actions | None = None

    def __post_init__(self) -> None:
        n = len(self.faces)
        _check("track_ids", self.track_ids, (n,), np.int32)
        _check("reason", self.quality.reason, (n,), np.int32)
        _check("probabilities", self.probabilities, (n, None), np.float32)
