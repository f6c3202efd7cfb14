"""A suite: label changes and flips by hand, clips, its file, its table."""

import json
import shutil

import numpy as np
import pytest

from jadfer_cli.errors import OptionError
from jadfer_cli.options import FaceOptions
from jadfer_cli.training import clip_faces, suite
from jadfer_cli.training.clip_faces import ClipFaces


def faces(n=4, n_frames=6):
    rng = np.random.default_rng(0)
    plain = rng.integers(60, 120, (n, 112, 112, 3), dtype=np.uint8)
    crops = {"unchanged": plain, "shifted": np.repeat(plain, 4, 0), "JPEG 40": plain}
    return ClipFaces(n_frames, np.arange(n), np.arange(n_frames) / 10, crops)


def test_flips_count_labels_that_a_perturbation_changes():
    def by_light(crops):
        """Anger if the crop is dark."""
        dark = crops.mean((1, 2, 3)) < 80
        return np.eye(8)[np.where(dark, 4, 0)]

    found = clip_faces.flips(by_light, faces())
    assert found["brightness x 0.7"] == (4, 4) and found["brightness x 1.3"] == (0, 4)
    assert found["mirrored"] == (0, 4) and found["shifted by 2 px"] == (0, 16)

    def by_left_edge(crops):
        return np.eye(8)[(crops[:, 60, 0, 0] > crops[:, 60, -1, 0]).astype(int)]

    assert clip_faces.flips(by_left_edge, faces())["mirrored"] == (4, 4)
    assert clip_faces.flips(by_light, ClipFaces(3, np.array([], int), np.zeros(3), {})) == {}


def test_label_changes_are_between_consecutive_frames_with_a_face():
    labels = np.array([0, 0, -1, 1, 1, 0])
    assert clip_faces.changes_per_second(labels, np.arange(6) / 10) == (2, 0.5)
    assert clip_faces.changes_per_second(np.array([-1, 3]), np.arange(2.0)) == (0, 0.0)
    per_frame = clip_faces.labels_per_frame(faces(), np.array([4, 3, 2, 1]))
    assert per_frame.tolist() == [4, 3, 2, 1, -1, -1]


@pytest.mark.slow
def test_a_clip_and_its_compressed_copy_have_the_same_faces(short_clip):
    finder = clip_faces.Finder(1, FaceOptions(detector="centerface"))
    plain = clip_faces.read(short_clip, finder, 64)
    again = clip_faces.compressed(short_clip, finder, 64, 28)
    assert (plain.n_frames, len(plain.frames)) == (again.n_frames, len(plain.crops["unchanged"]))
    both = np.intersect1d(plain.frames, again.frames)
    assert len(both) > 0.9 * len(plain.frames)
    a = plain.crops["unchanged"][np.isin(plain.frames, both)].astype(int)
    b = again.crops["unchanged"][np.isin(again.frames, both)].astype(int)
    gap = np.abs(a - b).mean()
    assert 0.5 < gap < 15  # compressed, and of the same places
    shifted = plain.crops["shifted"].reshape(-1, 4, 64, 64, 3)
    assert (
        np.abs(shifted[:, 0, :, 2:].astype(int) - plain.crops["unchanged"][:, :, 1:-1]).mean() < 6
    )


def written(folder, text):
    path = folder / "suite.toml"
    path.write_text(text)
    return path


def test_a_suite_names_files_beside_it_and_errors_say_what_is_wrong(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    clip = '[[clips]]\nfile = "a.mp4"\nfirst = 3\nexpression = "fear"\n'
    found = suite.read(written(tmp_path, clip + '[[sets]]\ndataset = "csv"\ndata = "x.csv"\n'))
    assert found.clips[0] == (tmp_path / "a.mp4", 3, None, "fear")
    assert found.sets[0].name == "csv test" and found.sets[0].options.data == tmp_path / "x.csv"
    for text, message in {
        "[[clips": "is not TOML",
        "": "has neither",
        clip.replace("fear", "joy"): "joy is not an expression",
        clip.replace("a.mp4", "b.mp4"): "which is not a file",
        clip.replace("first", "begin"): "lacks an entry",
    }.items():
        with pytest.raises(OptionError, match=message):
            suite.read(written(tmp_path, text))
    with pytest.raises(OptionError, match="cannot be read"):
        suite.read(tmp_path / "none.toml")


@pytest.mark.slow
def test_the_table_has_a_column_per_model(invoke, short_clip, tmp_path):
    shutil.copy(short_clip, tmp_path / "clip.mp4")
    file = written(
        tmp_path,
        '[[clips]]\nfile = "clip.mp4"\nfirst = 0\nlast = 5\nexpression = "happiness"\n'
        '[[clips]]\nfile = "clip.mp4"\nfirst = 6\nexpression = "happiness"\n',
    )
    out = tmp_path / "table.json"
    result = invoke("evaluate", "--suite", file, "--beside", "jadfer-compact", "--json", out)
    assert result.exit_code == 0, result.stderr
    rows = {row["test"]: row for row in json.loads(out.read_text())}
    assert rows["clip.mp4 0-5: happiness"]["n"] == 6
    assert rows["clip.mp4 6-7: happiness"]["n"] == 2
    for row in rows.values():
        assert row["values"]["default"] == row["values"]["jadfer-compact"]
    assert "label changes in these ranges" in result.stdout and "jadfer-compact" in result.stdout
