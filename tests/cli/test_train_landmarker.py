"""`jadfer train` with a recipe that needs the face landmarker, where it is missing or there."""

import av
import cv2
import numpy as np
import pytest

from jadfer_cli.faces import landmarker


def train(recipe, data, out, *more):
    return ("train", "--recipe", recipe, "--dataset", "folder", "--data", data, "--out", out,
            "--start", "scratch", "--epochs", "1", "--batch-size", "4", "--set",
            "network.crop_px=64", "--set", "workers=0", *more)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["ulc-ag", "mtac", "facetopo"])
def test_a_missing_model_file_is_said_before_any_image_is_read(
    recipe, invoke, tmp_path, monkeypatch
):
    monkeypatch.setattr(landmarker, "models_folder", lambda: tmp_path)
    monkeypatch.delenv(landmarker.MODEL_VARIABLE, raising=False)
    result = invoke(*train(recipe, tmp_path / "no-images", tmp_path / "run"), width=200)
    assert result.exit_code == 1
    assert "There is no face landmarker model at" in result.stderr
    assert landmarker.MODEL_VARIABLE in result.stderr
    named = ("--set", f"landmarker={tmp_path / 'mine.task'}")
    result = invoke(*train(recipe, tmp_path / "no-images", tmp_path / "run", *named), width=200)
    assert result.exit_code == 1 and "mine.task" in result.stderr


@pytest.mark.data
@pytest.mark.slow
def test_a_model_trained_with_it_annotates_without_it(shared, invoke, tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(landmarker.MODEL_VARIABLE, raising=False)
    clip = shared / "clips" / "single_face.mp4"
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            split = {0: "train", 1: "train", 2: "valid", 3: "test"}[index // 2 % 4]
            label = "neutral" if index < 16 else "happiness"
            if index % 2 or 16 <= index < 24:
                continue
            folder = tmp_path / "faces" / split / label
            folder.mkdir(parents=True, exist_ok=True)
            face = np.ascontiguousarray(frame.to_ndarray(format="bgr24")[0:330, 130:460])
            cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(face, (160, 160)))
    named = ("--twin-threshold", "1", "--set", f"landmarker={shared / 'models' / landmarker.MODEL}")
    result = invoke(*train("ulc-ag", tmp_path / "faces", tmp_path / "run", *named))
    assert result.exit_code == 0, result.stderr
    assert "no face mesh in 0 images" in result.stderr
    assert list((tmp_path / "cache").rglob("meshes-*.npz"))
    out = tmp_path / "out.parquet"
    model = tmp_path / "run" / "model.safetensors"
    result = invoke("annotate", clip, "-o", out, "--model", model)
    assert result.exit_code == 0, result.stderr
    said = invoke("methods", out)
    assert "ULC-AG" in said.stdout
