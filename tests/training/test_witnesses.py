"""Label, network and geometry: what the blendshapes support, each rule by hand, the report."""

import numpy as np
import pytest

from jadfer_cli.errors import ModelError, OptionError
from jadfer_cli.expression import checkpoint
from jadfer_cli.faces.landmarker import BLENDSHAPES, N_POINTS, FaceMeshes
from jadfer_cli.labels import LABELS
from jadfer_cli.training import joined_data, soft_targets, witnesses
from jadfer_cli.training.mixture import SetOptions

NEUTRAL, HAPPINESS, SURPRISE, SADNESS, ANGER, DISGUST, FEAR = range(7)


def meshes(*faces):
    """One face per table of blendshapes; None: no mesh was found."""
    n = len(faces)
    shapes = np.zeros((n, len(BLENDSHAPES)), np.float32)
    for row, face in zip(shapes, faces, strict=True):
        for name, value in (face or {}).items():
            row[BLENDSHAPES.index(name)] = value
    presence = np.array([face is not None for face in faces], np.float32)
    return FaceMeshes(np.zeros((n, N_POINTS, 3), np.float32), presence, shapes)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({}, {NEUTRAL}),
        ({"mouthSmileLeft": 0.6}, {HAPPINESS}),  # no teeth: jaw and lips closed
        ({"jawOpen": 0.6}, {NEUTRAL}),  # talking
        ({"jawOpen": 0.6, "eyeWideLeft": 0.4}, {SURPRISE}),
        ({"jawOpen": 0.6, "browOuterUpRight": 0.5, "mouthSmileLeft": 0.5}, {HAPPINESS}),
        ({"mouthFrownLeft": 0.4}, {SADNESS}),
        ({"browInnerUp": 0.5}, {SADNESS}),
        ({"browDownLeft": 0.6}, {NEUTRAL}),  # frequent in the light of press photographs
        ({"browDownLeft": 0.6, "jawOpen": 0.3}, {ANGER}),
        ({"browInnerUp": 0.5, "jawOpen": 0.3}, {SURPRISE}),
        (None, set()),
    ],
)
def test_what_the_geometry_supports(shapes, expected):
    found = witnesses.supported(meshes(shapes))[0]
    assert set(np.flatnonzero(found)) == expected


def scores(**values):
    p = np.full(8, (1 - sum(values.values())) / (8 - len(values)))
    for name, value in values.items():
        p[LABELS.index(name)] = value
    return p


@pytest.mark.parametrize(
    ("label", "p", "seen", "rule", "top"),
    [
        (SADNESS, scores(sadness=0.4), {NEUTRAL}, "two witnesses agree", SADNESS),
        (SADNESS, scores(neutral=0.9), {SADNESS}, "two witnesses agree", SADNESS),
        (NEUTRAL, scores(happiness=0.6), {HAPPINESS}, "a smile", HAPPINESS),
        (NEUTRAL, scores(happiness=0.3, neutral=0.6), {HAPPINESS}, "two witnesses", NEUTRAL),
        (SADNESS, scores(happiness=0.4), {HAPPINESS}, "the label stands alone", SADNESS),
        (ANGER, scores(happiness=0.5), {HAPPINESS}, "the label stands alone", ANGER),
        (SURPRISE, scores(neutral=0.9), {NEUTRAL}, "surprise without brows", NEUTRAL),
        (SADNESS, scores(anger=0.5), {ANGER}, "the label stands alone", SADNESS),
        (SADNESS, scores(anger=0.8), {ANGER}, "network and geometry outvote", ANGER),
        (SADNESS, scores(happiness=0.9), {HAPPINESS}, "the label stands alone", SADNESS),  # cries
        # neutral geometry is a lack of movement, and outvotes nothing
        (ANGER, scores(neutral=0.99), {NEUTRAL}, "the label stands alone", ANGER),
        (FEAR, scores(sadness=0.9), set(), "the label stands alone", FEAR),
    ],
)
def test_each_rule(label, p, seen, rule, top):
    support = np.isin(np.arange(8), list(seen))[None]
    found = witnesses.combine(np.array([label]), p[None], support)
    assert found.rules[0].startswith(rule)
    assert found.targets[0].sum() == pytest.approx(1) and found.targets[0].argmax() == top
    assert found.changed.tolist() == [top != label]


def test_a_doubted_label_that_stands_alone_is_left_out_and_the_report_counts():
    labels = np.array([DISGUST, DISGUST, SURPRISE])
    p = np.stack([scores(fear=0.9), scores(disgust=0.7), scores(neutral=0.9)])
    support = witnesses.supported(meshes({"browDownLeft": 0.6, "jawOpen": 1}, {}, {"jawOpen": 0.5}))
    found = witnesses.combine(labels, p, support, np.array([True, True, True]))
    assert found.targets.sum(1).tolist() == pytest.approx([0, 1, 1])
    report = "\n".join(found.report())
    assert "left out: 1 image, top expression changed in 1 (disgust to none 1)" in report
    assert "two witnesses agree: 1 image, top expression changed in 0\n" in report + "\n"
    assert (
        "outvote the label: 1 image, top expression changed in 1 (surprise to neutral 1)" in report
    )


def test_geometry_is_needed_only_where_it_decides():
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 8, 400), rng.dirichlet(np.ones(8), 400)
    needed = witnesses.undecided(labels, p)
    assert 0 < (~needed).sum() < 400
    first = witnesses.combine(labels, p, rng.random((400, 8)) < 0.5).targets
    second = witnesses.combine(labels, p, np.zeros((400, 8), bool)).targets
    assert np.array_equal(first[~needed], second[~needed])
    assert not np.array_equal(first[needed], second[needed])


class Data:
    """Aligned faces of a made-up set whose geometry is known."""

    class report:
        @staticmethod
        def counting(what, total):
            import contextlib

            return contextlib.nullcontext(lambda done: None)

    def __init__(self, faces):
        self.faces = faces

    def load(self, split, first_only):
        assert split == "train" and first_only
        return self.faces

    def with_meshes(self, faces):
        import dataclasses

        return dataclasses.replace(faces, meshes=meshes(*[{"jawOpen": 0.5}] * len(faces)))


@pytest.mark.slow
def test_the_file_of_soft_targets_is_that_of_labels_network_and_geometry(tmp_path):
    from training.test_mixture import made

    faces = made("a", {"surprise": 3, "neutral": 2})
    options = SetOptions(witnesses="default")
    found = joined_data.soft_labels(Data(faces), options, tmp_path)
    stored = soft_targets.read(found.path)
    assert list(stored) == faces.image_names
    assert np.allclose(np.stack(list(stored.values())), found.combined.targets)
    model = checkpoint.load("default")
    assert np.allclose(found.p.sum(1), 1, atol=1e-5) and model.labels == LABELS
    again = joined_data.soft_labels(Data(faces), options, tmp_path)
    assert again.path == found.path and len(list(tmp_path.glob("teacher-*.npy"))) == 1
    with pytest.raises(OptionError, match="doubted must name protocols of all, not film"):
        joined_data.soft_labels(Data(faces), SetOptions(witnesses="default", doubted=("film",)),
                                tmp_path)  # fmt: skip
    with pytest.raises(ModelError):
        joined_data.soft_labels(Data(faces), SetOptions(witnesses="missing"), tmp_path)
