"""Augmentation: each step does what it says, alone and by the seed."""

import dataclasses

import numpy as np
import pytest

from jadfer_cli.training.augment import NO_AUGMENTATION, AugmentOptions, degrade
from jadfer_cli.video.still import h264


@pytest.fixture
def picture():
    """Made (112, 112, 3): a bright square on a dark, finely striped ground."""
    stripes = np.where(np.arange(112) % 2, 70, 50).astype(np.uint8)
    picture = np.repeat(np.tile(stripes, (112, 1))[..., None], 3, 2)
    picture[40:72, 40:72] = 220
    return picture


def _only(**chances):
    return dataclasses.replace(NO_AUGMENTATION, **chances)


def test_no_augmentation_changes_nothing(picture):
    result = degrade(picture, NO_AUGMENTATION, np.random.default_rng(0))
    np.testing.assert_array_equal(result, picture)


@pytest.mark.parametrize("step", ["light", "tint", "motion", "resample", "h264", "blur", "jpeg"])
def test_each_step_changes_the_picture_and_repeats_by_the_seed(picture, step):
    first, again = (
        degrade(picture, _only(**{step: 1.0}), np.random.default_rng(3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == picture.shape
    assert not np.array_equal(first, picture)


def test_motion_keeps_the_light_and_smears_along_a_line(picture):
    step = np.zeros((112, 112, 3), np.uint8)
    step[:, 56:] = 200  # a vertical edge: smeared least by vertical motion
    widths = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rng.random()  # as `degrade` draws: motion or not, length, angle
        length, angle = rng.uniform(0.02, 0.1) * 112, rng.uniform(0, np.pi)
        row = degrade(step, _only(motion=1.0), _skipping(seed))[56, :, 0].astype(int)
        widths.append((length * abs(np.cos(angle)), ((row > 5) & (row < 195)).sum()))
        assert row[0] == 0
        assert row[-1] == 200
    expected, seen = np.array(widths).T
    assert np.abs(expected - seen).max() <= 2.5


def _skipping(seed):
    """The generator behind the draws of light and tint, which come before motion."""

    class Generator:
        def __init__(self):
            self.rng, self.skipped = np.random.default_rng(seed), 0

        def random(self):
            if self.skipped < 2:
                self.skipped += 1
                return 1.0
            return self.rng.random()

        def __getattr__(self, name):
            return getattr(self.rng, name)

    return Generator()


def test_h264_is_coarser_at_a_higher_crf_and_keeps_the_mean(picture):
    errors = []
    for crf in (10, 25, 40):
        shown = h264(picture, crf).astype(int)
        errors.append(np.abs(shown - picture).mean())
        assert abs(shown.mean() - picture.mean()) < 3
    assert errors == sorted(errors)
    assert errors[0] < errors[2]


def test_h264_of_sides_that_it_cannot_encode_is_refused():
    with pytest.raises(ValueError, match="even"):
        h264(np.zeros((25, 25, 3), np.uint8), 23)
    with pytest.raises(ValueError, match="16"):
        h264(np.zeros((8, 8, 3), np.uint8), 23)


def test_odd_sizes_pass_through_h264():
    crop = np.full((25, 25, 3), 90, np.uint8)
    assert degrade(crop, _only(h264=1.0), np.random.default_rng(0)).shape == crop.shape


def test_a_chance_above_one_is_refused():
    with pytest.raises(ValueError, match="h264"):
        AugmentOptions(h264=1.5)
