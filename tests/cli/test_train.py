"""`jadfer train` and `jadfer evaluate` on faces cut from the demo.

Commands run in this process; only signals and what another process reads need another one.
"""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import tomllib

import av
import numpy as np
import pandas as pd
import pytest
from conftest import DEMO, JADFER
from typer.testing import CliRunner

from jadfer_cli.cli.app import app
from jadfer_cli.expression import checkpoint

pytestmark = pytest.mark.slow  # starts processes or trains

TINY = (
    "--set", "network.crop_px=32", "--threads", "1",
    "--set", "network.width=32", "--set", "network.heads=4", "--set", "network.map_hidden=8",
    "--set", "network.context_layers=1", "--set", "network.interaction_layers=1",
    "--frozen-blocks", "14", "--batch-size", "4", "--workers", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A folder of pictures by class: frames of the demo (some without a face), and mirrored."""
    import cv2

    root = tmp_path_factory.mktemp("faces")
    with av.open(str(DEMO)) as container:
        frames = [f.to_ndarray(format="bgr24") for f in container.decode(video=0)][::12]
    for split, part in (("train", frames[:10]), ("valid", frames[10:14]), ("test", frames[14:18])):
        for i, frame in enumerate(part):
            for name, picture in (("Happy", frame), ("sad", frame[:, ::-1])):
                folder = root / split / name
                folder.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / f"{i}.png"), picture)
    return root


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Runs a command in this process, from an empty folder or from `cwd`."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*arguments, cwd=elsewhere):
        with contextlib.chdir(cwd):
            return CliRunner().invoke(app, [os.fspath(a) for a in arguments])

    return run


def train(here, faces, out, *more):
    # frames of one video are near-duplicates of each other
    return here("train", "--dataset", "folder", "--data", faces, "--out", out, "--cache",
                faces.parent / "cache", "--twin-threshold", "1", *more)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(here, faces, tmp_path_factory):
    """A tiny network, trained for two epochs."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    result = train(here, faces, out, "--epochs", "2", *TINY)
    assert result.exit_code == 0, result.stderr
    return out, result


def test_a_run_writes_config_log_state_and_model(tiny, faces):
    out, result = tiny
    assert sorted(p.name for p in out.iterdir()) == [
        "best.pt", "config.toml", "log.csv", "model.safetensors", "state.pt"
    ]  # fmt: skip
    assert re.search(r"folder train: 20 images\n.*\n.*centerface found no face in 4 "
                     "images, used uncropped\n", result.stderr)  # fmt: skip
    assert re.search(r"epoch 2/2: loss \d\.\d+, train \d+\.\d%; validation \(n = 8\): all acc",
                     result.stderr)  # fmt: skip
    assert "folder train: 20 labelled images: happiness 10, sadness 10" in result.stderr
    assert "Warning: folder valid has only 8 images" in result.stderr
    assert "folder valid: no face was found in 50% of the images" in result.stderr
    assert "Best on folder valid" in result.stdout and "--model" in result.stdout
    assert re.search(r"all +8 +\d of 8 +- ", result.stdout)  # no shares of eight images
    assert "fitted on" not in result.stdout and "are not calibrated" in result.stdout
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert 0 <= float(rows[0]["valid_all_accuracy"]) <= 1 and float(rows[0]["train_loss"]) > 0
    recipe = tomllib.loads((out / "config.toml").read_text())
    assert recipe["network"]["width"] == 32 and recipe["data"] == str(faces)
    assert (recipe["recipe"], recipe["variety"], recipe["variety_weight"]) == (
        "jadfer",
        "centred",
        0.1,
    )


def test_a_run_is_resumed_by_the_same_command_or_by_out_alone(here, tiny, faces):
    out, _ = tiny
    before = (out / "model.safetensors").read_bytes()
    config = (out / "config.toml").read_text()
    assert config.count('recipe = "jadfer"\n') == 1
    # as jadfer 0.4 wrote it
    (out / "config.toml").write_text(config.replace('recipe = "jadfer"\n', ""))
    again = here("train", "--out", out, "--cache", faces.parent / "cache", "--threads", "1")
    assert again.exit_code == 0, again.stderr
    assert (out / "model.safetensors").read_bytes() == before
    other = train(here, faces, out, "--epochs", "5", *TINY)
    assert other.exit_code == 2 and "belongs to a run with other options" in other.stderr
    again = here(
        "train", "--out", out, "--cache", faces.parent / "cache"
    )  # the config is unchanged
    assert again.exit_code == 0, again.stderr


def test_the_config_of_one_run_starts_another(here, tiny, faces, tmp_path):
    out, _ = tiny
    new = tmp_path / "new"
    result = here("train", "--config", out / "config.toml", "--out", new, "--epochs", "1",
                    "--set", "network.jad=queries", "--no-augment", "--seed", "3",
                    "--cache", faces.parent / "cache")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    recipe = tomllib.loads((new / "config.toml").read_text())
    assert (recipe["network"]["jad"], recipe["network"]["width"]) == ("queries", 32)
    assert (recipe["epochs"], recipe["seed"], recipe["augmentation"]["flip"]) == (1, 3, 0)


def test_the_trained_model_annotates_and_is_measured(
    invoke, here, tiny, faces, short_clip, tmp_path
):
    out, _ = tiny
    model = out / "model.safetensors"
    clip = tmp_path / "clip.parquet"
    result = invoke("annotate", short_clip, "-o", clip, "--model", model)
    assert result.exit_code == 0, result.stderr
    assert len(pd.read_parquet(clip)) >= 8
    found = tmp_path / "figures" / "tiny.json"
    evaluate = ("evaluate", model, "--dataset", "folder", "--data", faces, "--json", found,
                "--cache", faces.parent / "cache")  # fmt: skip
    result = here(*evaluate, "--refit-temperature")
    assert result.exit_code == 2, result.stderr
    assert "needs 100 labelled validation images; folder valid has 8" in result.stderr
    result = here(*evaluate, "--quiet")
    assert result.exit_code == 0 and "wrote" not in result.stderr, result.stderr
    figures = json.loads(found.read_text())
    assert (figures["n"], figures["protocol"], figures["split"]) == (8, "all", "test")
    assert figures["labels"] == ["happiness", "sadness"]  # what the folder can name
    assert np.sum(figures["confusion"]) == 8 and figures["model"] == "tiny"
    assert figures["probes"] is None and "Probes" not in result.stdout
    assert figures["temperature_fitted_on"] is None  # 8 validation images are too few
    kept_from = figures["temperature_kept_from"]
    assert kept_from == checkpoint.load(str(model)).metrics["temperature_kept_from"]
    assert f"kept from {kept_from}" in " ".join(result.stdout.split())
    among_all = figures["accuracy_among_all"]  # it was trained on happiness and sadness only
    assert 0 <= among_all <= figures["accuracy"]
    assert "Scored among the 2 of 8 expressions" in result.stdout
    assert f"accuracy is {among_all:.1%} (all)" in " ".join(result.stdout.split())
    hits = np.trace(figures["confusion"])
    assert figures["accuracy"] == hits / 8
    assert f"{100 * hits / 8:.1f} % [" in result.stdout
    # the scene of one frame, and so of its mirror image, is not in training
    assert figures["clean"]["all"]["n"] == 2
    assert figures["twins"]["images_with_twin_in_train"] == 6
    for kind in ("confusion", "reliability"):
        picture = found.with_name(f"tiny-{kind}.png")
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and picture.stat().st_size > 10_000


def test_without_a_clean_image_there_are_no_clean_figures(here, tiny, faces, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(faces / "test", tmp_path / "same" / split)
    data = ("--dataset", "folder", "--data", tmp_path / "same", "--cache", tmp_path)
    found = tmp_path / "figures.json"
    result = here("evaluate", tiny[0] / "model.safetensors", *data, "--json", found)
    assert result.exit_code == 0, result.stderr
    figures = json.loads(found.read_text())
    assert figures["clean"] is None and figures["twins"]["images_with_twin_in_train"] == 8
    assert "No clean figures: all images have a twin in training" in result.stdout


@pytest.mark.long
def test_the_shipped_model_is_fine_tuned(jadfer, here, faces, tmp_path):
    out = tmp_path / "mine"
    result = train(here, faces, out, "--start", "default", "--epochs", "1", "--batch-size", "4",
                   "--workers", "0", "--frozen-blocks", "14", "--teacher", "default",
                   "--teacher-weight", "0.25", "--threads", "1")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "before training: validation (n = 8): all accuracy" in result.stderr
    assert "jadfer-compact scores folder train, 2 views" in result.stderr
    recipe = tomllib.loads((out / "config.toml").read_text())
    assert (recipe["lr"], recipe["stem_lr"], recipe["network"]["width"]) == (2e-4, 5e-5, 256)
    assert (recipe["teacher"], recipe["teacher_weight"]) == (["default"], 0.25)
    assert len(list(out.glob("teacher-*.npy"))) == 1
    # another process reads the start's tensors and resumes the run
    again = jadfer("train", "--out", out, "--cache", faces.parent / "cache", "--threads", "1")
    assert again.returncode == 0, again.stderr
    assert "resumed: 1 of 1 epochs were trained earlier" in again.stderr
    assert "nothing is left to train" in again.stderr and "epoch 1/1" not in again.stderr
    assert "before training" not in again.stderr
    quiet = jadfer("train", "--out", out, "--cache", faces.parent / "cache", "--quiet")
    assert quiet.returncode == 0 and quiet.stdout == "" and "resumed" not in quiet.stderr
    told = here("models", "info", out / "model.safetensors", "--json")
    facts = json.loads(told.stdout)
    assert "from jadfer-compact, sha256" in facts["history"] and "FER+" in facts["history"]
    assert facts["terms"].startswith("derived from jadfer-compact, whose terms hold: CC BY-NC")
    assert facts["calibrated_on"] is None


def test_a_run_is_resumed_from_another_folder(here, faces, tmp_path):
    out = tmp_path / "run"
    (faces.parent / "scratch").mkdir()  # not start weights, although a folder of that name exists
    result = here("train", "--dataset", "folder", "--data", faces.name, "--out", out, "--cache",
                    faces.parent / "cache", "--epochs", "1", "--start", "scratch",
                    "--twin-threshold", "1", *TINY,
                    cwd=faces.parent)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    again = here("train", "--out", out, "--cache", faces.parent / "cache", cwd=tmp_path)
    assert again.exit_code == 0, again.stderr


def test_training_images_that_are_all_held_out_are_refused(here, faces, tmp_path):
    data = tmp_path / "twice"
    for split in ("train", "vaild", "test"):
        shutil.copytree(faces / "test", data / split)
    result = train(here, data, tmp_path / "run", "--teacher", "default", *TINY)
    assert result.exit_code == 2, result.stderr
    message = " ".join(result.stderr.split())
    assert "no labelled image without a twin in validation or test" in message
    assert "vaild is none of train, valid and test, and is skipped" in message


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Unlike pictures by class; a test and a validation picture also occur in training, altered."""
    import cv2

    root = tmp_path_factory.mktemp("photographs") / "data"
    rng = np.random.default_rng(5)

    def made():
        coarse = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        return cv2.resize(coarse, (120, 120), interpolation=cv2.INTER_CUBIC)

    test, valid = made(), made()
    darker = cv2.resize(test[4:118, 2:118, ::-1] // 2, (80, 80))  # smaller, cropped, other colours
    pictures = {
        "test/happy/a.png": test, "test/sad/b.png": made(), "valid/happy/c.png": valid,
        "valid/sad/d.png": made(), "train/happy/twin_of_a.jpg": darker,
        "train/sad/twin_of_c.png": valid[:, ::-1], "valid/sad/twin_of_b.png": None,
    }  # fmt: skip
    pictures |= {f"train/{kind}/{i}.png": made() for kind in ("happy", "sad") for i in range(4)}
    pictures["valid/sad/twin_of_b.png"] = pictures["test/sad/b.png"] // 2 + 60
    for name, picture in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), picture)
    return root


def test_near_duplicates_leave_training_and_clean_figures_leave_them_out(
    here, photographs, tmp_path
):
    out, json_file = tmp_path / "run", tmp_path / "found.json"
    data = ("--dataset", "folder", "--data", photographs, "--cache", tmp_path / "cache")
    result = here("train", *data, "--out", out, "--epochs", "1", *TINY)
    assert result.exit_code == 0, result.stderr
    message = " ".join(result.stderr.split())
    assert "folder train: dropped 2 training images with a twin in validation or test" in message
    assert "1 validation image has a twin in test; twins.csv lists them" in message
    with (out / "twins.csv").open() as file:
        rows = [(r["image"], r["twin_image"], r["mirrored"]) for r in csv.DictReader(file)]
    assert sorted(rows) == [
        ("test/happy/a.png", "train/happy/twin_of_a.jpg", "0"),
        ("valid/happy/c.png", "train/sad/twin_of_c.png", "1"),
        ("valid/sad/twin_of_b.png", "test/sad/b.png", "0"),
    ]
    stored = checkpoint.load(str(out / "model.safetensors")).metrics["training"]
    assert (stored["images"], stored["twins"]["training_images_dropped"]) == (8, 2)
    result = here("evaluate", out / "model.safetensors", *data, "--json", json_file)
    assert result.exit_code == 0, result.stderr
    figures = json.loads(json_file.read_text())
    assert (figures["n"], figures["clean"]["all"]["n"]) == (2, 1)
    assert figures["twins"]["images_with_twin_in_train"] == 1
    assert "clean: without 1 of 2 images that have a twin in training" in result.stdout
    assert "reading folder train" not in result.stderr  # cached by `train`
    result = here("evaluate", *data, "--twin-threshold", "1", "--json", json_file)
    assert json.loads(json_file.read_text())["clean"]["all"]["n"] == 2
    result = here("evaluate", *data, "--twin-threshold", "0.2")
    assert result.exit_code == 2 and "must lie between 0.6 and 1.0" in result.stderr


@pytest.mark.long
def test_ctrl_c_saves_finished_steps(jadfer, tiny, faces, tmp_path):
    out = tmp_path / "cut"
    arguments = [JADFER, "train", "--dataset", "folder", "--data", faces, "--out", out, "--cache",
                 faces.parent / "cache", "--epochs", "400", "--twin-threshold", "1",
                 *TINY]  # fmt: skip
    command = [os.fspath(a) for a in arguments]
    command[-1] = "1"  # with a worker, which a signal to the process group must not kill first
    how = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **how) as process:
        for line in process.stderr:
            if line.startswith("epoch 2/400"):
                break
        os.killpg(process.pid, signal.SIGINT)
        message = process.stderr.read()
    assert process.returncode == 130
    assert "Stopping after this step" in message
    assert "Interrupted." in message and "Give the same command again to resume" in message
    assert (out / "state.pt").exists() and not list(out.glob("*.part"))
    with subprocess.Popen(command, **how) as process:
        seen = []
        for line in process.stderr:
            seen.append(line)
            if line.startswith("epoch "):
                break
        os.killpg(process.pid, signal.SIGTERM)
        process.stderr.read()
    assert process.returncode in (130, 143)
    # not trained again, nor shown as if it were
    (n,) = [int(found[1]) for line in seen if (found := re.match(r"resumed: (\d+) of 400", line))]
    assert n >= 2 and seen[-1].startswith(f"epoch {n + 1}/400")
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["epoch"]) for r in rows] == list(range(1, len(rows) + 1)) and len(rows) >= n


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (("train", "--out", "r"), 2, "--dataset and --data are needed"),
        (("train", "--out", "r", "--dataset", "folder", "--data", "nowhere"), 1,
         "no folder or file nowhere"),
        (("train", "--out", "r", "--config", "none.toml"), 2,
         "config file none.toml cannot be read"),
        (("train", "--out", "r", "--dataset", "folder", "--data", ".", "--recipe", "stew"), 2,
         "--recipe must be one of"),
        (("train", "--out", "r", "--set", "epochs"), 2, "--set epochs is not KEY=VALUE"),
        (("train", "--out", "r", "--dataset", "folder", "--data", ".", "--set", "pace=1"), 2,
         "The recipe jadfer has no option pace"),
        (("train", "--out", "r", "--dataset", "folder", "--data", ".", "--start", "my.pt"), 1,
         "no file my.pt"),
        (("train", "--out", "r", "--dataset", "folder", "--data", ".", "--class", "happy"), 2,
         "--class happy is not NAME=EXPRESSION"),
        (("train", "--out", "r", "--dataset", "folder", "--data", ".", "--class", "a=joyful"), 2,
         "joyful is not an expression"),
        (("train", "--out", "r", "--config", "bad.toml"), 2, "config file bad.toml is not TOML"),
        (("train", "--out", "r", "--config", "one.toml"), 2, "detectors must be a list"),
        (("train", "--out", "file", "--dataset", "folder", "--data", "."), 1, "cannot be written"),
        (("train", "--out", "r", "--dataset", "folder", "--data", ".", "--start", "default",
          "--stem", "ir50"), 2, "network.stem is mobilefacenet in the start weights"),
        (("train", "--out", "r", "--data", ".", "--lr", "1", "--set", "lr.x=1"), 2,
         "lr is not a table of the config"),
        (("evaluate", "--dataset", "folder", "--data", ".", "--json", "file/x.json"), 1,
         "cannot be written"),
        (("evaluate", "--dataset", "folder"), 2, "--dataset and --data are needed"),
        (("evaluate", "nomodel", "--dataset", "folder", "--data", "."), 1, "no model named nomod"),
        (("evaluate", "--dataset", "imagenet", "--data", "."), 2, "--dataset must be one of"),
        (("evaluate", "--dataset", "ferplus", "--data", "."), 1, "holds no FER2013Test/label.csv"),
    ],
)  # fmt: skip
def test_wrong_usage(here, tmp_path, arguments, code, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.toml").write_text("epochs = ")
    (tmp_path / "one.toml").write_text('detectors = "auto"')
    result = here(*arguments, cwd=tmp_path)
    assert result.exit_code == code, result.stderr
    assert message in " ".join(result.stderr.split()) and "Traceback" not in result.stderr


def test_an_unknown_protocol(here, faces):
    result = here("evaluate", "--dataset", "folder", "--data", faces, "--protocol", "majority",
                    "--cache", faces.parent / "cache")  # fmt: skip
    assert result.exit_code == 2 and "--protocol must be one of all" in result.stderr


def test_two_data_sets_are_trained_on_together_and_resumed(here, faces, tiny, tmp_path):
    """One set twice would be all twins, so the second has other pictures."""
    import cv2

    other = tmp_path / "other"
    rng = np.random.default_rng(1)
    for split, n in (("train", 6), ("valid", 3)):
        for i in range(n):
            path = other / split / "fear" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 255, (48, 48, 3), np.uint8))
    out, (start, _) = tmp_path / "both", tiny
    sets = ("--data-set", f"folder={faces}", "--data-set", f"more={other}", "--set",
            "data_sets.more.layout=folder", "--set", "data_sets.more.weight=2")  # fmt: skip
    common = ("--out", out, "--cache", faces.parent / "cache", "--twin-threshold", "1")
    result = here(
        "train", *sets, *common, "--init", start / "model.safetensors", "--epochs", "1", *TINY
    )
    assert result.exit_code == 0, result.stderr
    said = " ".join(result.stderr.split())
    assert "more, weight 2: 6: fear 6; says nothing about neutral, happiness" in said
    assert re.search(r"tiny: \d+ tensors taken; new: none; not used: none", said)
    assert "folder all accuracy" in said and "more all accuracy" in said
    config = tomllib.loads((out / "config.toml").read_text())
    assert config["data_sets"]["more"] == {"data": str(other), "layout": "folder", "weight": 2}
    again = here("train", *common)
    assert again.exit_code == 0 and "nothing is left to train" in again.stderr
    model = checkpoint.load(str(out / "model.safetensors"))
    training = model.metrics["training"]
    assert training["data_sets"]["more"]["data"] == "other"
    assert training["images_by_set"] == {"folder": 20, "more": 6}
    assert set(model.metrics["calibration_by_source"]) == {"folder", "more"}
    clash = here("train", *sets, "--dataset", "folder", "--data", faces, "--out", tmp_path / "no")
    assert clash.exit_code == 2 and "exclude each other" in clash.stderr
