"""The example of CONTRIBUTING.md is a recipe that works, as it stands there."""

import importlib
import re
import sys

import pytest
import torch
from conftest import ROOT
from expression.networks import test_all_networks as of_networks
from training import test_all_recipes as of_recipes

from jadfer_cli.expression import networks
from jadfer_cli.training import recipes

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def scn(tmp_path, monkeypatch):
    """Both files of the page, in folders that the packages search; gives the recipe's module."""
    files = re.findall(r"```python\n# (jadfer_cli/\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert [name for name, _ in files] == [
        "jadfer_cli/expression/networks/scn.py", "jadfer_cli/training/recipes/scn.py"
    ]  # fmt: skip
    for package, (_, text) in zip((networks, recipes), files, strict=True):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / "scn.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [str(folder), *package.__path__])
    importlib.invalidate_caches()
    yield importlib.import_module(f"{recipes.__name__}.scn")
    for package in (networks, recipes):
        sys.modules.pop(f"{package.__name__}.scn", None)


def test_the_numbers_of_the_page(scn):
    ordered = torch.tensor([[0.7], [0.9], [0.6], [0.8]])
    assert scn.rank_loss(ordered, 0.7, 0.15).item() == 0
    assert scn.rank_loss(torch.full((4, 1), 0.4), 0.7, 0.15).item() == pytest.approx(0.15)
    # 0.15 - ((0.5 + 0.5) / 2 - (0.5 + 0.4) / 2)
    close = torch.tensor([[0.5], [0.4], [0.5], [0.5]])
    assert scn.rank_loss(close, 0.7, 0.15).item() == pytest.approx(0.10)


@pytest.mark.slow
def test_what_all_recipes_promise_holds_for_it(scn):
    of_recipes.test_it_says_what_it_is("scn")
    of_recipes.test_its_options_survive_toml_and_the_published_ones_are_options("scn")
    of_recipes.test_a_gradient_reaches_every_parameter("scn")
    of_networks.test_a_batch_of_two_is_two_batches_of_one("scn")


@pytest.mark.slow
@pytest.mark.long
def test_it_trains_resumes_and_is_exported(scn, tmp_path, monkeypatch):
    of_recipes.test_a_run_that_was_stopped_ends_as_one_that_was_not("scn", tmp_path)
    of_networks.test_a_saved_network_scores_the_same_in_the_onnx_engine(
        "scn", tmp_path, monkeypatch
    )


def test_the_table_of_hooks_names_fields_of_a_recipe():
    table = PAGE.split("| need | hook |")[1].split("\n\n")[0]
    fields = recipes.Recipe.__dataclass_fields__
    named = re.findall(r"`(\w+)`", table)
    assert {"relabel", "second_view", "statistics", "sampler", "needs"} <= set(named) <= set(fields)
