"""Training: votes and protocols by hand, repeats, calibration, and resuming."""

import zipfile

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jadfer_cli.errors import JadferError
from jadfer_cli.expression.jadfer import JadferConfig
from jadfer_cli.records import Faces
from jadfer_cli.training import augment, calibrate, evaluate
from jadfer_cli.training.datasets import (
    FaceSet,
    distributions,
    load_ferplus,
    winners,
    without_repeats,
)
from jadfer_cli.training.landmarks import with_landmarks
from jadfer_cli.training.loop import Progress, TrainOptions, train

# neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, not a face
VOTES = np.array(
    [
        [9, 1, 0, 0, 0, 0, 0, 0, 0, 0],  # the single vote goes: neutral with 9 of 9
        [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],  # 5 of 10 is not more than half; plurality: neutral
        [0, 4, 2, 0, 0, 0, 0, 0, 4, 0],  # happiness ties with unknown, and comes first
        [0, 3, 0, 0, 0, 0, 0, 0, 7, 0],  # unknown wins
        [0, 0, 1, 1, 1, 1, 1, 1, 2, 2],  # singles go, unknown ties with not a face
        [0, 0, 0, 0, 6, 2, 0, 0, 2, 0],  # anger with 6 of 10
    ],
    np.float32,
)


def face_set(n: int = 6, seed: int = 0) -> FaceSet:
    images = np.random.default_rng(seed).integers(0, 255, (n, 48, 48), dtype=np.uint8)
    votes = VOTES[np.arange(n) % 6]
    return FaceSet("made", images, votes, [f"{i}.png" for i in range(n)])


def test_protocols_by_hand():
    assert [a.tolist() for a in winners(VOTES, "majority")] == [[0, 5], [0, 4]]
    assert [a.tolist() for a in winners(VOTES, "plurality")] == [[0, 1, 2, 5], [0, 0, 1, 4]]


def test_distributions_by_hand():
    shares = distributions(VOTES)
    assert shares[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert shares[2] == pytest.approx([0, 4 / 6, 2 / 6, 0, 0, 0, 0, 0])
    assert shares[5] == pytest.approx([0, 0, 0, 0, 0.75, 0.25, 0, 0])
    assert not shares[4].any()


def write_layout(folder, faces: FaceSet):
    inner = folder / "FER2013Test"
    inner.mkdir(parents=True)
    lines = []
    for image, votes, name in zip(faces.images, faces.votes, faces.image_names, strict=True):
        cv2.imwrite(str(inner / name), image)
        lines.append(f'{name},"(0, 0, 48, 48)",' + ",".join(str(int(v)) for v in votes))
    (inner / "label.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_standard_layout_as_folder_and_as_zip_with_published_votes(tmp_path):
    made = face_set()
    folder = write_layout(tmp_path / "ferplus", made)
    archive = tmp_path / "ferplus.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    for data in (folder, archive):
        faces = load_ferplus(data, "test")
        assert np.array_equal(faces.images, made.images)
        assert np.array_equal(faces.votes, VOTES)
    published = tmp_path / "fer2013new.csv"
    published.write_text("Usage,Image name,neutral\n" + "\n".join(
        f"PrivateTest,{i}.png,{','.join('1' * 10)}" for i in range(6)
    ))  # fmt: skip
    assert (load_ferplus(folder, "test", published).votes == 1).all()
    with pytest.raises(JadferError, match=r"no FER2013Train/label\.csv"):
        load_ferplus(folder, "train")
    (folder / "FER2013Test" / "3.png").write_bytes(b"no picture")
    with pytest.raises(JadferError, match=r"3\.png is not a readable image"):
        load_ferplus(folder, "test")
    (folder / "FER2013Test" / "3.png").unlink()
    with pytest.raises(JadferError, match=r"3\.png is listed but missing"):
        load_ferplus(folder, "test")


def test_repeats_of_held_out_images_leave_training():
    train_set, held_out = face_set(6), face_set(4, seed=1)
    held_out.images[2] = train_set.images[5]
    kept = without_repeats(train_set, [held_out])
    assert kept.image_names == ["0.png", "1.png", "2.png", "3.png", "4.png"]


def test_temperature_mends_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 8))
    p = calibrate.softmax(logits)
    classes = np.array([rng.choice(8, p=row) for row in p])
    assert calibrate.fit_temperature(3 * logits, classes) == pytest.approx(3, rel=0.1)
    assert calibrate.expected_calibration_error(p, classes) < 0.03
    sure = calibrate.softmax(3 * logits)
    assert calibrate.expected_calibration_error(sure, classes) > 0.2


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_calibration_error_against_a_naive_loop(seed, n):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(4), n)
    classes = rng.integers(0, 4, n)
    expected = 0.0
    for low in range(15):
        inside = [i for i in range(n) if low / 15 <= p[i].max() < (low + 1) / 15 or
                  (low == 14 and p[i].max() == 1)]  # fmt: skip
        if inside:
            accuracy = np.mean([p[i].argmax() == classes[i] for i in inside])
            expected += len(inside) / n * abs(accuracy - np.mean([p[i].max() for i in inside]))
    assert calibrate.expected_calibration_error(p, classes) == pytest.approx(expected)


def test_figures_by_hand():
    # plurality keeps images 0, 1, 2, 5: neutral, neutral, happiness, anger
    logits = np.full((6, 8), -5.0)
    for image, guess in ((0, 0), (1, 1), (2, 1), (5, 0)):
        logits[image, guess] = 5
    found = evaluate.figures(logits, face_set(), "plurality")
    assert (found["n"], found["accuracy"]) == (4, 0.5)
    assert found["recall"] == {"neutral": 0.5, "happiness": 1.0, "anger": 0.0}
    assert found["mean_class_recall"] == pytest.approx(0.5)
    # F1: neutral 2*1/(2+2), happiness 2*1/(1+2), anger 0
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert found["confusion"][0][:2] == [1, 1] and found["confusion"][4][0] == 1


def test_landmarks_come_back_to_their_own_image(tmp_path):
    """A detector that sees bright squares: their corners must return in image pixels."""
    images = np.zeros((11, 48, 48), np.uint8)
    for i in range(11):
        images[i, 10 + i : 30 + i, 12:36] = 255 if i != 4 else 0  # image 4 is empty
    calls = []

    def detect(canvas: np.ndarray) -> Faces:
        calls.append(1)
        _, _, stats, _ = cv2.connectedComponentsWithStats((canvas[:, :, 0] > 128).astype("u1"))
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:]], np.float32)
        corners = boxes[:, [[0, 1], [2, 1], [0, 1], [0, 3], [2, 3]]]
        return Faces(boxes, np.ones(len(boxes), np.float32), corners)

    faces = FaceSet("made", images, np.repeat(VOTES[:1], 11, 0), [str(i) for i in range(11)])
    found = with_landmarks(faces, detect, "abc", tmp_path).landmarks_px
    assert np.isnan(found[4]).all()
    for i in set(range(11)) - {4}:
        assert np.abs(found[i, 0] - (12, 10 + i)).max() <= 1
        assert np.abs(found[i, 4] - (36, 30 + i)).max() <= 1
    again = with_landmarks(faces, detect, "abc", tmp_path).landmarks_px
    assert np.array_equal(found, again, equal_nan=True) and len(calls) == 2  # 9 + 2 images


def test_jitter_without_strength_is_the_identity_and_flip_mirrors():
    still = augment.AugmentOptions(flip=0, rotation_deg=0, scale=0, shift=0)
    matrix = np.array([[2, 0, 3], [0, 2, 4]], np.float32)
    rng = np.random.default_rng(0)
    assert np.allclose(augment.jitter(matrix, 112, still, rng), matrix)
    flip = augment.AugmentOptions(flip=1, rotation_deg=0, scale=0, shift=0)
    assert np.allclose(augment.jitter(matrix, 112, flip, rng), [[-2, 0, 109], [0, 2, 4]])


def test_a_killed_run_that_resumes_equals_an_uninterrupted_one(tmp_path):
    options = TrainOptions(
        network=JadferConfig(width=32, heads=4, map_hidden=8, context_layers=1),
        epochs=3,
        batch_size=4,
        frozen_blocks=14,
    )
    train_set, valid_set = face_set(16), face_set(6, seed=1)

    def score(logits: torch.Tensor, faces: FaceSet) -> dict[str, float]:
        return {"score": -float(logits.square().mean())}

    def run(folder, stop_after=None):
        folder.mkdir(exist_ok=True)
        seen = []

        def report(progress: Progress) -> None:
            seen.append(progress)
            if progress.epoch == stop_after:
                raise KeyboardInterrupt

        train(options, train_set, valid_set, folder, evaluate=score, report=report)
        return seen

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_after=0)
    rest = run(tmp_path / "cut")
    assert [p.epoch for p in rest] == [1, 2]
    for a, b in zip(whole[1:], rest, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-5)
        assert a.figures == pytest.approx(b.figures, rel=1e-4)
    best = [torch.load(tmp_path / f / "best.pt", weights_only=True) for f in ("whole", "cut")]
    for name, tensor in best[0].items():
        assert torch.allclose(tensor, best[1][name], atol=1e-5), name
    with pytest.raises(ValueError, match="other options"):
        train(
            TrainOptions(epochs=1), train_set, valid_set, tmp_path / "cut", evaluate=score,
            report=lambda _: None,
        )  # fmt: skip
