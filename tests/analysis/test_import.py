"""`jadfer import`: the CSV of py-feat and OpenFace as results, with nothing invented."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import DEMO
from made import Made, Track

from jadfer_cli.results.load import load

# One row each as py-feat 0.5 and OpenFace 2.2 write them, shortened to the columns that matter;
# py-feat's values are those of feat/tests/data/Feat_Test.csv in its repository.
FACE = {"FaceRectX": 196.97684, "FaceRectY": 140.99774, "FaceRectWidth": 173.81049,
        "FaceRectHeight": 257.63934, "FaceScore": 0.9996811, "Pitch": 0.9682316544581394,
        "Roll": -1.90395513729896, "Yaw": 4.869261661069506, "anger": 0.00036890755,
        "disgust": 2.6432392e-05, "fear": 0.00048463876, "happiness": 0.98699605,
        "sadness": 4.6418794e-05, "surprise": 0.012009855, "neutral": 6.765569e-05}  # fmt: skip
NO_FACE = dict.fromkeys(FACE, np.nan)


def pyfeat(path, frames):
    """Writes a file with these faces (or None) in each frame."""
    rows = [{"frame": i, **(face or NO_FACE), "input": "clips/clip.mp4"}
            for i, faces in enumerate(frames) for face in faces]  # fmt: skip
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def openface(path, success=(1, 1, 0)):
    """Writes a file of one face: with spaces in its header, as OpenFace before 2.1 did."""
    rows = []
    for i, seen in enumerate(success):
        row = {"frame": i + 1, " face_id": 0, " timestamp": 0.04 * i, " confidence": 0.98 * seen,
               " success": seen, " pose_Rx": 0.1 * seen, " pose_Ry": -0.2 * seen,
               " pose_Rz": 0.3 * seen}  # fmt: skip
        row |= {f" x_{k}": (100.0 + k) * seen for k in range(68)}
        row |= {f" y_{k}": (50.0 + k) * seen for k in range(68)}
        rows.append(row | {" AU12_r": 2.5 * seen})
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_pyfeat_becomes_a_result_that_events_and_diff_read(tmp_path, invoke):
    file = pyfeat(tmp_path / "fex.csv", [[None], *[[FACE]] * 8, [None]])
    out = tmp_path / "fex.parquet"
    shown = invoke("import", file, "-o", out, "--fps", "25", width=300)
    assert shown.exit_code == 0, shown.stderr
    assert "not calibrated by jadfer" in shown.stderr and "10 rows" in shown.stderr
    result = load(out)
    rows = result.rows()
    face = rows.iloc[1]
    assert face[["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]].tolist() == pytest.approx(
        [196.97684, 140.99774, 370.78733, 398.63708]
    )
    # degrees; our yaw is positive towards the image's right, py-feat's towards the left
    assert face[["yaw_deg", "pitch_deg", "roll_deg"]].tolist() == pytest.approx(
        [-4.869262, 0.968232, -1.903955], abs=1e-5
    )
    assert face["p_happiness"] == pytest.approx(0.98699605) and face["expression"] == "happiness"
    assert rows["face_detected"].tolist() == [False, *[True] * 8, False]
    assert rows["track_id"].dropna().unique().tolist() == [0] and rows["blur"].isna().all()
    assert rows["time_s"].tolist() == pytest.approx([i / 25 for i in range(10)])
    assert "p_contempt" not in rows and set(rows["video"]) == {"clips/clip.mp4"}
    assert result.metadata["model"]["name"] == "py-feat"
    assert result.metadata["imported"]["tool"] == "py-feat"
    assert json.loads((tmp_path / "fex.json").read_text("utf-8"))["jadfer"] == result.metadata
    events = invoke("events", out)
    assert events.exit_code == 0 and "happiness,0.04," in events.stdout
    for command in (("show", out), ("diff", out, out), ("summary", out),
                    ("plot", out, "-o", tmp_path / "p.png")):  # fmt: skip
        done = invoke(*command)
        assert done.exit_code == 0, done.stderr
    refused = invoke("methods", out, width=300)
    assert refused.exit_code == 1 and "was imported from py-feat" in refused.stderr
    back = tmp_path / "back.csv"
    assert invoke("convert", out, "-o", back, "--columns", "pyfeat").exit_code == 0
    names = [name for name in FACE if name != "FaceScore"]
    assert pd.read_csv(back).loc[1, names].tolist() == pytest.approx(
        [FACE[name] for name in names], rel=1e-5
    )


def test_openface_has_no_expressions_and_says_so(tmp_path, invoke):
    out = tmp_path / "of.parquet"
    shown = invoke("import", openface(tmp_path / "of.csv"), "-o", out, width=300)
    assert shown.exit_code == 0 and "OpenFace does not score expressions" in shown.stderr
    result = load(out)
    rows = result.rows()
    assert result.labels == () and rows["expression"].isna().all() and rows["p_max"].isna().all()
    assert not [name for name in rows if name.startswith("p_") and name != "p_max"]
    assert rows["frame"].tolist() == [0, 1, 2]
    assert rows["face_detected"].tolist() == [True, True, False]
    face = rows.iloc[0]
    assert face[["yaw_deg", "pitch_deg", "roll_deg"]].tolist() == pytest.approx(
        np.degrees([0.2, -0.1, 0.3]).tolist(), rel=1e-6
    )
    assert face[["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]].tolist() == [100, 50, 167, 117]
    assert face["interocular_px"] == pytest.approx(6 * 2**0.5)
    for command in (("show", out), ("diff", out, out), ("convert", out, "-o", tmp_path / "x.csv")):
        done = invoke(*command)
        assert done.exit_code == 0, done.stderr
    for command in (("events", out), ("summary", out), ("plot", out, "-o", tmp_path / "p.png")):
        refused = invoke(*command, width=300)
        assert refused.exit_code == 1, command
        assert "has no expressions, because OpenFace does not score any" in refused.stderr
    # what is written in OpenFace's columns comes back the same
    again, back = tmp_path / "again.parquet", tmp_path / "b.csv"
    assert invoke("convert", out, "-o", back, "--columns", "openface").exit_code == 0
    written = pd.read_csv(back)
    assert written["pose_Ry"].tolist() == pytest.approx([-0.2, -0.2, 0])
    assert invoke("import", back, "-o", again, width=300).exit_code == 1  # it has no landmarks


def test_faces_that_the_file_does_not_tell_apart_are_tracked(tmp_path, invoke):
    other = FACE | {"FaceRectX": 600.0}
    file = pyfeat(tmp_path / "two.csv", [[FACE, other], [other, FACE], [FACE, other]])
    assert invoke("import", file, "-o", tmp_path / "t.parquet", "--fps", "25").exit_code == 0
    rows = load(tmp_path / "t.parquet").rows()
    assert rows["n_faces"].tolist() == [2] * 6
    assert rows.groupby("track_id")["bbox_x1"].nunique().tolist() == [1, 1]


@pytest.mark.slow
def test_times_of_the_video_win(tmp_path, invoke):
    file = pyfeat(tmp_path / "f.csv", [[FACE]] * 5)
    shown = invoke("import", file, "-o", tmp_path / "f.parquet", "--video", DEMO)
    assert shown.exit_code == 0, shown.stderr
    result = load(tmp_path / "f.parquet")
    assert result.metadata["video"]["width_px"] == 320 and result.metadata["video"]["sha256"]
    assert result.rows()["time_s"].tolist() == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    long = pyfeat(tmp_path / "l.csv", [[FACE]] * 226)
    refused = invoke("import", long, "-o", tmp_path / "l.parquet", "--video", DEMO, width=300)
    assert refused.exit_code == 1 and "has frame 225, but" in refused.stderr


def test_what_cannot_be_imported_is_refused_and_nothing_is_left(tmp_path, invoke):
    good = pyfeat(tmp_path / "good.csv", [[FACE]])
    wrong = pyfeat(tmp_path / "wrong.csv", [[FACE | {"happiness": 7.0}]])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    out = tmp_path / "o" / "x.parquet"
    for file, more, code, words in (
        (good, (), 2, "does not say when its frames are shown"),
        (wrong, ("--fps", 25), 1, "p_happiness is not a probability"),
        (tmp_path / "other.csv", (), 1, "is neither a table of py-feat nor one of OpenFace"),
        (tmp_path / "empty.csv", (), 1, "cannot be read as CSV"),
        (tmp_path / "none.csv", (), 1, "There is no file"),
        (good, ("--fps", -1), 2, "--fps must be a positive number"),
    ):
        shown = invoke("import", file, "-o", out, *more, width=300)
        assert shown.exit_code == code and words in shown.stderr, shown.stderr
        assert not [p for p in tmp_path.rglob("*") if p.suffix in (".parquet", ".json")]
    Made(tracks=[Track(0, [1])]).write(tmp_path / "r.parquet")
    kept = invoke("import", good, "-o", tmp_path / "r.parquet", "--fps", "25", width=300)
    assert kept.exit_code == 2 and "exists already" in kept.stderr
