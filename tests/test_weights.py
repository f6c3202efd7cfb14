"""The shipped weights and what is written about them: cards, README and guides agree with files."""

import re

import numpy as np
import pytest
from conftest import ROOT

from jadfer_cli.expression import checkpoint
from jadfer_cli.labels import LABELS

BENCH = ROOT / "tests" / "bench"
MARKED = re.compile(r"<!-- figures: ([\w-]+) -->\n(.*?)<!-- end -->", re.DOTALL)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def test_each_card_is_that_of_its_file_and_has_all_its_tables():
    for entry in checkpoint.registry().values():
        card = (entry.path.parent / entry.card).read_text("utf-8")
        assert f"sha256 `{entry.sha256}`" in card and f"`{entry.path.name}`" in card
        tables = dict(MARKED.findall(card))
        assert tables and all(table.strip() for table in tables.values())
        # figures in the file are those of the card
        for key, f in checkpoint.load(entry.name).metrics.items():
            if key.startswith("ferplus test") and isinstance(f, dict):
                assert f"{100 * f['accuracy']:.1f}" in card, key
                assert f"{100 * f['mean_class_recall']:.1f}" in card, key


def test_readme_and_guide_quote_the_figures_of_the_default():
    found = checkpoint.load().metrics["ferplus test majority"]
    readme = (ROOT / "README.md").read_text("utf-8")
    guide = (ROOT / "examples" / "guides" / "validity.md").read_text("utf-8")
    for page in (readme, guide):
        assert f"{100 * found['accuracy']:.1f} %" in page
        assert f"{100 * found['mean_class_recall']:.1f} %" in page
    for label, share in found["recall"].items():
        assert f"| {label} | {100 * share:.0f} % |" in guide


def test_the_networks_fit_into_30_megabytes():
    assert sum(entry.path.stat().st_size for entry in checkpoint.registry().values()) <= 30e6


def test_agreement_of_scores_and_raters(bench):
    from evidence_figures import with_humans

    votes = np.zeros((3, len(LABELS) + 1))
    votes[0, 0] = 10  # all agree
    votes[1, 0], votes[1, 1] = 5, 5
    votes[2, 2], votes[2, -1] = 1, 9  # one rater named an expression: left out
    p = np.full((3, len(LABELS)), 1e-9)
    p[0, 0] = p[2, 0] = 1
    p[1, :2] = 0.4, 0.6
    found = with_humans(p, votes)
    assert found["n"] == 2
    # two raters of the second agree in 2 * 5 * 4 of 10 * 9 pairs
    assert found["same_label"]["rater"] == pytest.approx((1 + 40 / 90) / 2)
    assert found["same_label"]["model"] == pytest.approx((1 + 0.5) / 2)
    # of the others, the rater's own label has 4 votes and the other 5
    assert found["against_others"]["rater"] == pytest.approx((1 + 0) / 2)
    assert found["against_others"]["model"] == pytest.approx((1 + 0.5) / 2)
    assert 0 < found["distance"]["model"] < found["distance"]["rater"] < 0.5


def test_auc_counts_pairs(bench):
    from evidence_figures import auc, wilson

    score, positive = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])
    assert auc(score, positive) == pytest.approx((2 + 1.5) / 4)
    assert wilson(0.5, 100) == pytest.approx([0.4038, 0.5962], abs=1e-4)


def test_detection_leaves_out_rare_expressions_and_finds_the_threshold(bench):
    from evidence_figures import detection

    classes = np.repeat([0, 1, 2], (40, 40, 2))
    p = np.full((82, len(LABELS)), 0.1)
    p[:40, 0] = 0.7
    p[40:80, 1] = 0.9
    found = detection(p, classes)
    assert list(found) == list(LABELS[:2])
    assert found[LABELS[0]]["auc"] == 1 and found[LABELS[0]]["precision"] == 1
    assert 0.1 < found[LABELS[0]]["threshold"] <= 0.7


@pytest.mark.parametrize("side", [112, 64])
def test_conditions_keep_the_shape_and_change_the_picture(bench, side):
    from evidence_figures import EYES_PX, conditions

    crops = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    names = []
    for name, worse in conditions(crops):
        assert worse.shape == crops.shape and worse.dtype == np.uint8, name
        assert (worse != crops).any(), name
        names.append(name)
    # eyes are 23.4 px apart in a crop of 64 px: it cannot lose what it does not have
    assert sum(name.startswith("eyes") for name in names) == len(EYES_PX) - (side == 64)


def test_a_retired_default_keeps_its_file_and_hashes(bench, tmp_path):
    from release import renamed, retire

    for name, text in (
        ("net.safetensors", "old"),
        ("net.md", "# Model card: net\n`net.safetensors`"),
    ):
        (tmp_path / name).write_text(text)
    entry = {"file": "net.safetensors", "sha256": "a", "card": "net.md", "earlier_sha256": ["b"]}
    table = {"default": "net", "models": {"net": entry}}
    assert retire(table, tmp_path, "0.4") == "net"
    assert table["models"]["net-0.4"]["file"] == "net-0.4.safetensors"
    assert (tmp_path / "net-0.4.safetensors").read_text() == "old"
    assert "`net-0.4.safetensors`" in (tmp_path / "net-0.4.md").read_text()
    (tmp_path / "net.safetensors").write_text("new")
    retire(table, tmp_path, "0.4")  # again, with the next candidate
    assert (tmp_path / "net-0.4.safetensors").read_text() == "old"
    # a history names models as they load now
    history = {"start": "net", "start_model": {"name": "net", "sha256": "b"}}
    assert renamed(history, {"b": "net-0.4"}) == {
        "start": "net-0.4", "start_model": {"name": "net-0.4", "sha256": "b"},
    }  # fmt: skip


def test_an_output_is_rewritten_by_the_line_most_like_it(bench):
    from regenerate import printed_instead

    printed = "noise\n66  happiness  0.91  True\nwrote x.png\nend"
    block = "66  happiness  0.94  True\nend"
    found = printed_instead(block, printed, lambda a, b: a == b)
    assert found == ["66  happiness  0.91  True", "end"]
    with pytest.raises(ValueError, match="nothing like"):
        printed_instead("quite another thing", printed, lambda a, b: a == b)


def test_tables_of_a_card_are_filled_and_missing_parts_named(bench, tmp_path):
    from card import Column, filled

    new = Column("default", tmp_path)
    text = "a\n<!-- figures: file -->\nold\n<!-- end -->\nb\n"
    written = filled(text, new, None)
    assert f"sha256 `{new.loaded.sha256}`" in written and "old" not in written
    assert filled(written, new, None) == written
    with pytest.raises(SystemExit, match=r"evidence\.py"):
        filled("<!-- figures: clips -->\n<!-- end -->", new, None)
