"""The seam for methods: a network file and a recipe file are found, trained and hooked in."""

import dataclasses
import importlib
import sys

import pytest
import torch
from training.test_ferplus import face_set

from jadfer_cli.errors import ModelError, OptionError
from jadfer_cli.expression import checkpoint, networks
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.training import loop, recipes
from jadfer_cli.training import start as starts
from jadfer_cli.training.recipe_options import as_table, defaults, from_table
from jadfer_cli.training.start import Start

NETWORK_FILE = """
import torch
from jadfer_cli.expression.networks.base import Network, NetworkConfig, NetworkKind, Output

class MadeConfig(NetworkConfig):
    pass

class Made(Network):
    def __init__(self, config):
        super().__init__(config)
        self.last = torch.nn.Linear(self.stem.channels, config.n_classes)

    def forward(self, crops):
        pooled = self.features(crops).mean((2, 3))
        return Output(self.last(pooled), {"pooled": pooled})

NETWORK = NetworkKind(
    title="Made-up", source="a test", citation="", config=MadeConfig, build=Made,
)
"""

# The hooks note what they are given: LOSSES one tuple per loss, RELABELLED one per batch.
RECIPE_FILE = """
from dataclasses import dataclass
import torch
from jadfer_cli.expression.losses import soft_cross_entropy
from jadfer_cli.training.crops import EpochSampler
from jadfer_cli.training.recipes import Recipe

LOSSES, RELABELLED = [], []

@dataclass(frozen=True)
class MadeOptions:
    consistency: float = 0.5

class FirstEight(EpochSampler):
    def __iter__(self):
        return iter(list(enumerate(range(8)))[self.skip:])
    def __len__(self):
        return 8 - self.skip

def sampler(classes, options):
    return FirstEight(classes, options.balance, options.seed)

def relabel(output, batch, options):
    assert not torch.is_grad_enabled() and batch.second is not None
    RELABELLED.append((batch.indices.tolist(), batch.epoch, batch.epochs))
    return torch.full_like(batch.targets, 1 / 8)

def second_view(pixels):
    return pixels.flip(-1)

def statistics(faces):
    together = torch.from_numpy(faces.targets)
    return {"covotes": together.T @ together}

def optimiser(groups, options):
    return torch.optim.SGD(groups, lr=options.lr)

def lr_factor(options, steps_per_epoch, step):
    return 0.5 ** (step // steps_per_epoch)

def loss(output, batch, options):
    LOSSES.append((batch.targets, batch.statistics["covotes"], output.auxiliary["pooled"].shape))
    apart = (output.logits - batch.second.logits).square().mean()
    return soft_cross_entropy(output.logits, batch.targets) + options.consistency * apart

RECIPE = Recipe(
    architecture="made", title="Made-up method", source="a test", kind="control",
    needs=("a file",), loss=loss, options=MadeOptions, defaults={"label_smoothing": 0.0},
    fine_tuning={"epochs": 7}, sampler=sampler, relabel=relabel, second_view=second_view,
    statistics=statistics, optimiser=optimiser, lr_factor=lr_factor,
)
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A network and a recipe of the name `made`, each one new file; gives the recipe's module."""
    for package, text in ((networks, NETWORK_FILE), (recipes, RECIPE_FILE)):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / "made.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    importlib.invalidate_caches()
    yield importlib.import_module(f"{recipes.__name__}.made")
    for package in (networks, recipes):
        sys.modules.pop(f"{package.__name__}.made", None)


def options(**more):
    base = defaults("made")
    network = dataclasses.replace(base.network, crop_px=32)
    changed = {"epochs": 2, "batch_size": 4, "workers": 0, "frozen_blocks": 14} | more
    return dataclasses.replace(base, network=network, **changed)


def train(folder, **more):
    records = []
    calls = loop.Callbacks(
        evaluate=lambda logits, _: {"score": float(logits.mean())}, on_epoch=records.append
    )
    network = loop.train(options(**more), face_set(24), face_set(6, seed=1), folder, start=Start(),
                         callbacks=calls)  # fmt: skip
    return network, records


def test_a_new_file_is_enough_to_be_found(made):
    assert "made" in networks.names() and "made" in recipes.names()
    assert networks.facts("made") == {"title": "Made-up", "source": "a test", "citation": ""}
    assert recipes.facts("made") == {
        "name": "made", "architecture": "made", "title": "Made-up method", "source": "a test",
        "citation": "", "kind": "control", "needs": ("a file",),
    }  # fmt: skip
    assert any(file.name == "made.py" for file in networks.source_files())
    assert (defaults("made").label_smoothing, defaults("made").epochs) == (0.0, 30)
    assert defaults("made", fine_tuning=True).epochs == 7


def test_the_loop_calls_every_hook(made, tmp_path):
    network, records = train(tmp_path)
    assert isinstance(network, Network) and network.config.architecture == "made"
    # the sampler: twice the first eight images, in batches of four
    assert made.RELABELLED == [
        ([0, 1, 2, 3], 0, 2), ([4, 5, 6, 7], 0, 2), ([0, 1, 2, 3], 1, 2), ([4, 5, 6, 7], 1, 2),
    ]  # fmt: skip
    # the loss: relabelled targets, and the votes of the 16 images that count, 4 times
    # neutral, neutral 1/2 happiness 1/2, happiness 2/3 surprise 1/3, anger 3/4 disgust 1/4
    for targets, covotes, pooled in made.LOSSES:
        assert (targets == 1 / 8).all() and pooled == (4, 512)
        assert covotes[0, :2].tolist() == pytest.approx([4 + 1, 1])
        assert covotes[1, 2].item() == pytest.approx(4 * 2 / 9)
    # the schedule: halved after each epoch of two steps
    assert [record.lr for record in records] == pytest.approx([1e-3 / 2, 1e-3 / 4])


def test_the_recipe_makes_the_optimiser(made):
    trainer = loop.Trainer(options(), Start(), torch.device("cpu"), face_set(24), "")
    assert isinstance(trainer.optimiser, torch.optim.SGD)


def test_sharpness_aware_steps_relabel_once(made, tmp_path):
    train(tmp_path, optimiser="sam", epochs=1)
    assert len(made.RELABELLED) == 2 and len(made.LOSSES) == 4


def test_the_second_view_is_what_the_recipe_makes_of_the_first(made):
    trainer = loop.Trainer(options(), Start(), torch.device("cpu"), face_set(24), "")
    trainer.network.eval().last.weight.data *= 1e3
    half = torch.rand(4, 3, 32, 16)
    gaps = []
    # the flip changes the second batch, but not the mirror-symmetric first
    for batch in (torch.cat([half, half.flip(-1)], -1), torch.cat([half, half], -1)):
        first, second = trainer.outputs(batch, seed=0)
        gaps.append((first.logits - second.logits).abs().max().item())
    assert gaps[0] < 1e-3 < gaps[1]


def test_a_recipes_own_options_stand_beside_the_shared_ones(made):
    table = as_table(defaults("made"))
    assert (table["recipe"], table["consistency"]) == ("made", 0.5) and "variety" not in table
    assert from_table({"recipe": "made", "consistency": 2}).own.consistency == 2.0
    with pytest.raises(OptionError, match="The recipe made has no option variety"):
        from_table({"recipe": "made", "variety": "none"})
    for name in recipes.names():
        shared = {f.name for f in dataclasses.fields(defaults(name))}
        own = {f.name for f in dataclasses.fields(defaults(name).own)}
        assert not shared & own, name


def test_another_architecture_gives_its_stem_only(made, tmp_path):
    network = networks.load("made").build(options().network)
    path = tmp_path / "made.safetensors"
    checkpoint.save(path, network)
    loaded = checkpoint.load(str(path))
    assert loaded.architecture == "made" and loaded.crop_px == 32
    for name, tensor in loaded.build().state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
    assert starts.load(str(path), "made").whole
    start = starts.load(str(path), "jadfer")
    assert start.config is None and not start.whole
    for name, tensor in start.build(defaults().network).stem.state_dict().items():
        assert torch.equal(tensor, network.stem.state_dict()[name])


def test_a_file_of_an_unknown_architecture_is_refused(made, tmp_path, monkeypatch):
    path = tmp_path / "made.safetensors"
    checkpoint.save(path, networks.load("made").build(options().network))
    monkeypatch.undo()
    with pytest.raises(ModelError, match="unknown architecture, 'made'") as caught:
        checkpoint.load(str(path))
    assert "This version of jadfer has" in caught.value.hint
    with pytest.raises(ModelError, match="no network architecture named made"):
        networks.load("made")


def test_an_option_without_a_default_value_keeps_its_annotated_type(made):
    @dataclasses.dataclass(frozen=True)
    class WithNone:
        tau: float | None = None

    base = dataclasses.replace(defaults("made"), own=WithNone())
    assert from_table({"tau": 0.5}, base).own.tau == 0.5
    with pytest.raises(OptionError, match="tau must be of type float, not 'much'"):
        from_table({"tau": "much"}, base)


def test_an_own_option_cannot_hide_a_shared_one(made, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Hiding:
        lr: float = 3.0

    monkeypatch.setattr(made, "RECIPE", dataclasses.replace(made.RECIPE, options=Hiding))
    with pytest.raises(ValueError, match=r"options of every recipe are named \['lr'\]"):
        defaults("made")


def test_an_annotated_record_is_read_as_well(made):
    file = next(file for file in networks.source_files() if file.name == "made.py")
    text = file.read_text()
    assert text.count("\nNETWORK = ") == 1
    file.write_text(text.replace("\nNETWORK = ", "\nNETWORK: NetworkKind = "))
    assert networks.facts("made")["title"] == "Made-up"
