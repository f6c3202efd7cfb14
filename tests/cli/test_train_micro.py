"""`jadfer train-micro` on made clips of two frame rates."""

import csv
import json

import cv2
import numpy as np
import pytest


@pytest.mark.slow
def test_a_table_of_clips_becomes_measures_and_predictions(invoke, tmp_path):
    rng = np.random.default_rng(0)
    lines = ["clip,subject,emotion,onset,apex,offset,fps"]
    for subject in range(3):
        face = rng.integers(60, 180, (40, 40, 3))
        for k, emotion in enumerate(("happy", "repression")):
            fps = (200, 500)[(subject + k) % 2]
            folder = tmp_path / f"s{subject}-{emotion}"
            folder.mkdir()
            for i in range(fps // 25 + 1):
                picture = face.copy()
                rise = 50 * np.sin(np.pi * i / (fps // 25))
                picture[5 + 18 * k : 17 + 18 * k, 8:32] += round(rise)
                cv2.imwrite(str(folder / f"{i}.png"), picture)
            lines.append(f"{folder.name},{subject},{emotion},0,{fps // 50},{fps // 25},{fps}")
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(lines))
    result = invoke("train-micro", table, "--out", tmp_path / "run", "--epochs", "40",
                    "--network", "difference", "--sampler", "key", "--threads", "1")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "fold 3 of 3" in result.stderr and "UF1" in result.stdout
    facts = json.loads((tmp_path / "run" / "result.json").read_text())
    assert facts["emotions"] == {"happiness": 3, "repression": 3} and facts["folds"] == 3
    assert facts["sampling"]["sampler"] == "key" and facts["sampling"]["frames"] == 3
    with (tmp_path / "run" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["subject"] for row in rows] == list("001122")
    right = [row["emotion"] == row["predicted"] for row in rows]
    assert facts["uar"] == pytest.approx(np.mean(right)) and facts["uar"] > 0.8


@pytest.mark.parametrize(
    "given, message",
    [
        (("--network", "lstm"), "network must be one of difference, conv3d, gru, transformer"),
        (("--sampler", "all"), "sampler must be one of uniform, key, apex"),
        (("--sampler", "uniform", "--frames", "0"), "n must be at least 1"),
    ],
)
def test_wrong_options_are_usage_errors(invoke, tmp_path, given, message):
    result = invoke("train-micro", tmp_path / "x.csv", "--out", tmp_path / "run", *given)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())
