"""The recipe `plain` from pictures to a methods section: a method is a network and a recipe file.

Nothing else of the program names this network.
"""

import contextlib
import json
import os
import tomllib

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from forked_workers import forked_workers
from typer.testing import CliRunner

from jadfer_cli.cli.app import app
from jadfer_cli.expression import checkpoint, engines, networks
from jadfer_cli.expression.networks.plain import Plain, PlainConfig
from jadfer_cli.runtime import Runtime

pytestmark = pytest.mark.slow  # starts processes or trains

SMALL = ("--set", "network.crop_px=32", "--frozen-blocks", "14", "--batch-size", "4",
         "--workers", "0", "--threads", "1")  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Runs a command in this process, with a cache of its own."""
    folder = tmp_path_factory.mktemp("elsewhere")

    def run(*arguments):
        with (
            contextlib.chdir(folder),
            pytest.MonkeyPatch.context() as patch,
            forked_workers(),
        ):
            patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
            return CliRunner().invoke(app, [os.fspath(a) for a in arguments])

    return run


@pytest.fixture(scope="module")
def trained(here, tmp_path_factory):
    """A run of the recipe on pictures that are dark or light, and so easy to tell apart."""
    data = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("valid", 4)):
        for name, grey in (("happy", 200), ("sad", 60)):
            folder = data / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                picture = np.clip(rng.normal(grey, 10, (48, 48)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{i}.png"), picture)
    out = tmp_path_factory.mktemp("runs") / "baseline"
    result = here("train", "--recipe", "plain", "--dataset", "folder", "--data", data, "--out", out,
                  "--epochs", "3", "--no-augment", *SMALL)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return out, result


def test_it_trains_and_saves(trained):
    out, result = trained
    assert "recipe plain, 3 epochs" in result.stderr
    config = tomllib.loads((out / "config.toml").read_text())
    assert config["recipe"] == "plain" and "variety" not in config
    assert config["network"] == {
        "n_classes": 8, "crop_px": 32, "stem": "mobilefacenet", "dropout": 0.2
    }  # fmt: skip
    model = checkpoint.load(str(out / "model.safetensors"))
    assert model.architecture == "plain" and isinstance(model.build(), Plain)
    assert model.metrics["training"]["options"]["recipe"] == "plain"


def test_it_resumes(here, trained, tmp_path):
    out, _ = trained
    finished = (out / "model.safetensors").read_bytes()
    again = here("train", "--out", out, "--threads", "1")
    assert again.exit_code == 0 and "3 of 3 epochs were trained earlier" in again.stderr
    assert "nothing is left to train" in again.stderr
    assert (out / "model.safetensors").read_bytes() == finished
    other = here("train", "--out", out, "--set", "network.dropout=0.5", "--threads", "1")
    assert other.exit_code == 2 and "belongs to a run with other options" in other.stderr
    wrong = here("train", "--out", out, "--variety", "none")
    assert wrong.exit_code == 2 and "The recipe plain has no option variety" in wrong.stderr


def test_it_starts_from_the_stem_of_the_shipped_model(here, trained, tmp_path):
    out, _ = trained
    result = here("train", "--config", out / "config.toml", "--out", tmp_path / "stem",
                  "--start", "default", "--epochs", "1", "--frozen-blocks", "15",
                  "--threads", "1")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "jadfer-compact: used for the stem only" in result.stderr
    stem = checkpoint.load(str(tmp_path / "stem" / "model.safetensors")).build().stem
    shipped = checkpoint.load().build().stem
    for name, tensor in stem.features.state_dict().items():
        assert torch.equal(tensor, shipped.features.state_dict()[name])


def test_its_model_annotates_and_is_named_in_methods_and_models(
    here, trained, short_clip, tmp_path
):
    out, _ = trained
    model, rows = out / "model.safetensors", tmp_path / "clip.parquet"
    for _ in range(2):  # first with a new ONNX graph, then with the cached one
        result = here("annotate", short_clip, "-o", rows, "--model", model, "--engine",
                      "onnxruntime", "--threads", "1", "--overwrite")  # fmt: skip
        assert result.exit_code == 0, result.stderr
    frame = pd.read_parquet(rows)
    facts = frame.attrs["jadfer"]["model"]
    assert len(frame) >= 8 and (facts["name"], facts["architecture"]) == ("baseline", "plain")
    assert facts["network"] == networks.facts("plain")
    assert frame.attrs["jadfer"]["engine"] == "onnxruntime"

    text = " ".join(here("methods", rows).stdout.split())
    assert "the network baseline (sha256" in text
    assert "of the architecture plain classifier (stem, average pooling and a linear layer;" in text
    assert "JADFER" not in text and "Gao" not in text

    result = here("models", "info", model, "--json")
    info = json.loads(result.stdout)
    assert (info["architecture"], info["network"]["title"]) == ("plain", "plain classifier")
    assert info["config"]["dropout"] == 0.2
    assert info["parameters"] == sum(p.numel() for p in Plain(PlainConfig()).parameters())
    assert "plain classifier" in here("models", "info", model).stdout
    assert here("models", "verify", model).exit_code == 0


def test_its_scores_are_those_of_the_plain_network(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out, _ = trained
    model = checkpoint.load(str(out / "model.safetensors"))
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    score = engines.make(model, Runtime("cpu", "CPU", "fp32", 1, "onnxruntime", 2))
    with torch.no_grad():
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        expected = model.build()(images).logits.numpy()
    np.testing.assert_allclose(score(crops), expected, atol=1e-4)


def test_no_other_module_names_it():
    own = {"expression/networks/plain.py", "training/recipes/plain.py"}
    own |= {"training/comparison/plan.py"}  # what the others are compared with
    package = ROOT / "jadfer_cli"
    naming = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if '"plain"' in file.read_text("utf-8") or "import plain" in file.read_text("utf-8")
    }
    # a recipe may train the network of another
    naming = {name for name in naming if not name.startswith("training/recipes/")}
    assert naming <= own
