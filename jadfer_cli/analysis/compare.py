"""Whether two results agree: settings, frames, times, faces, ids, boxes, probabilities.

Rows are matched in three steps: by frame and track where the boxes overlap; what is left over by
overlap alone (the same face under another id); what is still left by frame and track (the same
id, elsewhere). Boxes overlap where their intersection over union is at least 0.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.provenance import detector_text, model_text
from jadfer_cli.geometry import paired_iou
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import BOX_COLUMNS
from jadfer_cli.results.settings import fingerprint

MIN_IOU = 0.5
TIME_TOLERANCE_S = 1e-6  # float64 times of one container are equal
BOX_TOLERANCE_PX = 0.1  # moves an aligned face by less than a tenth of a pixel
_FRAMES_AT_ONCE = 5000


@dataclass(frozen=True)
class Setting:
    """A setting in which two results differ.

    Attributes:
        name: E.g. "model" or "--every".
        a, b: Its values, in words.
    """

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class Comparison:
    """What differs between the results A and B.

    Attributes:
        a, b: Their files.
        tolerance: On probabilities.
        settings: Settings that differ. They explain; they do not decide.
        labels_only_a, labels_only_b: Labels that the other model does not have.
        frames: Frames that both analysed.
        frames_only_a, frames_only_b: Frames that only one analysed.
        max_time_s: Largest difference of time_s or duration_s in those frames.
        statuses: Frames whose status differs.
        faces: Faces matched.
        faces_only_a, faces_only_b: Faces without a match.
        first_unmatched: The first frame with such a face; None if there is none.
        other_ids: Matched faces whose track ids differ.
        ids: Pairs of such ids, "A's id -> B's id", with the number of faces.
        max_box_px: Largest difference of a box's edge.
        usable: Faces that are usable in one only.
        max_p, mean_p: Largest and mean difference of probabilities; 0 where nothing is matched.
        worst_frame, worst_track: Where the largest is, by A's id; None where nothing differs.
        expressions: Faces whose top expressions differ.
    """

    a: str
    b: str
    tolerance: float
    settings: tuple[Setting, ...]
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
        """What differs beyond the tolerances, in words; empty where the results agree."""
        found = []
        if self.labels_only_a or self.labels_only_b:
            found.append(f"other labels ({', '.join(self.labels_only_a + self.labels_only_b)})")
        if self.frames_only_a or self.frames_only_b:
            found.append(
                f"frames analysed ({self.frames_only_a:,} only in A, "
                f"{self.frames_only_b:,} only in B)"
            )
        if self.max_time_s > TIME_TOLERANCE_S:
            found.append(f"times (up to {self.max_time_s:.6f} s)")
        if self.statuses:
            found.append(f"frame status ({self.statuses:,} frames)")
        if self.faces_only_a or self.faces_only_b:
            found.append(
                f"faces found ({self.faces_only_a:,} only in A, {self.faces_only_b:,} only in B)"
            )
        if self.other_ids:
            found.append(f"same faces, other ids ({self.other_ids:,} of {self.faces:,})")
        if self.max_box_px > BOX_TOLERANCE_PX:
            found.append(f"boxes (up to {self.max_box_px:.1f} px)")
        if self.usable:
            found.append(f"usable ({self.usable:,} faces)")
        if self.max_p > self.tolerance:
            found.append(f"probabilities (up to {self.max_p:.2g}, mean {self.mean_p:.2g})")
        return tuple(found)

    @property
    def agree(self) -> bool:
        """Whether nothing differs beyond the tolerances."""
        return not self.differences


def compare(a: Result, b: Result, tolerance: float = 1e-4) -> Comparison:
    """Compares two results.

    Args:
        a: One result.
        b: The other.
        tolerance: On probabilities.

    Raises:
        ResultError: One is damaged.
    """
    labels = tuple(label for label in a.labels if label in b.labels)
    names = [f"p_{label}" for label in labels]
    rows_a, rows_b = _rows(a, names), _rows(b, names)
    frames_a, frames_b = _frames(rows_a), _frames(rows_b)
    both = frames_a.index.intersection(frames_b.index)
    times = _apart(frames_a.loc[both], frames_b.loc[both], ["time_s", "duration_s"])
    status = frames_a.loc[both, "frame_status"].to_numpy() != frames_b.loc[both, "frame_status"]
    faces_a = rows_a[rows_a["track_id"].notna()].reset_index(drop=True)
    faces_b = rows_b[rows_b["track_id"].notna()].reset_index(drop=True)
    left, right = _match(faces_a, faces_b)
    in_a, in_b = faces_a.iloc[left], faces_b.iloc[right]
    p = _apart(in_a, in_b, names)
    worst = int(p.max(1).argmax()) if p.size and p.max() > 0 else None
    ids_a, ids_b = in_a["track_id"].to_numpy(np.int64), in_b["track_id"].to_numpy(np.int64)
    moved = ids_a != ids_b
    pairs = Counter(zip(ids_a[moved].tolist(), ids_b[moved].tolist(), strict=True))
    alone_a, alone_b = faces_a.drop(faces_a.index[left]), faces_b.drop(faces_b.index[right])
    alone = [int(rest["frame"].min()) for rest in (alone_a, alone_b) if len(rest)]
    return Comparison(
        a=str(a.path),
        b=str(b.path),
        tolerance=tolerance,
        settings=tuple(_settings(a, b)),
        labels_only_a=tuple(label for label in a.labels if label not in labels),
        labels_only_b=tuple(label for label in b.labels if label not in labels),
        frames=len(both),
        frames_only_a=len(frames_a) - len(both),
        frames_only_b=len(frames_b) - len(both),
        max_time_s=float(times.max()) if times.size else 0.0,
        statuses=int(status.sum()),
        faces=len(left),
        faces_only_a=len(alone_a),
        faces_only_b=len(alone_b),
        first_unmatched=min(alone, default=None),
        other_ids=int(moved.sum()),
        ids={f"{i} -> {j}": n for (i, j), n in pairs.most_common()},
        max_box_px=float(_apart(in_a, in_b, BOX_COLUMNS).max(initial=0.0)),
        usable=int((in_a["usable"].to_numpy(bool) != in_b["usable"].to_numpy(bool)).sum()),
        max_p=float(p.max(initial=0.0)),
        mean_p=float(p.mean()) if p.size else 0.0,
        worst_frame=None if worst is None else int(in_a["frame"].iloc[worst]),
        worst_track=None if worst is None else int(ids_a[worst]),
        expressions=int((in_a["expression"].to_numpy() != in_b["expression"].to_numpy()).sum()),
    )


def _rows(result: Result, names: Sequence[str]) -> pd.DataFrame:
    wanted = ("frame", "time_s", "duration_s", "frame_status", "track_id", *BOX_COLUMNS, "usable",
              "expression")  # fmt: skip
    rows = result.rows([*wanted, *names])
    return rows.astype({"frame_status": object, "expression": object})


def _frames(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.loc[~rows["frame"].duplicated()].set_index("frame")


def _apart(a: pd.DataFrame, b: pd.DataFrame, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Absolute differences of some columns of rows that belong together, (n, names)."""
    found: npt.NDArray[np.float64] = np.abs(
        a[list(names)].to_numpy(np.float64) - b[list(names)].to_numpy(np.float64)
    )
    return found


def _match(a: pd.DataFrame, b: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Places of the faces of A and of B that belong together, int64 (m,) each, by A's place."""
    keyed = _pairs(a, b, ["frame", "track_id"])
    sure = keyed[keyed["iou"] >= MIN_IOU]
    rest_a, rest_b = a.drop(sure["i"]), b.drop(sure["j"])
    near = _best(_near(rest_a, rest_b))
    far = keyed[
        (keyed["iou"] < MIN_IOU) & ~keyed["i"].isin(near["i"]) & ~keyed["j"].isin(near["j"])
    ]
    found = pd.concat([part[["i", "j"]] for part in (sure, near, far)]).sort_values("i")
    return found["i"].to_numpy(np.int64), found["j"].to_numpy(np.int64)


def _near(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Every pair of faces of one frame that overlap."""
    frames = np.intersect1d(a["frame"], b["frame"])
    found = []
    # in pieces: the pairs of an hour with 20 faces do not fit into memory
    for piece in np.array_split(frames, len(frames) // _FRAMES_AT_ONCE + 1):
        pairs = _pairs(a[a["frame"].isin(piece)], b[b["frame"].isin(piece)], ["frame"])
        found.append(pairs[pairs["iou"] >= MIN_IOU])
    return pd.concat(found)


def _pairs(a: pd.DataFrame, b: pd.DataFrame, on: list[str]) -> pd.DataFrame:
    """Every pair of faces that agree in `on`: their places `i` and `j`, and `iou`."""
    wanted = list(dict.fromkeys([*on, *BOX_COLUMNS]))
    pairs = a[wanted].assign(i=a.index).merge(b[wanted].assign(j=b.index), on=on)
    boxes_a, boxes_b = (
        pairs[[name + side for name in BOX_COLUMNS]].to_numpy(np.float64) for side in ("_x", "_y")
    )
    return pd.DataFrame({"i": pairs["i"], "j": pairs["j"], "iou": paired_iou(boxes_a, boxes_b)})


def _best(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each face in one pair at most; larger overlaps first."""
    chosen = []
    rest = pairs.sort_values("iou", ascending=False, kind="stable")
    while len(rest):
        # pairs that are the best of both their faces do not touch each other
        best = rest[~rest["i"].duplicated() & ~rest["j"].duplicated()]
        chosen.append(best)
        rest = rest[~rest["i"].isin(best["i"]) & ~rest["j"].isin(best["j"])]
    return pd.concat(chosen) if chosen else pairs


def _settings(a: Result, b: Result) -> list[Setting]:
    found = []
    ours, theirs = a.metadata, b.metadata
    if ours["video"]["sha256"] != theirs["video"]["sha256"]:
        found.append(
            Setting("video (other contents)", ours["video"]["path"], theirs["video"]["path"])
        )
    prints = fingerprint(ours), fingerprint(theirs)
    for name in dict.fromkeys([*prints[0], *prints[1]]):
        values = [each.get(name) for each in prints]
        if values[0] == values[1]:
            continue
        if name in ("model", "detector"):
            text = model_text if name == "model" else detector_text
            found.append(Setting(name, text(ours), text(theirs)))
        else:
            said = name if name == "schema" else f"--{name}"
            found.append(Setting(said, *("none" if v is None else str(v) for v in values)))
    return found
