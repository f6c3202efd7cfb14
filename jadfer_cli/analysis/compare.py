"""Compare two results: settings, frames, times, faces, IDs, boxes and probabilities.

Faces are matched in three steps: by frame and track if their boxes overlap; the rest by overlap
alone (the same face under another ID); what is still left by frame and track (the same ID at
another place). Boxes overlap if their intersection over union is at least 0.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jadfer_cli.analysis.frame_times import Floats, Ints
from jadfer_cli.analysis.provenance import compare_origins, compare_settings
from jadfer_cli.geometry import paired_iou
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import BOX_COLUMNS
from jadfer_cli.text import count_text

MIN_IOU = 0.5
TIME_TOLERANCE_S = 1e-6  # times of the same container are equal up to rounding
BOX_TOLERANCE_PX = 0.1  # moves an aligned face by less than 0.1 px
_CHUNK_FRAMES = 5000  # all pairs of an hour with 20 faces do not fit into memory


@dataclass(frozen=True)
class Setting:
    """A setting in which two results differ.

    Attributes:
        name: E.g. "model" or "--every".
        a: Its value in A, in words.
        b: Its value in B, in words.
    """

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class Comparison:
    """What differs between the results A and B.

    Attributes:
        a: The file of A.
        b: The file of B.
        tolerance: Allowed difference of probabilities.
        settings: Settings that differ. They explain differences, but do not count as such.
        origins: What computed them, where it differs: versions, devices, engines. As settings.
        labels_only_a: Labels that only the model of A has.
        labels_only_b: Labels that only the model of B has.
        frames: Number of frames in both.
        frames_only_a: Number of frames only in A.
        frames_only_b: Number of frames only in B.
        max_time_s: Largest difference of time_s or duration_s in common frames.
        statuses: Number of common frames whose status differs.
        faces: Number of matched faces.
        faces_only_a: Number of faces of A without a match.
        faces_only_b: Number of faces of B without a match.
        first_unmatched: The first frame with an unmatched face; None if all are matched.
        other_ids: Number of matched faces whose track IDs differ.
        ids: Number of faces for each pair of such IDs, written "A's ID -> B's ID".
        max_box_px: Largest difference of an edge of a box.
        usable: Number of faces that are usable in only one result.
        max_p: Largest difference of a probability; 0 without matched faces.
        mean_p: Mean difference of probabilities; 0 without matched faces.
        worst_frame: The frame with the largest difference; None if nothing differs.
        worst_track: The track ID of that face in A.
        expressions: Number of faces whose top expressions differ.
    """

    a: str
    b: str
    tolerance: float
    settings: tuple[Setting, ...]
    origins: tuple[Setting, ...]
    labels_only_a: tuple[str, ...]
    labels_only_b: tuple[str, ...]
    frames: int
    frames_only_a: int
    frames_only_b: int
    max_time_s: float
    statuses: int
    faces: int
    faces_only_a: int
    faces_only_b: int
    first_unmatched: int | None
    other_ids: int
    ids: dict[str, int]
    max_box_px: float
    usable: int
    max_p: float
    mean_p: float
    worst_frame: int | None
    worst_track: int | None
    expressions: int

    @property
    def differences(self) -> tuple[str, ...]:
        """What differs beyond the tolerances, in words; empty if the results agree."""
        texts = []
        if self.labels_only_a or self.labels_only_b:
            texts.append(f"other labels ({', '.join(self.labels_only_a + self.labels_only_b)})")
        if self.frames_only_a or self.frames_only_b:
            texts.append(
                f"frames analysed ({self.frames_only_a:,} only in A, "
                f"{self.frames_only_b:,} only in B)"
            )
        if self.max_time_s > TIME_TOLERANCE_S:
            texts.append(f"times (up to {self.max_time_s:.6f} s)")
        if self.statuses:
            texts.append(f"frame status ({count_text(self.statuses, 'frame')})")
        if self.faces_only_a or self.faces_only_b:
            texts.append(
                f"faces found ({self.faces_only_a:,} only in A, {self.faces_only_b:,} only in B)"
            )
        if self.other_ids:
            texts.append(f"same faces, other IDs ({self.other_ids:,} of {self.faces:,})")
        if self.max_box_px > BOX_TOLERANCE_PX:
            texts.append(f"boxes (up to {self.max_box_px:.1f} px)")
        if self.usable:
            texts.append(f"usable ({count_text(self.usable, 'face')})")
        if self.max_p > self.tolerance:
            texts.append(f"probabilities (up to {self.max_p:.2g}, mean {self.mean_p:.2g})")
        return tuple(texts)

    @property
    def agree(self) -> bool:
        """Whether nothing differs beyond the tolerances."""
        return not self.differences


def compare(a: Result, b: Result, tolerance: float = 1e-4) -> Comparison:
    """Compare two results.

    Args:
        a: One result.
        b: The other.
        tolerance: Allowed difference of probabilities.

    Raises:
        ResultError: A result is damaged.
    """
    labels = tuple(label for label in a.labels if label in b.labels)
    columns = [f"p_{label}" for label in labels]
    rows_a, rows_b = _rows(a, columns), _rows(b, columns)
    return Comparison(
        a=str(a.path),
        b=str(b.path),
        tolerance=tolerance,
        settings=tuple(_differing_settings(a, b)),
        origins=tuple(Setting(name, *two) for name, two in compare_origins([a, b]).items()),
        labels_only_a=tuple(label for label in a.labels if label not in labels),
        labels_only_b=tuple(label for label in b.labels if label not in labels),
        **_compare_frames(rows_a, rows_b),
        **_compare_faces(rows_a, rows_b, columns),
    )


def _compare_frames(rows_a: pd.DataFrame, rows_b: pd.DataFrame) -> dict[str, Any]:
    """The fields of a Comparison that are about frames."""
    frames_a, frames_b = _frames(rows_a), _frames(rows_b)
    common = frames_a.index.intersection(frames_b.index)
    common_a, common_b = frames_a.loc[common], frames_b.loc[common]
    times = _differences(common_a, common_b, ["time_s", "duration_s"])
    statuses = common_a["frame_status"].to_numpy() != common_b["frame_status"].to_numpy()
    return {
        "frames": len(common),
        "frames_only_a": len(frames_a) - len(common),
        "frames_only_b": len(frames_b) - len(common),
        "max_time_s": float(times.max(initial=0.0)),
        "statuses": int(statuses.sum()),
    }


def _compare_faces(
    rows_a: pd.DataFrame, rows_b: pd.DataFrame, columns: Sequence[str]
) -> dict[str, Any]:
    """The fields of a Comparison that are about faces; `columns` are the probabilities."""
    faces_a = rows_a[rows_a["track_id"].notna()].reset_index(drop=True)
    faces_b = rows_b[rows_b["track_id"].notna()].reset_index(drop=True)
    matched_a, matched_b = _match(faces_a, faces_b)
    a, b = faces_a.iloc[matched_a], faces_b.iloc[matched_b]
    p = _differences(a, b, columns)
    worst = int(p.max(1).argmax()) if p.size and p.max() > 0 else None
    ids_a, ids_b = a["track_id"].to_numpy(np.int64), b["track_id"].to_numpy(np.int64)
    differ = ids_a != ids_b
    pairs = Counter(zip(ids_a[differ].tolist(), ids_b[differ].tolist(), strict=True))
    only_a = faces_a.drop(faces_a.index[matched_a])
    only_b = faces_b.drop(faces_b.index[matched_b])
    unmatched = [int(faces["frame"].min()) for faces in (only_a, only_b) if len(faces)]
    return {
        "faces": len(a),
        "faces_only_a": len(only_a),
        "faces_only_b": len(only_b),
        "first_unmatched": min(unmatched, default=None),
        "other_ids": int(differ.sum()),
        "ids": {f"{i} -> {j}": n for (i, j), n in pairs.most_common()},
        "max_box_px": float(_differences(a, b, BOX_COLUMNS).max(initial=0.0)),
        "usable": int((a["usable"].to_numpy(bool) != b["usable"].to_numpy(bool)).sum()),
        "max_p": float(p.max(initial=0.0)),
        "mean_p": float(p.mean()) if p.size else 0.0,
        "worst_frame": None if worst is None else int(a["frame"].iloc[worst]),
        "worst_track": None if worst is None else int(ids_a[worst]),
        "expressions": int(
            (a["expression"].fillna("") != b["expression"].fillna("").to_numpy()).sum()
        ),
    }


def _rows(result: Result, probabilities: Sequence[str]) -> pd.DataFrame:
    columns = ("frame", "time_s", "duration_s", "frame_status", "track_id", *BOX_COLUMNS, "usable",
               "expression")  # fmt: skip
    rows = result.rows([*columns, *probabilities])
    return rows.astype({"frame_status": object, "expression": object})


def _frames(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.loc[~rows["frame"].duplicated()].set_index("frame")


def _differences(a: pd.DataFrame, b: pd.DataFrame, columns: Sequence[str]) -> Floats:
    """Absolute differences between the rows of `a` and `b` in order, float64 (n, columns)."""
    result: Floats = np.abs(
        a[list(columns)].to_numpy(np.float64) - b[list(columns)].to_numpy(np.float64)
    )
    return result


def _match(a: pd.DataFrame, b: pd.DataFrame) -> tuple[Ints, Ints]:
    """Positions of the matching faces in A and in B, int64 (m,) each, sorted by those in A."""
    same_id = _pairs(a, b, ["frame", "track_id"])
    certain = same_id[same_id["iou"] >= MIN_IOU]
    overlapping = _best(_overlapping_pairs(a.drop(certain["i"]), b.drop(certain["j"])))
    moved = same_id[
        (same_id["iou"] < MIN_IOU)
        & ~same_id["i"].isin(overlapping["i"])
        & ~same_id["j"].isin(overlapping["j"])
    ]
    matches = pd.concat([pairs[["i", "j"]] for pairs in (certain, overlapping, moved)])
    matches = matches.sort_values("i")
    return matches["i"].to_numpy(np.int64), matches["j"].to_numpy(np.int64)


def _overlapping_pairs(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Every pair of faces of one frame that overlap."""
    frames = np.intersect1d(a["frame"], b["frame"])
    overlapping = []
    for chunk in np.array_split(frames, len(frames) // _CHUNK_FRAMES + 1):
        pairs = _pairs(a[a["frame"].isin(chunk)], b[b["frame"].isin(chunk)], ["frame"])
        overlapping.append(pairs[pairs["iou"] >= MIN_IOU])
    return pd.concat(overlapping)


def _pairs(a: pd.DataFrame, b: pd.DataFrame, on: list[str]) -> pd.DataFrame:
    """Every pair of faces with equal values in `on`: their positions `i` and `j`, and `iou`."""
    columns = list(dict.fromkeys([*on, *BOX_COLUMNS]))
    pairs = a[columns].assign(i=a.index).merge(b[columns].assign(j=b.index), on=on)
    boxes_a, boxes_b = (
        pairs[[name + side for name in BOX_COLUMNS]].to_numpy(np.float64) for side in ("_x", "_y")
    )
    return pd.DataFrame({"i": pairs["i"], "j": pairs["j"], "iou": paired_iou(boxes_a, boxes_b)})


def _best(pairs: pd.DataFrame) -> pd.DataFrame:
    """Match greedily: each face is in at most one pair, and larger overlaps come first."""
    chosen = []
    rest = pairs.sort_values("iou", ascending=False, kind="stable")
    while len(rest):
        # pairs that are the best for both their faces share no face, so all can be taken at once
        best = rest[~rest["i"].duplicated() & ~rest["j"].duplicated()]
        chosen.append(best)
        rest = rest[~rest["i"].isin(best["i"]) & ~rest["j"].isin(best["j"])]
    return pd.concat(chosen) if chosen else pairs


def _differing_settings(a: Result, b: Result) -> list[Setting]:
    video_a, video_b = a.metadata["video"], b.metadata["video"]
    found = [Setting(name, *values) for name, values in compare_settings([a, b]).items()]
    if video_a["sha256"] != video_b["sha256"]:
        found.insert(0, Setting("video (other contents)", video_a["path"], video_b["path"]))
    return found
