"""Synthetic results, written through the real sink, for tests of code that reads results."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jadfer_cli.labels import ACTION_COLUMNS, LABELS, MEASURE_COLUMNS
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.records import (
    OK,
    UNUSABLE_REASONS,
    Actions,
    AnnotatedFrame,
    DetectorInfo,
    Faces,
    Quality,
)
from jadfer_cli.results import metadata as sidecar
from jadfer_cli.results.sink import ResultSink
from jadfer_cli.runtime import Runtime

N_ACTIONS = len(ACTION_COLUMNS) + len(MEASURE_COLUMNS)


def sure(label: str, p: float = 0.9, labels=LABELS) -> np.ndarray:
    """Return probabilities (K,) with p for `label`; the others share the rest evenly."""
    found = np.full(len(labels), (1 - p) / (len(labels) - 1), np.float32)
    found[labels.index(label)] = p
    return found


@dataclass
class Track:
    """One face: the frames in which it is seen, and its expression there.

    `shows` is one label, one label per frame, or probabilities (n, K). `usable`, `reason` and
    `box_px` hold for all frames or are given per frame. A face with a `reason` is not usable.
    """

    id: int
    frames: list[int]
    shows: object = "neutral"
    usable: object = True
    reason: object = ""  # one of UNUSABLE_REASONS; of a face that is not usable "blurred"
    box_px: object = (100.0, 80.0, 180.0, 180.0)
    p: float = 0.9
    # column of actions to its value, or one per frame; the other columns are 0, the presence 1
    actions: dict | None = None

    def action_values(self) -> np.ndarray:
        names = [*ACTION_COLUMNS, *MEASURE_COLUMNS]
        values = np.zeros((len(self.frames), len(names)), np.float32)
        values[:, -1] = 1
        for name, value in (self.actions or {}).items():
            values[:, names.index(name)] = value
        values[np.isnan(values).any(1)] = np.nan  # a face without a mesh
        return values

    def probabilities(self, labels) -> np.ndarray:
        if isinstance(self.shows, str):
            return np.tile(sure(self.shows, self.p, labels), (len(self.frames), 1))
        if len(self.shows) and isinstance(self.shows[0], str):
            return np.stack([sure(label, self.p, labels) for label in self.shows])
        return np.asarray(self.shows, np.float32).reshape(-1, len(labels))

    def codes(self) -> np.ndarray:
        """The reasons as codes of `Quality.reason`, int32 (n,)."""
        usable = np.broadcast_to(np.asarray(self.usable, bool), len(self.frames))
        names = np.broadcast_to(np.asarray(self.reason, object), len(self.frames))
        names = [
            name or ("" if good else "blurred") for name, good in zip(names, usable, strict=True)
        ]
        return np.array([1 + UNUSABLE_REASONS.index(n) if n else 0 for n in names], np.int32)


@dataclass
class Made:
    """A result to write: `Made(tracks=[Track(0, [0, 1])], n_frames=3).write(path)`."""

    tracks: list[Track] = field(default_factory=list)
    n_frames: int = 10
    times_s: object = None  # (n_frames,); 25 per second by default
    frames: object = None  # indices of the analysed frames; all by default
    video: str = "clips/clip.mp4"
    labels: tuple = LABELS
    options: AnnotateOptions = field(default_factory=AnnotateOptions)
    size_px: tuple = (640, 360)
    sha256: str = "0" * 64
    model_sha256: str = "1" * 64
    status: dict = field(default_factory=dict)  # frame index to status
    landmarks: bool = False
    metadata: dict = field(default_factory=dict)  # replaces entries of the metadata, see `merged`

    def __post_init__(self) -> None:
        if self.times_s is None:
            self.times_s = np.arange(self.n_frames) / 25
        self.times_s = np.asarray(self.times_s, np.float64)
        gaps = np.diff(self.times_s)
        self.durations_s = np.append(gaps, np.median(gaps) if len(gaps) else 0.04)
        self.frames = list(range(self.n_frames)) if self.frames is None else list(self.frames)

    @property
    def has_actions(self) -> bool:
        return any(track.actions is not None for track in self.tracks)

    def annotated(self) -> list[AnnotatedFrame]:
        by_frame: dict[int, list[tuple]] = {index: [] for index in self.frames}
        for track in self.tracks:
            p = track.probabilities(self.labels)
            boxes = np.broadcast_to(np.asarray(track.box_px, np.float32), (len(track.frames), 4))
            codes, acted = track.codes(), track.action_values()
            for i, index in enumerate(track.frames):
                by_frame[index].append((track.id, p[i], boxes[i], codes[i], acted[i]))
        return [self._frame(index, sorted(by_frame[index], key=lambda t: t[0]))
                for index in self.frames]  # fmt: skip

    def _frame(self, index: int, faces: list[tuple]) -> AnnotatedFrame:
        n = len(faces)
        boxes = np.array([box for _, _, box, _, _ in faces], np.float32).reshape(n, 4)
        # typical places of eyes, nose and corners of the mouth in the box
        at = np.array([(0.32, 0.4), (0.68, 0.4), (0.5, 0.6), (0.36, 0.77), (0.64, 0.77)])
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
        points = (boxes[:, None, :2] + at[None] * sides).astype(np.float32)
        zeros = np.zeros(n, np.float32)
        quality = Quality(
            (points[:, 1, 0] - points[:, 0, 0]).astype(np.float32), zeros + np.float32(0.3),
            zeros + np.float32(0.6), zeros, zeros + np.float32(0.8), zeros, zeros, zeros,
            np.array([code for *_, code, _ in faces], np.int32),
        )  # fmt: skip
        p = np.array([p for _, p, *_ in faces], np.float32).reshape(n, len(self.labels))
        return AnnotatedFrame(
            index, float(self.times_s[index]), float(self.durations_s[index]),
            self.status.get(index, OK),
            Faces(boxes, np.full(n, 0.9, np.float32), points),
            np.array([i for i, *_ in faces], np.int32), quality, p,
            actions=Actions(np.array([a for *_, a in faces], np.float32).reshape(n, N_ACTIONS)),
        )  # fmt: skip

    def described(self, frames: list[AnnotatedFrame]) -> dict:
        detector = DetectorInfo("centerface", "centerface", "/x/centerface.onnx", "2" * 64,
                                "MIT", "CPUExecutionProvider")  # fmt: skip
        model = {
            "name": "jadfer-compact", "sha256": self.model_sha256, "preview": False,
            "terms": "non-commercial", "temperature": 1.1,
            "metrics": {"ferplus_test_majority": {"accuracy": 0.881, "n": 3152, "ece": 0.013}},
        }  # fmt: skip
        runtime = Runtime("cpu", "CPU, 2 threads", "fp32", 2, "onnxruntime")
        gaps = self.durations_s[:-1] if self.n_frames > 1 else self.durations_s
        faces = sum(len(f.faces) for f in frames)
        found = sidecar.run_metadata(self.options, runtime, detector, model, tuple(self.labels))
        found |= {
            "redetect_s": 0.3,
            "video": {
                "path": self.video, "sha256": self.sha256, "bytes": 1000, "container": "mov,mp4",
                "codec": "h264", "pixel_format": "yuv420p", "width_px": self.size_px[0],
                "height_px": self.size_px[1], "rotation_deg": 0, "nominal_fps": 25.0,
                "variable_frame_rate": bool(np.ptp(gaps) > 1e-6), "frame_gap_min_s": gaps.min(),
                "frame_gap_max_s": gaps.max(), "start_offset_s": 0.0,
                "duration_s": float(self.durations_s.sum()), "frames_in_source": self.n_frames,
                "decoders": [{"from_frame": 0, "name": "decord 3.4.0"}],
            },
            "counts": {
                "frames_expected": len(self.frames), "frames_analysed": len(self.frames),
                "frames_corrupt": sum(s == 1 for s in self.status.values()),
                "frames_repeated": sum(s == 2 for s in self.status.values()),
                "frames_without_face": sum(not len(f.faces) for f in frames), "faces": faces,
                "faces_usable": sum(int(f.quality.usable.sum()) for f in frames),
                "tracks": len({i for f in frames for i in f.track_ids.tolist()}),
                "tracks_left_out": 0,
            },
            "warnings": [], "created": "2026-11-24T10:00:00+00:00", "wall_s": 1.0,
            "frames_per_s": float(len(self.frames)),
        }  # fmt: skip
        if self.has_actions:
            found["actions"] = {"revision": 1, "sha256": "4" * 64}
        return merged(found, self.metadata)

    def write(self, out: Path, *, overwrite: bool = False) -> Path:
        frames = self.annotated()
        companions = ["landmarks"] if self.landmarks else []
        companions += ["actions"] if self.has_actions else []
        with ResultSink(
            out, self.video, self.labels, companions=companions, overwrite=overwrite
        ) as sink:
            if frames:
                sink.write(frames)
            sink.commit(self.described(frames), np.array(self.frames, np.int64))
        return out


def merged(metadata: dict, replaced: dict) -> dict:
    """Return metadata with some entries replaced, at any depth; a model is replaced as a whole."""
    found = dict(metadata)
    for name, value in replaced.items():
        deeper = isinstance(value, dict) and isinstance(found.get(name), dict) and name != "model"
        found[name] = merged(found[name], value) if deeper else value
    return found


def options(**video) -> AnnotateOptions:
    """Return options with these video options, e.g. options(every=5)."""
    return dataclasses.replace(AnnotateOptions(), video=dataclasses.replace(
        AnnotateOptions().video, **video))  # fmt: skip
