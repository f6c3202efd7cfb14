"""FER+: votes and protocols by hand, the layout, repeats, calibration and figures."""

import zipfile

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jadfer_cli.errors import JadferError
from jadfer_cli.training import calibrate, evaluate, ferplus
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.ferplus import distributions, from_votes, winners

# neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, not a face
VOTES = np.array(
    [
        [9, 1, 0, 0, 0, 0, 0, 0, 0, 0],  # the single vote is removed: neutral with 9 of 9
        [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],  # 5 of 10 is not more than half; plurality: neutral
        [0, 4, 2, 0, 0, 0, 0, 0, 4, 0],  # happiness ties with unknown, and comes first
        [0, 3, 0, 0, 0, 0, 0, 0, 7, 0],  # unknown wins
        [0, 0, 1, 1, 1, 1, 1, 1, 2, 2],  # single votes are removed, unknown ties with not a face
        [0, 0, 0, 0, 6, 2, 0, 0, 2, 0],  # anger with 6 of 10
    ],
    np.float32,
)


HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
)


def face_set(n: int = 6, seed: int = 0) -> FaceSet:
    images = np.random.default_rng(seed).integers(0, 255, (n, 48, 48), dtype=np.uint8)
    votes = VOTES[np.arange(n) % 6]
    return from_votes("made", list(images), [f"{i}.png" for i in range(n)], votes)


def test_protocols_by_hand():
    assert [a.tolist() for a in winners(VOTES, "majority")[:2]] == [[0, 5], [0, 4]]
    found = winners(VOTES, "plurality")
    assert [a.tolist() for a in found[:2]] == [[0, 1, 2, 5], [0, 0, 1, 4]]
    assert found.tied.sum(1).tolist() == [1, 2, 1, 1]  # 5 : 5 ties; unknown is no expression


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
    for image, votes, name in zip(faces.images, VOTES, faces.image_names, strict=True):
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
        faces = ferplus.load(data, "test")
        assert np.array_equal(faces.images, made.images)
        assert np.array_equal(faces.targets, distributions(VOTES))
    published = tmp_path / "fer2013new.csv"
    published.write_text(HEADER + "\n".join(
        f"PrivateTest,{i}.png,{','.join('2' * 10)}" for i in range(6)
    ))  # fmt: skip
    # votes given, or found beside the layout; the layout found in a folder with its zip
    assert (ferplus.load(folder, "test", published).targets == 1 / 8).all()
    assert (ferplus.load(folder, "test").targets == 1 / 8).all()
    assert (ferplus.load(tmp_path, "test").targets == 1 / 8).all()
    published.write_text(HEADER)
    with pytest.raises(JadferError, match=r"no votes for 0\.png \(6 in all\)"):
        ferplus.load(folder, "test")
    published.unlink()
    with pytest.raises(JadferError, match=r"no FER2013Train/label\.csv"):
        ferplus.load(folder, "train")
    (folder / "FER2013Test" / "3.png").write_bytes(b"no picture")
    with pytest.raises(JadferError, match=r"3\.png is not a readable image"):
        ferplus.load(folder, "test")
    (folder / "FER2013Test" / "3.png").unlink()
    with pytest.raises(JadferError, match=r"3\.png is listed but missing"):
        ferplus.load(folder, "test")


def test_temperature_corrects_overconfidence():
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
    # plurality keeps images 0, 1, 2, 5: neutral, neutral tied with happiness, happiness, anger
    logits = np.full((6, 8), -5.0)
    for image, guess in ((0, 0), (1, 2), (2, 1), (5, 0)):
        logits[image, guess] = 5
    found = evaluate.figures(logits, face_set(), "plurality")
    assert (found["n"], found["accuracy"]) == (4, 0.5)
    assert found["recall"] == {"neutral": 0.5, "happiness": 1.0, "anger": 0.0}
    assert found["mean_class_recall"] == pytest.approx(0.5)
    # F1: neutral 2*1/(2+2), happiness 2*1/(1+1), anger 0
    assert found["macro_f1"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["confusion"][0][:3] == [1, 0, 1] and found["confusion"][4][0] == 1
    assert found["n_tied"] == 1


def test_tied_images_fit_no_temperature():
    faces = face_set()
    which, classes, left_out = evaluate.untied(faces, "plurality")
    assert which.tolist() == [0, 2, 5] and left_out == ", without ties"
    assert classes.tolist() == faces.protocols["plurality"].classes[[0, 2, 3]].tolist()
    assert evaluate.untied(faces, "majority")[2] == ""


@pytest.mark.parametrize("guess, right, row", [(0, True, 0), (1, True, 1), (2, False, 0)])
def test_any_winner_of_a_tie_counts(guess, right, row):
    faces = face_set().take([1])  # 5 votes for neutral, 5 for happiness
    logits = np.eye(8)[[guess]] * 5
    found = evaluate.figures(logits, faces, "plurality", temperature=0.5)
    assert (found["n"], found["n_tied"], found["accuracy"]) == (1, 1, right)
    assert found["accuracy_among_all"] == right and found["confusion"][row][guess] == 1
    assert (found["ece"] < 0.01) == right


def test_copies_of_one_photograph_are_drawn_together():
    rng = np.random.default_rng(0)
    faces = face_set(6 * 40)
    which, classes, _ = faces.protocols["majority"]
    right = rng.random(len(faces)) < 0.7
    clusters = np.arange(len(faces)) // 8 * 8  # images 0 to 7 are copies, 8 to 15, ...
    right = right[clusters]
    logits = np.zeros((len(faces), 8))
    logits[which, np.where(right[which], classes, 7)] = 5

    def width(**more):
        ends = evaluate.intervals(logits, faces, "majority", draws=400, **more)
        return np.ptp(ends["accuracy"])

    # 30 clusters of 2 to 3 images that count: about sqrt(80 / 30) as wide
    assert width(clusters=clusters) == pytest.approx(np.sqrt(80 / 30) * width(), rel=0.25)
    assert width(clusters=np.arange(len(faces))) == width()


def test_no_image_of_a_rare_expression_outweighs_three_others():
    # FER+ validation, majority: 12 contempt among 3,199; each class with its recall
    n = np.array([1200, 850, 400, 330, 280, 17, 60, 12])
    hits = np.round(n * [0.9, 0.95, 0.92, 0.8, 0.87, 0.6, 0.6, 0.4]).astype(int)
    counts = np.diag(hits)
    counts[:, 0] += n - hits
    counts[0, 0], counts[0, 1] = hits[0], n[0] - hits[0]

    def weight(k, recall):
        more = counts.copy()
        wrong = next(j for j in range(8) if j != k and more[k, j])
        more[k, wrong] -= 1
        more[k, k] += 1
        return 1 / n.sum() + 0.25 * (recall(more) - recall(counts))

    def plain(c):
        return (np.diag(c) / c.sum(1)).mean()

    assert weight(7, plain) > 7 * weight(0, plain)
    assert 1.5 < weight(7, evaluate.pooled_recall) / weight(0, evaluate.pooled_recall) < 3
    assert evaluate.pooled_recall(np.diag(n)) == 1
    # by hand: n = 16 in two classes, m = 1, accuracy 0.5: (8 + .5) / 13 and (0 + .5) / 5
    assert evaluate.pooled_recall(np.array([[8, 4], [4, 0]])) == pytest.approx((8.5 / 13 + 0.1) / 2)


def test_intervals_hold_the_figure_and_narrow_with_n():
    rng = np.random.default_rng(0)
    widths = []
    for n in (60, 600):
        faces = face_set(n)
        logits = rng.normal(size=(n, 8))
        # the top class of the votes is scored right in 75 % of the images
        which, classes, _ = faces.protocols["plurality"]
        hit = rng.random(len(which)) < 0.75
        logits[which[hit], classes[hit]] += 6
        found = evaluate.figures(logits, faces, "plurality")
        ends = evaluate.intervals(logits, faces, "plurality", draws=400)
        for name in ("accuracy", "mean_class_recall", "macro_f1", "ece"):
            assert ends[name][0] <= found[name] <= ends[name][1]
        # a binomial proportion: 1.96 standard errors each way
        accuracy, m = found["accuracy"], found["n"]
        expected = 2 * 1.96 * np.sqrt(accuracy * (1 - accuracy) / m)
        assert ends["accuracy"][1] - ends["accuracy"][0] == pytest.approx(expected, rel=0.25)
        widths.append(ends["accuracy"][1] - ends["accuracy"][0])
    assert widths[1] < widths[0] / 2


def test_figures_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    faces = face_set(200)
    logits = rng.normal(size=(200, 8)) + 2 * faces.targets
    found = evaluate.figures(logits, faces, "plurality", temperature=0.7)
    which, classes, tied = faces.protocols["plurality"]
    guesses = logits[which].argmax(1)
    classes = np.where(tied[np.arange(len(which)), guesses], guesses, classes)
    present = np.unique(classes)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(classes, guesses))
    recall = metrics.recall_score(classes, guesses, labels=present, average="macro")
    assert found["mean_class_recall"] == pytest.approx(recall)
    f1 = metrics.f1_score(classes, guesses, labels=present, average="macro")
    assert found["macro_f1"] == pytest.approx(f1)
    expected = metrics.confusion_matrix(classes, guesses, labels=range(8))
    assert np.array_equal(found["confusion"], expected)


def test_a_set_that_cannot_name_an_expression_is_not_scored_against_it():
    faces = face_set(6)
    seven = FaceSet("made", faces.images, faces.image_names, faces.targets, faces.protocols,
                    expressions=tuple(range(7)))  # fmt: skip
    logits = np.zeros((6, 8))
    logits[:, 7] = 9  # contempt everywhere
    logits[[0, 1, 2, 5], [0, 0, 1, 4]] = 5
    assert evaluate.figures(logits, faces, "plurality")["accuracy"] == 0
    found = evaluate.figures(logits, seven, "plurality")
    assert found["accuracy"] == 1 and len(found["labels"]) == len(found["confusion"]) == 7
