"""Near-duplicates: alterations that are found, pictures that are not twins, bookkeeping, cache."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from jadfer_cli.training import ferplus, near_duplicates, twins
from jadfer_cli.training.faceset import Counted, FaceSet


def picture(seed: int, side: int = 100) -> np.ndarray:
    """Smooth random blobs, RGB."""
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def face_set(pictures: list, folder: Path | None = None, name: str = "made") -> FaceSet:
    """Grey pictures in memory, or colour files in a folder."""
    names = [f"{i}.png" for i in range(len(pictures))]
    if folder is None:
        images = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) if p.ndim == 3 else p for p in pictures]
    else:
        folder.mkdir(parents=True)
        images = [folder / n for n in names]
        for path, p in zip(images, pictures, strict=True):
            cv2.imwrite(str(path), p)
    targets = np.eye(8, dtype=np.float32)[np.zeros(len(names), int)]
    every = np.arange(len(names))
    return FaceSet(name, images, names, targets, {"all": Counted(every, targets.argmax(1))})


ALTERATIONS = {
    "darker": lambda p: p // 3,
    "inverted colours order": lambda p: np.ascontiguousarray(p[:, :, ::-1]),
    "smaller": lambda p: cv2.resize(p, (50, 50), interpolation=cv2.INTER_AREA),
    "larger": lambda p: cv2.resize(p, (310, 290)),
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "cropped": lambda p: p[:94, 5:],
    "JPEG": lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [1, 25])[1], 1),
    "noise": lambda p: np.clip(
        p + np.random.default_rng(9).normal(0, 12, p.shape), 0, 255
    ).astype(np.uint8),
    "watermark": lambda p: cv2.putText(p.copy(), "PHOTO", (8, 60), 0, 1, (255, 255, 255), 2),
}  # fmt: skip


@pytest.mark.parametrize("how", ALTERATIONS)
def test_an_altered_copy_is_found_among_others(how, tmp_path):
    others = [picture(seed) for seed in range(10, 40)]
    test = face_set([picture(0), picture(1)], tmp_path / "test")
    train = face_set([*others, ALTERATIONS[how](picture(1))], tmp_path / "train")
    found = twins.find({"test": test, "train": train}, near_duplicates.SAME_PHOTOGRAPH)
    assert found.having("train", ("test",)).nonzero()[0].tolist() == [30]
    assert found.having("test", ("train",)).tolist() == [False, True]
    assert found.pairs.mirrored.tolist() == [how == "mirrored"]


def test_the_search_equals_a_naive_one():
    """Coarse and fine search against all correlations, for every pair and shift."""
    base = [picture(seed, 48) for seed in range(6)]
    moved = [np.roll(p, (2, -3), (0, 1)) for p in base[:3]]
    faces = face_set([*base, *moved])
    thumbs = near_duplicates.thumbnails(faces)
    found = near_duplicates.search(thumbs, 6)
    contrast = near_duplicates._local_contrast(thumbs, "cpu").numpy()
    expected = {}
    for i in range(6):
        for j in range(i + 1, 9):
            still = contrast[j][5:43, 5:43].ravel()
            values = [
                np.corrcoef(view[y : y + 38, x : x + 38].ravel(), still)[0, 1]
                for view in (contrast[i], contrast[i][:, ::-1])
                for y in range(11)
                for x in range(11)
            ]
            if max(values) > near_duplicates.LOWEST:
                expected[i, j] = max(values)
    pairs = zip(found.first.tolist(), found.second.tolist(), strict=True)
    assert dict(zip(pairs, found.correlation, strict=True)) == pytest.approx(expected, abs=1e-4)
    assert set(expected) == {(0, 6), (1, 7), (2, 8)}


def test_equal_pictures_are_twins_at_any_threshold_even_if_flat():
    flat, other = np.full((48, 48), 7, np.uint8), np.full((48, 48), 90, np.uint8)
    sets = {"valid": face_set([flat]), "train": face_set([other, flat, picture(2)])}
    for threshold in (0.68, twins.ONLY_EQUAL):
        found = twins.find(sets, threshold)
        assert found.having("train", ("valid", "test")).tolist() == [False, True, False]


def test_clusters_link_copies_within_a_split_and_through_training(tmp_path):
    a, b = picture(0), picture(1)
    middle = a // 2 + 10
    test = face_set([a, b, a // 2, picture(3), np.ascontiguousarray(a[:, ::-1])])
    found = twins.find({"test": test, "train": face_set([middle, picture(5)])}, 0.68)
    labels = found.clusters("test")
    assert labels[0] == labels[2] == labels[4] and len(set(labels.tolist())) == 3
    # without pairs, each is its own cluster
    none = twins.find({"test": face_set([b, picture(7)])}, 0.68)
    assert len(set(none.clusters("test").tolist())) == 2
    found.write(tmp_path / "twins.csv")
    with (tmp_path / "twins.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["twin_image"] for r in rows if r["twin_split"] == "train"} == {"0.png"}
    assert [float(r["correlation"]) for r in rows] == sorted(
        (float(r["correlation"]) for r in rows), reverse=True
    )


def test_the_search_is_cached_by_content_and_serves_other_thresholds(tmp_path, monkeypatch):
    test = face_set([picture(0)], tmp_path / "test")
    sets = {"test": test, "train": face_set([picture(0) // 2, picture(4)], tmp_path / "train")}
    first = twins.find(sets, 0.68, cache=tmp_path / "cache")

    def again(*_args, **_more):
        raise AssertionError("searched again")

    monkeypatch.setattr(twins, "search", again)
    second = twins.find(sets, 0.9, cache=tmp_path / "cache")
    assert second.pairs.first.tolist() == first.pairs.first.tolist() == [0]
    cv2.imwrite(str(test.images[0]), picture(8))
    with pytest.raises(AssertionError, match="searched again"):
        twins.find(sets, 0.68, cache=tmp_path / "cache")
    monkeypatch.undo()
    expected = twins.find(sets, 0.68)
    twins.find(sets, 0.68, cache=tmp_path / "cache")
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(b"damaged")
    found = twins.find(sets, 0.68, cache=tmp_path / "cache")
    assert found.pairs.first.tolist() == expected.pairs.first.tolist()


@pytest.mark.data
@pytest.mark.slow
def test_listed_pairs_of_ferplus_are_found(shared):
    """All listed pairs of the test split, and 1,200 other training images.

    Of the 14 that are missed, 9 are one photograph by eye; the list has wrong pairs too.
    """
    with (shared / "data" / "ferplus_near_duplicates.csv").open() as file:
        listed = [row for row in csv.DictReader(file) if row["split"] == "test"]
    sets = {split: ferplus.load(shared / "data", split) for split in ("test", "train")}
    wanted = {row["image"] for row in listed}, {row["train_image"] for row in listed}
    test = sets["test"].take([name in wanted[0] for name in sets["test"].image_names])
    keep = np.array([name in wanted[1] for name in sets["train"].image_names])
    keep[:1200] = True
    found = twins.find({"test": test, "train": sets["train"].take(keep)}, 0.68)
    assert found.having("test", ("train",)).mean() > 0.95


def test_no_name_is_a_formula_or_stops_the_table(tmp_path):
    pairs = near_duplicates.Pairs(
        np.array([0]), np.array([1]), np.array([1.0], np.float32), np.array([False])
    )
    names = {"test": ["=1+2.png"], "train": ["\udcff.png"]}
    twins.Twins(names, pairs, 0.9).write(tmp_path / "twins.csv")
    with (tmp_path / "twins.csv").open(encoding="utf-8") as file:
        _, row = csv.reader(file)
    assert row[:4] == ["test", "'=1+2.png", "train", "\ufffd.png"]
