"""jadfer overlay refuses results that are not of the video, and blurred videos with a face left."""

import numpy as np
import pandas as pd
import pytest
from bench import blur_check
from conftest import DEMO
from made import Track
from media import make_video, numbered_frames
from overlay.test_render import images, of_video, run

from jadfer_cli.faces.detect import load_detector
from jadfer_cli.options import FaceOptions
from jadfer_cli.overlay import cover_check
from jadfer_cli.overlay.cover_check import covered_share, detail_left
from jadfer_cli.overlay.painter import blur
from jadfer_cli.overlay.regions import Regions
from jadfer_cli.records import Faces


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A video of 12 numbered frames, and its result with a face in each."""
    folder = tmp_path_factory.mktemp("numbers")
    video = make_video(folder / "v.mp4", numbered_frames(12, 160, 120))
    return video, of_video(
        video, folder / "r.parquet", [Track(0, list(range(12)), box_px=(20, 20, 60, 60))]
    )


def overlaid(video, result, rows, folder, *more):
    """Overlay with edited rows; return exit code, message, and whether a file was written."""
    attrs = pd.read_parquet(result).attrs
    rows.attrs = rows.attrs or attrs
    rows.to_parquet(folder / "edited.parquet", index=False)
    out = folder / "o.mp4"
    found = run("overlay", video, folder / "edited.parquet", "-o", out, *more)
    return found.exit_code, " ".join(found.stderr.split()), out.exists()


@pytest.mark.parametrize("more", [(), ("--blur",), ("--blur", "--force")])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t + 3600, "row 0 puts frame 0 at 3600 s, where the video shows it at 0 s. "
                             "This is so in 12 of 12 frames."),
        (lambda t: t * 1000, "row 1 puts frame 1 at 40 s, where the video shows it at 0.04 s. "
                             "This is so in 11 of 12 frames."),
        (lambda t: t * 0, "row 1 puts frame 1 at 0 s"),
        (lambda t: -t, "in row 1 (frame 1), and so in 10 more, time_s is not a possible time"),
        (lambda t: t + (t == t[5]) * 0.01, "row 5 puts frame 5 at 0.21 s, where the video shows it "
                                           "at 0.2 s. This is so in 1 of 12 frames."),
    ],
)  # fmt: skip
def test_rows_at_other_times_are_refused(numbers, tmp_path, change, says, more):
    video, result = numbers
    rows = pd.read_parquet(result)
    rows["time_s"] = change(rows["time_s"].to_numpy())
    code, said, written = overlaid(video, result, rows, tmp_path, *more)
    assert code == 1 and says in said and "edited.parquet" in said and not written, said


def test_times_rounded_to_milliseconds_are_accepted(numbers, tmp_path):
    video, result = numbers
    rows = pd.read_parquet(result)
    rows["time_s"] += 0.0005
    assert overlaid(video, result, rows, tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("boxes from 0 to 1", "a box smaller than one pixel"),
        ("boxes of a double-size video", "a box outside the picture of 160x120 px"),
        ("second half dropped", "rows of 5 frames, but jadfer annotate wrote 12"),
        ("faces blanked", "rows of 5 faces, but jadfer annotate wrote 12"),
    ],
)
def test_rows_that_do_not_fit_the_video_are_refused(numbers, tmp_path, edit, says):
    video, result = numbers
    rows = blur_check.EDITS[edit](pd.read_parquet(result).assign(bbox_x2=np.float32(100)))
    code, said, written = overlaid(video, result, rows, tmp_path, "--blur")
    assert code == 1 and says in said and not written, said


def test_a_picture_of_another_size_is_refused(numbers, tmp_path):
    _, result = numbers
    turned = make_video(tmp_path / "t.mp4", numbered_frames(12, 120, 160))
    code, said, _ = overlaid(turned, result, pd.read_parquet(result), tmp_path, "--force")
    assert code == 1 and "of a picture of 160x120 px, but" in said and "120x160 px" in said


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Five frames of the demo with its face, their result, and the result of another video."""
    folder = tmp_path_factory.mktemp("faces")
    shown = images(DEMO, range(0, 40, 8))
    video = make_video(folder / "short.mp4", shown, options={"crf": "18"})
    detector = load_detector(FaceOptions(detector="centerface"), threads=2)
    boxes = [detector.detect(image).boxes_px[0] for image in shown]
    result = of_video(video, folder / "r.parquet", [Track(0, list(range(5)), box_px=boxes)])
    other = of_video(DEMO, folder / "other.parquet", [Track(0, [0], box_px=(0, 0, 40, 40))])
    return video, result, other, detector


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "outcome"),
    [
        ("unedited", "written"),
        ("rows sorted by track, backwards", "written"),
        ("boxes moved aside", "refused"),  # some end outside the picture
        ("boxes shrunk to 1/3", "check"),
        ("boxes, lower half only", "check"),
        ("all faces blanked, counted", "check"),
        ("boxes NaN", "before"),
        ("times in ms", "before"),
        (blur_check.OF_ANOTHER_VIDEO, "before"),
    ],
)
def test_no_face_stays_visible_with_exit_code_0(faces, edit, outcome):
    video, result, other, judge = faces
    found = blur_check.check_clip(video, other, result, (edit,), judge, 1)[edit]
    assert found == outcome or (outcome == "refused" and found in ("before", "check"))


@pytest.mark.slow
def test_a_face_left_in_one_frame_is_named_and_nothing_is_written(faces, tmp_path):
    video, result, _, _ = faces
    rows = pd.read_parquet(result)
    rows.loc[2, blur_check.BOX] = np.array([0, 0, 40, 40], np.float32)
    code, said, written = overlaid(video, result, rows, tmp_path, "--blur", "--force")
    assert code == 1 and not written and "--redetect 0" in said, said
    assert "nothing was written: in 1 of 5 frames, at 0.1 s; first in frame 2, x " in said, said
    assert not list(tmp_path.glob("*.part"))


def test_detail_is_gone_after_blurring_and_kept_under_drawings():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (12, 12, 3), np.uint8)
    source = np.kron(coarse, np.ones((10, 10, 1), np.uint8))
    box = np.array([30.0, 30, 90, 90])
    assert detail_left(source, source, box) == pytest.approx(1)
    blurred = source.copy()
    blur(blurred, box[None] + np.array([-15, -15, 15, 15]))
    assert detail_left(source, blurred, box) < 0.2
    drawn = source.copy()
    drawn[50:55, 30:90] = 255
    assert detail_left(source, drawn, box) > 0.7
    plain = np.full_like(source, 90)
    assert detail_left(plain, plain, box) == 0  # nothing to recognise


def test_the_covered_share_of_a_box_counts_overlaps_once():
    box, size = np.array([10.0, 10, 20, 20]), (100, 100)
    regions = np.array([[0.0, 0, 15, 100], [0, 0, 15, 100], [14, 0, 16, 15]])
    # the left half, and one of the right half's five columns over half the height
    assert covered_share(box, regions, size) == pytest.approx(0.5 + 0.05)
    assert covered_share(box, np.empty((0, 4)), size) == 0
    assert covered_share(np.array([-9.0, -9, -1, -1]), regions, size) == 1  # not in the picture


def test_a_doubtful_face_of_a_single_frame_is_no_face(monkeypatch):
    """A fold of cloth with a score of 0.55 in one frame; a real face is found again, or sure."""
    empty = Regions(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, np.int64))
    cover = cover_check.Cover(empty, empty, np.zeros(20, bool))
    picture = np.zeros((100, 100, 3), np.uint8)

    def frames_with_faces(scores):
        seen = iter(scores)

        class Detector:
            def detect_all(self, images):
                score = next(seen)
                n = int(score > 0)
                box = np.tile(np.array([[20, 20, 60, 60]], np.float32), (n, 1))
                marks = np.zeros((n, 5, 2), np.float32)
                return [Faces(box, np.full(n, score, np.float32), marks)] * len(images)

        monkeypatch.setattr(cover_check, "load_detector", lambda *_: Detector())
        check = cover_check._FrameCheck(cover)
        return [
            index
            for index in range(len(scores))
            if check.uncovered_boxes(index, index / 25, picture, picture)
        ]

    assert frames_with_faces([0.55, 0, 0, 0, 0]) == []
    assert frames_with_faces([0, 0.55, 0, 0.55, 0.55]) == [3, 4]
    assert frames_with_faces([0.55, *[0] * 10, 0.55]) == []  # 0.44 s later
    assert frames_with_faces([0, 0.9, 0]) == [1]
