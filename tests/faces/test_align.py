"""Alignment: against scikit-image, by hand, and without aliasing."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from jadfer_cli.faces.align import TEMPLATE, crop, mean_placement, similarity, warp


def apply(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


def test_the_template_is_symmetric_constant_and_read_only():
    mirrored = TEMPLATE[[1, 0, 2, 4, 3]] * [-1, 1] + [1, 0]
    np.testing.assert_allclose(mirrored, TEMPLATE, atol=1e-6)
    np.testing.assert_allclose(TEMPLATE[0], [0.3175, 0.3725])
    with pytest.raises(ValueError, match="read-only"):
        TEMPLATE[0, 0] = 0


def test_hand_computed_shift_and_scale():
    # the template at 56 px, moved by (10, 20): shifted back, then doubled to 112 px
    matrix = similarity((TEMPLATE * 56 + [10, 20])[None])[0]
    np.testing.assert_allclose(matrix, [[2, 0, -20], [0, 2, -40]], atol=1e-3)


def test_hand_computed_quarter_turn():
    # a face rotated clockwise by 90 degrees: (x, y) -> (112 - y, x); the inverse is
    # (u, v) -> (v, 112 - u)
    template = TEMPLATE * 112
    turned = np.stack([112 - template[:, 1], template[:, 0]], axis=1)
    np.testing.assert_allclose(similarity(turned[None])[0], [[0, 1, 0], [-1, 0, 112]], atol=1e-3)


def test_equals_scikit_image_on_random_landmarks():
    rng = np.random.default_rng(0)
    faces = TEMPLATE * rng.uniform(5, 800, (50, 1, 1)) + rng.normal(0, 9, (50, 5, 2))
    for size in (112, 224):
        ours = similarity(faces, size)
        for face, matrix in zip(faces, ours, strict=True):
            reference = SimilarityTransform.from_estimate(face, TEMPLATE * size)
            np.testing.assert_allclose(matrix, reference.params[:2], rtol=1e-4, atol=1e-3)


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-180, 180),
    st.floats(3, 4000),
    st.tuples(st.floats(-9000, 9000), st.floats(-9000, 9000)),
)
def test_undoes_any_similarity(angle_deg, size, shift):
    angle = np.radians(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    face = (TEMPLATE * size) @ turn.T + shift
    np.testing.assert_allclose(apply(similarity(face[None])[0], face), TEMPLATE * 112, atol=0.15)


def test_never_reflects():
    mirrored = TEMPLATE * [-100, 100] + [300, 0]
    assert np.linalg.det(similarity(mirrored[None])[0, :, :2]) > 0


@pytest.mark.parametrize("point", [(0, 0), (17.5, 40)])
def test_coinciding_landmarks_give_a_shift(point):
    matrix = similarity(np.full((1, 5, 2), point, np.float32))[0]
    np.testing.assert_array_equal(matrix[:, :2], np.eye(2))
    np.testing.assert_allclose(apply(matrix, np.array(point)), TEMPLATE.mean(0) * 112, rtol=1e-5)


def test_shapes_are_checked_and_no_face_is_fine():
    image = np.zeros((10, 10, 3), np.uint8)
    assert similarity(np.empty((0, 5, 2))).shape == (0, 2, 3)
    assert crop(image, np.empty((0, 5, 2), np.float32)).shape == (0, 112, 112, 3)
    with pytest.raises(ValueError, match=r"landmarks_px must be \(n, 5, 2\), got \(5, 2\)"):
        similarity(TEMPLATE)


def test_crop_at_its_own_size_is_the_image():
    image = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    np.testing.assert_array_equal(crop(image, TEMPLATE[None] * 112)[0], image)


def test_mean_placement_is_a_plain_resize():
    image = np.random.default_rng(2).integers(0, 256, (48, 48, 3), np.uint8)
    placed = warp(image, mean_placement(48, 48)[None])[0]
    resized = cv2.resize(image, (112, 112), interpolation=cv2.INTER_LINEAR)
    # OpenCV's two functions round their bilinear weights differently
    assert np.abs(placed.astype(int) - resized).max() <= 4
    assert np.abs(placed.astype(float) - resized).mean() < 1


def test_mean_placement_puts_the_mean_face_where_landmarks_would():
    np.testing.assert_allclose(
        mean_placement(48, 48, 96), similarity(TEMPLATE[None] * 48, 96)[0], atol=1e-4
    )


def test_large_faces_do_not_alias():
    # stripes of 1 px, eight per crop pixel: sampling without a filter would give moire patterns
    stripes = np.zeros((896, 896, 3), np.uint8)
    stripes[:, ::2] = 255
    assert crop(stripes, TEMPLATE[None] * 896).std() < 1.0
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = (TEMPLATE - 0.5) * 600 @ turn.T + 448
    assert crop(stripes, turned[None]).std() < 6.0
    bare = cv2.warpAffine(stripes, similarity(turned[None])[0], (112, 112))
    assert bare.std() > 50.0


def test_shrinking_equals_the_area_mean():
    image = np.random.default_rng(3).integers(0, 256, (448, 448, 3), np.uint8)
    mean = image.reshape(112, 4, 112, 4, 3).mean(axis=(1, 3))
    assert np.abs(crop(image, TEMPLATE[None] * 448)[0] - mean).max() <= 1


def test_border_is_repeated_beyond_the_frame():
    image = np.full((60, 60, 3), 200, np.uint8)
    image[:, 0] = 90
    half_out = crop(image, TEMPLATE[None] * 112 - [56, 20])[0]
    assert (half_out[:, :50] == 90).all()
    assert crop(image, TEMPLATE[None] * 50 + 5000).shape == (1, 112, 112, 3)


def test_each_landmark_lands_on_the_template():
    image = np.zeros((400, 400, 3), np.uint8)
    face = TEMPLATE * 150 + [120, 90] + np.array([[3, -2], [-3, 2], [0, 0], [3, -2], [-3, 2]])
    cv2.circle(image, tuple(int(v) for v in face[2]), 3, (255, 255, 255), -1)
    grey = crop(image, face[None])[0].mean(axis=2)
    y, x = np.average(np.indices(grey.shape).reshape(2, -1), axis=1, weights=grey.ravel()) + 0.5
    np.testing.assert_allclose([x, y], TEMPLATE[2] * 112, atol=1.5)
