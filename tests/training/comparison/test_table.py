"""The table of a comparison, from finished trainings made by hand."""

import dataclasses
import json

import numpy as np
import pytest
from training.test_ferplus import face_set

from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.training.comparison import labellings, plan, report, runs, table
from jadfer_cli.training.comparison.plan import Job, Plan
from jadfer_cli.training.comparison.runs import Finished
from jadfer_cli.training.comparison.statistics import Scores

PLAN = Plan(recipes=("plain", "dan", "eac"), data_sets={"ferplus": "x"})
TIMES = {"recipes": {"plain": 3.0, "dan": 4.5}, "device": "CPU", "threads": 2, "batch": 16}


def finished(recipe, seed, share, *, labelling="ferplus:majority", images="a", lr=None, valid=1.0):
    """A training that is right on the given share of 1,000 images, in order."""
    right = np.arange(1000) < 1000 * share
    likelihood = np.where(right, -0.1, -2.0)
    scores = Scores(
        right, likelihood, np.arange(1000) % 8, np.arange(1000) % 10 > 0, np.arange(1000)
    )
    facts = {
        "job": {}, "valid_score": valid, "images": {"train": images, "valid": "v", "test": "t"},
        "n": {"train": 50, "valid": 20, "test": 1000}, "parameters": 2_000_000,
        "multiply_adds": 90_000_000, "seconds": 60.0, "ece": 0.02, "ece_interval": [0.01, 0.03],
        "options": {"lr": lr or 0.001},
    }  # fmt: skip
    return Finished(Job(recipe, labelling, seed, lr), facts, scores)


def rows_of(found, labelling="ferplus:majority"):
    return {row["recipe"]: row for row in found["labellings"][labelling]["rows"]}


def test_rows_are_ranked_and_compared_with_plain():
    every = [finished("plain", s, 0.800 + s / 1000) for s in range(3)]
    every += [finished("dan", s, 0.850 + s / 1000) for s in range(3)]
    every += [finished("eac", s, 0.803 + s / 1000) for s in range(3)]
    found = rows_of(table.tabulate(PLAN, every, TIMES))
    assert [(name, row["rank"]) for name, row in found.items()] == [
        ("dan", 1), ("eac", 2), ("plain", 3)
    ]  # fmt: skip
    assert found["dan"]["accuracy"]["value"] == pytest.approx(0.851)
    assert found["dan"]["accuracy"]["seeds_included"]
    dan, eac = (found[name]["against_plain"] for name in ("dan", "eac"))
    assert dan["value"] == pytest.approx(0.05) and dan["verdict"] == "better"
    assert eac["verdict"] == "no evidence" and eac["p_holm"] >= 0.05
    assert dan["p_holm"] == pytest.approx(2 * dan["p"])  # two differences are tested
    assert 0 < eac["smallest_difference"] < 0.02
    assert found["plain"]["against_plain"] is None
    assert (found["dan"]["milliseconds"], found["eac"]["milliseconds"]) == (4.5, None)


def test_rows_with_other_images_are_not_ranked():
    every = [finished("plain", 0, 0.80), finished("dan", 0, 0.99, images="b")]
    found = table.tabulate(PLAN, every, {})
    dan = rows_of(found)["dan"]
    assert not dan["ranked"] and dan["rank"] is None and dan["against_plain"] is None
    assert dan["accuracy"] == {"value": pytest.approx(0.99), "interval_95": None}
    assert found["differences_tested"] == 0
    text = report.markdown(found)
    assert "Not ranked, as their images or labels differ from the others': dan." in text
    assert "| - | dan |" in text
    # the same within a recipe: its seeds saw different images
    mixed = [*every[:1], finished("dan", 0, 0.9), finished("dan", 1, 0.9, images="b")]
    assert not rows_of(table.tabulate(PLAN, mixed, {}))["dan"]["ranked"]


def test_one_seed_tests_no_difference_and_says_so():
    found = table.tabulate(PLAN, [finished("plain", 0, 0.8), finished("dan", 0, 0.9)], TIMES)
    own = rows_of(found)["dan"]["against_plain"]
    assert own["p"] is None and own["verdict"] is None
    text = report.markdown(found)
    assert "not for the methods, and no difference is tested" in text
    assert "at least" in text.split("| dan |")[1].splitlines()[0]


def test_validation_chooses_the_learning_rate_of_each_row():
    grid = dataclasses.replace(PLAN, lrs=(0.001, 0.0001))
    every = [
        finished("plain", 0, 0.9, lr=0.001, valid=1.0), finished("plain", 0, 0.8, lr=0.0001),
        finished("dan", 0, 0.7, lr=0.001, valid=1.0), finished("dan", 0, 0.6, lr=0.0001, valid=1.1),
    ]  # fmt: skip
    found = rows_of(table.tabulate(grid, every, {}))
    # by validation, although test would say otherwise
    assert found["dan"]["accuracy"]["value"] == pytest.approx(0.6)
    assert found["plain"]["learning_rate"] == 0.001


def test_files_hold_all_columns_and_labellings(tmp_path):
    every = [finished(r, s, 0.8 + s / 100, labelling=name) for r in ("plain", "dan")
             for s in (0, 1) for name in ("ferplus:majority", "fer2013")]  # fmt: skip
    found = table.tabulate(PLAN, every, TIMES)
    files = report.write(found, tmp_path)
    assert [file.name for file in files] == list(report.NAMES)
    assert files[2].read_bytes()[:4] == b"\x89PNG"
    assert json.loads(files[1].read_text())["labellings"]["fer2013"]["n"]["test"] == 1000
    text = files[0].read_text()
    assert text.count("## ") == 2 and text.count(f"| {' | '.join(report.HEAD)} |") == 2
    for line in (line for line in text.splitlines() if line.startswith("|")):
        assert line.count("|") == len(report.HEAD) + 1


def test_a_plan_grows_but_its_options_stay(tmp_path):
    first = plan.merged(tmp_path, {"recipes": ("plain",), "seeds": 1, "epochs": 4,
                                   "data_sets": {"ferplus": "x"}})  # fmt: skip
    plan.write(first, tmp_path)
    assert plan.merged(tmp_path, {}) == first
    more = plan.merged(tmp_path, {"recipes": ("plain", "dan"), "seeds": 3,
                                  "data_sets": {"rafdb": "y"}})  # fmt: skip
    assert (more.recipes, more.seeds, more.epochs) == (("plain", "dan"), 3, 4)
    assert more.data_sets == {"ferplus": "x", "rafdb": "y"}
    with pytest.raises(OptionError, match="epochs is 4 in this comparison, not 9"):
        plan.merged(tmp_path, {"epochs": 9})


@pytest.mark.parametrize(
    "given, message",
    [
        ({"recipes": ("nothing",)}, "`recipe` must be one of"),
        ({"seeds": 0}, "`seeds` must be at least 1"),
        ({"lrs": (0.1, 0.1)}, "`lr` must be positive, and each value given once"),
        ({"settings": {"epochs": 3}}, "`set` epochs: the comparison decides this itself"),
        ({"settings": {"variety": "none"}}, "plain has no option variety"),
    ],
)
def test_wrong_plans_are_refused(tmp_path, given, message):
    with pytest.raises(OptionError, match=message):
        plan.merged(tmp_path, given)


def test_a_learning_rate_keeps_the_ratio_to_that_of_the_stem():
    ours = PLAN.options(Job("plain", "", 0))
    other = PLAN.options(Job("plain", "", 2, ours.lr / 2))
    assert (other.lr, other.stem_lr, other.seed) == (ours.lr / 2, ours.stem_lr / 2, 2)


def test_labellings_by_hand(tmp_path):
    assert labellings.parse("ferplus:plurality") == ("ferplus", "plurality")
    assert labellings.parse("fer2013") == ("ferplus", None)
    for wrong in ("ferplus", "ferplus:most", "raf"):
        with pytest.raises(OptionError, match=f"no `labelling` {wrong}"):
            labellings.parse(wrong)
    ours = tmp_path / "fer2013_labels.csv"
    ours.write_text(
        "image_name,fer2013_label,ambiguous_duplicate\n"
        "fer0000000.png,angry,0\nfer0000001.png,sad,1\nfer0000002.png,happy,0\n"
    )
    original = tmp_path / "fer2013.csv"
    original.write_text("emotion,pixels,Usage\n0,1 2,Training\n4,1 2,Training\n3,1,PublicTest\n")
    faces = dataclasses.replace(
        face_set(4), image_names=[f"fer{i:07d}.png" for i in range(4)], name="ferplus train"
    )
    # neutral 0, happiness 1, surprise 2, sadness 3, anger 4
    for file, which, classes in ((ours, [0, 2], [4, 1]), (original, [0, 1, 2], [4, 3, 1])):
        found = labellings.relabelled(faces, labellings._fer2013_labels(file))
        counted = found.protocols["fer2013"]
        assert counted.which.tolist() == which and counted.classes.tolist() == classes
        assert found.targets.argmax(1)[which].tolist() == classes
        assert found.targets.sum() == len(which) and len(found.expressions) == 7
    with pytest.raises(TrainingError, match="name none of its images"):
        labellings.relabelled(face_set(4), {})
    ours.write_text("name,label\na,b\n")
    with pytest.raises(TrainingError, match="holds no labels of FER2013"):
        labellings._fer2013_labels(ours)


def test_a_damaged_result_names_its_folder(tmp_path):
    assert runs.load(tmp_path) is None
    (tmp_path / runs.RESULT).write_text("{")
    with pytest.raises(TrainingError, match=r"The result in .* is damaged"):
        runs.load(tmp_path)
    facts = finished("plain", 0, 0.8).facts | {"job": dataclasses.asdict(Job("plain", "x", 0))}
    (tmp_path / runs.RESULT).write_text(json.dumps(facts))
    (tmp_path / runs.SCORES).write_bytes(b"half a file")
    with pytest.raises(TrainingError, match=r"The result in .* is damaged"):
        runs.load(tmp_path)
