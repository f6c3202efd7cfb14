"""What every recipe promises: it says what it is, trains, reaches all parameters, and resumes."""

import dataclasses

import pytest
import torch
from expression.networks.test_all_networks import SMALL
from training.test_ferplus import face_set

from jadfer_cli.errors import JadferError, OptionError
from jadfer_cli.expression import networks
from jadfer_cli.training import loop, recipes
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipe_options import as_table, defaults, from_table
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import State


def small_options(name: str, **more) -> TrainOptions:
    """The recipe on a tiny network whose stem hardly trains: 4 steps an epoch."""
    base = defaults(name)
    known = {f.name for f in dataclasses.fields(base.network)}
    network = dataclasses.replace(base.network, **{k: SMALL[k] for k in known & SMALL.keys()})
    changed = {"epochs": 2, "batch_size": 4, "frozen_blocks": 14, "workers": 0, "warmup": 0.5}
    return dataclasses.replace(base, network=network, **(changed | more))


def or_skip(name: str, run):
    """Runs it; skips if the recipe needs more than crops, and that is missing here."""
    try:
        return run()
    except JadferError as error:
        if not recipes.facts(name)["needs"]:
            raise
        pytest.skip(f"{name} needs {', '.join(recipes.facts(name)['needs'])}: {error.message}")


def train(folder, options: TrainOptions, stop_after: int | None = None):
    steps: list[float] = []
    calls = loop.Callbacks(
        evaluate=lambda logits, _: {"score": -float(logits.square().mean())},
        on_step=lambda record: steps.append(record.loss),
        stop=lambda: len(steps) == stop_after,
    )
    faces, valid = face_set(24), face_set(6, seed=1)
    network = loop.train(options, faces, valid, folder, start=Start(), callbacks=calls)
    return network, steps


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.names())
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, tmp_path):
    options = small_options(name)
    whole, steps = or_skip(name, lambda: train(tmp_path / "whole", options))
    assert len(steps) == 8 and all(torch.isfinite(torch.tensor(steps)))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", options, stop_after=5)
    rest, last = train(tmp_path / "stopped", options)
    assert last == steps[5:]
    for (key, a), b in zip(whole.state_dict().items(), rest.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", recipes.names())
def test_a_gradient_reaches_every_parameter(name):
    options = small_options(name, frozen_blocks=None)
    made = or_skip(
        name, lambda: loop.Trainer(options, Start(), torch.device("cpu"), face_set(24), "")
    )
    made.train_mode()
    faces = face_set(24).labelled()[0]
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    seen: dict[str, torch.Tensor] = {}
    for key, parameter in made.network.named_parameters():
        parameter.register_hook(lambda gradient, key=key: seen.__setitem__(key, gradient))
    made.step(images, torch.from_numpy(faces.targets[:4]), torch.arange(4), State())
    for key, parameter in made.network.named_parameters():
        assert key in seen and torch.isfinite(seen[key]).all(), key
        # a bias before BatchNorm has none but rounding errors
        assert parameter.ndim < 2 or seen[key].abs().max() > 0, key


@pytest.mark.parametrize("name", recipes.names())
def test_it_says_what_it_is(name):
    recipe, facts = recipes.load(name), recipes.facts(name)
    assert "_" not in name and facts["name"] == name
    for key in ("title", "source", "citation", "kind", "needs", "architecture"):
        assert facts[key] == getattr(recipe, key), key
    assert recipe.title and recipe.source and recipe.architecture in networks.names()
    assert recipe.kind == "control" or recipe.citation.startswith("@")
    # a reconstruction is never passed off as the authors' method
    assert recipe.kind != "reconstruction" or "reconstruction" in recipe.source


@pytest.mark.parametrize("name", recipes.names())
def test_its_options_survive_toml_and_the_published_ones_are_options(name):
    options = defaults(name)
    assert from_table(as_table(options)) == options and options.recipe == name
    published = dataclasses.replace(options, **recipes.load(name).published)
    assert from_table(as_table(published)) == published


def test_names_have_hyphens_and_files_underscores():
    assert "cbam-mix" in recipes.names() and "cbam-mix" in networks.names()
    assert recipes.load("cbam-mix").architecture == "cbam-mix"
    assert networks.load("cbam-mix").config().architecture == "cbam-mix"
    with pytest.raises(OptionError, match=r"must be one of .*, cbam-mix, .*, not cbam_mix\."):
        recipes.load("cbam_mix")
