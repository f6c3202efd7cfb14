"""`annotate --scores`: what the probabilities mean, from the option to the methods section."""

import json

import numpy as np
import pandas as pd
import pytest

from jadfer_cli.errors import ModelError
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.scores import MAJORITY, VOTE_SHARE, Calibration, choose

pytestmark = pytest.mark.slow  # annotates


def annotated(invoke, clip, out, *options):
    done = invoke("annotate", clip, "-o", out, "--detector", "centerface", "--quiet", *options)
    assert done.exit_code == 0, done.output
    return pd.read_parquet(out), json.loads(out.with_suffix(".json").read_text("utf-8"))


def test_votes_are_the_default_and_the_majority_is_the_earlier_meaning(
    invoke, short_clip, tmp_path
):
    results = tmp_path / "results"
    results.mkdir()
    shares, told = annotated(invoke, short_clip, results / "a.parquet")
    sure, told_majority = annotated(
        invoke, short_clip, results / "b.parquet", "--scores", "majority"
    )
    columns = [name for name in shares if name.startswith("p_") and name != "p_max"]
    p, q = (rows[columns].to_numpy(float) for rows in (shares, sure))
    temperatures = [found["jadfer"]["model"]["temperature"] for found in (told, told_majority)]
    shipped = checkpoint.load().scores
    assert temperatures == [shipped["votes"].temperature, shipped["majority"].temperature]
    assert temperatures[1] < 1 < temperatures[0]
    # one network behind both: log p times its temperature differ by a constant per face
    gaps = np.log(p) * temperatures[0] - np.log(q) * temperatures[1]
    assert np.ptp(gaps, axis=1).max() < 1e-3
    assert (q.max(1) > p.max(1)).all()
    assert shares["expression"].astype(str).tolist() == sure["expression"].astype(str).tolist()
    assert told["p_happiness"]["Description"] == (
        "Share of raters who would choose happiness, of those who name an expression; the p_ "
        "columns sum to 1"
    )
    assert told_majority["p_fear"]["Description"].startswith("Probability that the majority of")
    named = [found["jadfer"]["model"]["scores"] for found in (told, told_majority)]
    assert named == ["votes", "majority"]
    again = invoke("annotate", short_clip, "-o", results / "a.parquet", "--detector", "centerface",
                   "--scores", "majority", "--skip-existing")  # fmt: skip
    assert again.exit_code == 1
    assert "other settings: scores (then votes, now majority)" in " ".join(again.output.split())
    mixed = invoke("summary", results, width=200)
    assert "made with different settings: --scores" in mixed.output
    (a, b) = (invoke("methods", results / f"{name}.parquet").output for name in "ab")
    a, b = (" ".join(text.split()) for text in (a, b))
    assert "the share of raters expected to choose it for this face alone, as a photograph" in a
    assert "(Guo et al., 2017) on the votes of FER+ (valid split), 3,579 images." in a
    assert "photographs of faces on which a majority of raters agreed" in b


def test_a_model_without_votes_gives_the_majority_and_says_so_if_asked_for_votes(
    invoke, short_clip, tmp_path
):
    shipped = checkpoint.load()
    path = tmp_path / "labels.safetensors"
    checkpoint.save(path, shipped.build(), temperature=0.9)
    _, told = annotated(invoke, short_clip, tmp_path / "a.parquet", "--model", path)
    assert told["jadfer"]["model"]["scores"] == "majority"
    asked = invoke("annotate", short_clip, "-o", tmp_path / "b.parquet", "--model", path,
                   "--scores", "votes", "--detector", "centerface")  # fmt: skip
    assert asked.exit_code == 1
    text = " ".join(asked.output.split())
    assert "The model labels has no scores of the kind votes: it was not fitted to votes." in text
    assert "Its scores are majority; see --scores." in text
    wrong = invoke("annotate", short_clip, "-o", tmp_path / "b.parquet", "--scores", "raters")
    assert wrong.exit_code == 2
    assert "--scores must be one of auto, votes, majority, not raters" in " ".join(
        wrong.output.split()
    )


def test_auto_prefers_votes():
    both = {MAJORITY: Calibration(0.7), VOTE_SHARE: Calibration(1.1)}
    assert choose("auto", both, "m") == "votes" and choose("majority", both, "m") == "majority"
    assert choose("auto", {MAJORITY: Calibration()}, "m") == "majority"
    with pytest.raises(ModelError, match="no scores of the kind votes"):
        choose("votes", {MAJORITY: Calibration()}, "m")
