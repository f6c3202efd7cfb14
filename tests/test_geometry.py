"""Overlap of boxes, against arithmetic by hand and a naive loop."""

from __future__ import annotations

import numpy as np
import pytest

from jadfer_cli.geometry import iou, paired_iou


def naive_iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    area_a, area_b = ((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b))
    return shared / (area_a + area_b - shared)


def random_boxes(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 100, (n, 2)), rng.uniform(1, 60, (n, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 10, 10), 1.0),
        ((5, 0, 15, 10), 50 / 150),  # shares 5x10 of 100 + 100
        ((2, 2, 4, 4), 4 / 100),  # lies inside
        ((10, 0, 20, 10), 0.0),  # touches
        ((11, 11, 20, 20), 0.0),  # apart on both axes
        ((3, 3, 3, 3), 0.0),  # has no area
    ],
)
def test_by_hand(other, expected) -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    assert iou(box, np.array([other], np.float32)) == pytest.approx(expected)


def test_every_pair_as_a_naive_loop_has_it() -> None:
    a, b = random_boxes(30, seed=1), random_boxes(20, seed=2)
    found = iou(a, b)
    assert found.dtype == np.float32 and found.shape == (30, 20)
    expected = [[naive_iou(x, y) for y in b.astype(float)] for x in a.astype(float)]
    assert 0 < np.count_nonzero(found) < found.size  # both cases occur
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_paired_is_the_diagonal_and_keeps_double_precision() -> None:
    a, b = random_boxes(40, seed=3).astype(np.float64), random_boxes(40, seed=4).astype(np.float64)
    found = paired_iou(a, b)
    assert found.dtype == np.float64
    expected = [naive_iou(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_two_boxes_without_area_do_not_overlap() -> None:
    point = np.array([[3, 3, 3, 3]], np.float32)
    assert iou(point, point) == 0


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes(n, m) -> None:
    assert iou(random_boxes(n, seed=5), random_boxes(m, seed=6)).shape == (n, m)
