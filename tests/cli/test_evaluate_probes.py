"""`jadfer evaluate --probes`: the table, the JSON and the picture."""

import json

import cv2
import numpy as np
import pytest
import torch

from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.networks.jadfer import Jadfer, JadferConfig
from jadfer_cli.expression.networks.plain import Plain, PlainConfig
from jadfer_cli.training import probes

pytestmark = pytest.mark.slow  # finds landmarks and scores pictures
SMALL = {"width": 32, "heads": 4, "paths": 2, "map_hidden": 8, "crop_px": 64}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twelve pictures of noise in test/, which has no face but is scored uncropped."""
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for i in range(12):
        path = folder / "test" / ("happy", "sad", "neutral")[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), np.uint8))
    return folder


def save(path, network):
    torch.manual_seed(0)
    checkpoint.save(path, network)
    return path


def test_the_table_the_json_and_the_picture(invoke, pictures, tmp_path):
    torch.manual_seed(0)
    model = save(tmp_path / "small.safetensors", Jadfer(JadferConfig(**SMALL)))
    data = ("--dataset", "folder", "--data", pictures, "--cache", tmp_path / "cache",
            "--detector", "centerface", "--twin-threshold", "1")  # fmt: skip
    found = tmp_path / "found.json"
    done = invoke("evaluate", model, *data, "--probes", "--json", found, width=120)
    assert done.exit_code == 0, done.output
    figures = json.loads(found.read_text())["probes"]
    assert list(figures["by_probe"]) == [
        "intact", probes.FLAT, probes.SHUFFLED, probes.BLANK, probes.CONTEXT, probes.JAD_OWN,
        probes.JAD_RANDOM,
    ]  # fmt: skip
    for name, each in figures["by_probe"].items():
        assert f"\n{name} " in done.stdout
        assert each["accuracy"] == pytest.approx(
            figures["by_probe"]["intact"]["accuracy"] - each["accuracy_lost"]
        )
    assert "Probes: parts of the network disturbed, all, n = 12" in done.stdout
    first, second = (f"{share:.1%}" for share in figures["maps"]["image_share"])
    assert f"depends on the image, by path: {first}, {second}." in done.stdout
    picture = cv2.imread(str(tmp_path / "found-probes.png"))
    assert picture is not None and picture.shape[1] > picture.shape[0] > 200
    own = tmp_path / "maps.svg"
    done = invoke("evaluate", model, *data, "--probes", "--probe-figure", own)
    assert done.exit_code == 0 and own.read_text("utf-8").lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--probe-figure", "maps.png"), "--probe-figure needs --probes."),
        (("--probes", "--probe-figure", "maps.xyz"), "a name that ends in .png, .svg, .pdf, not"),
    ],
)
def test_wrong_options_are_refused_before_any_work(invoke, pictures, options, words):
    done = invoke("evaluate", "--dataset", "folder", "--data", pictures, *options)
    assert done.exit_code == 2 and words in " ".join(done.output.split())


def test_a_network_without_maps_is_refused_before_pictures_are_read(invoke, pictures, tmp_path):
    model = save(tmp_path / "plain.safetensors", Plain(PlainConfig(crop_px=64)))
    done = invoke("evaluate", model, "--dataset", "folder", "--data", pictures, "--probes")
    assert done.exit_code == 2
    assert "A network of the kind plain has no spatial maps to probe." in " ".join(
        done.output.split()
    )
    assert "aligning" not in done.output
