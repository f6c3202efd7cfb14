"""Comparing results: each way in which they can differ."""

import dataclasses

import numpy as np
import pytest
from made import Made, Track, options, sure

from jadfer_cli.analysis import compare as comparing
from jadfer_cli.analysis.compare import compare
from jadfer_cli.analysis.provenance import mixed
from jadfer_cli.labels import LABELS
from jadfer_cli.results import load

BOX = (100.0, 80.0, 180.0, 180.0)
OTHER = (400.0, 80.0, 480.0, 180.0)


def opened(path, *tracks, **how):
    return load.load(Made(list(tracks), **how).write(path))


def pair(tmp_path, first, second, **how):
    """Compare results of tracks; `how` applies to the second only."""
    a = opened(tmp_path / "a.parquet", *first)
    return compare(a, opened(tmp_path / "b.parquet", *second, **how))


def test_a_result_agrees_with_a_copy(tmp_path):
    tracks = [Track(0, [0, 1, 2], "fear", box_px=BOX), Track(1, [1, 2, 3], box_px=OTHER)]
    found = pair(tmp_path, tracks, tracks)
    assert found.agree and (found.frames, found.faces) == (10, 6)
    assert found.settings == () and found.worst_frame is None and found.first_unmatched is None


def test_results_without_faces_agree(tmp_path):
    found = pair(tmp_path, [], [])
    assert found.agree and found.faces == 0 and found.max_p == 0


@pytest.mark.parametrize(("shift", "agree"), [(5e-5, True), (2e-4, False)])
def test_probabilities_may_differ_by_the_tolerance(tmp_path, shift, agree):
    p = np.stack([sure("neutral")] * 3)
    moved = p.copy()
    moved[1, :2] += (-shift, shift)
    found = pair(tmp_path, [Track(0, [4, 5, 6], p)], [Track(0, [4, 5, 6], moved)])
    assert found.agree == agree and (found.worst_frame, found.worst_track) == (5, 0)
    assert found.max_p == pytest.approx(shift, rel=1e-2)
    assert found.mean_p == pytest.approx(2 * shift / 24, rel=1e-2)
    assert found.expressions == 0


def test_top_expressions(tmp_path):
    found = pair(tmp_path, [Track(0, [0, 1], "neutral")], [Track(0, [0, 1], ["neutral", "fear"])])
    assert found.expressions == 1 and found.max_p == pytest.approx(0.9 - 0.1 / 7, abs=1e-6)


def test_same_faces_with_other_ids(tmp_path):
    ours = [Track(0, [0, 1, 2], "fear", box_px=BOX), Track(1, [0, 1, 2], "anger", box_px=OTHER)]
    swapped = [dataclasses.replace(ours[1], id=0), dataclasses.replace(ours[0], id=1)]
    found = pair(tmp_path, ours, swapped)
    assert found.differences == ("same faces, other IDs (6 of 6)",)
    assert found.ids == {"0 -> 1": 3, "1 -> 0": 3} and found.max_p == 0
    # a track that is lost and continues under a new ID
    (tmp_path / "b").mkdir()
    broken = [Track(0, [0], "fear", box_px=BOX), Track(7, [1, 2], "fear", box_px=BOX), ours[1]]
    found = pair(tmp_path / "b", ours, broken)
    assert found.ids == {"0 -> 7": 2} and found.faces_only_a == found.faces_only_b == 0


def test_boxes_faces_and_usable(tmp_path):
    moved = (103.0, 80.0, 183.0, 180.0)
    found = pair(
        tmp_path,
        [Track(0, [0, 1], box_px=BOX), Track(1, [3], box_px=BOX)],
        [Track(0, [0, 1], box_px=moved, usable=[True, False]), Track(1, [4], box_px=BOX)],
    )
    assert found.max_box_px == pytest.approx(3) and found.usable == 1
    assert (found.faces_only_a, found.faces_only_b, found.first_unmatched) == (1, 1, 3)
    assert [text.split(" (")[0] for text in found.differences] == [
        "faces found", "boxes", "usable",
    ]  # fmt: skip


def test_the_same_id_at_another_place_is_still_compared(tmp_path):
    found = pair(tmp_path, [Track(0, [0], box_px=BOX)], [Track(0, [0], box_px=OTHER)])
    assert found.faces == 1 and found.other_ids == 0 and found.max_box_px == 300


def test_times_frames_and_status(tmp_path):
    track = Track(0, [0, 4])
    found = pair(
        tmp_path, [track], [track], frames=[0, 2, 4], status={2: 1},
        times_s=np.arange(10) / 25 + np.array([0] * 4 + [0.001] * 6), options=options(every=2),
    )  # fmt: skip
    assert (found.frames, found.frames_only_a, found.frames_only_b) == (3, 7, 0)
    assert found.max_time_s == pytest.approx(0.001) and found.statuses == 1
    assert [s.name for s in found.settings] == ["--every"]


def test_settings_explain_but_labels_count_as_differences(tmp_path):
    seven = LABELS[:-1]
    found = pair(
        tmp_path, [Track(0, [0], [sure("fear")])], [Track(0, [0], [sure("fear", labels=seven)])],
        labels=seven, model_sha256="5" * 64, sha256="6" * 64,
    )  # fmt: skip
    assert [s.name for s in found.settings] == ["video (other contents)", "model"]
    assert found.settings[1].b == "jadfer-compact (555555555555)"
    assert found.labels_only_a == ("contempt",) and not found.agree
    (tmp_path / "b").mkdir()
    other = pair(tmp_path / "b", [Track(0, [0])], [Track(0, [0])], model_sha256="5" * 64)
    assert other.agree and len(other.settings) == 1


@pytest.mark.parametrize("chunk_frames", [5000, 2])
def test_matching_finds_the_known_permutation(tmp_path, monkeypatch, chunk_frames):
    monkeypatch.setattr(comparing, "_CHUNK_FRAMES", chunk_frames)
    # 20 boxes that move a little, so that each overlaps most with itself
    rng = np.random.default_rng(0)
    at = np.array([(120 * (i % 5), 120 * (i // 5)) for i in range(20)])
    boxes = np.concatenate([at, at + 100], 1) + rng.uniform(-3, 3, (20, 4))
    ours = [Track(i, list(range(5)), box_px=boxes[i]) for i in range(20)]
    order = rng.permutation(20)
    theirs = [Track(int(order[i]), list(range(5)), box_px=boxes[i] + 2) for i in range(20)]
    found = pair(tmp_path, ours, sorted(theirs, key=lambda t: t.id), n_frames=10)
    moved = {f"{i} -> {order[i]}": 5 for i in range(20) if order[i] != i}
    assert found.ids == moved and found.faces == 100
    assert found.max_box_px == pytest.approx(2, abs=1e-3)


def test_versions_whose_rows_differ_are_named(tmp_path):
    def made(name, version, revision):
        metadata = {"jadfer_version": version, "results_revision": revision}
        return opened(tmp_path / name, Track(0, [0]), metadata=metadata)

    old, new = made("old.parquet", "0.3.0", 3), made("new.parquet", "0.5.0", 4)
    (setting,) = compare(old, new).settings
    assert (setting.name, setting.a, setting.b) == (
        "revision",
        "3 (jadfer 0.3.0)",
        "4 (jadfer 0.5.0)",
    )
    warning = "The results were made by versions of jadfer whose rows differ (0.3.0: 1; 0.5.0: 2)."
    assert mixed([old, new, new]) == [warning]
    assert mixed([made("0.4.1.parquet", "0.4.1", 4), new]) == []
