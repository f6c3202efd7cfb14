"""Writing a result: types that survive pandas, coverage, selected tracks, no partial files."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.labels import LABELS
from jadfer_cli.records import CORRUPT, OK, AnnotatedFrame, Faces, Quality
from jadfer_cli.results import schema
from jadfer_cli.results.columns import column_descriptions
from jadfer_cli.results.companions import LANDMARK_COLUMNS
from jadfer_cli.results.paths import companion_path
from jadfer_cli.results.row_checks import check_coverage, keep_tracks
from jadfer_cli.results.sink import ResultSink

TYPES = {
    "video": "category",
    "frame": "int32",
    "time_s": "float64",
    "duration_s": "float64",
    "frame_status": "category",
    "face_detected": "bool",
    "n_faces": "int16",
    "track_id": "Int32",
    "face_source": "category",
    "bbox_x1": "float32",
    "bbox_y1": "float32",
    "bbox_x2": "float32",
    "bbox_y2": "float32",
    "det_score": "float32",
    "interocular_px": "float32",
    "blur": "float32",
    "light": "float32",
    "clipped": "float32",
    "mouth_contrast": "float32",
    "yaw_deg": "float32",
    "pitch_deg": "float32",
    "roll_deg": "float32",
    "usable": "boolean",
    "unusable_reason": "category",
    "p_neutral": "float32",
    "p_happiness": "float32",
    "p_surprise": "float32",
    "p_sadness": "float32",
    "p_anger": "float32",
    "p_disgust": "float32",
    "p_fear": "float32",
    "p_contempt": "float32",
    "expression": "category",
    "p_max": "float32",
    "entropy": "float32",
}


def annotated(index: int, ids: list[int], status: int = OK, k: int = 8) -> AnnotatedFrame:
    rng = np.random.default_rng((index, len(ids)))
    n = len(ids)
    faces = Faces(
        rng.uniform(0, 100, (n, 4)).astype(np.float32),
        rng.uniform(0.5, 1, n).astype(np.float32),
        rng.uniform(0, 100, (n, 5, 2)).astype(np.float32),
    )
    eight = [rng.uniform(0, 1, n).astype(np.float32) for _ in range(8)]
    p = rng.dirichlet(np.ones(k), n).astype(np.float32).reshape(n, k)
    quality = Quality(*eight, rng.integers(0, 9, n, np.int32))
    return AnnotatedFrame(
        index, index / 25, 1 / 25, status, faces, np.array(ids, np.int32), quality, p
    )


def written(tmp_path, frames, *, keep=None, landmarks=False, labels=LABELS):
    out = tmp_path / "clip.parquet"
    with ResultSink(
        out, "a/clip.mp4", labels, companions=["landmarks"] if landmarks else [], overwrite=False
    ) as sink:
        for frame in frames:  # one table per frame: row groups and dictionaries must be joined
            sink.write([frame])
        expected = np.array([f.index for f in frames], np.int64)
        if keep is not None:
            sink.keep(keep)
        sink.commit({"schema_version": "1"}, expected)
    return out


def test_types_survive_a_plain_read_and_rows_without_a_face_are_null(tmp_path):
    frames = [annotated(0, []), annotated(1, [0, 2]), annotated(2, [0], CORRUPT)]
    out = written(tmp_path, frames)
    rows = pd.read_parquet(out)
    assert {name: str(kind) for name, kind in rows.dtypes.items()} == TYPES
    assert rows["frame"].tolist() == [0, 1, 1, 2]
    assert rows["track_id"].tolist() == [pd.NA, 0, 2, 0]
    assert rows["n_faces"].tolist() == [0, 2, 2, 1]
    assert rows["face_detected"].tolist() == [False, True, True, True]
    assert rows["frame_status"].tolist() == ["ok", "ok", "ok", "corrupt"]
    assert rows["face_source"].tolist()[1:] == ["detected"] * 3
    assert rows.loc[0].iloc[7:].isna().all()
    assert rows.iloc[1:].drop(columns="unusable_reason").notna().all(axis=None)
    assert rows["unusable_reason"].isna().equals(rows["usable"].fillna(True).astype(bool))
    assert rows.attrs["jadfer"] == {"schema_version": "1"}
    assert pq.ParquetFile(out).metadata.row_group(0).column(0).compression == "ZSTD"


def test_probabilities_top_label_and_entropy_against_scipy(tmp_path):
    from scipy.stats import entropy

    frame = annotated(0, [0, 1, 5])
    rows = pd.read_parquet(written(tmp_path, [frame]))
    p = rows[[f"p_{label}" for label in LABELS]].to_numpy()
    assert np.array_equal(p, frame.probabilities)
    assert rows["entropy"].to_numpy() == pytest.approx(entropy(p, axis=1), rel=1e-5)
    assert rows["expression"].tolist() == [LABELS[i] for i in p.argmax(1)]
    assert np.array_equal(rows["p_max"], p.max(1))


def test_a_model_without_contempt_has_no_such_column(tmp_path):
    rows = pd.read_parquet(written(tmp_path, [annotated(0, [0], k=7)], labels=LABELS[:7]))
    assert "p_contempt" not in rows and "p_fear" in rows


def test_every_column_is_described_in_the_sidecar_in_order(tmp_path):
    out = written(tmp_path, [annotated(0, [0])])
    sidecar = json.loads((tmp_path / "clip.json").read_text())
    assert sidecar.pop("jadfer") == {"schema_version": "1"}
    assert list(sidecar) == list(pd.read_parquet(out)) == list(column_descriptions(LABELS))
    assert all(entry["Description"] for entry in sidecar.values())


def test_landmarks_have_a_file_of_their_own(tmp_path):
    frames = [annotated(0, []), annotated(1, [0, 2])]
    out = written(tmp_path, frames, landmarks=True)
    points = pd.read_parquet(companion_path(out, "landmarks"))
    assert points["track_id"].tolist() == [0, 2]
    xy = points[list(LANDMARK_COLUMNS)].to_numpy().reshape(2, 5, 2)
    assert np.array_equal(xy, frames[1].faces.landmarks_px)
    assert not any("eye" in name for name in pd.read_parquet(out))


def test_keeping_tracks_renumbers_and_keeps_emptied_frames(tmp_path):
    # frame 0: tracks 0 and 3; 1: only 0; 2: none; keeping 3 as 0 leaves frame 1 empty
    frames = [annotated(0, [0, 3]), annotated(1, [0]), annotated(2, []), annotated(3, [3])]
    out = written(tmp_path, frames, keep={3: 0}, landmarks=True)
    rows = pd.read_parquet(out)
    assert {name: str(kind) for name, kind in rows.dtypes.items()} == TYPES
    assert rows["frame"].tolist() == [0, 1, 2, 3]
    assert rows["track_id"].tolist() == [0, pd.NA, pd.NA, 0]
    assert rows["n_faces"].tolist() == [1, 0, 0, 1]
    assert rows["face_detected"].tolist() == [True, False, False, True]
    assert rows.loc[1].iloc[7:].isna().all()
    assert rows.loc[0, "bbox_x1"] == frames[0].faces.boxes_px[1, 0]
    assert pd.read_parquet(companion_path(out, "landmarks"))["frame"].tolist() == [0, 3]
    # categories are those of any other result, so that results can be joined
    assert rows["expression"].cat.categories.tolist() == list(LABELS)
    assert rows["frame_status"].cat.categories.tolist() == ["ok", "corrupt", "repeated"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "clip.json",
        "clip.landmarks.parquet",
        "clip.parquet",
    ]


@pytest.mark.slow
@given(
    ids=st.lists(st.lists(st.integers(0, 5), unique=True, max_size=4), min_size=1, max_size=8),
    kept=st.sets(st.integers(0, 5)),
)
@settings(max_examples=30, deadline=None)
def test_keeping_tracks_equals_a_naive_loop(ids, kept):
    frames = [annotated(i, sorted(row)) for i, row in enumerate(ids)]
    new_ids = {old: new for new, old in enumerate(sorted(kept))}
    rows = keep_tracks(schema.result_table(frames, "v", LABELS).to_pandas(), new_ids)
    expected = []
    for i, row in enumerate(ids):
        stay = [new_ids[t] for t in sorted(row) if t in kept]
        expected += [(i, t, len(stay)) for t in stay] or [(i, None, 0)]
    found = zip(rows["frame"], rows["track_id"], rows["n_faces"], strict=True)
    assert [(f, None if pd.isna(t) else t, n) for f, t, n in found] == expected


def test_rows_that_miss_a_frame_are_refused_and_nothing_stays(tmp_path):
    out = tmp_path / "clip.parquet"
    with (
        pytest.raises(OutputError, match="do not cover"),
        ResultSink(out, "v", LABELS, companions=["landmarks"], overwrite=False) as sink,
    ):
        sink.write([annotated(0, [0]), annotated(2, [0])])
        sink.commit({}, np.array([0, 1, 2]))
    assert list(tmp_path.iterdir()) == []


def test_coverage_check_sees_repeats_and_disorder(tmp_path):
    for ids in ([1, 0], [0, 0]):
        folder = tmp_path / str(ids)
        with (
            pytest.raises(OutputError, match="do not cover"),
            ResultSink(folder / "c.parquet", "v", LABELS, overwrite=False) as sink,
        ):
            sink.write([annotated(0, ids)])
            sink.commit({}, np.array([0]))
        assert not folder.exists()  # the folder created for it is removed, too
    out = written(tmp_path, [annotated(0, [0])])
    check_coverage(out, np.array([0]), out)


def test_an_error_while_annotating_leaves_nothing(tmp_path):
    out = tmp_path / "deep" / "er" / "clip.parquet"
    with (
        pytest.raises(KeyboardInterrupt),
        ResultSink(out, "v", LABELS, companions=["landmarks"], overwrite=False) as sink,
    ):
        sink.write([annotated(0, [0])])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_results_are_replaced_only_on_request_and_foreign_json_never(tmp_path):
    out = written(tmp_path, [annotated(0, [0])])
    before = out.read_bytes()
    with pytest.raises(OptionError, match=r"exists already.*overwrite"):
        ResultSink(out, "v", LABELS, overwrite=False)
    assert out.read_bytes() == before
    with ResultSink(out, "v", LABELS, overwrite=True) as sink:
        sink.write([annotated(0, []), annotated(1, [])])
        sink.commit({}, np.array([0, 1]))
    assert len(pd.read_parquet(out)) == 2
    (tmp_path / "clip.json").write_text('{"mine": 1}')
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="not written by jadfer"):
            ResultSink(out, "v", LABELS, overwrite=overwrite)
    assert json.loads((tmp_path / "clip.json").read_text()) == {"mine": 1}


def test_two_runs_do_not_write_one_result_at_once(tmp_path):
    out = tmp_path / "clip.parquet"
    with ResultSink(out, "v", LABELS, overwrite=False) as first:
        with pytest.raises(OutputError, match="Another run"):
            ResultSink(out, "v", LABELS, overwrite=False)
        first.write([annotated(0, [0])])
        first.commit({}, np.array([0]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.json", "clip.parquet"]


def test_a_second_run_cannot_slip_in_while_the_first_publishes(tmp_path, monkeypatch):
    from jadfer_cli.results import sink as module

    out = tmp_path / "clip.parquet"
    check = module.check_coverage
    seen = []

    def slip_in(*arguments):
        check(*arguments)
        with pytest.raises(OutputError, match="Another run"):
            ResultSink(out, "v", LABELS, overwrite=True)
        seen.append(True)

    monkeypatch.setattr(module, "check_coverage", slip_in)
    written(tmp_path, [annotated(0, [0])])
    assert seen and len(pd.read_parquet(out)) == 1


def test_a_failure_while_publishing_removes_all_files(tmp_path, monkeypatch):
    import os

    replace = os.replace

    def full(source, target):
        if str(target).endswith(".parquet"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        written(tmp_path, [annotated(0, [0])], landmarks=True)
    assert list(tmp_path.iterdir()) == []


def test_landmarks_of_an_earlier_result_are_removed_with_it(tmp_path):
    out = written(tmp_path, [annotated(0, [0])], landmarks=True)
    assert companion_path(out, "landmarks").exists()
    with ResultSink(out, "v", LABELS, overwrite=True) as sink:
        sink.write([annotated(0, [0])])
        sink.commit({}, np.array([0]))
    assert not companion_path(out, "landmarks").exists()


@pytest.mark.slow
def test_sidecar_is_utf8_in_every_locale(tmp_path):
    import subprocess
    import sys

    code = (
        "import numpy as np, sys\n"
        "from pathlib import Path\n"
        "from jadfer_cli.results.sink import ResultSink\n"
        "from jadfer_cli.records import *\n"
        "n = np.empty(0, np.float32)\n"
        "q = Quality(n, n, n, n, n, n, n, n, np.empty(0, np.int32))\n"
        "f = AnnotatedFrame(0, 0.0, 0.04, 0, Faces.none(), np.empty(0, np.int32), q,\n"
        "                   np.empty((0, 1), np.float32))\n"
        "out = Path(sys.argv[1]) / 'c.parquet'\n"
        "for overwrite in (False, True):\n"
        "    with ResultSink(out, 'v', ['neutral'], overwrite=overwrite) as s:\n"
        "        s.write([f])\n"
        "        s.commit({'name': 'M\\u00fcller \\U0001F600'}, np.array([0]))\n"
    )
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": "/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    sidecar = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert sidecar["jadfer"]["name"] == "Müller 😀"
