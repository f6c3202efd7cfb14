"""`jadfer recipes`: what it lists is what the recipes are."""

import json

import pytest
import torch
from conftest import ROOT

from jadfer_cli.expression import networks
from jadfer_cli.training import recipes
from jadfer_cli.training.recipe_size import size_of


def counted_by_hooks(network: torch.nn.Module, side: int) -> int:
    """Multiply-adds of convolutions and linear layers, from their shapes as they run."""
    total = 0

    def count(layer, given, made):
        nonlocal total
        if isinstance(layer, torch.nn.Conv2d):
            total += made.numel() * layer.weight[0].numel()
        else:
            total += made.numel() * layer.in_features

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, side, side))
    return total


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "dan", "cbam-mix"])  # nothing but such layers
def test_sizes_are_those_of_a_real_network(name):
    kind = networks.load(recipes.load(name).architecture)
    network = kind.build(kind.config())
    size = size_of(name)
    assert size.parameters == sum(p.numel() for p in network.parameters())
    assert size.multiply_adds == counted_by_hooks(network, size.crop_px)


@pytest.mark.slow
def test_attention_is_counted_too():
    """Beside its layers, a block multiplies queries with keys, and the result with values."""
    kind = networks.load("apvit")
    layers = counted_by_hooks(kind.build(kind.config()), 112)
    products = sum(2 * n * n * 256 for n in (161, 161, 161, 145))
    assert size_of("apvit").multiply_adds == layers + products


@pytest.mark.slow
def test_a_network_whose_shapes_depend_on_values_is_counted_with_its_lstms():
    kind = networks.load("facetopo")
    layers = counted_by_hooks(kind.build(kind.config()), 112)
    # 36 landmarks through two LSTMs of 4 gates on 64 + 64 values
    lstms = 2 * 36 * 4 * 64 * (64 + 64)
    # mean positions over 196 cells, and 128 features of those cells at each landmark
    more = lstms + 36 * 196 * 2 + 36 * 196 * 128
    assert size_of("facetopo").multiply_adds == layers + more


@pytest.mark.slow
def test_the_list_names_every_recipe_with_its_kind_and_size(invoke):
    listed = json.loads(invoke("recipes", "--json").stdout)
    assert [each["name"] for each in listed] == recipes.names()
    shown = invoke("recipes").stdout
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "\\n" not in shown and "\n\nSources\n" in shown
    for each in listed:
        assert each["parameters"] > 500_000 and each["multiply_adds"] > 1e8
        (row,) = [line for line in shown.splitlines() if line.startswith(f"{each['name']} ")
                  and each["kind"] in line and " M " in line]  # fmt: skip
        assert f"{each['parameters'] / 1e6:.2f} M" in row
        words = " ".join(shown.split())
        assert f"{each['title']}: {each['source'][:20]}" in words


def test_the_guide_names_every_recipe_with_its_kind():
    guide = (ROOT / "examples" / "guides" / "training.md").read_text(encoding="utf-8")
    table = guide.split("| recipe |", 1)[1].split("\n\n", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    named = {row[0].strip("`"): row[-1] for row in rows}
    assert named == {name: recipes.facts(name)["kind"] for name in recipes.names()}


def test_one_recipe_is_described_with_options_and_what_its_authors_used(invoke):
    found = json.loads(invoke("recipes", "dan", "--json").stdout)
    assert found["options"] == {"affinity_weight": 1.0, "partition_weight": 1.0}
    assert (found["network"]["heads"], found["published"]["optimiser"]) == (4, "sgd")
    shown = invoke("recipes", "eac").stdout
    assert "consistency_weight" in shown and "@inproceedings{Zhang2022eac" in shown
    wrong = invoke("recipes", "den")
    assert wrong.exit_code == 1 or wrong.exit_code == 2
    assert "There is no recipe named den." in wrong.stderr and "dan" in wrong.stderr
