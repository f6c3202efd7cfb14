"""Following faces in small squares, compared with detection in every whole frame (demo clip)."""

import dataclasses

import pytest
from bench.following import compare
from conftest import DEMO

import jadfer_cli
from jadfer_cli.options import AnnotateOptions


@pytest.mark.slow
@pytest.mark.parametrize("follower", ["detector", "network"])
@pytest.mark.long
def test_nearly_every_face_of_the_plain_path_is_found_also_where_it_leaves_the_picture(
    follower,
):
    fast, plain = (
        jadfer_cli.annotate(
            DEMO,
            AnnotateOptions(
                faces=dataclasses.replace(
                    AnnotateOptions().faces, redetect_s=every_s, follower=follower
                )
            ),
        )
        for every_s in (AnnotateOptions().faces.redetect_s, 0.0)
    )
    assert (fast["face_source"] == "tracked").mean() > 0.4
    assert (plain["face_source"] != "tracked").all()
    found = compare(plain, fast)
    assert found["found %"] >= 99
    assert found["p mean"] < 0.01
    assert found["tracks"] == found["tracks fast"]
