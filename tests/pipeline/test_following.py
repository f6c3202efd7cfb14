"""Faces followed in squares, against a look at every whole frame, on the demo clip."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import jadfer_cli
from jadfer_cli.faces.follow import iou
from jadfer_cli.options import AnnotateOptions

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"
BOX = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]


@pytest.mark.slow
def test_nearly_every_face_of_the_plain_path_is_found_also_where_it_leaves_the_picture():
    fast, plain = (
        jadfer_cli.annotate(
            DEMO,
            AnnotateOptions(faces=dataclasses.replace(AnnotateOptions().faces, redetect_s=every_s)),
        )
        for every_s in (None, 0.0)
    )
    assert (fast["face_source"] == "tracked").mean() > 0.4
    assert (plain["face_source"] != "tracked").all()
    by_frame = dict(tuple(fast[fast.face_detected].groupby("frame")))
    faces = plain[plain.face_detected]
    found, differences = 0, []
    p_columns = [name for name in plain if name.startswith("p_") and name != "p_max"]
    for _, face in faces.iterrows():
        others = by_frame.get(face["frame"])
        if others is None:
            continue
        overlap = iou(face[BOX].to_numpy(np.float32)[None], others[BOX].to_numpy(np.float32))[0]
        if overlap.max() >= 0.5:
            found += 1
            same = others[p_columns].iloc[int(overlap.argmax())]
            differences.append(np.abs((same - face[p_columns]).to_numpy(float)).mean())
    assert found >= 0.99 * len(faces)
    assert np.mean(differences) < 0.01
    assert fast["track_id"].nunique() == plain["track_id"].nunique()
