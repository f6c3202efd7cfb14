"""`import jadfer_cli`: every name resolves, networks load once, arrays give the rows of a video."""

import subprocess
import sys

import av
import numpy as np
import pandas as pd
import pytest
from conftest import DEMO
from media import make_video
from tolerances import SAME_MACHINE

import jadfer_cli
from jadfer_cli.pipeline import annotator as loading

N = 6
OPTIONS = jadfer_cli.AnnotateOptions(
    faces=jadfer_cli.FaceOptions(detector="centerface", redetect_s=0)
)


@pytest.fixture(scope="module")
def annotator():
    return jadfer_cli.Annotator(OPTIONS)


@pytest.fixture(scope="module")
def frames():
    """uint8 (N, height, width, 3): frames of the demo with one face."""
    with av.open(str(DEMO)) as container:
        decoded = zip(range(90 + N), container.decode(video=0), strict=False)
        return np.stack([frame.to_ndarray(format="rgb24") for _, frame in decoded][90:])


def test_every_public_name_resolves_and_is_listed():
    assert sorted(jadfer_cli.__all__) == sorted(set(jadfer_cli.__all__))
    for name in jadfer_cli.__all__:
        assert getattr(jadfer_cli, name) is not None
        assert name in dir(jadfer_cli)
    with pytest.raises(AttributeError, match="no attribute 'annotat'"):
        _ = jadfer_cli.annotat


def test_all_errors_and_all_options_are_public():
    from jadfer_cli import errors, options

    for module in (errors, options):
        defined = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        assert defined
        assert {one.__name__ for one in defined} <= set(jadfer_cli.__all__)


def test_importing_it_is_quick():
    code = (
        "import sys, jadfer_cli\n"
        "assert 'annotate' in dir(jadfer_cli) and jadfer_cli.read and jadfer_cli.OptionError\n"
        "print({'torch', 'pandas', 'numpy', 'onnxruntime', 'cv2'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "set()\n"), result.stderr


@pytest.mark.slow
def test_networks_are_loaded_once(short_clip, monkeypatch):
    loads = []
    for name in ("Predictor", "load_detector"):
        original = getattr(loading, name)

        def counted(*args, _name=name, _original=original, **more):
            loads.append(_name)
            return _original(*args, **more)

        monkeypatch.setattr(loading, name, counted)
    once = jadfer_cli.Annotator(OPTIONS)
    assert loads == ["Predictor", "load_detector"]
    first, second = once.annotate(short_clip), once.annotate(short_clip)
    pieces = pd.concat(once.iter_annotate(short_clip), ignore_index=True)
    assert loads == ["Predictor", "load_detector"]
    assert len(first) == 8 and first.attrs["jadfer"]["counts"]["frames_analysed"] == 8
    pd.testing.assert_frame_equal(first, second, atol=SAME_MACHINE)
    pd.testing.assert_frame_equal(first, pieces, atol=SAME_MACHINE)
    jadfer_cli.annotate(short_clip, OPTIONS)  # the function has nothing to keep them in
    assert loads == ["Predictor", "load_detector"] * 2


@pytest.mark.slow
def test_frames_in_memory_give_the_rows_of_the_video_made_of_them(annotator, frames, tmp_path):
    path = make_video(tmp_path / "lossless.mkv", list(frames), codec="ffv1", pix_fmt="bgr0")
    video = annotator.annotate(path)
    rows = annotator.annotate_frames(frames, fps=25, name=str(path))
    assert video["face_detected"].all() and len(rows) == N
    free = [name for name in rows if name.startswith("p_")] + ["entropy", "time_s", "duration_s"]
    pd.testing.assert_frame_equal(
        rows.drop(columns=free), video.drop(columns=free), atol=0.01, rtol=0.001
    )
    np.testing.assert_allclose(rows["time_s"], np.arange(N) / 25, atol=1e-9)
    np.testing.assert_allclose(rows["duration_s"], 1 / 25, atol=1e-9)
    for name in free[:-2]:
        np.testing.assert_allclose(rows[name], video[name], atol=0.01)
    metadata = rows.attrs["jadfer"]
    assert metadata["video"]["container"] == "arrays" and metadata["video"]["sha256"] is None
    assert metadata["counts"]["faces"] == N and metadata["warnings"] == []


@pytest.mark.slow
def test_frames_with_times_of_their_own(annotator, frames):
    rows = annotator.annotate_frames(list(frames[:3]), times_s=[10.0, 10.04, 10.2])
    np.testing.assert_allclose(rows["time_s"], [0, 0.04, 0.2])
    np.testing.assert_allclose(rows["duration_s"], [0.04, 0.16, 0.1])
    assert rows.attrs["jadfer"]["video"]["start_offset_s"] == 10.0
    assert set(rows["video"]) == {"frames"}


@pytest.mark.slow
def test_a_single_image(annotator, frames):
    rows = annotator.annotate_image(frames[0])
    whole = annotator.annotate_frames(frames, fps=25)
    assert len(rows) == 1 and rows["track_id"].tolist() == [0]
    p = [name for name in rows if name.startswith("p_")]
    np.testing.assert_allclose(rows[p], whole.loc[:0, p], atol=SAME_MACHINE)
    empty = annotator.annotate_image(np.zeros((120, 160, 3), np.uint8))
    assert len(empty) == 1 and not empty["face_detected"].any()


@pytest.mark.parametrize(
    ("frames", "how", "message"),
    [
        ([], {"fps": 25}, "no frames"),
        (np.zeros((2, 64, 64), np.uint8), {"fps": 25}, r"uint8 \(height, width, 3\)"),
        (np.zeros((2, 64, 64, 3)), {"fps": 25}, "not float64"),
        (["a.png"], {"fps": 25}, "must be a NumPy array.* not str"),
        ([np.zeros((64, 64, 3), np.uint8), np.zeros((64, 65, 3), np.uint8)], {"fps": 25}, "shape"),
        (np.zeros((2, 64, 64, 3), np.uint8), {}, "either fps or times_s"),
        (np.zeros((2, 64, 64, 3), np.uint8), {"fps": 5, "times_s": [0, 1]}, "either fps or"),
        (np.zeros((2, 64, 64, 3), np.uint8), {"fps": 0}, "positive number, not 0"),
        (np.zeros((2, 64, 64, 3), np.uint8), {"times_s": [0]}, "2 frames but 1 times"),
        (np.zeros((2, 64, 64, 3), np.uint8), {"times_s": [1, 1]}, "strictly ascending"),
    ],
)
def test_arrays_that_do_not_fit(annotator, frames, how, message):
    with pytest.raises(jadfer_cli.OptionError, match=message):
        annotator.annotate_frames(frames, **how)


@pytest.mark.slow
def test_a_result_written_from_python_is_read_with_its_metadata(annotator, short_clip, tmp_path):
    out, shown = tmp_path / "clip.parquet", []
    metadata = annotator.annotate_to(short_clip, out, progress=shown.append)
    rows = jadfer_cli.read(out)
    assert len(rows) == 8 and rows.attrs["jadfer"] == metadata
    assert all(isinstance(one, jadfer_cli.Progress) for one in shown)
    assert shown[0].frames == 0 and shown[-1].frames == shown[-1].frames_total == 8
    with pytest.raises(jadfer_cli.OptionError, match="exists already"):
        annotator.annotate_to(short_clip, out)
    keep = jadfer_cli.IfExists.SKIP
    assert annotator.annotate_to(short_clip, out, if_exists=keep) is None
    replaced = annotator.annotate_to(short_clip, out, if_exists=jadfer_cli.IfExists.OVERWRITE)
    assert replaced["counts"] == metadata["counts"]


def test_what_cannot_be_read_is_a_result_error(tmp_path):
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 cut short")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    for name, message in (
        ("missing.parquet", "no file"),
        ("cut.parquet", "no readable Parquet|not a readable Parquet"),
        ("other.parquet", "no result of jadfer|not a result"),
    ):
        with pytest.raises(jadfer_cli.ResultError, match=message) as caught:
            jadfer_cli.read(tmp_path / name)
        assert name in caught.value.message and caught.value.hint


def test_max_faces_is_refused_before_the_networks_are_loaded(monkeypatch):
    def load(*_: object) -> None:
        raise AssertionError("networks were loaded")

    monkeypatch.setattr("jadfer_cli.pipeline.annotator.Annotator", load)
    limited = jadfer_cli.AnnotateOptions(faces=jadfer_cli.FaceOptions(max_faces=1))
    with pytest.raises(jadfer_cli.OptionError, match="max_faces"):
        next(jadfer_cli.iter_annotate("clip.mp4", limited))


@pytest.mark.slow
def test_only_videos_go_to_files_that_are_parquet(annotator, short_clip, tmp_path):
    with pytest.raises(jadfer_cli.OptionError, match=r"does not end in \.parquet"):
        annotator.annotate_to(short_clip, tmp_path / "x.csv")
    with pytest.raises(ValueError, match="nonsense"):
        annotator.annotate_to(short_clip, tmp_path / "x.parquet", if_exists="nonsense")
    assert not list(tmp_path.iterdir())
