"""The four small networks on made clips: a planted signal is learned, shuffled labels are not."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.training.micro import experiment
from jadfer_cli.training.micro.experiment import MicroOptions
from jadfer_cli.training.micro.manifest import MicroClip
from jadfer_cli.training.micro.networks import NETWORKS
from jadfer_cli.training.micro.samplers import key, uniform

EMOTIONS = ("disgust", "happiness", "surprise")
FAST = MicroOptions(size_px=24, folds=3, epochs=16, lr=5e-3)


def made_clips(n_subjects=9, per_subject=6, unequal=False):
    """Clips of 3 frames: a face-like texture per subject, and a patch that grows up to the apex.

    The patch's height in the picture says the emotion; onset and offset are equal.
    """
    rng, clips, images = np.random.default_rng(0), [], []
    for subject in range(n_subjects):
        face = rng.integers(40, 200, (3, 24, 24))
        for i in range(per_subject):
            k = i % 3 if not unequal else (0 if i < per_subject - 2 else i - per_subject + 3)
            frames = np.stack([face + rng.normal(0, 2, (3, 24, 24)) for _ in range(3)])
            frames[1, :, 4 + 6 * k : 8 + 6 * k, 6:18] += 25
            images.append(frames.clip(0, 255))
            clips.append(MicroClip(None, str(subject), EMOTIONS[k], 0.0, 0.1, 0.2, 200))
    return clips, torch.from_numpy(np.array(images, np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_planted_signal_is_learned_and_shuffled_labels_are_not(name):
    clips, images = made_clips()
    options = dataclasses.replace(FAST, network=name)
    found = experiment.cross_validate(clips, options, images=images)
    assert found.uf1 > 0.85 and found.uar > 0.85, (found.uf1, found.uar)
    order = np.random.default_rng(1).permutation(len(clips))
    shuffled = [
        dataclasses.replace(clip, emotion=clips[i].emotion)
        for clip, i in zip(clips, order, strict=True)
    ]
    chance = experiment.cross_validate(shuffled, options, images=images)
    # 54 clips of 3 classes: chance is 1/3, with a standard deviation of 0.064
    assert chance.uar < 0.55, chance.uar
    for k in range(3):  # each subject is tested in one fold
        subjects = {clip.subject for clip, f in zip(clips, found.folds, strict=True) if f == k}
        others = {clip.subject for clip, f in zip(clips, found.folds, strict=True) if f != k}
        assert len(subjects) == 3 and not subjects & others


@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks_take_any_number_of_frames_and_reach_all_parameters(name):
    network = NETWORKS[name](5)
    for frames in (2, 3, 9):
        assert network(torch.rand(2, frames, 3, 24, 24)).shape == (2, 5)
    network(torch.rand(4, 3, 3, 24, 24)).logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    # only movement counts, not who is seen
    network.eval()
    clip, face = torch.rand(1, 3, 3, 24, 24) * 0.2, torch.rand(3, 24, 24) * 0.5
    assert torch.allclose(network(clip), network(clip + face), atol=1e-4)


def test_the_difference_is_apex_minus_onset():
    network = NETWORKS["difference"](3).eval()
    clip = torch.rand(1, 3, 3, 24, 24)
    other = clip.clone()
    other[:, 2] = 0  # the offset does not matter
    assert torch.equal(network(clip), network(other))
    other[:, 1] = 0
    assert not torch.equal(network(clip), network(other))


def test_balances_by_hand():
    # sizes 3 and 1: 4 / (2 x 3) and 4 / (2 x 1), mean 1
    weights = experiment.clip_weights(np.array([0, 0, 0, 2]))
    assert weights == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2]) and weights.mean() == 1
    logits, target = torch.tensor([[0.0, 0.0], [3.0, 0.0]]).log_softmax(1), torch.tensor([0, 0])
    plain = experiment.clip_losses(logits, target, "none")
    focal = experiment.clip_losses(logits, target, "focal")
    p = np.array([0.5, 1 / (1 + np.exp(-3))])
    assert plain.numpy() == pytest.approx(-np.log(p), rel=1e-5)
    assert focal.numpy() == pytest.approx(-np.log(p) * (1 - p) ** 2, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("balance", experiment.BALANCES)
def test_every_balance_trains_and_is_repeatable(balance):
    clips, images = made_clips(n_subjects=3, unequal=True)
    options = dataclasses.replace(FAST, network="difference", balance=balance, epochs=2)
    first = experiment.cross_validate(clips, options, images=images)
    again = experiment.cross_validate(clips, options, images=images)
    assert np.array_equal(first.guesses, again.guesses) and 0 <= first.uf1 <= 1


def test_clips_are_read_alike_at_200_and_500_fps(tmp_path):
    """The same seconds give the same pictures, whatever the frame rate."""
    clips = []
    for fps in (200, 500):
        folder = tmp_path / str(fps)
        folder.mkdir()
        for i in range(int(0.4 * fps) + 1):
            grey = np.full((40, 40, 3), round(40 + 400 * i / fps), np.uint8)
            cv2.imwrite(str(folder / f"img{i}.png"), grey)
        clips.append(MicroClip(folder, "s", "fear", 0.1, 0.2, 0.4, fps))
    for sampler, n in ((key, 3), (uniform(5), 5)):
        images = experiment.load(clips, sampler, 24)
        assert images.shape == (2, n, 3, 24, 24) and images.dtype == torch.uint8
        assert (images[0].int() - images[1].int()).abs().max() <= 1
        assert images[0, 0].float().mean() < images[0, 1].float().mean()


def test_what_cannot_be_trained_is_refused():
    clips, images = made_clips(n_subjects=2)
    same = [dataclasses.replace(clip, emotion="fear") for clip in clips]
    with pytest.raises(TrainingError, match="one emotion only: fear"):
        experiment.cross_validate(same, FAST, images=images)
    with pytest.raises(TrainingError, match="3 folds need as many subjects"):
        experiment.cross_validate(clips, FAST, images=images)
    for wrong in ({"network": "lstm"}, {"balance": "more"}, {"epochs": 0}):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))} must be"):
            MicroOptions(**wrong)
