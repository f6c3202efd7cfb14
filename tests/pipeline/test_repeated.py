"""Frames that repeat a picture: found, followed and scored once."""

import numpy as np
import pytest
from conftest import DEMO

from jadfer_cli.pipeline import steps
from jadfer_cli.records import OK, Crops, Faces, Frame


class Counting:
    """A predictor whose probabilities tell a crop's first pixel."""

    def __init__(self):
        self.scored = []

    def probabilities(self, crops):
        self.scored += crops[:, 0, 0, 0].tolist()
        return np.repeat(crops[:, 0, 0, :1].astype(np.float32), 8, 1)


def frame(index, shades):
    n = len(shades)
    marks = np.tile([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], (n, 1, 1))
    faces = Faces(
        np.tile([[20, 20, 80, 90]], (n, 1)).astype(np.float32),
        np.full(n, 0.9, np.float32),
        marks.astype(np.float32),
    )
    crops = np.zeros((n, 112, 112, 3), np.uint8) + np.array(shades, np.uint8)[:, None, None, None]
    return steps.TrackedFrame(
        Frame(index, index / 25, 0.04, OK, None), faces, np.arange(n, dtype=np.int32), True,
        Crops(crops),
    )  # fmt: skip


def test_equal_crops_are_scored_once_within_a_batch_and_across_two():
    shades = [[1, 2], [1, 2], [1, 3], [], [3], [3], [4], [], [4]]
    frames = [frame(i, each) for i, each in enumerate(shades)]
    predictor = Counting()
    batches = [frames[:3], frames[3:5], frames[5:8], frames[8:]]
    found = [one for batch in steps.score(batches, predictor, (100, 100)) for one in batch]
    # of the batch before, only the last frame is remembered: once, it has no face
    assert predictor.scored == [1, 2, 3, 4, 4]
    assert [one.probabilities[:, 0].tolist() for one in found] == shades


@pytest.mark.slow
def test_a_picture_shown_three_times_costs_one_scoring_and_gives_equal_rows(annotator, monkeypatch):
    from jadfer_cli.video.reader import VideoReader
    from jadfer_cli.video.timeline import probe

    info = probe(str(DEMO))
    pictures = [f.image_rgb for f in VideoReader(info, np.arange(40, 52))]
    n_scored = []
    monkeypatch.setattr(
        annotator.networks.predictor,
        "engine",
        counted(annotator.networks.predictor.engine, n_scored),
    )
    rows = annotator.annotate_frames([p for p in pictures for _ in range(3)], fps=75)
    # a search of the whole frame may place the face of a repeated picture anew
    assert sum(n_scored) <= 14 * rows.groupby("frame").size().max()
    columns = [c for c in rows if c.startswith(("p_", "bbox"))]
    again = rows["frame"] % 3 > 0
    anew = rows["frame"][again & (rows["face_source"] == "detected")] // 3
    kept = rows[~(rows["frame"] // 3).isin(anew)]
    assert len(kept) >= 27  # nine of twelve pictures
    by_picture = kept.groupby([kept["frame"] // 3, "track_id"])[columns]
    assert (by_picture.nunique() == 1).all().all()


def counted(engine, sizes):
    def run(crops):
        sizes.append(len(crops))
        return engine(crops)

    return run
