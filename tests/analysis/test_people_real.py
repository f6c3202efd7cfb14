"""jadfer identify with a real recogniser, from videos to names."""

import cv2
import numpy as np
import pandas as pd
import pytest
from media import make_video
from people import FPS, SIX, box_at, window

from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.recognise import Recogniser, unit
from jadfer_cli.geometry import iou
from jadfer_cli.installation.samples import face_picture
from jadfer_cli.options import FaceOptions

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture
def recogniser(shared):
    return shared / "models" / "mobilefacenet_arcface.onnx"


def right_name(row, starts_px):
    """Who is at the box of a row, by the place in the picture; None if nobody is all inside."""
    box = row[["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]].to_numpy(np.float64)
    for name in SIX:
        known = box_at(name, starts_px[row["frame"]])
        if known and iou(box[None], np.array(known)[None])[0, 0] > 0.3:
            return name
    return None


def stills(folder, starts_px):
    """References of the first part: from the first frame in which each person is all inside."""
    for name in SIX:
        x = next(x for x in starts_px if box_at(name, x))
        x1, y1, x2, y2 = (round(v) for v in box_at(name, x))
        cut = window(x)[max(y1 - 25, 0) : y2 + 25, max(x1 - 25, 0) : x2 + 25]
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "still.png"), cut[:, :, ::-1])
    return folder


@pytest.mark.long
def test_six_people_panned_and_cut_get_their_names_everywhere(recogniser, invoke, tmp_path):
    # slow enough for tracks of several frames; a single wrong frame in a track is not noticed
    pan = np.linspace(0, 640, 22).round().astype(int).tolist()
    parts = {"a": pan, "b": pan[::-1], "c": pan[8:]}
    for name, starts in parts.items():
        (tmp_path / "clips").mkdir(exist_ok=True)
        make_video(tmp_path / "clips" / f"{name}.mp4", [window(x) for x in starts], fps=FPS)
    made = invoke("annotate", tmp_path / "clips", "-o", tmp_path / "results", "--jobs", "1")
    assert made.exit_code == 0, made.output
    faces = stills(tmp_path / "faces", pan)
    for how in (["--references", faces], []):
        done = invoke("identify", tmp_path / "results", "--recogniser", recogniser, *how,
                      "-o", tmp_path / "named", "--overwrite")  # fmt: skip
        assert done.exit_code == 0, done.output
        pairs = set()
        for name, starts in parts.items():
            rows = pd.read_parquet(tmp_path / "named" / f"{name}.parquet")
            rows = rows[rows["face_detected"]]
            truth = rows.apply(right_name, axis=1, starts_px=starts)
            sure = truth.notna()
            assert sure.sum() > 10
            pairs |= set(zip(truth[sure], rows.loc[sure, "person"], strict=True))
        assert len(pairs) == 6 and len({person for _, person in pairs}) == 6
        if how:
            assert pairs == {(name, name) for name in SIX}


def test_the_clips_have_one_person_per_track_and_one_man_is_in_two(
    recogniser, shared, invoke, tmp_path
):
    for name in ("single_face.mp4", "face_noface.mov", "two_faces_speech.mp4", "asl_thanks.mkv",
                 "asl_yes.mkv", "grid_brbk7n.mpg", "grid_lbbc2a.mpg"):  # fmt: skip
        (tmp_path / name).symlink_to(shared / "clips" / name)
    clips = sorted(tmp_path.iterdir())
    made = invoke("annotate", *clips, "-o", tmp_path / "in", "--every", "12", "--jobs", "1")
    assert made.exit_code == 0, made.output
    done = invoke("identify", tmp_path / "in", "--recogniser", recogniser, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "out" / "people.csv")
    assert not table["changes"].any()
    clip = table["result"].str.extract(r"(\w+)\.parquet")[0]
    where = table.groupby("person")["result"].size()
    (twice,) = where.index[where == 2]
    assert set(clip[table["person"] == twice]) == {"single_face", "face_noface"}
    assert len(where) == len(table) - 1 == 7


@pytest.mark.filterwarnings("ignore::FutureWarning")  # insightface calls old scikit-image
def test_embeddings_are_those_of_insightface(recogniser):
    from insightface.model_zoo import get_model
    from insightface.utils.face_align import norm_crop

    picture = face_picture()
    faces = load_detector(FaceOptions(detector="centerface"), 1).detect(picture)
    ours = Recogniser(str(recogniser), 1)
    theirs = get_model(str(recogniser), providers=["CPUExecutionProvider"])
    bgr = np.ascontiguousarray(picture[:, :, ::-1])
    assert len(faces) == 6
    for points in faces.landmarks_px:
        crop_bgr = norm_crop(bgr, points)
        expected = unit(theirs.get_feat(crop_bgr))
        same_crop = ours.embed_crops(np.ascontiguousarray(crop_bgr[None, :, :, ::-1]))
        assert same_crop == pytest.approx(expected, abs=1e-4)
        # their crops are not protected against aliasing
        assert float((ours.embed(picture, points[None]) @ expected.T)[0, 0]) > 0.95
