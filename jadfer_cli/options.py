"""All options of annotation and overlay with their defaults, for command line and library."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypedDict, TypeVar

from jadfer_cli.errors import OptionError

# what --detector takes; those built in are named as in the table of jadfer_cli/faces/detect.py
DETECTORS = "auto, centerface, the name of an InsightFace pack, or an SCRFD .onnx file"
DEVICES = "auto, cpu, cuda or cuda:N"
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
SCORES = ("auto", "votes", "majority")  # what the probabilities mean: `expression.scores`
ENGINES = ("auto", "torch", "onnxruntime")
ROTATIONS = (0, 90, 180, 270)
DECODERS = ("auto", "decord", "pyav")
TRACKERS = ("bytetrack", "ocsort")
FOLLOWERS = ("network", "detector")
# Faces scored at once. On a CPU small batches stay in its caches, which the detector shares:
# 8 to 16 gave 8 % more frames per second than 32 (`jadfer bench`, two cores).
BATCH_CPU, BATCH_GPU = 16, 64


# Cosines of embeddings of one person (tests/bench/identity.py): of any two faces, and of the mean
# embeddings of two neighbouring parts of one track.
SAME_PERSON, SAME_TRACK = 0.5, 0.35
# When an event begins and ends: probabilities, and durations in seconds. On shares of votes they
# find nearly the events that 0.6 and 0.4 found on probabilities of the majority (jadfer up to 0.5).
EVENT_ON, EVENT_OFF = 0.5, 0.4
EVENT_MIN_DURATION_S, EVENT_MERGE_GAP_S = 0.2, 0.1


class IfExists(StrEnum):
    """What to do if a result exists already."""

    REFUSE = "refuse"  # raise an OptionError
    SKIP = "skip"  # keep it if it was made with the same settings, otherwise fail
    OVERWRITE = "overwrite"  # replace it


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """Which frames of a video are analysed.

    Raises:
        OptionError: A value is out of range or two options exclude each other.
    """

    every: int = 1  # analyse every Nth frame of the source
    fps: float | None = None  # or: at most this many frames per second, by their time stamps
    start_s: float | None = None  # first time analysed, seconds from the first shown frame
    end_s: float | None = None  # frames at or after this time are not analysed
    # clockwise rotation of the stored pictures, degrees (one of ROTATIONS); None: as the file says
    rotate: int | None = None
    # auto: decord for short clips that it reads exactly, PyAV for all others; decord: at any
    # length that memory allows; pyav: PyAV alone, which decodes every frame once
    decoder: str = "auto"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise OptionError(f"`every` must be at least 1, not {self.every}.")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise OptionError(f"`fps` must be a positive number, not {self.fps}.")
        if self.fps is not None and self.every != 1:
            raise OptionError("`every` and `fps` exclude each other; give one of them.")
        if self.rotate not in (None, *ROTATIONS):
            raise OptionError(f"`rotate` must be 0, 90, 180 or 270, not {self.rotate}.")
        if self.decoder not in DECODERS:
            raise OptionError(
                f"`decoder` must be one of {', '.join(DECODERS)}, not {self.decoder}."
            )
        for name, value in (("`start_s`", self.start_s), ("`end_s`", self.end_s)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise OptionError(f"{name} must be zero or more seconds, not {value}.")
        if self.end_s is not None and self.end_s <= (self.start_s or 0.0):
            raise OptionError(
                f"`end_s` ({self.end_s} s) must be later than `start_s` ({self.start_s or 0.0} s)."
            )


@dataclass(frozen=True, kw_only=True)
class FaceOptions:
    """How faces are found, tracked and filtered.

    Raises:
        OptionError: A value is out of range.
    """

    detector: str = "auto"  # auto, centerface, the name of an InsightFace pack, or an SCRFD .onnx
    # longer side to which frames are scaled for detection, px; they are enlarged at most twofold
    detection_size: int = 640
    detection_threshold: float = 0.5  # a detection with a lower score does not count as a face
    # time between detections in the whole frame, of which the network asks for three in four at
    # half the resolution; in between, faces are searched for where they are expected. The same on
    # every device: it moves boxes, which changes 0 to 4 % of labels
    redetect_s: float = 0.3
    # what finds them there: the small network, or the detector, one of FOLLOWERS;
    # or a network of your own, an .onnx file of `jadfer train-follower`
    follower: str = "network"
    min_face_px: float = 16.0  # shorter side of the smallest box kept, source px
    max_faces: int | None = None  # keep the N tracks seen longest and largest; None keeps all
    tracker: str = "bytetrack"  # one of TRACKERS
    track_gap_s: float = 1.0  # how long a face may be missing and still keep its track ID

    def __post_init__(self) -> None:
        if not 96 <= self.detection_size <= 4096:
            raise OptionError(
                f"`detection_size` must be between 96 and 4096 px, not {self.detection_size}."
            )
        if not 0 < self.detection_threshold < 1:
            raise OptionError(
                f"`detection_threshold` must be between 0 and 1, not {self.detection_threshold}."
            )
        if not (math.isfinite(self.redetect_s) and self.redetect_s >= 0):
            raise OptionError(f"`redetect_s` must be zero or more seconds, not {self.redetect_s}.")
        if self.follower not in FOLLOWERS and not self.follower.endswith(".onnx"):
            raise OptionError(
                f"`follower` must be {', '.join(FOLLOWERS)} or an .onnx file, not {self.follower}."
            )
        if not (math.isfinite(self.min_face_px) and self.min_face_px >= 0):
            raise OptionError(f"`min_face_px` must be zero or more px, not {self.min_face_px}.")
        if self.max_faces is not None and self.max_faces < 1:
            raise OptionError(f"`max_faces` must be at least 1, not {self.max_faces}.")
        if self.tracker not in TRACKERS:
            raise OptionError(
                f"`tracker` must be one of {', '.join(TRACKERS)}, not {self.tracker}."
            )
        if not (math.isfinite(self.track_gap_s) and self.track_gap_s >= 0):
            raise OptionError(
                f"`track_gap_s` must be zero or more seconds, not {self.track_gap_s}."
            )


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which network scores the faces, and where it runs.

    Raises:
        OptionError: A value is out of range or unknown.
    """

    model: str = "default"  # a name from `jadfer models list`, or a path to .safetensors
    scores: str = "auto"  # one of SCORES; auto: votes if the model was fitted to votes
    device: str = "auto"  # auto, cpu, cuda, cuda:N; auto uses CUDA if available
    precision: str = "auto"  # one of PRECISIONS; auto: fp32 on the CPU, fp16 on CUDA
    batch_size: int | None = None  # faces scored at once; None: BATCH_CPU or BATCH_GPU
    threads: int | None = None  # CPU threads; None: all cores that this process may use
    engine: str = "auto"  # one of ENGINES; auto: ONNX Runtime for fp32 on the CPU, otherwise torch

    def __post_init__(self) -> None:
        index = self.device.removeprefix("cuda:")
        if self.device not in ("auto", "cpu", "cuda") and not (
            self.device.startswith("cuda:") and index.isdigit()
        ):
            raise OptionError(f"`device` must be {DEVICES}, not {self.device}.")
        if self.precision not in PRECISIONS:
            raise OptionError(
                f"`precision` must be one of {', '.join(PRECISIONS)}, not {self.precision}."
            )
        if self.scores not in SCORES:
            raise OptionError(f"`scores` must be one of {', '.join(SCORES)}, not {self.scores}.")
        if self.engine not in ENGINES:
            raise OptionError(f"`engine` must be one of {', '.join(ENGINES)}, not {self.engine}.")
        if self.batch_size is not None and self.batch_size < 1:
            raise OptionError(f"`batch_size` must be at least 1, not {self.batch_size}.")
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"`threads` must be at least 1, not {self.threads}.")


@dataclass(frozen=True, kw_only=True)
class AnnotateOptions:
    """All options of one annotation: what to read, which faces, which network.

    Attributes:
        video: Which frames are analysed.
        faces: How faces are found, tracked and filtered.
        model: Which network scores them, and where it runs.
        landmarks: Also return the five landmarks (written to a separate file).
        actions: Also return facial actions: 52 coefficients and measures of eyes, mouth and head
            (written to a separate file). Needs the face landmarker, see `jadfer models fetch`.
        mesh: With `actions`, also return the 478 landmarks (written to a separate file).
        relative_paths: Name videos in the rows by their path below the folder given, like
            day1/P01.mp4, not by the path as given. A single video has its file name.
        file_names: Name videos in the rows by their file name.
        study: Content of the study file that gave options; recorded in the metadata, no more.

    Raises:
        OptionError: Both ways to name videos are chosen, or `mesh` without `actions`.
    """

    video: VideoOptions = VideoOptions()
    faces: FaceOptions = FaceOptions()
    model: ModelOptions = ModelOptions()
    landmarks: bool = False
    actions: bool = False
    mesh: bool = False
    relative_paths: bool = False
    file_names: bool = False
    study: str | None = None

    def __post_init__(self) -> None:
        if self.relative_paths and self.file_names:
            raise OptionError("`relative_paths` and `file_names` exclude each other.")
        if self.mesh and not self.actions:
            raise OptionError("`mesh` needs `actions`.", "Add `actions` as well.")


class OptionKeywords(TypedDict, total=False):
    """The options of annotation as keywords; the dataclasses above describe them."""

    every: int
    fps: float | None
    start_s: float | None
    end_s: float | None
    rotate: int | None
    decoder: str
    detector: str
    detection_size: int
    detection_threshold: float
    redetect_s: float
    follower: str
    min_face_px: float
    max_faces: int | None
    tracker: str
    track_gap_s: float
    model: str
    scores: str
    device: str
    precision: str
    batch_size: int | None
    threads: int | None
    engine: str
    landmarks: bool
    actions: bool
    mesh: bool
    relative_paths: bool
    file_names: bool
    study: str | None


def combined(options: AnnotateOptions | None, keywords: Mapping[str, Any]) -> AnnotateOptions:
    """Returns options with some of them replaced by keywords.

    Args:
        options: All options; None for the defaults.
        keywords: Options by the names of `OptionKeywords`.

    Raises:
        OptionError: A keyword is no option, or its value is out of range.
    """
    options = options or AnnotateOptions()
    known = OptionKeywords.__annotations__
    for name in keywords:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *(k.split("_")[0] for k in known)], 1)
            meant = [k for k in known if near and k.startswith(near[0])]
            raise OptionError(
                f"There is no option {name}.",
                f"Did you mean {meant[0]}?" if meant else f"Options are {', '.join(known)}.",
            )
    changed: dict[str, Any] = {}
    for group in ("video", "faces", "model"):
        names = {field.name for field in dataclasses.fields(getattr(options, group))}
        values = {name: value for name, value in keywords.items() if name in names}
        if values:
            changed[group] = dataclasses.replace(getattr(options, group), **values)
    own = ("landmarks", "actions", "mesh", "relative_paths", "file_names", "study")
    changed |= {name: keywords[name] for name in own if name in keywords}
    return dataclasses.replace(options, **changed)


_F = TypeVar("_F", bound=Callable[..., Any])


def takes_options(function: _F) -> _F:
    """Shows the options among the keywords of a function, for help and completion.

    Args:
        function: It takes `**keywords` that go to `combined`.
    """
    defaults = AnnotateOptions()
    values: dict[str, Any] = {}
    for part in (defaults, defaults.video, defaults.faces, defaults.model):
        values |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=values[name], annotation=kind
        )
        for name, kind in OptionKeywords.__annotations__.items()
    ]
    shown = signature.replace(parameters=[*own, *options])
    function.__signature__ = shown  # type: ignore[attr-defined]
    return function


@dataclass(frozen=True, kw_only=True)
class OverlayOptions:
    """What `jadfer overlay` draws over a video.

    Raises:
        OptionError: A value is out of range.
    """

    blur: bool = False  # make all faces unrecognisable
    boxes: bool = True  # draw boxes, track IDs and bars
    mesh: bool = False  # draw the mesh of each face
    labels: int = 3  # bars per face: the most probable expressions
    unusable: bool = False  # also draw the bars of faces marked as not usable
    crf: int = 20  # video quality, from 0 (lossless) to 51 (worst)
    force: bool = False  # draw even if the file is another one, or the result lacks faces

    def __post_init__(self) -> None:
        if self.labels < 0:
            raise OptionError(f"`labels` must be zero or more, not {self.labels}.")
        if not 0 <= self.crf <= 51:
            raise OptionError(f"`crf` must be 0 (lossless) to 51 (worst), not {self.crf}.")
        if self.mesh and self.blur:
            raise OptionError("`mesh` and `blur` exclude each other: a mesh shows the face.")
        if not (self.blur or self.boxes or self.mesh):
            raise OptionError("`boxes=False` without `blur` draws nothing.", "Add `blur`.")
