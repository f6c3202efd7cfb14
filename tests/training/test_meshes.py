"""Face meshes of training pictures: found once, cached, and carried to the losses."""

import dataclasses

import numpy as np
import pytest
import torch
from training.test_ferplus import face_set

from jadfer_cli.faces.landmarker import FaceMeshes
from jadfer_cli.training.augment import AugmentOptions
from jadfer_cli.training.crops import Crops
from jadfer_cli.training.meshes import find_meshes
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import fingerprint


class Counting:
    """A landmarker whose every value is the x of the first landmark."""

    sha256 = "made"

    def __init__(self):
        self.calls = 0

    def find(self, image_rgb, landmarks_px):
        self.calls += 1
        x = np.float32(landmarks_px[0, 0, 0])
        return FaceMeshes(
            np.full((1, 478, 3), x), np.full(1, x / 100), np.full((1, 52), x / 100, np.float32)
        )


def aligned(n=6):
    """Faces of which the second has no first, and the third no landmarks at all."""
    found = np.stack([np.full((2, 5, 2), i + 1, np.float32) for i in range(n)])
    found[:, 1] += 10
    found[1, 0] = found[2] = np.nan
    return dataclasses.replace(face_set(n), landmarks_px=found)


def test_meshes_are_found_once_and_read_from_the_cache(tmp_path):
    faces, finder, done = aligned(), Counting(), []
    found = find_meshes(faces, finder, tmp_path, done.append)
    # the first detector's landmarks, the second's for the second face, none for the third
    assert found.points_px[:, 0, 0] == pytest.approx([1, 12, np.nan, 4, 5, 6], nan_ok=True)
    assert found.presence == pytest.approx([0.01, 0.12, 0, 0.04, 0.05, 0.06])
    assert finder.calls == 5 and done == [1, 2, 3, 4, 5, 6]
    again = find_meshes(faces, finder, tmp_path)
    assert finder.calls == 5
    assert np.array_equal(again.blendshapes, found.blendshapes, equal_nan=True)
    finder.sha256 = "another"
    find_meshes(faces, finder, tmp_path)
    assert finder.calls == 10


def test_an_interrupted_search_goes_on_where_it_stopped(tmp_path):
    faces, finder = aligned(), Counting()

    def stop(done):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_meshes(faces, finder, tmp_path, stop, save_every_s=0)
    assert finder.calls == 3
    found = find_meshes(faces, finder, tmp_path)
    assert finder.calls == 6  # the fourth had not been saved
    assert found.presence == pytest.approx([0.01, 0.12, 0, 0.04, 0.05, 0.06])


def test_a_damaged_cache_is_replaced(tmp_path):
    faces, finder = aligned(), Counting()
    find_meshes(faces, finder, tmp_path)
    (file,) = tmp_path.glob("meshes-*.npz")
    file.write_bytes(b"damaged")
    assert find_meshes(faces, finder, tmp_path).presence[0] == pytest.approx(0.01)
    assert finder.calls == 10


def test_a_subset_keeps_its_own_meshes():
    faces = aligned()
    faces = dataclasses.replace(faces, meshes=find_meshes(faces, Counting()))
    assert faces.take([5, 0]).meshes.presence == pytest.approx([0.06, 0.01])
    labelled, _ = faces.labelled()
    assert len(labelled.meshes) == len(labelled)


def test_a_run_with_other_meshes_is_another_run():
    faces = aligned()
    found = find_meshes(faces, Counting())
    found.blendshapes[:] = 0.5
    with_these = dataclasses.replace(faces, meshes=found)
    keys = [fingerprint(with_these, faces, Start()), fingerprint(with_these, faces, Start())]
    found.blendshapes[0, 0] = 0.6
    keys.append(fingerprint(with_these, faces, Start()))
    assert keys[0] == keys[1] != keys[2] and fingerprint(faces, faces, Start()) not in keys


def test_a_crop_comes_with_its_map():
    """The crop of a picture with one white pixel is white where the map says."""
    faces = face_set(2)
    for seed in range(8):
        picture = np.zeros((48, 48), np.uint8)
        picture[20:23, 26:29] = 255  # centre at (27.5, 21.5) in a picture whose left edge is 0
        faces.images[0] = picture
        steps = dataclasses.asdict(AugmentOptions()) | {
            name: 0.0 for name in ("light", "tint", "resample", "blur", "jpeg", "erase")
        }
        crop, _, index, matrix = Crops(faces, 112, AugmentOptions(**steps), seed)[0]
        weight = crop[0].double()
        at = torch.arange(112) + 0.5
        centre = torch.stack([(weight.sum(0) * at).sum(), (weight.sum(1) * at).sum()])
        expected = matrix @ [27.5, 21.5, 1]
        assert index == 0 and (centre / weight.sum()).numpy() == pytest.approx(expected, abs=0.2)
