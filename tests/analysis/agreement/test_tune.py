"""Tuning to codes: a planted error is mended on held-out people, noise is not taken for a gain."""

import csv
import dataclasses
from types import SimpleNamespace

import media
import numpy as np
import pandas as pd
import pytest
from made import Made, Track
from made import options as options_of

from jadfer_cli.analysis.agreement import coded_faces
from jadfer_cli.analysis.agreement.coded_faces import CodedFaces
from jadfer_cli.analysis.agreement.gain import gain
from jadfer_cli.common import file_sha256
from jadfer_cli.errors import CodesError, OptionError, ResultError
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.scores import MAJORITY, VOTE_SHARE, Calibration, choose
from jadfer_cli.labels import LABELS
from jadfer_cli.results.load import load
from jadfer_cli.training import measure, recalibrate
from jadfer_cli.training.calibrate import softmax

K, SADNESS = len(LABELS), LABELS.index("sadness")
CODED = (0, 1, SADNESS)  # neutral, happiness, sadness
PLANTED = 2.5  # added to the logit of sadness in every face


def person(rng, n_spells=20, spell=5):
    """What one person showed, and probabilities of a machine that sees too much sadness."""
    truth = np.repeat(rng.choice(CODED, n_spells, p=[0.5, 0.25, 0.25]), spell)
    z = rng.normal(0, 1, (len(truth), K)) + rng.normal(0, 0.5, K)  # people differ
    z[np.arange(len(truth)), truth] += 3
    z[:, SADNESS] += PLANTED
    p = np.exp(z)
    return truth, p / p.sum(1, keepdims=True)


def faces_of(rng, n_people=8, shuffled=False):
    made = [person(rng) for _ in range(n_people)]
    truth, p = (np.concatenate(each) for each in zip(*made, strict=True))
    if shuffled:  # spells stay whole, but their codes are those of other spells
        truth = np.repeat(truth[::5][rng.permutation(len(truth) // 5)], 5)
    n = len(truth)
    names = np.repeat([f"P{i}" for i in range(n_people)], n // n_people)
    zeros = np.zeros(n, np.int64)
    return CodedFaces(LABELS, p, truth[:, None].astype(np.int8), names, zeros, zeros, zeros, ())


def tuned(faces, draws=200):
    after = recalibrate.held_out(faces.p, faces.votes, faces.person.tolist())
    return gain(faces, faces.p.argmax(1), after.argmax(1), draws=draws)


@pytest.mark.slow
def test_a_planted_error_is_mended_on_people_not_learned_from():
    found = tuned(faces_of(np.random.default_rng(0)))
    assert found.is_shown and found.n_people == found.n_better == 8
    assert found.overall.before < 0.6 and found.overall.difference > 0.25
    new = faces_of(np.random.default_rng(99), n_people=4)  # strangers
    learned = faces_of(np.random.default_rng(0))
    fitted = recalibrate.fit(learned.p, learned.votes, learned.person.tolist())
    better = (recalibrate.apply(fitted, new.p).argmax(1) == new.ratings[:, 0]).mean()
    assert better > (new.p.argmax(1) == new.ratings[:, 0]).mean() + 0.15
    assert fitted.bias[SADNESS] < fitted.bias[0] - 1


@pytest.mark.slow
@pytest.mark.long
def test_shuffled_codes_show_no_gain():
    claimed = [
        seed
        for seed in range(12)
        if tuned(faces_of(np.random.default_rng(seed), shuffled=True), draws=100).is_shown
    ]
    assert claimed == []


def test_nobody_is_tested_by_what_was_learned_from_them():
    faces = faces_of(np.random.default_rng(1), n_people=3)
    own = faces.person == "P1"
    votes = faces.votes
    changed = votes.copy()
    changed[own] = np.roll(changed[own], 1, axis=1)
    names = faces.person.tolist()
    before, after = (recalibrate.held_out(faces.p, v, names) for v in (votes, changed))
    np.testing.assert_array_equal(before[own], after[own])
    assert not np.allclose(before[~own], after[~own])


def test_each_person_counts_the_same():
    faces = faces_of(np.random.default_rng(2), n_people=2)
    first = faces.person == "P0"
    many = np.concatenate([np.flatnonzero(first)] * 4 + [np.flatnonzero(~first)])
    once, often = (
        recalibrate.fit(faces.p[at], faces.votes[at], faces.person[at].tolist())
        for at in (np.arange(len(faces)), many)
    )
    assert once.temperature == pytest.approx(often.temperature, rel=1e-3)
    np.testing.assert_allclose(once.bias, often.bias, atol=5e-3)


def test_two_calibrations_are_one():
    rng = np.random.default_rng(4)
    z = rng.normal(0, 2, (50, K))
    first, second = (Calibration(float(t), tuple(rng.normal(0, 1, K).tolist())) for t in (1.3, 0.7))
    expected = recalibrate.apply(second, first.probabilities(z))
    np.testing.assert_allclose(recalibrate.joined(first, second).probabilities(z), expected)
    plain = recalibrate.joined(Calibration(1.3), second).probabilities(z)
    np.testing.assert_allclose(plain, recalibrate.apply(second, Calibration(1.3).probabilities(z)))


@pytest.mark.slow
@pytest.mark.parametrize("scores", [MAJORITY, VOTE_SHARE])
def test_annotate_uses_what_was_fitted_to_the_scores_of_the_results(tmp_path, scores):
    base = checkpoint.load()
    assert base.scores[MAJORITY] != base.scores[VOTE_SHARE]
    fitted = Calibration(0.8, tuple(np.linspace(-1, 1, K).tolist()))
    recalibrate.save(tmp_path / "tuned.safetensors", base, scores, fitted, {})
    loaded = checkpoint.load(str(tmp_path / "tuned.safetensors"))
    used = loaded.scores[choose("auto", loaded.scores, "tuned")]
    z = np.random.default_rng(7).normal(0, 2, (20, K))
    shown = base.scores[scores].probabilities(z)
    np.testing.assert_allclose(used.probabilities(z), recalibrate.apply(fitted, shown))


def test_scores_of_several_kinds_are_not_tuned_together():
    old, votes = {"model": {}}, {"model": {"scores": VOTE_SHARE}}
    assert (recalibrate.scores_of([old]), recalibrate.scores_of([votes])) == (MAJORITY, VOTE_SHARE)
    with pytest.raises(OptionError, match="different kinds: majority, votes"):
        recalibrate.scores_of([old, votes])


def test_evaluate_counts_the_biases_of_a_tuned_model():
    z = np.random.default_rng(6).normal(0, 2, (20, K)).astype(np.float32)
    scale = Calibration(1.4, tuple(np.linspace(-1, 1, K).tolist()))
    loaded = dataclasses.replace(
        checkpoint.load(), temperature=scale.temperature, scores={MAJORITY: scale}
    )
    shifted = softmax(z + measure._shift(loaded), loaded.temperature)
    np.testing.assert_allclose(shifted, scale.probabilities(z), rtol=1e-5)
    # a refitted temperature keeps the shift of the logits
    other = measure._calibration(loaded, 0.8).probabilities(z)
    np.testing.assert_allclose(other, softmax(z + measure._shift(loaded), 0.8), rtol=1e-5)
    assert measure._calibration(checkpoint.load(), 2.0) == Calibration(2.0)


# The command.


def store(folder, n_people=7, *, shuffled=False, sha256=None):
    """Results of clips and their codes; one clip per person."""
    rng = np.random.default_rng(5)
    sha256 = sha256 or checkpoint.find("default").sha256
    (folder / "results").mkdir()
    truths = []
    for i in range(n_people):
        truth, p = person(rng, n_spells=16)
        truths.append(truth[::5])
        frames = list(range(len(p)))
        times_s, video = np.arange(len(p)) / 5, f"clips/c{i}.mp4"
        made = Made(
            [Track(0, frames, p)],
            n_frames=len(p),
            times_s=times_s,
            video=video,
            model_sha256=sha256,
        )
        made.write(folder / f"results/c{i}.parquet")
    if shuffled:
        mixed = rng.permutation(np.concatenate(truths))
        truths = np.array_split(mixed, n_people)
    with (folder / "codes.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("clip", "start_s", "end_s", "label"))
        for i, truth in enumerate(truths):
            out.writerows((f"c{i}", s, s + 1, LABELS[t]) for s, t in enumerate(truth))
    people = pd.DataFrame({"clip": [f"c{i}" for i in range(n_people)]})
    people["participant"] = [f"P{i}" for i in range(n_people)]
    people.to_csv(folder / "people.csv", index=False)
    return folder


def run(invoke, folder, *options):
    return invoke("tune", folder / "results", folder / "codes.csv", "-o",
                  folder / "tuned.safetensors", *options, width=200)  # fmt: skip


@pytest.mark.slow
@pytest.mark.long
def test_the_model_is_taken_by_annotate_and_scores_as_it_was_fitted(tmp_path, invoke, short_clip):
    store(tmp_path)
    result = run(invoke, tmp_path, "--participants", tmp_path / "people.csv")
    assert result.exit_code == 0, result.output
    assert "all classes" in result.stdout and "of 7 people" in result.stdout
    loaded = checkpoint.load(str(tmp_path / "tuned.safetensors"))
    training = loaded.metrics["training"]
    assert training["gain_is_shown"] and training["people"] == 7
    assert training["kappa_after_on_held_out_people"] > training["kappa_before_on_held_out_people"]
    assert loaded.entry.terms.startswith("derived from jadfer-compact")
    rows = {}
    for name, model in (("old", "default"), ("new", tmp_path / "tuned.safetensors")):
        out = tmp_path / f"{name}.parquet"
        done = invoke("annotate", short_clip, "-o", out, "--model", model)
        assert done.exit_code == 0, done.output
        rows[name] = pd.read_parquet(out)[[f"p_{label}" for label in LABELS]].dropna().to_numpy()
    # `annotate` shows votes by default, which another temperature than the majority's gives
    z = np.log(rows["old"].astype(np.float64)) * checkpoint.load().scores[VOTE_SHARE].temperature
    expected = loaded.scores[MAJORITY].probabilities(z)
    assert len(z) and np.abs(rows["old"] - expected).max() > 0.001
    np.testing.assert_allclose(rows["new"], expected, atol=1e-4)
    # what was tuned can be tuned again, and is described
    again = invoke("methods", tmp_path / "new.parquet")
    assert "one bias per label" in again.stdout.replace("\n", " ")


@pytest.mark.slow
def test_no_model_without_a_gain(tmp_path, invoke):
    store(tmp_path, shuffled=True)
    result = run(invoke, tmp_path, "--participants", tmp_path / "people.csv")
    assert result.exit_code == 1 and "so no model was written" in result.stderr
    assert not (tmp_path / "tuned.safetensors").exists()
    assert "all classes" in result.stdout  # the figures are shown all the same


@pytest.mark.slow
def test_too_few_people_can_show_nothing_but_are_kept_if_asked(tmp_path, invoke):
    store(tmp_path, n_people=3)
    result = run(invoke, tmp_path, "--each-clip-one-person")
    assert result.exit_code == 1 and "with 3 people, so no model was written" in result.stderr
    result = run(invoke, tmp_path, "--each-clip-one-person", "--keep-anyway")
    assert result.exit_code == 0 and "no gain is shown" in result.stderr
    assert not checkpoint.load(str(tmp_path / "tuned.safetensors")).metrics["training"][
        "gain_is_shown"
    ]


def test_usage_errors(tmp_path, invoke):
    store(tmp_path, n_people=2)
    (tmp_path / "one.csv").write_text("clip,participant\nc0,P\nc1,P\n")
    for options, code, message in (
        ((), 2, "It is not known who is seen in"),
        (("--every", "0"), 2, "--every takes seconds"),
        (("--participants", tmp_path / "one.csv"), 1, "All codes are of one person (P)"),
        (("--each-clip-one-person", "--map", "sadness=sadness+fear"), 2, "learns single ones"),
        (("--each-clip-one-person", "--model", "nonsense"), 1, "There is no model named nonsense"),
    ):
        result = run(invoke, tmp_path, *options)
        assert result.exit_code == code and message in result.stderr, (options, result.stderr)


def test_results_of_another_model(tmp_path, invoke):
    store(tmp_path, n_people=2, sha256="f" * 64)
    result = run(invoke, tmp_path, "--each-clip-one-person")
    assert result.exit_code == 1 and "made with a model that is not shipped" in result.stderr
    result = run(invoke, tmp_path, "--each-clip-one-person", "--model", "default")
    assert result.exit_code == 1 and "is not the model that made the results" in result.stderr


def test_faces_are_cut_from_the_annotated_video_as_it_was_turned(tmp_path):
    """A video that only looks like the annotated one would be learned from silently."""
    clip = media.make_video(tmp_path / "clip.mp4", media.numbered_frames(6))
    known = {"path": str(clip), "bytes": clip.stat().st_size, "sha256": file_sha256(clip)}

    def videos(name, rotate=None, size_px=(128, 96), **changed):
        track = Track(0, [0, 1, 2], "happiness", box_px=(10, 10, 60, 60))
        path = Made([track], n_frames=6, size_px=size_px, options=options_of(rotate=rotate),
                    metadata={"video": known | changed}).write(tmp_path / name)  # fmt: skip
        return lambda: coded_faces.videos(SimpleNamespace(results=(load(path),)))

    (info,) = videos("a.parquet")()
    assert (info.path, info.width_px, info.height_px) == (str(clip), 128, 96)
    (info,) = videos("turned.parquet", rotate=90, size_px=(96, 128))()
    assert (info.rotation_deg, info.width_px, info.height_px) == (90, 96, 128)
    with pytest.raises(ResultError, match="is of a picture of 128x96 px, but"):
        videos("not turned.parquet", rotate=90)()
    with pytest.raises(CodesError, match="its content differs"):
        videos("b.parquet", sha256="7" * 64)()
    with pytest.raises(CodesError, match="its size differs"):
        videos("c.parquet", bytes=7)()
    late = videos("late.parquet")
    rows = pd.read_parquet(tmp_path / "late.parquet")
    rows.assign(time_s=rows["time_s"] + 3600).to_parquet(tmp_path / "late.parquet", index=False)
    with pytest.raises(ResultError, match="at 3600 s, where the video shows it at 0 s"):
        late()
