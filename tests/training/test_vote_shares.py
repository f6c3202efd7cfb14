"""Scores as shares of raters: the fit, the comparison of definitions, and the model file."""

import dataclasses

import numpy as np
import pytest

from jadfer_cli.errors import ModelError
from jadfer_cli.expression import checkpoint, networks
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.expression.scores import MAJORITY, VOTE_SHARE, Calibration
from jadfer_cli.options import ModelOptions
from jadfer_cli.runtime import settle
from jadfer_cli.training import calibrate, run_folder, vote_shares
from jadfer_cli.training.ferplus import from_votes
from jadfer_cli.training.start import Start

BIAS = np.array([0.3, -0.2, 0.1, 0, 0, -0.1, 0.1, -0.2])


def voted(n: int, seed: int = 0):
    """Logits, and ten votes per image drawn from softmax(logits / 1.5 + BIAS), a tenth unknown."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 8)).astype(np.float32)
    p = calibrate.softmax(logits / 1.5 + BIAS)
    unknown = rng.binomial(10, 0.1, n)
    votes = np.zeros((n, 10), np.float32)
    votes[:, :8] = [rng.multinomial(10 - u, row) for u, row in zip(unknown, p, strict=True)]
    votes[:, 8] = unknown
    pictures = list(np.zeros((n, 4, 4), np.uint8))
    return logits, from_votes("made valid", pictures, [f"{i}" for i in range(n)], votes)


def test_the_vote_share_recovers_temperature_and_bias():
    logits, faces = voted(4000)
    found = calibrate.fit_vote_share(logits, faces.votes, biases=True)
    assert found.temperature == pytest.approx(1.5, rel=0.03)
    assert found.bias == pytest.approx(BIAS, abs=0.05)
    doubtful = faces.votes.copy()
    doubtful[:, -1] += 50  # raters who name no expression change nothing
    assert calibrate.fit_vote_share(logits, doubtful, biases=True) == found
    without = calibrate.fit_vote_share(logits, faces.votes)
    assert without.temperature == pytest.approx(1.5, rel=0.05) and without.bias == ()
    assert (without.probabilities(logits).argmax(1) == logits.argmax(1)).all()


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_every_fit_can_be_loaded(tmp_path, scale):
    logits, faces = voted(300)
    found = calibrate.fit_vote_share(logits * scale, faces.votes, biases=True)
    network = checkpoint.load().build()
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, network, scores={VOTE_SHARE: found})
    assert checkpoint.load(str(path)).scores[VOTE_SHARE].temperature == found.temperature
    path.unlink()
    with pytest.raises(ModelError, match=r"was not written: .*temperature"):
        checkpoint.save(path, network, scores={VOTE_SHARE: Calibration(26.0)})
    assert not path.exists()


def test_biases_of_expressions_without_votes_stay_finite():
    logits, faces = voted(300)
    votes = faces.votes.copy()
    votes[:, 7] = 0
    found = calibrate.fit_vote_share(logits, votes, biases=True)
    assert np.isfinite(found.bias).all() and found.bias[7] == min(found.bias)


def test_definitions_are_judged_on_the_half_that_was_not_fitted():
    logits, faces = voted(2000)
    clusters = np.arange(2000) // 2
    found = vote_shares.compare(logits, faces, {MAJORITY: Calibration(0.6)}, clusters)
    table = found["definitions"]
    assert list(table) == [MAJORITY, vote_shares.UNCALIBRATED, VOTE_SHARE]
    assert {f["n"] for f in (t["all"] for t in table.values())} == {1000}
    for figure in ("kl", "ece_top", "ece_by_class"):
        values = [table[name]["all"][figure] for name in table]
        assert values == sorted(values, reverse=True), figure
    assert table[VOTE_SHARE]["all"]["ece_top"] < 0.02
    assert found["unknown_share"]["all"] == pytest.approx(0.1, abs=0.01)
    stored = {MAJORITY: Calibration(0.6), VOTE_SHARE: Calibration(1.5, tuple(BIAS))}
    assert vote_shares.compare(logits, faces, stored)["definitions"][VOTE_SHARE]["all"]["n"] == 2000
    faces = faces.take(np.arange(20))
    assert (
        VOTE_SHARE
        not in vote_shares.compare(logits[:20], faces, {MAJORITY: Calibration()})["definitions"]
    )


def test_figures_against_votes_by_hand():
    votes = np.zeros((2, 9))
    votes[0, :2], votes[1, 0], votes[1, 8] = 5, 5, 5  # 5 : 5; 5 and 5 unknown
    p = np.zeros((2, 8))
    p[0, :2], p[1, :2] = (0.75, 0.25), (0.75, 0.25)
    found = vote_shares.against_votes(p, votes)
    kl = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25), np.log(1 / 0.75)
    assert found["kl"] == pytest.approx(np.mean(kl))
    # one bin: score 0.75, shares 0.5 and 1; of all raters 0.5 and 0.5
    assert found["ece_top"] == pytest.approx(0) and found["accuracy"] == 1
    assert found["ece_top_all_raters"] == pytest.approx(0.25)
    assert found["ece_winner"] == pytest.approx(0.25)


@pytest.mark.slow
def test_a_model_file_keeps_the_definitions_and_the_predictor_uses_one(tmp_path, monkeypatch):
    kind = networks.load("plain")
    network = kind.build(kind.config(crop_px=32)).eval()
    path = tmp_path / "model.safetensors"
    scores = {MAJORITY: Calibration(0.7), VOTE_SHARE: Calibration(1.3, tuple(BIAS))}
    checkpoint.save(path, network, temperature=0.7, scores=scores)
    loaded = checkpoint.load(str(path))
    assert loaded.scores == scores and loaded.temperature == 0.7
    crops = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    runtime = settle(ModelOptions(device="cpu", threads=1))
    by_majority = Predictor(loaded, runtime, MAJORITY)
    (logits,) = by_majority.batch_limiter.over(by_majority.engine, crops)
    assert by_majority.probabilities(crops) == pytest.approx(
        calibrate.softmax(logits, 0.7), abs=1e-6
    )
    shares = Predictor(loaded, runtime, VOTE_SHARE).probabilities(crops)
    assert shares == pytest.approx(calibrate.softmax(logits / 1.3 + BIAS), abs=1e-6)
    assert shares.dtype == np.float32
    # a file without definitions has the majority's temperature
    checkpoint.save(path, network, temperature=0.8)
    assert checkpoint.load(str(path)).scores == {MAJORITY: Calibration(0.8)}
    with monkeypatch.context() as patched:  # as another program may write it
        patched.setattr(checkpoint.header, "read", lambda data: None)
        checkpoint.save(path, network, scores={VOTE_SHARE: Calibration(1.0, (1.0, 2.0))})
    with pytest.raises(ModelError, match="2 biases of 'votes' for 8 classes"):
        checkpoint.load(str(path))


def test_training_stores_what_the_shares_were_fitted_on(tmp_path):
    _, faces = voted(120)
    kind = networks.load("plain")
    network = kind.build(kind.config(crop_px=32)).eval()
    path, metrics = run_folder.finish(network, faces, tmp_path, {"dataset": "ferplus"}, Start())
    assert metrics["votes_fitted_on"] == "made valid, 120 images"
    stored = checkpoint.load(str(path))
    assert stored.scores[VOTE_SHARE].bias == () and MAJORITY in stored.scores
    labels_only = dataclasses.replace(faces, votes=None)
    path, metrics = run_folder.finish(network, labels_only, tmp_path, {}, Start())
    assert "votes_fitted_on" not in metrics
    assert list(checkpoint.load(str(path)).scores) == [MAJORITY]
