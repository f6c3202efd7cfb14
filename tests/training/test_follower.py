"""The follower's training: views with known landmarks, losses by hand, resuming, the export."""

import json
import math

import cv2
import numpy as np
import pytest
import torch
from conftest import DEMO

from jadfer_cli.faces.follower import CROP_TEMPLATE, INTEROCULAR_PX, Follower
from jadfer_cli.training import follower_loop as loop
from jadfer_cli.training.follower_faces import FaceBank, held_out
from jadfer_cli.training.follower_network import FollowerNetwork, FollowerOutput, export
from jadfer_cli.training.follower_session import _PLAIN
from jadfer_cli.training.follower_views import ViewOptions, make_view

MARKS = np.array([[40, 50], [80, 50], [60, 75], [45, 95], [75, 95]], float)


def dotted():
    """A grey picture whose five landmarks are bright spots of different size."""
    picture = np.full((128, 128), 60, np.uint8)
    for i, (x, y) in enumerate(MARKS):
        cv2.circle(picture, (round(x), round(y)), 3, 130 + 30 * i, -1)
    return picture


@pytest.fixture(scope="module")
def bank():
    n = 40
    pictures = np.stack([dotted()] * n)
    return FaceBank(pictures, np.stack([MARKS] * n).astype(np.float32), np.arange(n) % 4 == 0)


def test_landmarks_of_a_view_lie_where_the_view_shows_them():
    moved = ViewOptions(**{**vars(_PLAIN), "large_jitter": 0.5})
    for seed in range(40):
        view = make_view(dotted(), MARKS, dotted(), moved, np.random.default_rng(seed))
        assert view.presence == 1
        shown = view.crop.astype(float)
        for x, y in view.landmarks:
            if 3 < x < 61 and 3 < y < 61:
                around = shown[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4]
                assert around.max() - around.min() > 15, (seed, x, y)


def test_small_movements_leave_the_face_near_the_template():
    rng = np.random.default_rng(0)
    views = [make_view(dotted(), MARKS, dotted(), _PLAIN, rng).landmarks for _ in range(200)]
    assert np.abs(np.mean(views, 0) - CROP_TEMPLATE).max() < 3


def test_a_view_of_another_place_a_picture_without_a_face_and_a_covered_face_are_negatives():
    always = ViewOptions(**{**vars(_PLAIN), "negative": 1.0})
    nothing = np.full((5, 2), np.nan)
    rng = np.random.default_rng(1)
    assert make_view(dotted(), MARKS, dotted(), always, rng).presence == 0
    assert make_view(dotted(), nothing, dotted(), _PLAIN, rng).presence == 0
    covered = ViewOptions(**{**vars(_PLAIN), "cover": 1.0, "edge": 1.0})
    found = [make_view(dotted(), MARKS, dotted(), covered, rng).presence for _ in range(200)]
    assert {str(p) for p in found} == {"0.0", "1.0", "nan"}


def test_the_loss_by_hand():
    """One face 10 % of the eyes' distance off in x at every point, one view without a face."""
    landmarks = torch.zeros(2, 5, 2)
    found = landmarks.clone()
    found[0, :, 0] = 0.1 * INTEROCULAR_PX
    found[1] = 50.0  # does not count
    output = FollowerOutput(
        found, torch.tensor([0.0, 0.0]), torch.tensor([math.log(0.2 * INTEROCULAR_PX), 9.0])
    )
    options = loop.FollowerOptions(presence_weight=1.0, error_weight=1.0)
    # 0.1, and log 2 for an undecided presence, and log 0.2 + 0.1 / 0.2
    expected = 0.1 + math.log(2) + math.log(0.2) + 0.5
    value = loop.loss(output, landmarks, torch.tensor([1.0, 0.0]), options)
    assert value.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.long
def test_a_run_that_was_stopped_ends_like_one_that_was_not_and_the_export_agrees(bank, tmp_path):
    options = loop.FollowerOptions(steps=4)
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    seen = []
    complete = loop.train([bank], [1], one, options, lambda *a: seen.append(a), report_every=2)
    assert [step for step, _ in seen] == [2, 4]

    class Stop(Exception):
        pass

    def stop(step, figures):
        raise Stop

    with pytest.raises(Stop):
        loop.train([bank], [1], two, options, stop, report_every=2)
    resumed = loop.train([bank], [1], two, options, lambda *a: None, report_every=2)
    for a, b in zip(complete.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)

    path = tmp_path / "follower.onnx"
    export(complete, path)
    assert path.stat().st_size < 300_000
    crops = np.stack([v.crop for v in loop.batch_of([bank], [1], ViewOptions(), (5,), 6)])[:, None]
    points, presence, error = Follower(path, 1)._session.run(None, {"crops": crops})
    expected = complete(torch.from_numpy(crops))
    assert np.abs(points - expected.landmarks.detach().numpy()).max() < 0.05
    assert np.abs(presence - expected.presence.sigmoid().detach().numpy()).max() < 0.01
    assert error.shape == (6,) and (error > 0).all()


def test_a_gradient_reaches_every_parameter(bank):
    network = FollowerNetwork()
    crops, landmarks, presence = loop.tensors(loop.batch_of([bank], [1], ViewOptions(), (1,), 16))
    loop.loss(network(crops), landmarks, presence, loop.FollowerOptions()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.slow
@pytest.mark.long
def test_the_command_trains_from_pictures_and_its_network_annotates(invoke, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    reader = cv2.VideoCapture(str(DEMO))
    people = [name for name in (f"p{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    people = [*[p for p in people if held_out(p)][:2], *[p for p in people if not held_out(p)][:4]]
    for person in people:
        cv2.imwrite(str(pictures / f"{person}_01.jpg"), reader.read()[1])
    run = tmp_path / "run"
    command = ("train-follower", "--pictures", pictures, "--out", run, "--steps", "2")
    result = invoke(*command, width=200)
    assert result.exit_code == 0, result.stderr
    assert "motion blur" in result.stdout
    assert json.loads((run / "report.json").read_text())["dark"]["error"] > 0
    out = tmp_path / "out.parquet"
    result = invoke(
        "annotate", DEMO, "-o", out, "--end", "0.4", "--follower", run / "jadfer-follower.onnx"
    )
    assert result.exit_code == 0, result.stderr
    bad = invoke("annotate", DEMO, "-o", tmp_path / "o.parquet", "--follower", pictures / "no.onnx")
    assert bad.exit_code == 1 and "no.onnx" in bad.stderr
    wrong = invoke("annotate", DEMO, "-o", tmp_path / "o.parquet", "--follower", "fast")
    assert wrong.exit_code == 2 and "network, detector" in wrong.stderr
    alone = invoke("train-follower", "--videos", DEMO, "--every", "50", "--out", tmp_path / "x")
    assert alone.exit_code == 1 and "--pictures" in alone.stderr
