"""Eight defects in a good clip: each is found by `jadfer qc`, for the right reason.

The pictures of the first two seconds of the demo are changed, encoded and annotated. One defect,
a tracker that mistakes two people for each other, is made in the rows.
"""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from media import make_video, read_video

import jadfer_cli
from jadfer_cli.analysis.qc.checks import CHECKS
from jadfer_cli.analysis.qc.clip import read_clip
from jadfer_cli.analysis.qc.pictures import repeated_pictures
from jadfer_cli.results.load import load
from jadfer_cli.video.timeline import probe

pytestmark = pytest.mark.slow

N_FRAMES, FPS = 50, 25


@pytest.fixture(scope="module")
def pictures():
    from conftest import DEMO

    assert probe(str(DEMO)).n_frames > N_FRAMES
    return [frame.image_rgb for frame in read_video(DEMO, range(N_FRAMES))[0]]


@pytest.fixture(scope="module")
def annotator():
    return jadfer_cli.Annotator(detector="centerface", device="cpu", threads=1)


def dark(picture, i):
    noise = np.random.default_rng(i).normal(0, 2, picture.shape)
    return np.clip(picture * 0.08 + noise, 0, 255).astype(np.uint8)


def bright(picture, _):
    return np.clip(picture * 3.0, 0, 255).astype(np.uint8)


def blurred(picture, _):
    return cv2.GaussianBlur(picture, (0, 0), 6)


def tiny(picture, _):
    small = cv2.resize(picture, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    whole = np.full_like(picture, 90)
    whole[: small.shape[0], : small.shape[1]] = small
    return whole


def dropout(picture, i):
    return np.full_like(picture, 90) if 20 <= i < 40 else picture


def with_hand(picture, i):
    """Four fingers before the mouth, in the colour of the cheek of this clip, which zooms in."""
    drawn, zoom = picture.copy(), 1 + 0.008 * i
    for y in (128, 141, 154, 167):
        at = round(y * zoom)
        for thick, colour in ((15, (125, 85, 70)), (13, (196, 150, 130))):
            width = round(thick * zoom)
            cv2.line(drawn, (125, at + 4), (300, at - 8), colour, width, cv2.LINE_AA)
    return drawn


def checks_of(path) -> set[str]:
    clip = read_clip(load(path), path.stem)
    clip = replace(clip, repeated=repeated_pictures(clip))
    return {finding.check for check in CHECKS for finding in check.find(clip)}


@pytest.fixture
def found(tmp_path, annotator):
    """What is found in pictures, shown at regular or other times."""

    def run(pictures, **how):
        video = make_video(tmp_path / "clip.mp4", pictures, FPS, **how)
        annotator.annotate_to(video, tmp_path / "clip.parquet")
        return checks_of(tmp_path / "clip.parquet")

    return run


def test_the_untouched_clip_raises_nothing(found, pictures):
    assert found(pictures) == set()


@pytest.mark.parametrize(
    ("defect", "reason"),
    [(dark, "too_dark"), (bright, "overexposed"), (blurred, "blurred"), (tiny, "too_small"),
     (dropout, "dropout"), (with_hand, "occluded")],
)  # fmt: skip
def test_pictures_that_are_worse(defect, reason, found, pictures):
    assert found([defect(picture, i) for i, picture in enumerate(pictures)]) == {reason}


def test_each_picture_twice(found, pictures):
    assert found([pictures[i // 2] for i in range(N_FRAMES)]) == {"repeated"}


def test_a_recording_that_froze(found, pictures):
    assert found([*pictures[:20], *[pictures[20]] * 20, *pictures[21:31]]) == {"repeated"}


def test_variable_frame_rate(found, pictures):
    pts = np.cumsum([0, *([20, 60] * N_FRAMES)])[:N_FRAMES].tolist()  # ms
    assert found(pictures, pts=pts) == {"variable_frame_rate"}


def test_two_tracks_swapped(found, pictures, tmp_path):
    pairs = [
        np.hstack([one, other]) for one, other in zip(pictures, reversed(pictures), strict=True)
    ]
    assert found(pairs) == set()
    path = tmp_path / "clip.parquet"
    rows = pd.read_parquet(path)
    late = rows["frame"] >= 30
    rows.loc[late, "track_id"] = 1 - rows.loc[late, "track_id"]
    attrs = rows.attrs
    rows = rows.sort_values(["frame", "track_id"])
    rows.attrs = attrs
    rows.to_parquet(path, index=False)
    assert checks_of(path) == {"identity_switch"}
