"""Training on stored fine maps: the maps are the stem's, and the loop is the same."""

import dataclasses

import numpy as np
import pytest
import torch
from expression.networks.test_all_networks import small
from training.test_all_recipes import small_options
from training.test_ferplus import face_set
from training.test_relabelling import with_meshes

from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.faces import align
from jadfer_cli.training import augment, cached, loop, recipes
from jadfer_cli.training.crops import Crops
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.start import Start

FACES = face_set(150).labelled()[0]  # 100 images: two batches


def network(seed: int = 0):
    return small("plain", seed=seed)


@pytest.fixture
def start() -> Start:
    return Start("made", stem=network(7).stem.state_dict())


def test_stored_maps_are_those_of_the_crops(tmp_path):
    net, counts = network().eval(), []
    maps = cached.fine_maps(net, FACES, tmp_path, views=2, progress=counts.append)
    assert maps.rows.shape == (2, 100) and counts == [64, 100, 164, 200]
    for view, options in ((0, None), (1, dataclasses.replace(augment.AugmentOptions(), flip=0.0))):
        crops = Crops(FACES, 32, options, 0)
        crops.epoch = view
        for index in (0, 70):
            pixels = crops[index][0][None] / 255
            for mirrored in (False, True):
                found, placement = maps.at(view, index, mirrored)
                with torch.no_grad():
                    here = net.fine(pixels.flip(-1) if mirrored else pixels)[0]
                    there = net.fine(pixels if mirrored else pixels.flip(-1))[0]
                assert found.dtype == torch.bfloat16 and found.shape == (2, 128, 4, 4)
                # bfloat16 has 8 bits
                assert torch.allclose(
                    found.float(), torch.stack([here, there]), rtol=0.01, atol=1e-3
                )
                if not mirrored:
                    assert np.array_equal(placement, crops[index][3])


def test_a_placement_maps_the_picture_to_the_stored_crop(tmp_path):
    """A dot in the picture is where the map says, in a view and in its mirror image."""
    picture = np.zeros((48, 48), np.uint8)
    picture[20:23, 10:13] = 255
    faces = dataclasses.replace(FACES.take([0]), images=[picture])
    maps = cached.fine_maps(network(), faces, tmp_path)
    crop = Crops(faces, 32, None, 0)[0][0].float().mean(0)
    for mirrored in (False, True):
        seen = crop.flip(-1) if mirrored else crop
        rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        centre = [float((grid * seen).sum() / seen.sum()) for grid in (columns, rows)]
        placement = maps.at(0, 0, mirrored)[1]
        assert placement @ [11, 21, 1] == pytest.approx(centre, abs=0.3)


@pytest.mark.slow
def test_an_interrupted_computation_is_resumed(tmp_path):
    whole = cached.fine_maps(network(), FACES, tmp_path / "whole", views=2)

    class Stopped(Exception):
        pass

    def stop(n):
        if n == 164:
            raise Stopped

    with pytest.raises(Stopped):
        cached.fine_maps(network(), FACES, tmp_path / "parts", views=2, progress=stop)
    (part,) = (tmp_path / "parts").glob("*.part")
    with part.open("ab") as file:
        file.write(b"half a row")
    counts: list[int] = []
    again = cached.fine_maps(network(), FACES, tmp_path / "parts", views=2, progress=counts.append)
    assert counts == [200] and again.key == whole.key
    assert np.array_equal(again.rows, whole.rows)
    assert not list((tmp_path / "parts").glob("*.part"))


@pytest.mark.slow
def test_the_file_depends_on_what_decides_the_maps_and_on_nothing_else(tmp_path):
    few = FACES.take(np.arange(4))

    def key(net=None, faces=few, **more):
        return cached.fine_maps(net or network(), faces, tmp_path, **more).key

    first = key()
    relabelled = dataclasses.replace(few, targets=np.roll(few.targets, 1, 1))
    assert key(faces=relabelled) == first
    # the rest of the stem, and networks that share its front
    other = network()
    other.stem.conv2[0].weight.data.add_(1)
    assert key(other) == first
    pooled = small("apvit")
    pooled.stem.load_state_dict(
        {k: v for k, v in network().stem.state_dict().items() if k in pooled.stem.state_dict()}
    )
    assert key(pooled) == first
    moved = dataclasses.replace(few, landmarks_px=np.tile(align.TEMPLATE * 40, (4, 1, 1, 1)))
    different = {
        key(network(1)), key(faces=few.take([1, 0, 2, 3])), key(faces=moved), key(views=2),
        key(views=2, seed=1), key(views=2, augmentation=augment.NO_AUGMENTATION), first,
    }  # fmt: skip
    assert len(different) == 7


def run(options, folder, start, *, stop_after=None, faces: FaceSet = FACES):
    steps: list[float] = []
    calls = loop.Callbacks(
        evaluate=lambda logits, _: {"score": -float(logits.square().mean())},
        on_step=lambda record: steps.append(record.loss),
        stop=lambda: len(steps) == stop_after,
    )
    trained = cached.train(
        options, faces, face_set(6, seed=1), folder, start=start, folder=folder.parent / "maps",
        views=2, callbacks=calls,
    )  # fmt: skip
    return trained, steps


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eac", "apvit"])
def test_a_run_on_maps_resumes_and_leaves_the_front_of_the_stem(name, tmp_path, start):
    options = small_options(name, batch_size=40, frozen_blocks=None)
    whole, steps = run(options, tmp_path / "whole", start)
    assert len(steps) == 4 and steps[-1] < steps[0]
    with pytest.raises(KeyboardInterrupt):
        run(options, tmp_path / "stopped", start, stop_after=3)
    rest, last = run(options, tmp_path / "stopped", start)
    assert last == steps[3:]
    early = ("conv1.", "dw_conv.", *(f"features.{i}." for i in range(12)))
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor, rest.state_dict()[key]), key
        inner = key.removeprefix("stem.")
        same = inner in start.stem and torch.equal(tensor, start.stem[inner])
        assert same == (key.startswith("stem.") and inner.startswith(early)), key


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_trains_on_maps(name, tmp_path, start):
    options = small_options(name, batch_size=10, epochs=1)
    faces = with_meshes(FACES.take(np.arange(20)))
    trained, steps = run(options, tmp_path / "run", start, faces=faces)
    assert len(steps) == 2 and np.isfinite(steps).all()
    assert trained.config.architecture == recipes.facts(name)["architecture"]


@pytest.mark.slow
def test_validation_is_scored_by_the_whole_network(tmp_path, start):
    """What the loop saw on maps is what the finished network says of the pictures."""
    seen = []
    calls = loop.Callbacks(evaluate=lambda logits, _: seen.append(logits) or {"score": 0.0})
    valid = face_set(6, seed=1)
    options = small_options("plain", batch_size=40, epochs=1)
    trained = cached.train(options, FACES, valid, tmp_path / "run", start=start,
                           folder=tmp_path / "maps", views=1, callbacks=calls)  # fmt: skip
    crops = torch.stack([Crops(valid, 32, None, 0)[i][0] for i in range(6)]) / 255
    with torch.no_grad():
        expected = trained(crops).logits
    assert torch.allclose(seen[0], expected, atol=0.02)
    assert not torch.allclose(seen[0], expected.roll(1, 0), atol=0.02)


def test_the_second_view_is_the_stored_mirror_image(tmp_path, start):
    options = small_options("eac", batch_size=4)
    net = start.build(options.network)
    maps = cached.fine_maps(net, FACES, tmp_path, views=2)
    trainer = cached.CachedTrainer(
        options, start, torch.device("cpu"), FACES, "", maps=maps, valid_maps=maps
    )
    item, target, index, _ = trainer.dataset(FACES)[(3, 5)]
    assert index == 5 and torch.equal(target, torch.from_numpy(FACES.targets[5]))
    views = trainer.views(trainer.prepared(item[None]))
    assert len(views) == 2 and all(view.dtype == torch.float32 for view in views)
    stored = {(v, m): maps.at(v, 5, m)[0].float() for v in (0, 1) for m in (False, True)}
    (drawn,) = [k for k, v in stored.items() if torch.equal(v[0], views[0][0])]
    assert torch.equal(stored[drawn[0], not drawn[1]][0], views[1][0])


def test_what_cannot_be_cached_is_refused(tmp_path, start, monkeypatch):
    options = small_options("plain", batch_size=40)
    with pytest.raises(OptionError, match="need the weights of a trained stem"):
        run(options, tmp_path / "a", Start())
    odd = dataclasses.replace(loop.Trainer.__init__.__globals__["recipes"].load("eac"),
                              second_view=lambda pixels: pixels * 0.5)  # fmt: skip
    monkeypatch.setattr("jadfer_cli.training.recipes.eac.RECIPE", odd)
    with pytest.raises(OptionError, match="eac needs a second view that is not stored"):
        run(small_options("eac", batch_size=40), tmp_path / "b", start)
    missing = tmp_path / "missing.png"
    faces = dataclasses.replace(FACES.take([0]), images=[missing])
    with pytest.raises((TrainingError, OSError)):
        cached.fine_maps(network(), faces, tmp_path)
