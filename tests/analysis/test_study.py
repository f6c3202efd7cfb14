"""A made study, from a folder to a mixed model, with the commands and the model of the guide."""

import contextlib
import io
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made import Made, Track, sure

GUIDE = ROOT / "examples" / "guides" / "studies.md"
CLIPS = ("asl_yes.mkv", "grid_bbaf2n.mpg", "grid_brbk7n.mpg", "grid_lbax4n.mpg", "grid_lbbc2a.mpg",
         "single_face.mp4")  # fmt: skip


def block_with(word, language):
    """The block of the guide that contains a word."""
    blocks = GUIDE.read_text(encoding="utf-8").split(f"```{language}\n")[1:]
    (found,) = [block.split("```")[0] for block in blocks if word in block.split("```")[0]]
    return found


def command_with(*words):
    """The first command of the guide that contains all words, without `jadfer`."""
    lines = GUIDE.read_text(encoding="utf-8").splitlines()
    return next(
        line.split()[1:] for line in lines
        if line.startswith("jadfer ") and all(word in line for word in words)
    )  # fmt: skip


def tables(videos, onsets, duration_s):
    """The two tables of a study with one video per person and two conditions."""
    people = ["participant,age,group"]
    trials = ["participant,trial,video,onset_s,duration_s,condition"]
    for i, video in enumerate(videos):
        people.append(f"0{i + 1},{20 + i},{'patient' if i % 2 else 'control'}")
        for j, onset in enumerate(onsets):
            condition = "approach" if (i + j) % 2 else "rest"
            trials.append(f"0{i + 1},{j + 1},{video},{onset},{duration_s},{condition}")
    Path("participants.csv").write_text("\n".join(people) + "\n")
    Path("trials.csv").write_text("\n".join(trials) + "\n")


def model_of_guide():
    """What the model of the guide says, and the names that its block defines."""
    names: dict = {}
    with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(block_with("mixedlm", "python"), names)
    return " ".join(out.getvalue().split()), names


@pytest.fixture
def table(tmp_path, invoke, monkeypatch):
    """table.csv of 6 people x 4 trials: approach raises the log odds of happiness by 1.5."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    videos = [f"p{i}.mp4" for i in range(6)]
    onsets = [0.4, 1.2, 2.0, 2.8]
    for i, video in enumerate(videos):
        logit = np.full(100, -2.0 + 0.4 * i)  # people differ
        for j, onset in enumerate(onsets):
            first = round(onset * 25)
            logit[first : first + 15] += 1.5 * ((i + j) % 2) + rng.normal(0, 0.3)
        logit += rng.normal(0, 0.2, 100)
        p = np.stack([sure("happiness", each) for each in 1 / (1 + np.exp(-logit))])
        Made([Track(0, list(range(100)), p)], n_frames=100, video=video).write(
            Path("results") / f"p{i}.parquet"
        )
    tables(videos, onsets, 0.6)
    done = invoke(*command_with("design", "--scale logit"))
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_a_known_effect_is_found(table):
    pytest.importorskip("statsmodels")
    summary, names = model_of_guide()
    assert "No. Observations: 24" in summary and "No. Groups: 6" in summary
    model = names["model"]
    assert model.converged
    assert model.params["condition[T.rest]"] == pytest.approx(-1.5, abs=0.3)
    assert model.pvalues["condition[T.rest]"] < 1e-6
    assert names["smiles"]["participant"].iloc[0] == "01"


@pytest.mark.slow
def test_r_finds_the_same_effect(table):
    """The guide's R code beside its Python code; Debian: apt-get install r-cran-lme4."""
    pytest.importorskip("statsmodels")
    if not shutil.which("Rscript"):
        pytest.skip("R is not installed")
    if subprocess.run(["Rscript", "-e", "library(lme4)"], capture_output=True).returncode:
        pytest.skip("R has no lme4")
    code = block_with("lmer", "r").replace("summary(lmer(", "print(summary(lmer(").rstrip() + ")\n"
    Path("model.R").write_text(code)
    done = subprocess.run(["Rscript", "model.R"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Number of obs: 24, groups:  participant, 6" in done.stdout
    _, names = model_of_guide()
    for name, ours in (("(Intercept)", "Intercept"), ("conditionrest", "condition[T.rest]")):
        found = re.search(rf"^{re.escape(name)} +(-?[\d.]+) +([\d.]+) ", done.stdout, re.MULTILINE)
        assert found, done.stdout
        estimate, error = map(float, found.groups())
        assert estimate == pytest.approx(names["model"].params[ours], abs=1e-3)
        assert error == pytest.approx(names["model"].bse[ours], abs=1e-3)


@pytest.mark.data
@pytest.mark.slow
def test_six_clips_with_two_conditions(tmp_path, invoke, monkeypatch, shared):
    pytest.importorskip("statsmodels")
    monkeypatch.chdir(tmp_path)
    Path("study").mkdir()
    for name in CLIPS:
        (Path("study") / name).symlink_to(shared / "clips" / name)
    tables(CLIPS, (0.1, 0.6, 1.1, 1.6), 0.4)
    done = invoke(*command_with("annotate", "study/"), "--fps", "10")
    assert done.exit_code == 0, done.output
    for step in (("design", "--scale logit"), ("smooth", "results/"), ("baseline", "--scores")):
        done = invoke(*command_with(*step))
        assert done.exit_code == 0, done.output
    table = pd.read_csv("table.csv", dtype={"participant": str})
    assert len(table) == 6 * 4 * 8 * 7 and set(table["unit"]) >= {"logit", "s", "count"}
    assert table["missing_reason"][table["measure"] == "mean"].isna().all()
    summary, names = model_of_guide()
    assert names["model"].converged and "No. Observations: 24" in summary
    changed = pd.read_parquet(Path("changes-smooth") / "asl_yes.parquet")
    assert changed["p_happiness_smooth_change"].notna().sum() > 15
