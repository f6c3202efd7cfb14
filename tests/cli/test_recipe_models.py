"""Recipes from pictures to a methods section: hyphens in names, the method in the model file."""

import json
import tomllib

import pytest
from cli.test_plain import here, trained  # the fixtures

from jadfer_cli.expression import checkpoint

pytestmark = pytest.mark.slow  # trains

__all__ = ["here", "trained"]
SMALL = ("--set", "network.crop_px=32", "--frozen-blocks", "14", "--batch-size", "4",
         "--workers", "0", "--threads", "1", "--epochs", "1")  # fmt: skip


def retrained(here, trained, out, recipe, *more):
    """The recipe on the pictures of `trained`."""
    data = tomllib.loads((trained[0] / "config.toml").read_text())["data"]
    return here("train", "--recipe", recipe, "--dataset", "folder", "--data", data, "--out", out,
                *SMALL, *more)  # fmt: skip


def test_a_name_with_a_hyphen_is_kept_everywhere(here, trained, tmp_path):
    out = tmp_path / "mix"
    result = retrained(here, trained, out, "cbam-mix", "--set", "network.features=8")
    assert result.exit_code == 0, result.stderr
    assert "recipe cbam-mix, 1 epoch" in result.stderr
    assert tomllib.loads((out / "config.toml").read_text())["recipe"] == "cbam-mix"
    model = checkpoint.load(str(out / "model.safetensors"))
    assert (
        model.architecture == "cbam-mix"
        and model.metrics["training"]["method"]["name"] == "cbam-mix"
    )
    again = here("train", "--out", out, "--threads", "1")
    assert again.exit_code == 0 and "nothing is left to train" in again.stderr
    info = json.loads(here("models", "info", out / "model.safetensors", "--json").stdout)
    assert info["architecture"] == "cbam-mix"
    assert info["network"]["title"] == "CBAM with uncertainty mixing"
    wrong = retrained(here, trained, tmp_path / "other", "cbam_mix")
    assert wrong.exit_code == 2 and "--recipe must be one of" in wrong.stderr


def test_methods_names_the_recipe_of_a_model_beside_its_network(
    here, trained, short_clip, tmp_path
):
    out, rows = tmp_path / "eac", tmp_path / "clip.parquet"
    result = retrained(here, trained, out, "eac")
    assert result.exit_code == 0, result.stderr
    result = here("annotate", short_clip, "-o", rows, "--model", out / "model.safetensors",
                  "--threads", "1")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    text = " ".join(here("methods", rows).stdout.split())
    assert "of the architecture plain classifier" in text
    assert "by the method EAC (Zhang et al., 2022; after the authors' public code" in text
    assert "@inproceedings{Zhang2022eac" in text
