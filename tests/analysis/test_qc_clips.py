"""jadfer qc on untouched clips: every finding is true by eye, and there is no other."""

import pandas as pd
import pytest

from jadfer_cli.faces import landmarker

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

# What was seen by eye, and measured in the frames' own times.
FOUND = {
    "asl_thanks": {"contradiction"},  # a slight smile from frame 43 on, while neutral is on top
    "carphone": {"too_small"},  # eyes 20 to 23 px apart, the limit is 24
    "face_noface": {"few_faces", "variable_frame_rate"},  # a title from frame 72; 14 to 42 ms
    "no_face": {"few_faces"},
    "two_faces_speech": {"too_small"},  # eyes 14 to 21 px apart
}
CLEAN = {"asl_yes", "grid_bbaf2n", "grid_brbk7n", "grid_lbax4n", "grid_lbbc2a",
         "pexels_sad_to_joy", "single_face"}  # fmt: skip


def test_untouched_clips_raise_only_what_is_true(shared, invoke, tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setenv(landmarker.MODEL_VARIABLE, str(shared / "models" / landmarker.MODEL))
    results, table = tmp_path / "results", tmp_path / "exclusions.csv"
    made = invoke("annotate", shared / "clips", "-o", results, "--detector", "centerface",
                  "--actions", "--jobs", "1")  # fmt: skip
    assert made.exit_code == 0, made.output
    done = invoke("qc", results, "--videos", "-o", table)
    assert done.exit_code == 0, done.output
    clips = pd.read_csv(table, keep_default_na=False).set_index("result")
    clips.index = [str(name).rsplit("/", 1)[-1].removesuffix(".parquet") for name in clips.index]
    found = {name: set(text.split()) for name, text in clips["findings"].items() if text}
    assert found == FOUND
    assert set(clips.index) - set(found) == CLEAN
