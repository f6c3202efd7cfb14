"""The same clip in every codec, rotated, and at a variable rate: same faces, same times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from media import make_video

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"
BOX = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
N = 12

FORMATS = {
    "h264.mp4": {"codec": "libx264"},
    "h264.mkv": {"codec": "libx264"},
    "h264.mov": {"codec": "libx264"},
    "h264.avi": {"codec": "libx264"},
    "h264_10bit.mp4": {"codec": "libx264", "pix_fmt": "yuv420p10le"},
    "hevc.mp4": {"codec": "libx265"},
    "hevc_10bit.mov": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "av1.mp4": {"codec": "libsvtav1"},
    "av1.mkv": {"codec": "libsvtav1"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg"},
    "sound.mp4": {"codec": "libx264", "audio": True},
    "odd_rate.mp4": {"codec": "libx264", "fps": Fraction(30000, 1001)},
    "odder_rate.mkv": {"codec": "libx264", "fps": Fraction(73, 10)},
}


@pytest.fixture(scope="module")
def pictures():
    """Six frames with the woman, three without her, three with her from a later time."""
    with av.open(str(DEMO)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [*frames[90:96], *frames[150:153], *frames[205:208]]


@pytest.fixture(scope="module")
def reference(pictures, rows_of, tmp_path_factory):
    """The rows of the losslessly encoded clip."""
    path = tmp_path_factory.mktemp("reference") / "lossless.mkv"
    rows = rows_of(make_video(path, pictures, options={"crf": "0", "preset": "ultrafast"}))
    assert rows["face_detected"].tolist() == [True] * 6 + [False] * 3 + [True] * 3
    return rows


def overlap(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
    """IoU of the boxes of two tables, row by row."""
    p, q = a[BOX].to_numpy(float), b[BOX].to_numpy(float)
    low, high = np.maximum(p[:, :2], q[:, :2]), np.minimum(p[:, 2:], q[:, 2:])
    both = np.clip(high - low, 0, None).prod(1)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (p, q)]
    return both / (areas[0] + areas[1] - both)


def same_faces(rows: pd.DataFrame, reference: pd.DataFrame) -> None:
    assert rows["face_detected"].tolist() == reference["face_detected"].tolist()
    assert rows["track_id"].tolist() == reference["track_id"].tolist()
    assert (rows["frame_status"] == "ok").all()
    has_face = reference["face_detected"].to_numpy()
    # lossy compression moves boxes a little; 0.5 is the usual threshold for the same face
    assert overlap(rows[has_face], reference[has_face]).min() > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_codecs_and_containers(pictures, reference, rows_of, tmp_path, name):
    arguments = dict(FORMATS[name])
    rows = rows_of(make_video(tmp_path / name, pictures, **arguments))
    same_faces(rows, reference)
    fps = float(arguments.get("fps", 25))
    # Matroska stores milliseconds
    assert np.allclose(rows["time_s"], np.arange(N) / fps, atol=0.001)


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turned_by_metadata(pictures, reference, rows_of, tmp_path, degrees):
    """Stored rotated, with metadata to rotate it back: boxes refer to the upright picture."""
    stored = [np.ascontiguousarray(np.rot90(picture, degrees // 90)) for picture in pictures]
    rows = rows_of(make_video(tmp_path / "turned.mp4", stored, rotation=degrees))
    metadata = rows.attrs["jadfer"]["video"]
    assert (metadata["width_px"], metadata["height_px"]) == (320, 240)
    assert metadata["rotation_deg"] == degrees
    same_faces(rows, reference)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_variable_frame_rate(pictures, reference, rows_of, tmp_path, suffix):
    pts = np.cumsum([0, 40, 40, 200, 33, 17, 100, 40, 40, 500, 40, 40]).tolist()
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    path = make_video(
        tmp_path / f"vfr.{suffix}", pictures, pts=pts, time_base=Fraction(1, 1000), codec=codec
    )
    rows = rows_of(path)
    assert np.allclose(rows["time_s"], np.array(pts) / 1000, atol=0.001)
    assert np.allclose(rows["duration_s"][:-1], np.diff(pts) / 1000, atol=0.0011)
    assert rows.attrs["jadfer"]["video"]["variable_frame_rate"]
    # IDs follow the time stamps: she is missing for 3 frames, but these last 0.62 s
    same_faces(rows, reference)
