"""Lineage: what a model records about the weights it learned from, and what is said of it."""

import pytest

from jadfer_cli.expression import checkpoint, lineage


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The shipped model, one fine-tuned from it, and one from that, as files."""
    folder = tmp_path_factory.mktemp("chain")
    parent, files = checkpoint.load(), []
    for name, images in (("mine", 33), ("again", 50)):
        training = {
            "dataset": "folder", "images": images, "start": parent.entry.name,
            "start_model": lineage.origin(parent),
        }  # fmt: skip
        path = folder / f"{name}.safetensors"
        checkpoint.save(
            path, parent.build(), temperature=0.7, terms=lineage.inherited_terms(training),
            metrics={"training": training, "temperature_kept_from": parent.entry.name},
        )  # fmt: skip
        parent = checkpoint.load(str(path))
        files.append(parent)
    return files


def test_a_model_knows_its_ancestors_with_their_hashes(chain):
    mine, again = chain
    found = lineage.ancestors("again", again.sha256, again.metrics)
    assert [model.name for model in found] == [
        "again", "mine", "jadfer-compact", "jadfer-compact-0.4", "jadfer-compact (stage 1)",
        "mobilefacenet_arcface.pt",
    ]  # fmt: skip
    assert [model.images for model in found] == [50, 33, 33333, 27698, 27698, None]
    assert [model.sha256 for model in found[:4]] == [
        again.sha256, mine.sha256, checkpoint.load().sha256,
        checkpoint.load("jadfer-compact-0.4").sha256,
    ]  # fmt: skip
    assert found[-1].part == "stem" and found[-1].dataset == "MS-Celeb-1M"
    text = lineage.text("again", again.sha256, again.metrics)
    assert text.startswith("trained on the users' own images (50 images); from mine, sha256 ")
    assert "from jadfer-compact, sha256" in text and text.endswith("trained on MS-Celeb-1M")


def test_the_terms_of_the_start_weights_are_kept(chain):
    mine, again = chain
    shipped = checkpoint.load().entry.terms
    assert mine.entry.terms == f"derived from jadfer-compact, whose terms hold: {shipped}"
    assert again.entry.terms == mine.entry.terms
    assert lineage.inherited_terms({}) == ""
    unknown = lineage.inherited_terms({"teacher_models": [{"name": "x", "terms": ""}]})
    assert unknown == f"derived from x, whose terms hold: {lineage.NOT_RECORDED}"


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ({"temperature_fitted_on": "ferplus valid, majority"}, "fitted on ferplus valid, maj"),
        ({"temperature_kept_from": "jadfer-compact"},
         "kept from jadfer-compact: the probabilities are not calibrated."),
        ({"temperature_fitted_on": "nothing: 8 images are too few"}, "not fitted: the probabil"),
        ({}, "not fitted: the probabilities are not calibrated."),
        ({"temperature_fitted_on": 7, "temperature_kept_from": []}, "not fitted: the"),
    ],
)  # fmt: skip
def test_what_is_said_of_the_temperature(metrics, says):
    text = lineage.temperature_text(0.672, metrics)
    assert (
        text.startswith("Temperature 0.672, ") and says in text and "fitted on nothing" not in text
    )


@pytest.mark.parametrize(
    "metrics",
    [
        {}, {"training": 5}, {"training": {"dataset": 1, "images": "x", "start_model": [1]}},
        {"training": {"start": "scratch"}}, {"training": {"start_model": {"training": None}}},
    ],
)  # fmt: skip
def test_odd_histories_are_no_error(metrics):
    assert lineage.text("x", None, metrics)


def test_an_endless_history_ends():
    endless: dict = {"start_model": {"name": "a"}}
    endless["start_model"]["training"] = endless
    assert len(lineage.ancestors("x", None, {"training": endless})) == 20
