"""Landmarks of pictures of faces, their cache, and the crops and order made from them."""

import cv2
import numpy as np
import pytest
import torch

from jadfer_cli.records import Faces
from jadfer_cli.training.align import find_landmarks
from jadfer_cli.training.augment import NO_AUGMENTATION, AugmentOptions
from jadfer_cli.training.crops import Crops, EpochSampler
from jadfer_cli.training.faceset import Counted, FaceSet


def set_of(images) -> FaceSet:
    n = len(images)
    targets = np.zeros((n, 8), np.float32)
    targets[:, 1] = 1
    protocols = {"all": Counted(np.arange(n), np.ones(n, np.intp))}
    return FaceSet("made", list(images), [str(i) for i in range(n)], targets, protocols)


def bright_squares(calls):
    """A detector of bright rectangles, with their corners as landmarks."""

    def detect(canvas: np.ndarray) -> Faces:
        calls.append(canvas.shape)
        _, _, stats, _ = cv2.connectedComponentsWithStats((canvas[:, :, 0] > 128).astype("u1"))
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:]], np.float32)
        boxes = boxes.reshape(-1, 4)
        corners = boxes[:, [[0, 1], [2, 1], [0, 1], [0, 3], [2, 3]]]
        return Faces(boxes, np.ones(len(boxes), np.float32), corners)

    return detect


def test_landmarks_of_small_pictures_are_in_their_own_pixels(tmp_path):
    images = np.zeros((11, 48, 48), np.uint8)
    for i in range(11):
        images[i, 10 + i : 30 + i, 12:36] = 255 if i != 4 else 0  # picture 4 is empty
    calls = []
    found = find_landmarks(set_of(images), bright_squares(calls), "abc", tmp_path)
    assert np.isnan(found[4]).all()
    for i in set(range(11)) - {4}:
        assert np.abs(found[i, 0] - (12, 10 + i)).max() <= 1
        assert np.abs(found[i, 4] - (36, 30 + i)).max() <= 1
    again = find_landmarks(set_of(images), bright_squares(calls), "abc", tmp_path)
    assert np.array_equal(found, again, equal_nan=True)
    assert len(calls) == 12  # 9 + 2 pictures, in three sizes, as they are and mirrored
    find_landmarks(set_of(images), bright_squares(calls), "other detector", tmp_path)
    assert len(calls) == 24


def test_views_are_averaged_and_one_is_enough():
    images = np.zeros((2, 48, 48), np.uint8)
    images[:, 10:30, 8:24] = 255
    plain = bright_squares([])
    views = []

    def detect(canvas: np.ndarray) -> Faces:
        """Shifts all faces right by 4 px of the canvas; finds the second in the last view only."""
        faces = plain(canvas)
        views.append(len(faces.boxes_px))
        keep = slice(0, 1) if len(views) < 6 else slice(None)
        marks = faces.landmarks_px[keep] + np.array([4, 0], np.float32)
        return Faces(faces.boxes_px[keep], faces.scores[keep], marks)

    found = find_landmarks(set_of(images), detect, "abc", None)
    assert views == [2] * 6
    # at each size the shifts of the picture and of its mirror image cancel
    assert np.abs(found[0, [0, 1, 3, 4]] - [(8, 10), (24, 10), (8, 30), (24, 30)]).max() <= 0.5
    # the last view is mirrored and enlarges 48 px to 160: 4 px become 1.2
    assert np.abs(found[1, [0, 1, 3, 4], 0] - np.array([8, 24, 8, 24]) + 1.2).max() <= 0.5


def test_an_interrupted_search_resumes_and_a_damaged_cache_is_replaced(tmp_path):
    images = np.zeros((40, 48, 48), np.uint8)
    images[:, 10:30, 12:36] = 255
    faces, calls = set_of(images), []
    plain = bright_squares(calls)

    def breaks(canvas):
        if len(calls) == 18:
            raise KeyboardInterrupt
        return plain(canvas)

    with pytest.raises(KeyboardInterrupt):
        find_landmarks(faces, breaks, "abc", tmp_path, save_every_s=0)
    calls.clear()
    found = find_landmarks(faces, plain, "abc", tmp_path)
    assert len(calls) == 12 and np.isfinite(found).all()  # 30 calls in all, 18 were cached
    for file in tmp_path.iterdir():
        file.write_bytes(b"broken")
    calls.clear()
    assert np.array_equal(find_landmarks(faces, plain, "abc", tmp_path), found)
    assert len(calls) == 30
    (tmp_path / "file").write_bytes(b"")  # a cache that cannot be written only costs time
    assert np.array_equal(find_landmarks(faces, plain, "abc", tmp_path / "file"), found)


def test_landmarks_of_large_and_oblong_files(tmp_path):
    expected = []
    for i, (h, w) in enumerate([(300, 200), (150, 400), (1200, 900)]):
        image = np.zeros((h, w, 3), np.uint8)
        x0, y0, x1, y1 = w // 4, h // 4, 3 * w // 4, 2 * h // 3
        image[y0:y1, x0:x1] = 255
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
        expected.append([(x0, y0), (x1, y1)])
    faces = set_of([tmp_path / f"{i}.png" for i in range(3)])
    found = find_landmarks(faces, bright_squares([]), "abc", None)
    for i, (first, last) in enumerate(expected):
        tolerance = max(faces.image_rgb(i).shape) / 150
        assert np.abs(found[i, 0] - first).max() <= tolerance
        assert np.abs(found[i, 4] - last).max() <= tolerance


def test_a_face_missed_with_a_margin_is_tried_without(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((400, 400, 3), 200, np.uint8))
    calls = []
    plain = bright_squares(calls)

    def detect(canvas):
        faces = plain(canvas)
        wide = (faces.boxes_px[:, 2] - faces.boxes_px[:, 0]) > 400
        return Faces(faces.boxes_px[wide], faces.scores[wide], faces.landmarks_px[wide])

    found = find_landmarks(set_of([tmp_path / "a.png"]), detect, "abc", None)
    assert len(calls) == 4 and np.abs(found[0, 4] - (400, 400)).max() <= 1


def test_a_face_without_landmarks_is_used_uncropped_and_never_dropped():
    images = np.random.default_rng(0).integers(0, 255, (3, 48, 48), dtype=np.uint8)
    faces = set_of(images)
    marks = np.full((3, 1, 5, 2), np.nan, np.float32)
    marks[1, 0] = [[15, 18], [33, 18], [24, 28], [17, 36], [31, 36]]
    aligned = FaceSet(**{**vars(faces), "landmarks_px": marks})
    crops = Crops(aligned, 112, None, 0)
    assert len(crops) == 3
    for i in (0, 2):
        whole = cv2.resize(images[i], (112, 112), interpolation=cv2.INTER_LINEAR)
        gap = np.abs(crops[i][0][0].numpy().astype(int) - whole)
        assert gap.max() <= 2
    assert not np.array_equal(crops[1][0], Crops(faces, 112, None, 0)[1][0])


def test_training_draws_any_detector_and_evaluation_uses_the_first():
    faces = set_of(np.random.default_rng(0).integers(0, 255, (1, 48, 48), dtype=np.uint8))
    first = np.array([[15, 18], [33, 18], [24, 28], [17, 36], [31, 36]], np.float32)
    both = np.stack([first, first + 4])[None]

    def crop(marks, augmentation, epoch=0):
        crops = Crops(FaceSet(**{**vars(faces), "landmarks_px": marks}), 112, augmentation, 0)
        crops.epoch = epoch
        return crops[0][0].numpy()

    a, b = (crop(both[:, i : i + 1], None) for i in (0, 1))
    assert not np.array_equal(a, b)
    assert np.array_equal(crop(both, None), a)
    drawn = [crop(both, NO_AUGMENTATION, epoch) for epoch in range(20)]
    firsts = sum(np.array_equal(d, a) for d in drawn)
    assert 4 <= firsts <= 16 and all(np.array_equal(d, a) or np.array_equal(d, b) for d in drawn)


@pytest.mark.parametrize("balance, expected", [(0.0, 0.9), (0.5, 0.75), (1.0, 0.5)])
def test_balance_draws_classes_at_the_expected_rates(balance, expected):
    # 900 and 100 images: rates n ** (1 - balance), so 30:10 at 0.5
    classes = np.repeat([0, 1], [900, 100])
    sampler = EpochSampler(classes, balance, 0)
    drawn = np.concatenate([[i for _, i in _epoch(sampler, e)] for e in range(20)])
    assert (classes[drawn] == 0).mean() == pytest.approx(expected, abs=0.02)


def _epoch(sampler, epoch):
    sampler.epoch = epoch
    return sampler


def test_an_image_drawn_twice_is_augmented_in_two_ways():
    faces = set_of(np.random.default_rng(0).integers(0, 255, (1, 48, 48), dtype=np.uint8))
    crops = Crops(faces, 112, AugmentOptions(), 0)
    first, second, again = (crops[item][0] for item in ((0, 0), (7, 0), (0, 0)))
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_a_sampler_that_skips_continues_in_the_same_order():
    sampler = EpochSampler(np.repeat([0, 1], 10), 0.5, 3)
    whole = list(sampler)
    sampler.skip = 8
    assert list(sampler) == whole[8:] and len(sampler) == 12
