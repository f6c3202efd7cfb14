"""Opening one result: its metadata and rows, and what is not a result."""

import os

import pandas as pd
import pytest
from made import Made, Track

from jadfer_cli.errors import ResultError
from jadfer_cli.results import load


def made(path, **how):
    tracks = [Track(0, [0, 1, 2], "happiness"), Track(1, [2, 3], "sadness")]
    return Made(tracks, n_frames=6, **how).write(path)


def test_a_result_is_opened_with_its_metadata_and_rows(tmp_path):
    result = load.load(made(tmp_path / "a.parquet"))
    assert result.metadata["model"]["name"] == "jadfer-compact" and result.n_rows == 7
    assert result.probabilities[:2] == ("p_neutral", "p_happiness") and result.name == "a"
    rows = result.rows(["frame", "expression"])
    assert rows["frame"].tolist() == [0, 1, 2, 2, 3, 4, 5]
    assert rows["expression"].tolist()[:4] == ["happiness"] * 3 + ["sadness"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.parquet", "There is no file"),
        ("a.mp4", "Did you mean"),
        ("a.json", "Did you mean"),
        ("video.mp4", "creates a result"),
        ("sheet.csv", "Name the .parquet file from which the table was made"),
        ("table.parquet", "not a result of jadfer annotate"),
        ("broken.parquet", "not a readable Parquet"),
        ("a.landmarks.parquet", "name the result beside it"),
        ("folder", "is a folder"),
        ("pipe.parquet", "it is a pipe or a device, not a file"),
        ("zero.parquet", "it is a pipe or a device, not a file"),
    ],
)
def test_other_files_are_refused_with_a_hint(tmp_path, name, says):
    made(tmp_path / "a.parquet", landmarks=True)
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "table.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "broken.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "video.mp4").write_bytes(b"no Parquet")
    (tmp_path / "sheet.csv").write_text("video,frame\nclip.mp4,0\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.parquet")  # opening it would never end
    (tmp_path / "zero.parquet").symlink_to("/dev/zero")
    with pytest.raises(ResultError) as caught:
        load.load(tmp_path / name)
    assert says in str(caught.value)
