"""Fine-tuning to codes, on frames of the demo: pictures, splits, and a model that annotates."""

import csv
import shutil

import av
import numpy as np
import pandas as pd
import pytest
from conftest import DEMO
from forked_workers import forked_workers

from jadfer_cli.expression import checkpoint
from jadfer_cli.training import fine_tune

pytestmark = pytest.mark.slow


def store(path, first, count=16):
    """Frames of the demo as a video of its own."""
    with av.open(str(DEMO)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index, frame in enumerate(source.decode(video=0)):
            if first <= index < first + count:
                picture = frame.to_ndarray(format="rgb24")
                target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three clips with results and codes; in each the first half is said to be sad."""
    from typer.testing import CliRunner

    from jadfer_cli.cli.app import app

    folder = tmp_path_factory.mktemp("study")
    rows = []
    for i, name in enumerate("abc"):
        store(folder / f"{name}.mp4", 12 * i)
        out = folder / f"results/{name}.parquet"
        with forked_workers():
            done = CliRunner().invoke(
                app, ["annotate", str(folder / f"{name}.mp4"), "-o", str(out)]
            )
        assert done.exit_code == 0, done.output
        rows += [(name, 0, 0.32, "sad"), (name, 0.32, 0.64, "neutral")]
    with (folder / "codes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("clip", "start_s", "end_s", "label"), *rows])
    return folder


def run(invoke, folder, *options):
    return invoke(
        "tune", folder / "results", folder / "codes.csv", "-o", folder / "tuned.safetensors",
        "--each-clip-one-person", "--method", "fine-tune", *options, width=200,
    )  # fmt: skip


@pytest.mark.long
def test_pictures_splits_and_model(study, invoke):
    result = run(
        invoke, study, "--every", "0.16", "--epochs", "1", "--threads", "1", "--keep-anyway",
        "--folder", study / "tuning",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "fine-tune: agreement with coders on held-out people (12 faces of 3 people)" in (
        result.stdout
    )
    faces = sorted((study / "tuning/faces").glob("*.png"))
    assert len(faces) == 12
    for number in range(1, 4):
        table = pd.read_csv(study / f"tuning/fold{number}.csv")
        clip = np.repeat(list("abc"), 4)
        by_split = {split: set(clip[table["split"] == split]) for split in table["split"].unique()}
        assert sorted(by_split) == ["test", "train", "valid"]
        assert sum(map(len, by_split.values())) == 3  # nobody is in two splits
        assert table[["sadness", "neutral"]].sum().tolist() == [6, 6]
    loaded = checkpoint.load(str(study / "tuned.safetensors"))
    training = loaded.metrics["training"]
    assert training["how"] == "fine-tuning" and training["people"] == 3
    assert training["start_model"]["name"] == "jadfer-compact"
    out = study / "again.parquet"
    done = invoke("annotate", study / "a.mp4", "-o", out, "--model", study / "tuned.safetensors")
    assert done.exit_code == 0, done.output
    assert pd.read_parquet(out).attrs["jadfer"]["model"]["sha256"] == loaded.sha256


def test_the_face_fills_the_picture_that_is_cut_out():
    image = np.zeros((240, 320, 3), np.uint8)
    image[100:140, 60:100] = 255  # the face
    part = fine_tune._part(image, np.array([60.0, 100.0, 100.0, 140.0]))
    assert part.shape == (73, 73, 3)  # 1.8 x 40 px, and both edges
    assert part.mean() == pytest.approx(255 * 40 * 40 / 73**2)
    edge = fine_tune._part(image, np.array([-10.0, 200.0, 30.0, 240.0]))
    assert edge.shape[0] < 73 and edge.shape[1] < 73


def test_videos_that_are_missing_or_others(study, invoke, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(study / "results", folder / "results")
    shutil.copy(study / "codes.csv", folder)
    for name in "abc":
        shutil.move(study / f"{name}.mp4", study / f"{name}.hidden")
    try:
        result = run(invoke, folder)
        assert result.exit_code == 1 and "is missing, and fine-tuning reads" in result.stderr
        assert "--method recalibrate" in result.stderr
        (folder / "results/a.mp4").write_bytes(b"another")
        result = run(invoke, folder)
        assert result.exit_code == 1 and "is not the video that" in result.stderr
    finally:
        for name in "abc":
            shutil.move(study / f"{name}.hidden", study / f"{name}.mp4")
