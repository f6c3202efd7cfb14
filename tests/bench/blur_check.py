"""Does `jadfer overlay --blur` ever leave a face visible and exit with 0? Many edited results.

Every clip in a folder is annotated. Its result is then edited as people and programs edit tables
(`EDITS`: times in milliseconds, boxes in other units, rows removed, ...), and the clip is blurred
with it. Where the exit code is 0, a judge looks at the blurred video: a detector that jadfer's own
check does not use (`--judge`, an SCRFD .onnx file) finds the faces of the source in every N-th
frame, and a face counts as visible if the edges inside its box are still those of the source.

    python tests/bench/blur_check.py CLIPS --judge scrfd_2.5g_kps.onnx

Columns: how many of the videos with that edit were refused before drawing, refused by the check of
the blurred video, and written; and in how many of those written the judge still sees a face. The
last column must be 0, and the unedited results must be written. Exit code 1 if either is not so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import torch  # noqa: F401  before decord
from typer.testing import CliRunner

from jadfer_cli.cli.app import app
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.options import FaceOptions
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

BOX = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
NEVER_NULL = ["video", "frame", "time_s", "duration_s", "frame_status", "face_detected", "n_faces"]
Rows = pd.DataFrame
KINDS = ("before", "check", "written", "visible")


def times(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Rows], Rows]:
    return lambda rows: rows.assign(time_s=change(rows["time_s"].to_numpy()))


def boxes(
    change: Callable[[np.ndarray], np.ndarray], where: object = None
) -> Callable[[Rows], Rows]:
    """Change the boxes (n, 4) of all rows with a face, or of every `where`-th one."""

    def edit(rows: Rows) -> Rows:
        rows = rows.copy()
        at = rows.index[rows["face_detected"]][:: where or 1]
        rows.loc[at, BOX] = change(rows.loc[at, BOX].to_numpy()).astype(np.float32)
        return rows

    return edit


def scaled(box: np.ndarray, factor: float) -> np.ndarray:
    """Shrink or enlarge boxes (n, 4) around their centres."""
    middle, half = (box[:, :2] + box[:, 2:]) / 2, (box[:, 2:] - box[:, :2]) / 2 * factor
    return np.hstack([middle - half, middle + half])


def moved(box: np.ndarray) -> np.ndarray:
    """Move boxes to the nearer left or right side by one and a half widths, inside the picture."""
    width = box[:, 2] - box[:, 0]
    shift = np.where(box[:, 0] > 1.5 * width, -1.5 * width, 1.5 * width)
    return box + np.stack([shift, 0 * shift, shift, 0 * shift], 1)


def without_faces(rows: Rows, at: np.ndarray) -> Rows:
    """Turn rows into those of frames without a face, as `jadfer annotate` writes them."""
    rows = rows.copy()
    blank = [name for name in rows.columns if name not in NEVER_NULL]
    rows[blank] = rows[blank].where(~pd.Series(at, index=rows.index))
    rows.loc[at, "face_detected"] = False
    rows.loc[at, "n_faces"] = 0
    return rows[~(at & rows["frame"].duplicated(keep=False).to_numpy())]


def frames_moved(rows: Rows, by: int) -> Rows:
    """Move the faces by some frames; the frames keep their times."""
    of_frame = rows.drop_duplicates("frame").set_index("frame")[["time_s", "duration_s"]]
    rows = rows.assign(frame=np.clip(rows["frame"] + by, 0, None).astype("int32"))
    rows = rows[rows["frame"].isin(of_frame.index)]
    return rows.assign(
        time_s=of_frame["time_s"].loc[rows["frame"]].to_numpy(),
        duration_s=of_frame["duration_s"].loc[rows["frame"]].to_numpy(),
    )


def reversed_faces(rows: Rows) -> Rows:
    """Give each frame the faces of the mirrored time."""
    return rows.assign(**{name: rows[name].to_numpy()[::-1] for name in BOX})


def flipped(rows: Rows) -> Rows:
    return rows.assign(face_detected=~rows["face_detected"])


def counted(rows: Rows) -> Rows:
    """Make the counts in the metadata agree with the rows, as a careful editor would."""
    metadata = json.loads(json.dumps(rows.attrs["jadfer"]))
    metadata["counts"] |= {
        "frames_analysed": int(rows["frame"].nunique()),
        "faces": int(rows["face_detected"].sum()),
    }
    rows = rows.copy()
    rows.attrs = {"jadfer": metadata}
    return rows


def second_half(rows: Rows) -> np.ndarray:
    return (rows["frame"] >= rows["frame"].max() // 2).to_numpy()


def other_settings(rows: Rows) -> Rows:
    """Claim that the video has another hash and that every frame was analysed up to 0.2 s."""
    metadata = json.loads(json.dumps(rows.attrs["jadfer"]))
    metadata["options"]["video"] |= {"every": 3, "end_s": 1000.0}
    rows = rows.copy()
    rows.attrs = {"jadfer": metadata}
    return rows


EDITS: dict[str, Callable[[Rows], Rows]] = {
    "unedited": lambda rows: rows,
    "times + 3600 s": times(lambda t: t + 3600),
    "times in ms": times(lambda t: t * 1000),
    "times all zero": times(lambda t: t * 0),
    "times negated": times(lambda t: -t),
    "times reversed": times(lambda t: t[::-1]),
    "times of the next row": times(lambda t: np.append(t[1:], t[-1] + 0.04)),
    "times * 25/24": times(lambda t: t * 25 / 24),
    "times as text": lambda rows: rows.assign(time_s=rows["time_s"].astype(str)),
    "frames + 1": lambda rows: rows.assign(frame=(rows["frame"] + 1).astype("int32")),
    "frames + 1, last one dropped": lambda rows: rows.assign(
        frame=(rows["frame"] + 1).astype("int32")
    )[rows["frame"] < rows["frame"].max()],
    "faces 10 frames later": lambda rows: counted(frames_moved(rows, 10)),
    "faces of the reversed video": reversed_faces,
    "boxes moved aside": boxes(moved),
    "boxes moved, every 7th row": boxes(moved, 7),
    "boxes + 1 height": boxes(lambda b: b + (b[:, 3:] - b[:, 1:2]) * np.array([[0, 1, 0, 1]])),
    "boxes shrunk to 1/3": boxes(lambda b: scaled(b, 1 / 3)),
    "boxes shrunk to 1/10": boxes(lambda b: scaled(b, 0.1)),
    "boxes, lower half only": boxes(
        lambda b: np.stack([b[:, 0], b[:, 1] / 4 + b[:, 3] * 3 / 4, b[:, 2], b[:, 3]], 1)
    ),
    "boxes NaN": boxes(lambda b: b * np.nan, 3),
    "boxes zero": boxes(lambda b: b * 0),
    "boxes from 0 to 1": boxes(lambda b: b / 640),
    "boxes of a half-size video": boxes(lambda b: b / 2),
    "boxes of a double-size video": boxes(lambda b: b * 2),
    "boxes with x and y swapped": boxes(lambda b: b[:, [1, 0, 3, 2]]),
    "boxes with corners swapped": boxes(lambda b: b[:, [2, 3, 0, 1]]),
    "boxes as x, y, width, height": boxes(lambda b: np.hstack([b[:, :2], b[:, 2:] - b[:, :2]])),
    "boxes as text": lambda rows: rows.assign(**{n: rows[n].astype(str) for n in BOX}),
    "box columns dropped": lambda rows: rows.drop(columns=BOX),
    "second half dropped": lambda rows: rows[~second_half(rows)],
    "second half dropped, counted": lambda rows: counted(rows[~second_half(rows)]),
    "faces blanked": lambda rows: without_faces(rows, second_half(rows)),
    "faces blanked, counted": lambda rows: counted(without_faces(rows, second_half(rows))),
    "all faces blanked, counted": lambda rows: counted(
        without_faces(rows, np.ones(len(rows), bool))
    ),
    "first track dropped, counted": lambda rows: counted(
        without_faces(
            rows, rows["track_id"].eq(rows["track_id"].min()).fillna(False).to_numpy(bool)
        )
    ),
    "face_detected flipped": flipped,
    "face_detected all true": lambda rows: rows.assign(face_detected=True),
    "face_detected all false": lambda rows: rows.assign(face_detected=False),
    "rows duplicated": lambda rows: pd.concat([rows, rows]),
    "rows sorted by track, backwards": lambda rows: rows.sort_values(
        ["track_id", "frame"], ascending=False
    ),
    "a track ID for each row": lambda rows: rows.assign(
        track_id=pd.array(np.arange(len(rows)), "Int32").astype("Int32")
    ),
    "track IDs all 0": lambda rows: rows.assign(track_id=pd.array([0] * len(rows), "Int32")),
    "options changed": other_settings,
}
# These are made of files rather than of rows.
OF_ANOTHER_VIDEO, NO_SIDECAR = "result of another video", "sidecar deleted"
FORCED = "result of another video, --force"
ALL = (*EDITS, OF_ANOTHER_VIDEO, FORCED, NO_SIDECAR)
# The edits that do no harm, because jadfer does not rely on what they change.
HARMLESS = ("unedited", NO_SIDECAR, "rows sorted by track, backwards")


def edited(result: Path, name: str, folder: Path) -> Path:
    """Write an edited copy of a result the way users do, with pandas."""
    rows = pd.read_parquet(result)
    attrs = rows.attrs
    rows = EDITS[name](rows) if name in EDITS else rows
    rows.attrs = rows.attrs or attrs
    out = folder / "edited.parquet"
    rows.to_parquet(out, index=False)
    return out


def edges(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the edges in the middle of a face, as one vector."""
    x1, y1, x2, y2 = np.round(scaled(np.clip(box, 0, None)[None], 0.8)[0]).astype(int)
    grey = cv2.cvtColor(image[max(y1, 0) : y2, max(x1, 0) : x2], cv2.COLOR_RGB2GRAY)
    return cv2.Laplacian(cv2.resize(grey, (48, 48)), cv2.CV_32F, ksize=3).ravel()


def sees_a_face(judge: object, source: Path, written: Path, every: int) -> bool:
    """Return whether any face of the source is still visible in the written video."""
    infos = [probe(str(path)) for path in (source, written)]
    wanted = np.arange(0, infos[0].n_frames, every)
    for before, after in zip(*(VideoReader(info, wanted) for info in infos), strict=True):
        if before.image_rgb is None or after.image_rgb is None:
            continue
        for box in judge.detect(before.image_rgb).boxes_px:
            a, b = edges(before.image_rgb, box), edges(after.image_rgb, box)
            if a.std() > 0 and b.std() > 0 and np.corrcoef(a, b)[0, 1] > 0.5:
                return True
    return False


def outcome(clip: Path, result: Path, name: str, folder: Path, judge: object, every: int) -> str:
    """Blur a clip with an edited result; return one of `KINDS`."""
    out = folder / "blurred.mp4"
    arguments = ["overlay", clip, result, "-o", out, "--blur", "--no-boxes", "--overwrite"]
    found = CliRunner().invoke(
        app, [*map(str, arguments), *(["--force"] if name == FORCED else [])]
    )
    if found.exit_code == 0:
        return "visible" if sees_a_face(judge, clip, out, every) else "written"
    said = " ".join(found.output.split())
    if found.exit_code != 1 or "bug in jadfer" in said or out.exists():
        raise SystemExit(f"{clip}, {name}: exit code {found.exit_code}\n{said}")
    return "check" if "nothing was written" in said.replace("  ", " ") else "before"


def check_clip(
    clip: Path, other: Path, result: Path, names: tuple[str, ...], judge: object, every: int
) -> dict[str, str]:
    """Return the outcome of each edit for one clip.

    Args:
        clip: The video.
        other: The result of another video.
        result: Its own result.
        names: Which edits.
        judge: A detector.
        every: The judge looks at every N-th frame.
    """
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for edit in names:
            own = edit not in (OF_ANOTHER_VIDEO, FORCED)
            path = edited(result if own else other, edit, folder)
            found[edit] = outcome(clip, path, edit, folder, judge, every)
            (folder / "blurred.mp4").unlink(missing_ok=True)
    return found


def shortened(clip: Path, n_frames: int, folder: Path) -> Path:
    """Copy the first frames of a clip, without encoding them again."""
    out = folder / clip.name
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(clip)]
    subprocess.run(
        [*command, "-frames:v", str(n_frames), "-an", "-c", "copy", str(out)], check=True
    )
    return out


def annotated(clips: list[Path], folder: Path) -> dict[Path, Path]:
    """Annotate the clips; return the result of each."""
    command = ["annotate", *map(str, clips), "-o", str(folder), "--quiet"]
    found = CliRunner().invoke(app, command)
    if found.exit_code:
        raise SystemExit(found.output)
    return {clip: folder / f"{clip.stem}.parquet" for clip in clips}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, help="a folder of videos, the smallest first")
    parser.add_argument("--judge", default="centerface", help="detector of the judge")
    parser.add_argument("--every", type=int, default=5, help="the judge looks at every N-th frame")
    parser.add_argument("--most", type=int, default=100, help="use the N smallest clips")
    parser.add_argument("--frames", type=int, help="use only the first N frames of each clip")
    arguments = parser.parse_args()
    clips = [path for path in arguments.clips.iterdir() if path.is_file()]
    clips = sorted(clips, key=lambda path: path.stat().st_size)[: arguments.most]
    judge = load_detector(FaceOptions(detector=arguments.judge), threads=2)
    with tempfile.TemporaryDirectory() as name:
        if arguments.frames:
            clips = [shortened(clip, arguments.frames, Path(name)) for clip in clips]
        results = annotated(clips, Path(name) / "results")
        counts = {edit: dict.fromkeys(KINDS, 0) for edit in ALL}
        for i, clip in enumerate(clips):
            since = time.monotonic()
            found = check_clip(
                clip, results[clips[i - 1]], results[clip], ALL, judge, arguments.every
            )
            for edit, kind in found.items():
                counts[edit][kind] += 1
            print(f"{clip.name}: {time.monotonic() - since:.0f} s", file=sys.stderr, flush=True)
            tally = ", ".join(f"{list(found.values()).count(kind)} {kind}" for kind in KINDS)
            print(f"  {tally}; unedited: {found['unedited']}", file=sys.stderr, flush=True)
    table = pd.DataFrame(counts).T
    print(table.to_string())
    print(f"{len(clips)} clips, {len(ALL)} kinds of results, {len(clips) * len(ALL)} runs; "
          f"a face stays visible with exit code 0 in {table['visible'].sum()}")  # fmt: skip
    if table["visible"].sum() or table.loc["unedited", "written"] < len(clips):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
