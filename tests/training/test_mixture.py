"""Several data sets in one training: draws, masked loss, corrections, soft targets, figures."""

import csv
import dataclasses
import zipfile

import cv2
import numpy as np
import pytest
import torch

from jadfer_cli.errors import OptionError, SplitMissing, TrainingError
from jadfer_cli.expression.losses import soft_cross_entropy
from jadfer_cli.expression.networks.jadfer import JadferConfig
from jadfer_cli.labels import LABELS
from jadfer_cli.training import (
    datasets,
    evaluate,
    loop,
    mixture,
    recipes,
    run_config,
    soft_targets,
    twins,
)
from jadfer_cli.training.data import DataOptions
from jadfer_cli.training.faceset import Counted, FaceSet
from jadfer_cli.training.joined_data import JoinedData
from jadfer_cli.training.mixture import SetOptions
from jadfer_cli.training.recipe_options import defaults
from jadfer_cli.training.reporting import Reporter
from jadfer_cli.training.sets_in_loss import SetsInLoss, describe, sampler_of
from jadfer_cli.training.start import Start

CPU = torch.device("cpu")
OPTIONS = dataclasses.replace(
    defaults(), network=JadferConfig(width=32, heads=4, map_hidden=8, context_layers=1, crop_px=32),
    epochs=2, batch_size=4, frozen_blocks=14, workers=0,
)  # fmt: skip


def made(name, counts, expressions=tuple(range(8)), seed=0):
    """A set with so many images of each expression, by name."""
    classes = np.repeat([LABELS.index(k) for k in counts], list(counts.values()))
    rng = np.random.default_rng(seed)
    images = list(rng.integers(0, 255, (len(classes), 48, 48), dtype=np.uint8))
    targets = np.eye(8, dtype=np.float32)[classes]
    every = {"all": Counted(np.arange(len(classes)), classes)}
    names = [f"{i}.png" for i in range(len(classes))]
    return FaceSet(f"{name} train", images, names, targets, every, expressions)


def joined(first, second, **options):
    sets = {"one": first, "two": second}
    chosen = {name: options.get(name, SetOptions()) for name in sets}
    return mixture.join(
        {name: mixture.treated(s, chosen[name], training=True) for name, s in sets.items()}, chosen
    )


def drawn(faces, balance=0.5):
    options = dataclasses.replace(OPTIONS, balance=balance)
    return sampler_of(faces, recipes.load("jadfer"), options)


def test_images_are_drawn_by_set_and_class_and_balanced_within_their_set():
    faces = joined(
        made("a", {"happiness": 90, "sadness": 10}), made("b", {"happiness": 16, "sadness": 4}),
        two=SetOptions(weight=5, class_weights={"sadness": 2}),
    )  # fmt: skip
    sampler, p = drawn(faces)
    source = faces.mixture.source
    classes = faces.targets.argmax(1)
    assert p[source == 1].sum() == pytest.approx(100 / 200)  # 5 x 20 of 5 x 20 + 100
    first = p[(source == 0) & (classes == 3)].sum() / p[source == 0].sum()
    assert first == pytest.approx(np.sqrt(10) / (np.sqrt(10) + np.sqrt(90)))
    second = p[(source == 1) & (classes == 3)].sum() / p[source == 1].sum()
    assert second == pytest.approx(2 * 2 / (2 * 2 + 4))
    assert p == pytest.approx(sampler.p)
    order = np.array([i for _, i in sampler])
    assert (source[order] == 1).mean() == pytest.approx(0.5, abs=0.15)
    with pytest.raises(OptionError, match="All weights"):
        drawn(joined(made("a", {"fear": 4}), made("b", {"fear": 4}),
                       one=SetOptions(weight=0), two=SetOptions(weight=0)))  # fmt: skip


def test_a_set_that_cannot_name_an_expression_says_nothing_about_it():
    known = (0, 1, 2, 3, 4, 5, 6)
    faces = joined(made("a", {"happiness": 4}), made("b", {"anger": 4}, known))
    sets = SetsInLoss(faces, np.full(8, 1 / 8), 0.1, CPU)
    indices = torch.tensor([0, 5])
    targets = sets.smoothed(torch.from_numpy(faces.targets[[0, 5]]), indices)
    assert targets.sum(1).tolist() == pytest.approx([1, 1])
    assert targets[0, 7] == pytest.approx(0.1 / 8) and targets[1, 7] == 0
    logits = torch.randn(2, 8, requires_grad=True)
    soft_cross_entropy(logits + sets.offsets_of(indices), targets).backward()
    assert logits.grad[1, 7] == 0 and logits.grad[0, 7] != 0
    # a teacher's contempt is no target of that set either
    named = sets.named(torch.full((2, 8), 1 / 8), indices)
    assert named[1].tolist() == pytest.approx([1 / 7] * 7 + [0])
    assert "says nothing about contempt" in describe(faces, faces.targets.argmax(1))[1]


def test_the_prior_correction_is_the_log_ratio_of_label_frequencies():
    faces = joined(
        made("a", {"neutral": 5, "sadness": 5}), made("b", {"neutral": 9, "sadness": 1}),
        two=SetOptions(prior_correction=1),
    )  # fmt: skip
    offsets = mixture.logit_offsets(faces.mixture, faces.targets, np.full(20, 1 / 20))
    assert (offsets[0] == 0).all()
    assert offsets[1, [0, 3]] == pytest.approx(np.log([0.9 / 0.5, 0.1 / 0.5]))
    # a network that has learnt the first set's frequencies predicts the second's with it
    p = np.exp(np.log(0.5) + offsets[1, [0, 3]])
    assert p / p.sum() == pytest.approx([0.9, 0.1])


@pytest.mark.slow
@pytest.mark.long
def test_a_run_on_two_sets_that_is_killed_ends_as_an_uninterrupted_one(tmp_path):
    def sets(weight=2.0):
        return joined(
            made("a", {"happiness": 4, "fear": 4}),
            made("b", {"happiness": 4, "neutral": 4}, (0, 1), seed=1),
            two=SetOptions(weight=weight, label_smoothing=0.2, prior_correction=0.5),
        )

    def run(folder, stop_after=None, faces=None):
        steps, records = [], []
        calls = loop.Callbacks(
            on_step=steps.append, on_epoch=records.append, on_resume=records.extend,
            stop=lambda: len(steps) == stop_after,
        )  # fmt: skip
        valid = sets()
        network = loop.train(
            OPTIONS, faces or sets(), valid, folder, start=Start(), callbacks=calls
        )
        return network, records

    whole, records = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", stop_after=3)
    with pytest.raises(OptionError, match="other images, labels"):
        run(tmp_path / "part", faces=sets(weight=1.0))
    rest, _ = run(tmp_path / "part")
    for a, b in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert {"one_all_accuracy", "two_all_accuracy", "score"} < set(records[0].figures)


def test_figures_of_each_set_are_among_the_expressions_it_names():
    one, two = made("a", {"happiness": 2}), made("b", {"neutral": 2}, (0, 1))
    faces = joined(one, two, one=SetOptions(choice_weight=3))
    logits = np.zeros((4, 8), np.float32)
    logits[:2, 1] = 1
    logits[2:, [0, 7]] = [1, 2]  # contempt, which the second set cannot name
    found = evaluate.selection_figures(logits, faces)
    assert found["one_all_accuracy"] == found["two_all_accuracy"] == 1
    worse = evaluate.selection_figures(np.vstack([logits[:2], -logits[2:]]), faces)
    assert worse["two_all_accuracy"] == 0 and worse["score"] == pytest.approx(0.75 * 1.25)


def test_expressions_and_protocol_choose_the_images():
    faces = made("a", {"happiness": 3, "contempt": 2, "fear": 1})
    fewer = mixture.treated(faces, SetOptions(expressions=("happiness", "fear")), training=True)
    assert fewer.expressions == (1, 6) and fewer.widest.which.tolist() == [0, 1, 2, 5]
    with pytest.raises(OptionError, match="protocol must be one of all"):
        mixture.treated(faces, SetOptions(protocol="press"), training=True)


def test_soft_targets_replace_labels_of_training_only(tmp_path):
    faces = made("a", {"happiness": 3, "fear": 1})
    file = tmp_path / "soft.npz"
    targets = np.zeros((2, 8))
    targets[0, [0, 1]] = 0.25, 0.5
    soft_targets.write(file, ["1.png", "2.png"], targets)  # 2.png is left out, others lack
    options = SetOptions(targets=file)
    changed = mixture.treated(faces, options, training=True)
    assert changed.widest.which.tolist() == [1]
    assert changed.targets[1, :2].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert mixture.treated(faces, options, training=False) is faces
    soft_targets.write(file, ["x"], targets[:1])
    with pytest.raises(TrainingError, match="has no soft targets for a train"):
        soft_targets.apply(faces, file)
    file.write_bytes(b"no zip")
    with pytest.raises(TrainingError, match="is not a file of soft targets"):
        soft_targets.apply(faces, file)


def press(folder, people=("Ann", "Bo", "Cy"), packed=True):
    """A small set in the layout press_faces: one person per split."""
    folder.mkdir()
    rows = []
    for person, split in zip(people, ("train", "valid", "test"), strict=True):
        for i, (source, label) in enumerate(
            [("press", "happiness"), ("press", "sadness"), ("press", "fear"), ("film", "anger")]
        ):
            rows.append((f"{source}/{person}_{split}_{i}.jpg", label, split, person, source))
    with (folder / "press_faces.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "split", "person", "source"), *rows])
    rng = np.random.default_rng(0)
    pictures = {
        row[0]: cv2.imencode(
            ".jpg", rng.integers(0, 255, (40, 40, 3) if row[4] == "film" else (40, 40), np.uint8)
        )[1].tobytes()
        for row in rows
    }
    if packed:
        with zipfile.ZipFile(folder / "press_faces.zip", "w") as archive:
            for name, data in pictures.items():
                archive.writestr(name, data)
    else:
        for name, data in pictures.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
    return folder


def test_press_faces_packed_and_unpacked(tmp_path):
    packed = datasets.load("press_faces", press(tmp_path / "a"), "test")
    unpacked = datasets.load("press_faces", press(tmp_path / "b", packed=False), "test")
    assert packed.image_names == unpacked.image_names and packed.image_names[0].startswith("press/")
    assert [packed.digest(i) for i in range(4)] == [unpacked.digest(i) for i in range(4)]
    assert np.array_equal(packed.image_rgb(3), unpacked.image_rgb(3))
    once = packed.decoded()
    assert once.images[3].shape == (40, 40, 3) and once.images[0].ndim == 2
    assert all(np.array_equal(once.image_rgb(i), packed.image_rgb(i)) for i in (0, 3))
    which = {name: counted.which.tolist() for name, counted in packed.protocols.items()}
    assert which == {"press": [0, 1], "film": [3], "all": [0, 1, 2, 3]}
    assert packed.main_protocol == "press" and packed.expressions == tuple(range(8))
    (tmp_path / "a" / "press_faces.zip").write_bytes(b"PK")
    with pytest.raises(TrainingError, match="not a readable zip file"):
        datasets.load("press_faces", tmp_path / "a", "test")


def test_a_person_in_two_splits_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="'Ann' is in the splits train and test") as caught:
        datasets.load("press_faces", press(tmp_path / "a", ("Ann", "Bo", "Ann")), "test")
    assert "one split" in caught.value.hint
    table = tmp_path / "own.csv"
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 8), np.uint8))
    rows = [("1.png", "happy", "train", "A"), ("1.png", "sad", "test", "A")]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "split", "person"), *rows])
    with pytest.raises(TrainingError, match="'A' is in the splits train and test"):
        datasets.load("csv", table, "train")


def test_a_bootstrap_draws_pictures_of_one_person_together(tmp_path):
    packed = datasets.load("press_faces", press(tmp_path / "a"), "test")
    assert packed.people == ("Cy",) * 4 and packed.take([0, 2]).people == ("Cy", "Cy")
    faces = made("a", {"fear": 6})
    faces.images[5] = faces.images[0]  # a twin
    named = dataclasses.replace(faces, people=("A", "A", "B", "", "", ""))
    found = twins.find({"test": named}, twins.ONLY_EQUAL)
    draws = found.draws("test").tolist()
    assert draws[0] == draws[1] == draws[5] and len(set(draws)) == 4
    assert len(set(found.clusters("test").tolist())) == 5
    joint = joined(named, faces)
    assert joint.people[:4] == ("one/A", "one/A", "one/B", "") and len(joint.people) == 12


def test_pictures_of_a_person_stay_together_where_a_csv_has_no_splits(tmp_path):
    table = tmp_path / "own.csv"
    for i in range(120):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((4, 4), i, np.uint8))
    with table.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("file", "label", "person"))
        out.writerows((f"{i}.png", "happy", f"person {i // 4}") for i in range(120))
    people = {}
    for split in ("train", "valid", "test"):
        names = datasets.load("csv", table, split).image_names
        people[split] = {int(name[:-4]) // 4 for name in names}
        assert len(names) == 4 * len(people[split])
    assert all(people.values()) and sum(map(len, people.values())) == 30


@pytest.fixture
def no_detector(monkeypatch):
    monkeypatch.setattr("jadfer_cli.faces.detect.load_detector", lambda *_: None)


def test_near_duplicates_are_dropped_across_sets(tmp_path, no_detector):
    data = press(tmp_path / "press")
    with zipfile.ZipFile(data / "press_faces.zip") as archive:
        copied = archive.read("press/Cy_test_0.jpg")
    rng = np.random.default_rng(5)
    for split in ("train", "valid"):
        for i in range(3):
            path = tmp_path / "own" / split / "sad" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 255, (40, 40, 3), np.uint8))
    picture = cv2.imdecode(np.frombuffer(copied, np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(tmp_path / "own/train/sad/1.png"), 0.7 * picture[:, ::-1])
    config = {"data_sets": {"folder": {"data": str(tmp_path / "own")},
                            "press_faces": {"data": str(data)}}}  # fmt: skip
    read = JoinedData(run_config.sets_of(config, tmp_path / "cache"), 1, Reporter())
    found = read.twins({}, "cpu")
    train = read.read("train")
    dropped = [train.image_names[i] for i in np.flatnonzero(found.having("train", ("test",)))]
    assert dropped == ["folder/sad/1.png"] or dropped == ["folder/train/sad/1.png"]
    assert len(read.read("test")) == 4  # the folder has no test split
    with pytest.raises(SplitMissing):
        alone = {"folder": (DataOptions("folder", tmp_path / "own"), SetOptions())}
        JoinedData(alone, 1, Reporter()).read("test")


def test_data_sets_are_named_and_set_on_the_command_line(tmp_path):
    given = {"data_sets": ["ferplus=FER", "mine=faces/"]}
    settings = ["data_sets.mine.layout=folder", "data_sets.mine.class_weights.fear=3"]
    config = run_config.assemble(tmp_path, None, given, settings=settings)
    found = run_config.sets_of(run_config.inputs_of(config), None)
    assert [data.dataset for data, _ in found.values()] == ["ferplus", "folder"]
    assert found["mine"][1].class_weights == {"fear": 3}
    kept = run_config.without_folders(run_config.with_absolute_paths(config))
    assert kept["data_sets"]["mine"]["data"] == "faces"
    for bad, message in {
        "weight = -1": "weight must be at least 0",
        "wight = 1": "has no option wight",
        'weight = "a"': "must be of type",
        "expressions = ['joy']": "joy is not an expression",
    }.items():
        key, _, value = bad.partition(" = ")
        config = run_config.assemble(
            tmp_path, None, given, settings=[f"data_sets.ferplus.{key}={value}"]
        )
        with pytest.raises(OptionError, match=message):
            run_config.sets_of(config, None)
    with pytest.raises(OptionError, match="exclude each other"):
        run_config.sets_of(config | {"dataset": "rafdb"}, None)
    with pytest.raises(OptionError, match="not NAME=DIR"):
        run_config.assemble(tmp_path, None, {"data_sets": ["ferplus"]})
