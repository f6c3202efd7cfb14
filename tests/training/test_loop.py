"""The loop: resuming, SAM, schedules, frozen parts, start weights, the recipe's tables."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from training.test_ferplus import face_set

from jadfer_cli.errors import JadferError, ModelError, OptionError, TrainingError
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.networks.attention import DropPath
from jadfer_cli.expression.networks.jadfer import Jadfer, JadferConfig
from jadfer_cli.faces import align
from jadfer_cli.labels import LABELS
from jadfer_cli.training import augment, loop, optimisation, run_folder, teacher
from jadfer_cli.training import start as starts
from jadfer_cli.training.recipe_options import as_table, defaults, from_table
from jadfer_cli.training.recipes.jadfer import JadferOptions
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import State

SMALL = JadferConfig(width=32, heads=4, map_hidden=8, context_layers=1, crop_px=32)
OPTIONS = dataclasses.replace(
    defaults(), network=SMALL, epochs=3, batch_size=4, frozen_blocks=14, workers=0, warmup=0.5
)


def score(logits: torch.Tensor, faces) -> dict[str, float]:
    return {"score": -float(logits.square().mean())}


def run(folder, options=OPTIONS, stop_after=None, train_set=None, **more):
    seen, steps = [], []
    calls = loop.Callbacks(
        evaluate=score, on_resume=seen.extend, on_epoch=seen.append, on_step=steps.append,
        stop=lambda: stop_after is not None and len(steps) == stop_after, **more,
    )  # fmt: skip
    network = loop.train(
        options, train_set or face_set(24), face_set(6, seed=1), folder, start=Start(),
        callbacks=calls,
    )  # fmt: skip
    return network, seen, steps


@pytest.fixture(scope="module", params=["adamw", "sam"])
def uninterrupted(request, tmp_path_factory):
    options = dataclasses.replace(OPTIONS, optimiser=request.param)
    return options, *run(tmp_path_factory.mktemp("whole"), options)


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [2, 4, 7])  # an epoch has 4 steps
def test_a_killed_run_that_resumes_equals_an_uninterrupted_one(tmp_path, uninterrupted, stop_after):
    options, whole, seen, steps = uninterrupted
    assert len(steps) == 12 and [r.epoch for r in seen] == [1, 2, 3]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, options, stop_after=stop_after)
    rest, again, rest_steps = run(tmp_path, options)
    assert len(rest_steps) == 12 - stop_after
    for a, b in zip(seen, again, strict=True):
        assert b.train_loss == pytest.approx(a.train_loss, rel=1e-5)
        assert (b.train_accuracy, b.best) == (a.train_accuracy, a.best)
        assert b.figures == pytest.approx(a.figures, rel=1e-4)
    for (name, a), b in zip(whole.state_dict().items(), rest.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name
    _, last, none = run(tmp_path, options)  # nothing is left to do
    assert none == [] and len(last) == 3
    assert not list(tmp_path.glob("*.part"))


# what jadfer 0.4.1 wrote into state.pt for OPTIONS
@pytest.mark.slow
def test_a_run_of_an_earlier_network_is_not_resumed(tmp_path):
    """Releases up to 0.4 stored the text of their options."""
    run(tmp_path, dataclasses.replace(OPTIONS, epochs=1))
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.save(saved | {"options": "TrainOptions(network=JadferConfig())"}, tmp_path / "state.pt")
    with pytest.raises(OptionError, match="belongs to a run with other options"):
        run(tmp_path, dataclasses.replace(OPTIONS, epochs=1))


@pytest.mark.slow
def test_a_run_is_not_resumed_with_other_options_but_a_trapezoid_may_grow(tmp_path):
    options = dataclasses.replace(OPTIONS, schedule="trapezoid", cooldown=1, epochs=1)
    run(tmp_path, options)
    _, seen, steps = run(tmp_path, dataclasses.replace(options, epochs=2, workers=1))
    assert len(seen) == 2 and len(steps) == 4
    with pytest.raises(OptionError, match="belongs to a run with other options"):
        run(tmp_path, dataclasses.replace(options, lr=1e-4))


@pytest.mark.slow
def test_a_batch_larger_than_the_set_and_a_diverging_loss_are_refused(tmp_path):
    with pytest.raises(OptionError, match="fewer than one batch of 64"):
        run(tmp_path, dataclasses.replace(OPTIONS, batch_size=64))
    with pytest.raises(JadferError, match=r"The loss is .* in epoch \d"):
        run(tmp_path, dataclasses.replace(OPTIONS, lr=1e30, stem_lr=1e30, warmup=0, epochs=9))


@pytest.mark.slow
def test_a_run_is_not_resumed_with_other_data(tmp_path):
    run(tmp_path, dataclasses.replace(OPTIONS, epochs=1))
    other = face_set(24)
    other.targets[0] = np.roll(other.targets[0], 1)
    with pytest.raises(OptionError, match="other images, labels, teacher, alignment or start"):
        run(tmp_path, dataclasses.replace(OPTIONS, epochs=1), train_set=other)


@pytest.mark.slow
def test_damage_to_the_files_of_a_run_is_named(tmp_path):
    options = dataclasses.replace(OPTIONS, epochs=1)
    run(tmp_path, options)
    for name in ("state.pt", "best.pt"):
        whole = (tmp_path / name).read_bytes()
        assert torch.load(tmp_path / name, weights_only=True)  # still a file of PyTorch
        for at in (100, len(whole) // 2, -100, -30, -1):
            damaged = bytearray(whole)
            damaged[at] ^= 1
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(TrainingError, match=f"{name}.* cannot be read") as caught:
                run(tmp_path, options)
            assert "Train again into another folder" in caught.value.hint
        for cut in (b"", b"cut off", whole[:-1], whole[: len(whole) // 2]):
            (tmp_path / name).write_bytes(cut)
            with pytest.raises(TrainingError, match=f"{name}.* cannot be read"):
                run(tmp_path, options)
        (tmp_path / name).write_bytes(whole)
    run(tmp_path, options)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    for wrong in ([1], {}, saved | {"run": {"pace": 1}}, saved | {"network": {}}):
        torch.save(wrong, tmp_path / "state.pt")  # without a digest, as up to jadfer 0.5
        with pytest.raises(TrainingError, match=r"state\.pt (holds no saved run|is damaged)"):
            run(tmp_path, options)


@pytest.mark.parametrize(
    ("n", "wanted", "found"),
    [(64, 64, 64), (63, 64, 8), (40, 64, 8), (33, 64, 8), (31, 64, 4), (5, 64, 2), (2, 64, 2)],
)
def test_a_batch_is_chosen_to_fit(n, wanted, found):
    assert loop.fitting_batch_size(n, wanted) == found


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    with pytest.raises(JadferError, match="The loss is"):
        run(tmp_path, dataclasses.replace(OPTIONS, lr=1e30, stem_lr=1e30, warmup=0, epochs=9))
    for file in tmp_path.glob("*.pt"):
        saved = torch.load(file, weights_only=True)
        for tensor in saved.get("average", saved).values():
            assert torch.isfinite(tensor.float()).all()


def test_the_average_of_a_short_run_follows_it():
    """From 0 to a constant 1; the decay (1 + n) / (10 + n) is 2/11, 3/12, 4/13 at first."""
    module = torch.nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    update = optimisation.moving_average(0.998)
    average = torch.optim.swa_utils.AveragedModel(module, multi_avg_fn=update)
    average.update_parameters(module)
    module.weight.data.fill_(1.0)
    # 1 - 2/11, 1 - 2/11 * 3/12, 1 - 2/11 * 3/12 * 4/13
    for expected in (9 / 11, 21 / 22, 141 / 143):
        average.update_parameters(module)
        assert average.module.weight.item() == pytest.approx(expected, abs=1e-6)


def test_an_unreadable_picture_is_named_without_a_traceback(tmp_path):
    faces, missing = face_set(24), tmp_path / "missing.png"
    faces.images[0] = faces.images[1] = missing
    faces.images[2:] = [missing] * 22
    options = dataclasses.replace(OPTIONS, workers=1)
    missing.write_bytes(b"no picture")
    with pytest.raises(JadferError) as caught:
        run(tmp_path / "run", options, train_set=faces)
    assert "missing.png is not a readable picture" in caught.value.message
    assert "Traceback" not in caught.value.message and "\n" not in caught.value.message


@pytest.mark.slow
def test_frozen_parts_stay_and_all_others_change(tmp_path):
    torch.manual_seed(OPTIONS.seed)
    before = Start().build(SMALL).state_dict()
    network, _, _ = run(tmp_path, dataclasses.replace(OPTIONS, frozen_blocks=2, epochs=1, lr=0.1))
    early = ("stem.conv1.", "stem.dw_conv.", "stem.features.0.", "stem.features.1.")
    for name, tensor in network.state_dict().items():
        same = torch.equal(tensor, before[name])
        assert same == name.startswith(early), name


def test_schedules_by_hand():
    def factors(**how):
        options = dataclasses.replace(OPTIONS, epochs=4, warmup=1, **how)
        return [optimisation.lr_factor(options, 4, step) for step in range(16)]

    warm = [1 / 5, 2 / 5, 3 / 5, 4 / 5]
    cosine = factors(schedule="cosine")
    assert cosine[:5] == pytest.approx([*warm, 1])
    assert cosine[10] == pytest.approx(0.5) and 0 < cosine[15] < 0.02
    trapezoid = factors(schedule="trapezoid", cooldown=2)
    assert trapezoid == pytest.approx([*warm, 1, 1, 1, 1, *(k / 8 for k in range(8, 0, -1))])


def test_sam_takes_the_gradient_at_the_shifted_weights():
    """On a quadratic the step is known: the gradient at w + rho g / |g|."""
    network = torch.nn.Linear(2, 1, bias=False)
    network.weight.data = torch.tensor([[3.0, 4.0]])
    network.weight.square().sum().backward()  # gradient 2 w = (6, 8), unit (0.6, 0.8)
    with optimisation.shifted(network, 0.5):
        assert torch.allclose(network.weight, torch.tensor([[3.3, 4.4]]))
        network.zero_grad()
        network.weight.square().sum().backward()
    assert torch.equal(network.weight.data, torch.tensor([[3.0, 4.0]]))
    assert torch.allclose(network.weight.grad, torch.tensor([[6.6, 8.8]]))


@pytest.mark.parametrize("norm", [torch.nn.BatchNorm1d(2), torch.nn.BatchNorm2d(2)])
def test_the_second_pass_of_sam_leaves_running_statistics(norm):
    batch = torch.rand(4, 2) if isinstance(norm, torch.nn.BatchNorm1d) else torch.rand(4, 2, 3, 3)
    norm.train()(batch)
    before = norm.running_mean.clone()
    with optimisation.running_statistics_kept(norm):
        norm(batch + 5)
    assert torch.equal(norm.running_mean, before) and norm.momentum == 0.1
    norm(batch + 5)
    assert not torch.equal(norm.running_mean, before)


def test_drop_path_drops_whole_faces_and_keeps_the_mean():
    torch.manual_seed(0)
    layer = DropPath(0.25)
    x = torch.ones(4000, 3, 2)
    y = layer(x)
    per_face = y.flatten(1)
    assert ((per_face == 0).all(1) | (per_face == per_face[:, :1]).all(1)).all()
    assert y.mean() == pytest.approx(1, abs=0.03)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.slow
def test_a_teacher_is_the_mean_of_its_views(tmp_path):
    torch.manual_seed(0)
    network = Jadfer(SMALL).eval()
    checkpoint.save(tmp_path / "t.safetensors", network, temperature=0.5)
    model = checkpoint.load(str(tmp_path / "t.safetensors"))
    rng = np.random.default_rng(0)
    marks = align.TEMPLATE * 48 + rng.normal(0, 2, (6, 2, 5, 2))  # by two detectors
    marks[4, 1] = np.nan  # missed by the second: only the first one's views count
    faces = dataclasses.replace(face_set(6), landmarks_px=marks.astype(np.float32))
    logits = []
    for k in (0, 1):
        for step in (1, -1):
            crops = [
                align.crop(faces.image_rgb(i), faces.landmarks_px[i, 0 if i == 4 else k][None], 32)[
                    0
                ][:, ::step]
                for i in range(6)
            ]
            images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
            with torch.no_grad():
                logits.append(network(images).logits)
    expected = (sum(logits) / 4 / 0.5).softmax(-1).numpy()
    counts: list[int] = []
    p = teacher.teacher_probabilities(faces, model, keep_in=tmp_path, progress=counts.append)
    found = teacher.mixed_targets(faces, p, 0.25)
    assert teacher.n_views(faces) == 4
    assert counts == [6, 12, 18, 24]  # views of images scored so far
    assert np.allclose(found.targets, 0.75 * faces.targets + 0.25 * expected, atol=1e-5)
    kept = list(tmp_path.glob("teacher-*.npy"))
    assert len(kept) == 1
    uniform = np.full((6, 8), 0.125, np.float32)
    kept[0].write_bytes(teacher._bytes_of(uniform))  # the cached file is used
    again = teacher.teacher_probabilities(faces, model, keep_in=tmp_path)
    assert np.allclose(teacher.mixed_targets(faces, again, 1.0).targets, 0.125)
    damaged = bytearray(kept[0].read_bytes())
    damaged[-50] ^= 1  # a digit of a probability: computed again
    kept[0].write_bytes(damaged)
    again = teacher.teacher_probabilities(faces, model, keep_in=tmp_path)
    assert np.array_equal(again, p)


@pytest.mark.slow
def test_start_weights(tmp_path):
    network = Jadfer(SMALL)
    path = tmp_path / "mine.safetensors"
    checkpoint.save(path, network)
    whole = starts.load(str(path), "jadfer")
    wanted = dataclasses.replace(SMALL, width=64, heads=8, jad="queries", dropout=0.5)
    settled = whole.settle(wanted)
    assert (settled.width, settled.heads, settled.jad, settled.dropout) == (32, 4, "queries", 0.5)
    for name, tensor in whole.build(settled).state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
    with pytest.raises(ModelError, match="do not fit the network"):
        whole.build(wanted)
    torch.save(network.stem.state_dict(), tmp_path / "stem.pt")
    stem = starts.load(str(tmp_path / "stem.pt"), "jadfer")
    assert torch.equal(stem.build(wanted).stem.conv1[0].weight, network.stem.conv1[0].weight)
    with pytest.raises(OptionError, match=r"network\.width is 32 in the start weights"):
        whole.settle(wanted, ["width", "jad"])
    checkpoint.save(path, network, labels=tuple(reversed(LABELS)))
    with pytest.raises(ModelError, match="training and evaluation need neutral, happiness"):
        starts.load(str(path), "jadfer")
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, message in (
        ("none.pt", "There is no file"),
        ("bad.pt", "not a readable state dict"),
        ("list.pt", "holds no state dict"),
        ("unknown", "no model named unknown"),
    ):
        with pytest.raises(ModelError, match=message):
            starts.load(name if name == "unknown" else str(tmp_path / name), "jadfer")
    assert starts.load("scratch", "jadfer").settle(wanted) == wanted
    assert starts.load("default", "jadfer").whole


def test_a_network_is_trained_further_on_crops_of_another_size(tmp_path):
    small = dataclasses.replace(SMALL, crop_px=64)  # maps of 4 x 4
    network = Jadfer(small)
    for positions, side in ((network.spatial.position, 4), (network.context.position[:, 1:], 4)):
        ramp = torch.arange(float(side)) + 0.5  # column of each cell, in units of a small cell
        positions.data[:] = ramp.repeat(side)[None, :, None]
    network.context.position.data[:, 0] = 7.0
    path = tmp_path / "small.safetensors"
    checkpoint.save(path, network)
    start = starts.load(str(path), "jadfer")
    wanted = dataclasses.replace(SMALL, crop_px=112)
    assert start.settle(wanted).crop_px == 64  # unchanged unless the user sets it
    assert start.resized(Jadfer(wanted)) == [
        "context.position", "spatial.maps.mean_position", "spatial.position"
    ]  # fmt: skip
    assert start.resized(network) == [] and Start().resized(network) == []
    settled = start.settle(wanted, ["crop_px"])
    assert settled == wanted
    larger = start.build(settled)
    for positions, side in ((larger.spatial.position, 7), (larger.context.position[:, 1:], 7)):
        columns = positions.view(side, side, -1)
        # in the middle the ramp continues by 4/7 per cell; all rows are equal
        middle = slice(side // 2 - 1, side // 2 + 2)
        wanted_ramp = (torch.arange(float(side))[middle] + 0.5) * 4 / 7
        assert torch.allclose(columns[0, middle, 0], wanted_ramp, atol=0.05)
        assert torch.allclose(columns, columns[:1].expand(side, side, -1), atol=1e-5)
    assert torch.equal(larger.context.position[0, 0], network.context.position[0, 0])
    assert larger(torch.rand(1, 3, 112, 112)).logits.shape == (1, 8)
    same = start.build(small).state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in network.state_dict().items())


@pytest.mark.data
def test_the_public_mobilefacenet_loads_as_a_stem(shared):
    start = starts.load(str(shared / "models" / "mobilefacenet_arcface.pt"), "jadfer")
    assert start.stem and not start.whole
    start.build(JadferConfig())


def test_options_survive_toml(tmp_path):
    options = dataclasses.replace(
        defaults(), network=JadferConfig(jad="queries"), augmentation=augment.NO_AUGMENTATION,
        own=JadferOptions(variety="none"), lr=0.5, frozen_blocks=3,
    )  # fmt: skip
    path = tmp_path / "config.toml"
    run_folder.write_config(as_table(options), path)
    assert from_table(run_folder.read_config(path)) == options
    plain = defaults()
    run_folder.write_config(as_table(plain), path)
    assert from_table(run_folder.read_config(path)) == plain


@pytest.mark.parametrize(
    "table, message",
    [
        ({"lerning_rate": 1}, "The recipe jadfer has no option lerning_rate"),
        ({"network": {"depth": 1}}, r"The recipe jadfer has no option network\.depth"),
        ({"network": 3}, "network must be a table"),
        ({"epochs": "many"}, "epochs must be of type int, not 'many'"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"lr": float("nan")}, "lr must be at least 0"),
        ({"ema": 1.0}, "ema must be below 1"),
        ({"variety": "much"}, "variety must be one of cosine, centred, partition, none"),
        ({"variety_weight": -1.0}, "variety_weight must be at least 0"),
        ({"recipe": "none"}, "`recipe` must be one of .*jadfer"),
        ({"optimiser": "lion"}, "optimiser must be one of adamw, sam"),
        ({"network": {"jad": "all"}}, "jad must be one of"),
        ({"frozen_blocks": -1}, "frozen_blocks must be zero or more"),
        ({"lr": True}, "lr must be of type float"),
        ({"network": {"crop_px": 100}}, "crop_px must be a multiple of 16, such as 96 or 112"),
        ({"network": {"heads": 0}}, "heads must be at least 1"),
        ({"network": {"dropout": 2.0}}, "dropout must lie between 0 and 1"),
        ({"network": {"mean": [1.0, 2.0]}}, "mean and std have three values"),
        ({"network": {"n_classes": 7}}, r"network\.n_classes must be 8"),
        ({"network": {"context_layers": -1}}, "context_layers must not be negative"),
        ({"augmentation": {"flip": 3}}, "flip must lie between 0 and 1"),
        ({"augmentation": {"rotation_deg": 300}}, "rotation_deg must lie between"),
    ],
)
def test_invalid_options_are_refused(table, message):
    with pytest.raises(OptionError, match=message):
        from_table(table)


def test_jitter_without_strength_is_the_identity_and_flip_mirrors():
    matrix = np.array([[2, 0, 3], [0, 2, 4]], np.float32)
    rng = np.random.default_rng(0)
    assert np.allclose(augment.jitter(matrix, 112, augment.NO_AUGMENTATION, rng), matrix)
    flip = dataclasses.replace(augment.NO_AUGMENTATION, flip=1)
    assert np.allclose(augment.jitter(matrix, 112, flip, rng), [[-2, 0, 109], [0, 2, 4]])
    image = rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)
    assert np.array_equal(augment.degrade(image, augment.NO_AUGMENTATION, rng), image)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_worker_that_a_signal_ends_is_no_error_if_the_run_is_stopped(tmp_path, stopped):
    saved = []
    trainer = SimpleNamespace(train_mode=lambda: None, save=lambda out, state: saved.append(out))

    def loader():
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Alarm clock.")
        yield

    calls = loop.Callbacks(stop=lambda: stopped)
    with pytest.raises(KeyboardInterrupt if stopped else RuntimeError):
        loop._train_epoch(trainer, loader(), State(), tmp_path, calls)
    assert saved == ([tmp_path] if stopped else [])
