"""The ablation's script: its statistics by hand, and all variants on a tiny store of maps."""

import json

import numpy as np
import pytest
import torch
from bench import ablation, ablation_methods, ablation_occlusion, ablation_report
from scipy import stats

from jadfer_cli.expression import networks
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training import recipes
from jadfer_cli.training.trainer import Trainer


def rows_of(**log_likelihoods):
    return [
        {"variant": name.replace("_", " "), "seed": seed, "log_likelihood": value,
         "accuracy": value, "pooled_recall": value, "occluded": {}}
        for name, values in log_likelihoods.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip


@pytest.mark.slow
def test_pairs_are_by_seed_and_tests_are_students():
    rows = rows_of(full=[3.0, 5.0, 4.0, 9.0], no_JAD=[1.0, 4.0, 1.0], CB_only=[2.0, 2.0, 2.0])
    rows = [*rows[:2], *reversed(rows[2:])]
    differences = ablation_report.paired(rows, "full", "no JAD", "log_likelihood")
    assert differences.tolist() == [2.0, 1.0, 3.0]  # seed 3 has no partner
    # t = 2 / (1 / sqrt(3)) with 2 degrees of freedom
    assert ablation_report.p_value(differences) == pytest.approx(2 * stats.t.sf(2 * 3**0.5, 2))
    assert ablation_report.p_value(np.array([1.0])) == 1.0
    text = ablation_report.text(rows)
    assert "full against the better single branch (CB only), log likelihood: +2.0000" in text
    assert "no JAD" in text and "Holm" in text


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.04: times 3, 2, 1, and never below the one before
    assert ablation_report.holm([0.04, 0.01, 0.02]).tolist() == pytest.approx([0.04, 0.03, 0.04])


def test_the_smallest_effect_is_shown_in_four_of_five_trials():
    rng = np.random.default_rng(0)
    sample = rng.normal(0, 1, 6)
    sample = (sample - sample.mean()) / sample.std(ddof=1)
    effect = ablation_report.smallest_effect(sample, 5)
    trials = rng.normal(effect, 1, (20_000, 6))
    shown = stats.ttest_1samp(trials, 0, axis=1).pvalue < 0.05 / 5
    assert shown.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("kind", ablation_occlusion.KINDS)
def test_occlusion_covers_what_it_names(kind):
    found = ablation_occlusion.mask(kind, 112, np.random.default_rng(1))
    eye, mouth = (41, 35), (84, 56)  # row and column: the image's left eye, the middle of the mouth
    assert found[eye] == (kind == "eyes") or kind == "squares"
    assert found[mouth] == (kind in ("mouth", "hand")) or kind == "squares"
    low, high = {"mouth": (0.08, 0.25), "eyes": (0.08, 0.25), "hand": (0.1, 0.4),
                 "squares": (0.3, 0.33)}[kind]  # fmt: skip
    assert low < found.mean() < high
    crops = torch.full((2, 3, 112, 112), 200, dtype=torch.uint8)
    covered = ablation_occlusion.covered(crops, kind, first=5)
    assert (crops == 200).all() and (covered != 200).any(1).float().mean() > low
    again = ablation_occlusion.covered(crops[1:], kind, first=6)
    assert torch.equal(again[0], covered[1])  # by the face, not by the batch


@pytest.fixture
def features(tmp_path):
    """A store like that of a half's stem: 24 training and 16 validation faces, two views."""
    folder = tmp_path / "features"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    labels = {}
    for split, n in (("train", 24), ("valid", 16)):
        classes = np.arange(n) % 8
        counted = (np.arange(n), classes)
        labels[split] = {"targets": torch.eye(8)[classes], "names": [f"{i}.png" for i in range(n)],
                         "protocols": {"majority": counted, "plurality": counted}}  # fmt: skip
    torch.save(labels, folder / "labels.pt")
    for name, n in (("train0", 24), ("train0m", 24), ("train1", 24), ("train1m", 24),
                    ("valid", 16)):  # fmt: skip
        maps = torch.rand(n, 128, 14, 14, generator=generator).to(torch.bfloat16)
        torch.save(maps, folder / f"{name}.pt")
    kind = networks.load("plain")
    torch.save(kind.build(kind.config()).state_dict(), folder / "stem.pt")
    return folder


@pytest.mark.slow
@pytest.mark.long
def test_every_variant_trains_on_a_store_and_the_same_command_continues(features, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["--features", str(features), "--out", str(out), "--epochs", "1", "--batch-size",
               "12", "--seeds", "2", "--threads", "1", "--set", "network.width=32", "--set",
               "network.heads=4"]  # fmt: skip
    ablation.main([*command[:-6], "--seeds", "1", *command[-4:]])
    first = (out / "results.jsonl").read_text()
    assert len(first.splitlines()) == len(ablation.VARIANTS)
    capsys.readouterr()
    ablation.main([*command, "--variant", "full", "--variant", "no JAD"])
    text = capsys.readouterr().out
    everything = (out / "results.jsonl").read_text()
    assert everything.startswith(first)
    rows = [json.loads(line) for line in everything.splitlines()]
    assert [row["variant"] for row in rows] == [*ablation.VARIANTS, "full", "no JAD"]
    values = [row["log_likelihood"] for row in rows]
    assert len(set(values)) == len(values) and np.isfinite(values).all()
    for name in ablation.VARIANTS:
        assert f"\n{name}" in f"\n{text}"
    ablation.main(["--out", str(out), "--report"])
    assert "shown with 80 %" in capsys.readouterr().out


def test_flip_consistency_by_hand():
    logits = torch.tensor([[0.0, 0.0], [1.0, 3.0]]), torch.tensor([[0.0, 1.0], [1.0, 3.0]])
    # (sigmoid(1) - 0.5) * 1 / 2 + the same of the other class, halved; the second image agrees
    expected = 0.5 * (torch.sigmoid(torch.tensor(1.0)) - 0.5) / 2
    assert ablation_methods.symmetric_kl(*logits) == pytest.approx(float(expected))


class Plain(Trainer):
    """A trainer without a network, whose loss says which targets it saw."""

    def __init__(self):
        self.recipe = recipes.Recipe(
            "plain", lambda output, batch, options: (output.logits * batch.targets).sum()
        )


def test_mixup_weighs_both_losses_by_the_share():
    class Mixed(ablation_methods.Mixup, Plain):
        pass

    torch.manual_seed(3)
    trainer, faces = Mixed(), torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    (mixed,) = trainer.views(faces)
    share, partner = trainer.share, trainer.partner
    assert 0 < share < 1 and sorted(partner.tolist()) == [0, 1, 2, 3]
    by_hand = share * torch.arange(4.0) + (1 - share) * partner.float()
    assert mixed[:, 0, 0, 0].tolist() == pytest.approx(by_hand.tolist())
    targets = torch.eye(4)
    batch = recipes.Batch(targets, torch.arange(4), {}, 0, 1)
    logits = torch.arange(16.0).view(4, 4)
    found = trainer.recipe.loss(Output(logits, {}), batch, None)
    expected = share * logits.trace() + (1 - share) * (logits * targets[partner]).sum()
    assert float(found) == pytest.approx(float(expected))


@pytest.mark.slow
def test_ways_to_train_differ_and_share_their_start(features, tmp_path):
    out = tmp_path / "out"
    ablation.main(["--features", str(features), "--out", str(out), "--epochs", "1", "--batch-size",
                   "12", "--seeds", "1", "--threads", "1", "--study", "methods",
                   "--set", "network.width=32", "--set", "network.heads=4"])  # fmt: skip
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in rows] == ["full", *ablation_methods.VARIANTS]
    found = {row["variant"]: row["log_likelihood"] for row in rows}
    assert found.pop("balance 0.6") == found["full"]  # all classes of the store have one size
    assert len(set(found.values())) == len(found)
