"""`jadfer annotate`: rows, options, progress, interruption."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import HALF_MAX, HALF_MEAN, SAME_MACHINE

pytestmark = pytest.mark.slow  # starts processes or trains

JADFER = Path(sys.executable).with_name("jadfer")
DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"
PROBABILITIES = [
    f"p_{label}"
    for label in (
        "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"
    )
]  # fmt: skip
LANDMARKS = ("image_left_eye", "image_right_eye", "nose", "image_left_mouth", "image_right_mouth")
BOXES = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
KEY = ["frame", "time_s", "track_id", "n_faces", "face_detected"]


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Rows, ids and boxes are equal; probabilities are within the tolerance of one machine."""
    pd.testing.assert_frame_equal(a[[*KEY, *BOXES]], b[[*KEY, *BOXES]])
    assert (a[PROBABILITIES] - b[PROBABILITIES]).abs().max(axis=None) <= SAME_MACHINE


def test_the_demo_has_every_frame_and_ids_survive_short_absences(demo_result):
    rows = pd.read_parquet(demo_result)
    assert rows["frame"].unique().tolist() == list(range(225))
    assert np.allclose(rows["time_s"], rows["frame"] / 25, atol=1e-6)
    per_frame = rows.groupby("frame").size()
    assert (per_frame == 1).all()  # one person
    # frames without a face: the camera looks away at 2.9-3.2 s and at 5.6-7.4 s
    empty = set(rows.loc[~rows["face_detected"], "frame"])
    assert set(range(73, 81)) | set(range(140, 186)) <= empty
    assert empty.isdisjoint([*range(0, 64), *range(90, 128), *range(198, 225)])
    # an absence of 0.7 s keeps the id, one of 2.2 s does not
    seen = rows[rows["face_detected"]]
    assert set(seen.loc[seen["frame"] < 150, "track_id"]) == {0}
    assert set(seen.loc[seen["frame"] > 150, "track_id"]) == {1}
    assert np.allclose(seen[PROBABILITIES].sum(axis=1), 1, atol=1e-5)
    assert seen["det_score"].between(0.5, 1).all()
    # while the camera rests on her; while it moves, the edge of the picture cuts her face
    rests = seen["frame"].isin([*range(0, 64), *range(90, 128), *range(200, 225)])
    assert rests.sum() == 127 and seen.loc[rests, "usable"].all()


def test_metadata_is_in_the_file_and_beside_it(demo_result):
    metadata = pd.read_parquet(demo_result).attrs["jadfer"]
    assert metadata == json.loads(demo_result.with_suffix(".json").read_text())["jadfer"]
    assert metadata["video"]["codec"] == "h264" and metadata["video"]["frames_in_source"] == 225
    assert metadata["video"]["decoders"][0]["from_frame"] == 0
    assert metadata["counts"]["frames_analysed"] == 225
    assert len(metadata["video"]["sha256"]) == len(metadata["model"]["sha256"]) == 64
    assert metadata["detector"]["sha256"] and metadata["detector"]["terms"]
    assert metadata["options"]["faces"]["max_faces"] is None
    assert metadata["device"] in ("cpu", "cuda:0") and metadata["versions"]["torch"]
    if metadata["model"]["preview"]:
        assert any("preview" in warning for warning in metadata["warnings"])


def test_landmarks_are_inside_their_boxes(demo_result):
    points = pd.read_parquet(demo_result.with_suffix(".landmarks.parquet"))
    rows = pd.read_parquet(demo_result)
    rows = rows[rows["face_detected"]].reset_index(drop=True)
    assert points["frame"].tolist() == rows["frame"].tolist()
    whole = rows["bbox_x1"].gt(0) & rows["bbox_x2"].lt(320) & rows["bbox_y1"].gt(0)
    assert whole.sum() > 100
    for name in LANDMARKS:
        assert points[f"{name}_x"].between(rows["bbox_x1"], rows["bbox_x2"])[whole].all()
        assert points[f"{name}_y"].between(rows["bbox_y1"], rows["bbox_y2"])[whole].all()
    assert (points["image_left_eye_x"] < points["image_right_eye_x"])[whole].all()


def test_again_with_another_batch_size_gives_the_same(invoke, demo_result, tmp_path):
    out = tmp_path / "again.parquet"
    # to 1.20 s, where the run over the complete video also searches the whole frame
    result = invoke("annotate", DEMO, "-o", out, "--batch-size", 7, "--end", 1.23)
    assert result.exit_code == 0, result.stderr
    first, again = pd.read_parquet(demo_result), pd.read_parquet(out)
    sizes = [rows.attrs["jadfer"]["batch_size"] for rows in (first, again)]
    assert sizes == [64 if first.attrs["jadfer"]["device"] != "cpu" else 16, 7]
    same(again, first[first["time_s"] < 1.23])


def test_bf16_stays_near_fp32(invoke, demo_result, tmp_path):
    out = tmp_path / "bf16.parquet"
    result = invoke("annotate", DEMO, "-o", out, "--precision", "bf16", "--end", 0.4)
    assert result.exit_code == 0, result.stderr
    rows = pd.read_parquet(out)
    assert rows.attrs["jadfer"]["precision"] == "bf16"
    exact = pd.read_parquet(demo_result).iloc[: len(rows)]
    difference = (rows[PROBABILITIES] - exact[PROBABILITIES]).abs().to_numpy()
    assert 0 < difference.mean() <= HALF_MEAN and difference.max() <= HALF_MAX


def test_python_returns_what_the_command_writes(demo_result):
    import jadfer_cli
    from jadfer_cli import AnnotateOptions, VideoOptions

    # from 2.40 to 3.60 s, where the run over the complete video also searches the whole frame
    options = AnnotateOptions(video=VideoOptions(start_s=2.39, end_s=3.63))
    written = pd.read_parquet(demo_result)
    written = written[written["time_s"].between(2.39, 3.629)].reset_index(drop=True)
    rows = jadfer_cli.annotate(str(DEMO), options)
    assert rows.attrs["jadfer"]["counts"]["frames_analysed"] == 31
    assert rows.dtypes.astype(str).tolist() == written.dtypes.astype(str).tolist()
    # ids start at 0 in the analysed part, which begins with the same person
    same(rows, written)
    parts = list(jadfer_cli.iter_annotate(str(DEMO), options))
    same(pd.concat(parts, ignore_index=True), rows)


def test_python_with_landmarks_and_with_max_faces(short_clip):
    import jadfer_cli
    from jadfer_cli import AnnotateOptions, FaceOptions, JadferError

    rows = jadfer_cli.annotate(str(short_clip), AnnotateOptions(landmarks=True))
    assert rows["nose_x"].between(rows["bbox_x1"], rows["bbox_x2"]).all()
    limited = AnnotateOptions(faces=FaceOptions(max_faces=1))
    assert len(jadfer_cli.annotate(str(short_clip), limited)) == 8
    with pytest.raises(JadferError, match="whole video"):
        next(jadfer_cli.iter_annotate(str(short_clip), limited))


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (["--every", 3], [0, 3, 6]),
        (["--fps", 12.5], [0, 2, 4, 6]),
        (["--start", 0.1, "--end", "0:00.2"], [3, 4]),
    ],
)
def test_frames_chosen(invoke, short_clip, tmp_path, options, frames):
    out = tmp_path / "c.parquet"
    result = invoke("annotate", short_clip, "-o", out, *options, "--relative-paths")
    assert result.exit_code == 0, result.stderr
    rows = pd.read_parquet(out)
    assert rows["frame"].tolist() == frames
    assert np.allclose(rows["time_s"], np.array(frames) / 25, atol=1e-6)
    assert set(rows["video"]) == {"short.mp4"}


@pytest.fixture(scope="module")
def six_faces(tmp_path_factory) -> Path:
    """Ten frames of the group picture in the package insightface."""
    import importlib.util

    import cv2
    from media import make_video

    folder = Path(importlib.util.find_spec("insightface").origin).parent
    image_bgr = cv2.imread(str(folder / "data" / "images" / "t1.jpg"))
    rgb = cv2.cvtColor(cv2.resize(image_bgr, (960, 664)), cv2.COLOR_BGR2RGB)
    return make_video(tmp_path_factory.mktemp("six") / "six.mp4", [rgb] * 10)


def test_max_faces_keeps_whole_tracks(invoke, six_faces, tmp_path):
    everyone, two = tmp_path / "all.parquet", tmp_path / "two.parquet"
    assert invoke("annotate", six_faces, "-o", everyone).exit_code == 0
    result = invoke("annotate", six_faces, "-o", two, "--max-faces", 2)
    assert result.exit_code == 0, result.stderr
    rows = pd.read_parquet(everyone)
    assert rows.groupby("frame")["track_id"].agg(list).tolist() == [list(range(6))] * 10
    kept = pd.read_parquet(two)
    assert kept.groupby("frame")["track_id"].agg(list).tolist() == [[0, 1]] * 10
    assert (kept["n_faces"] == 2).all()
    side = (rows["bbox_x2"] - rows["bbox_x1"]) * (rows["bbox_y2"] - rows["bbox_y1"])
    largest = side.groupby(rows["track_id"]).mean().nlargest(2).index
    counts = kept.attrs["jadfer"]["counts"]
    assert (counts["faces"], counts["tracks"], counts["tracks_left_out"]) == (20, 2, 4)
    assert counts["faces_usable"] == kept["usable"].sum() and counts["frames_without_face"] == 0
    assert "2 tracks" in result.stderr
    expected = rows[rows["track_id"].isin(largest)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept[BOXES], expected[BOXES])


def test_quiet_prints_nothing(jadfer, short_clip, tmp_path):
    result = jadfer("annotate", short_clip, "-o", tmp_path / "c.parquet", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_json_log(invoke, short_clip, tmp_path):
    result = invoke("annotate", short_clip, "-o", tmp_path / "c.parquet", "--log-json")
    assert result.exit_code == 0
    events = [json.loads(line) for line in result.stderr.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start" and "progress" in kinds and kinds[-2:] == ["result", "summary"]
    assert events[-2]["video"] == str(short_clip)
    assert events[-2]["counts"]["frames_analysed"] == events[-1]["frames"] == 8


def test_errors_in_the_json_log_are_json(invoke, tmp_path):
    result = invoke("annotate", "missing.mp4", "-o", tmp_path / "c.parquet", "--log-json")
    assert result.exit_code == 1
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert [event["event"] for event in events] == ["start", "failure", "summary"]
    assert "missing.mp4" in events[1]["message"] and events[1]["hint"] and events[2]["failed"] == 1
    result = invoke("annotate", "a.mp4", "-o", tmp_path / "c.parquet", "--log-json", "--fps", -1)
    last = json.loads(result.stderr.splitlines()[-1])
    assert result.exit_code == last["exit_code"] == 2 and last["event"] == "error"


def test_plain_lines_if_stderr_is_not_a_terminal(invoke, short_clip, tmp_path):
    result = invoke("annotate", short_clip, "-o", tmp_path / "c.parquet")
    assert "\x1b" not in result.stderr and "\r" not in result.stderr
    assert "8/8 frames (100%)" in result.stderr
    assert "c.parquet: faces in 8 of 8 frames, 1 track" in result.stderr
    assert result.stdout == ""


def test_live_bar_on_a_terminal(tmp_path):
    """In a real pseudo-terminal: stage, frames, rate and faces are drawn."""
    primary, secondary = pty.openpty()
    out = str(tmp_path / "c.parquet")
    command = [str(JADFER), "annotate", str(DEMO), "-o", out, "--end", "2"]
    environment = dict(os.environ, TERM="xterm-256color", COLUMNS="120", NO_COLOR="")
    environment.pop("NO_COLOR")
    with subprocess.Popen(command, stderr=secondary, env=environment) as process:
        os.close(secondary)
        screen = b""
        while True:
            try:
                piece = os.read(primary, 65536)
            except OSError:  # the terminal closes with the process
                break
            if not piece:
                break
            screen += piece
    os.close(primary)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.decode())
    for words in ("loading", "/50 frames", "frames/s", "1 face now", "face rows", "faces in"):
        assert words in text


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_interruption_leaves_nothing(tmp_path, number, code):
    out = tmp_path / "deep" / "c.parquet"
    command = [str(JADFER), "annotate", str(DEMO), "-o", str(out), "--log-json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "progress" and any(r["frames_total"] for r in event["running"]):
                assert (tmp_path / "deep" / ".c.parquet.parts" / "lock").exists()
                process.send_signal(number)
                break
        rest = process.stderr.read()
    assert process.returncode == code
    assert "Traceback" not in rest and json.loads(rest.splitlines()[-1])["event"] == "error"
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_the_run_even_if_its_exception_is_lost():
    code = """
import os, signal, sys, time
from jadfer_cli.cli.console import errors_as_exit_codes
from jadfer_cli.stopping import raise_if_stopped
class Lossy:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
import typer
try:
    with errors_as_exit_codes(debug=False):
        Lossy()
        print("went on")
        raise_if_stopped()
except typer.Exit as end:
    sys.exit(end.exit_code)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "went on\n" and result.returncode == 143


def test_interruption_while_loading(tmp_path):
    command = [str(JADFER), "annotate", str(DEMO), "-o", str(tmp_path / "c.parquet")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(0.6)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(invoke, tmp_path):
    result = invoke("annotate", "missing.mp4", "-o", tmp_path / "c.parquet", "--debug")
    assert result.exit_code == 1 and "Traceback" in result.stderr
