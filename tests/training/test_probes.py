"""Probes tell parts that act from parts that idle."""

import numpy as np
import pytest
import torch

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.networks.jadfer import Jadfer, JadferConfig
from jadfer_cli.expression.networks.plain import Plain, PlainConfig
from jadfer_cli.training import probe_chart, probes
from jadfer_cli.training.faceset import Counted, FaceSet
from jadfer_cli.training.scoring import logits_of

SMALL = {"width": 32, "heads": 4, "paths": 2, "map_hidden": 8, "crop_px": 64}


def made_faces(n: int = 20) -> FaceSet:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 48), np.uint8) for _ in range(n)]
    classes = np.arange(n) % 8
    targets = np.eye(8, dtype=np.float32)[classes]
    counted = Counted(np.arange(n), classes)
    return FaceSet("made", images, [str(i) for i in range(n)], targets, {"majority": counted})


@pytest.mark.parametrize("heard", ["context", "spatial"])
def test_what_the_head_ignores_loses_nothing_and_what_it_hears_decides(heard):
    torch.manual_seed(0)
    # the maps of an untrained network are flat: their contrasts are nearly nothing
    network = Jadfer(JadferConfig(**SMALL, interaction_layers=0, region_contrast=False))
    network.head[0] = torch.nn.Identity()
    with torch.no_grad():
        network.head[2].weight.normal_(0, 3)
        ignored = slice(0, 32) if heard == "context" else slice(32, 64)
        network.head[2].weight[:, ignored] = 0
        # an untrained network sees all faces nearly alike: centred logits differ in their top
        network.head[2].bias -= logits_of(network, made_faces()).mean(0)
    found = probes.probe(network, made_faces(), "majority").figures
    changed = {name: each["labels_changed"] for name, each in found["by_probe"].items()}
    follows = found["context"]
    assert follows["n"] > 5
    if heard == "context":
        assert changed[probes.FLAT] == changed[probes.SHUFFLED] == changed[probes.BLANK] == 0
        assert follows["other"] == 1.0
    else:
        assert changed[probes.BLANK] > 0 and changed[probes.JAD_OWN] == 0
        assert follows["own"] == 1.0


def test_the_share_by_image_is_that_of_a_variance_made_by_hand():
    places = torch.zeros(1, 2, 3, 3)
    places[0, 0, 0, 0] = 3.0  # path 0: the same place for every face
    moves = torch.zeros(9, 2, 3, 3)
    moves[torch.arange(9), 1, torch.arange(9) // 3, torch.arange(9) % 3] = 3.0  # path 1 moves
    found = probes.map_figures(places.expand(9, -1, -1, -1) + moves)
    assert found["image_share"] == pytest.approx([0.0, 1.0], abs=1e-9)
    # mean maps: one cell against a constant map of 1/3: cosine 1/3
    assert found["overlap_of_means"] == pytest.approx(1 / 3)
    assert found["overlap_of_rest"] == pytest.approx(0.0)


@pytest.mark.slow
def test_probes_give_the_same_figures_again_and_a_picture(tmp_path):
    torch.manual_seed(0)
    network = Jadfer(JadferConfig(**SMALL))
    first = probes.probe(network, made_faces(), "majority")
    again = probes.probe(network, made_faces(), "majority")
    assert first.figures == again.figures
    assert set(first.figures["by_probe"]) == {
        "intact", probes.FLAT, probes.SHUFFLED, probes.BLANK, probes.CONTEXT, probes.JAD_OWN,
        probes.JAD_RANDOM,
    }  # fmt: skip
    assert first.example_maps.shape == (12, 2, 4, 4)
    figure = probe_chart.probe_chart(first, "made faces")
    figure.savefig(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 5_000


def test_a_network_without_maps_is_refused_by_name():
    with pytest.raises(OptionError, match="plain has no spatial maps"):
        probes.probe(Plain(PlainConfig(crop_px=64)), made_faces(8), "majority")
