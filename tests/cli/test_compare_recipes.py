"""`jadfer compare-recipes` from end to end: started small, stopped, continued, extended."""

import dataclasses
import json
import zipfile

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from jadfer_cli.cli.app import app
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.networks.stems import STEMS
from jadfer_cli.training import loop

pytestmark = pytest.mark.slow  # trains

N = {"Train": 24, "Valid": 8, "Test": 12}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """FER+ in small, of noise; its first labels; and a stem."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    labels = ["image_name,fer2013_label"]
    with zipfile.ZipFile(root / "ferplus.zip", "w") as archive:
        for split, n in N.items():
            lines = []
            for i in range(n):
                name, k = f"{split}{i}.png", i % 2
                picture = rng.integers(0, 256, (48, 48), dtype=np.uint8)
                archive.writestr(
                    f"FER2013{split}/{name}", cv2.imencode(".png", picture)[1].tobytes()
                )
                votes = [0] * 10
                votes[k], votes[1 - k] = (9, 1) if i % 3 else (5, 5)  # a third has no majority
                lines.append(",".join(map(str, [name, "box", *votes])))
                labels.append(f"{name},{('neutral', 'happy')[k]}")
            archive.writestr(f"FER2013{split}/label.csv", "\n".join(lines))
    (root / "fer2013_labels.csv").write_text("\n".join(labels))
    torch.manual_seed(0)
    torch.save(STEMS["mobilefacenet"]().state_dict(), root / "stem.pt")
    return root


def compare(world, *more):
    return CliRunner().invoke(
        app, ["compare-recipes", "--out", str(world / "cmp"), "--cache", str(world / "cache"),
              "--threads", "1", *map(str, more)]
    )  # fmt: skip


@pytest.mark.long
def test_a_comparison_grows(world, monkeypatch):
    begin = (
        "--data-set", f"ferplus={world}/ferplus.zip", "--recipe", "plain", "--seeds", 1,
        "--start", world / "stem.pt", "--epochs", 2, "--batch-size", 4, "--views", 1,
        "--set", "network.crop_px=32", "--twin-threshold", 1,
    )  # fmt: skip
    # stopped within the second epoch, then continued by the folder alone
    steps = []

    def train(*args, **kw):
        calls = kw["callbacks"]
        counted = dataclasses.replace(calls, on_step=steps.append, stop=lambda: len(steps) == 5)
        return original(*args, **{**kw, "callbacks": counted})

    original = loop.train
    monkeypatch.setattr(loop, "train", train)
    stopped = compare(world, *begin)
    assert stopped.exit_code == 130, stopped.stderr
    assert "or only --out, to continue" in stopped.stderr
    monkeypatch.undo()
    # 16 of 24 have a majority: 4 steps per epoch, so that step 5 is the second epoch's first
    assert (steps[-1].epoch, steps[-1].step, steps[-1].steps) == (2, 1, 4)
    done = compare(world)
    assert done.exit_code == 0, done.stderr
    assert "1 training to do" in done.stderr and "resumed: 1 of 2 epochs" in done.stderr
    place = world / "cmp" / "runs" / "ferplus-majority" / "plain" / "seed-0"
    assert sorted(p.name for p in place.iterdir()) == [
        "model.safetensors", "result.json", "scores.npz"
    ]  # fmt: skip
    assert checkpoint.load(str(place / "model.safetensors")).architecture == "plain"
    before = (place / "result.json").read_bytes()

    more = compare(world, "--recipe", "plain", "--recipe", "eac", "--seeds", 2,
                   "--labelling", "ferplus:majority", "--labelling", "fer2013")  # fmt: skip
    assert more.exit_code == 0, more.stderr
    assert "7 trainings to do" in more.stderr
    assert (place / "result.json").read_bytes() == before
    table = json.loads((world / "cmp" / "table.json").read_text())
    majority, first = (table["labellings"][name] for name in ("ferplus:majority", "fer2013"))
    assert majority["n"] == {"train": 16, "valid": 5, "test": 8}
    assert first["n"] == {"train": 24, "valid": 8, "test": 12}
    for found in (majority, first):
        assert {row["recipe"]: row["seeds"] for row in found["rows"]} == {
            "plain": [0, 1], "eac": [0, 1]
        }  # fmt: skip
        assert all(row["ranked"] and row["milliseconds"] > 0 for row in found["rows"])
    # recipes and labellings share the maps: one file of training and one of validation
    assert len(list((world / "cmp" / "maps").glob("*.bin"))) == 2
    assert "eac" in more.stdout and (world / "cmp" / "table.png").stat().st_size > 1000

    refused = compare(world, "--epochs", 3)
    assert refused.exit_code == 2, refused.stderr
    assert "epochs is 2 in this comparison, not 3" in refused.stderr
    nothing = compare(world, "--labelling", "rafdb")
    assert nothing.exit_code == 2, nothing.stderr
    assert "--data-set rafdb=DIR" in nothing.stderr
