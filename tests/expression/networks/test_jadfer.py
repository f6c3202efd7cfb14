"""JADFER: invariants of joint attention dropping, of the losses and of the network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import HALF_MAX, HALF_MEAN, SAME_MACHINE

from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.losses import soft_cross_entropy, variety_loss
from jadfer_cli.expression.networks.attention import (
    JAD_AMOUNTS,
    JAD_READINGS,
    Attention,
    joint_attention_mask,
)
from jadfer_cli.expression.networks.jadfer import (
    BRANCHES,
    SPATIAL_TOKENS,
    Jadfer,
    JadferConfig,
)
from jadfer_cli.expression.networks.spatial import Probe
from jadfer_cli.expression.networks.stems import STEMS, MobileFaceNetStem, mobilefacenet_from_public
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.expression.torch_engine import fold_norms, in_torch
from jadfer_cli.faces import align
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.installation.samples import face_picture
from jadfer_cli.options import FaceOptions
from jadfer_cli.runtime import Runtime

SMALL = {"width": 32, "heads": 4, "paths": 2, "map_hidden": 8}


def attention(seed: int, b: int = 2, h: int = 4, n_q: int = 5, n_k: int = 10) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(b, h, n_q, n_k, generator=generator)).softmax(-1)


def test_identical_heads_lose_their_joint_peak():
    # one query, four keys, two equal heads: rho 0.25 of 4 keys drops one, the peak at key 2
    row = torch.tensor([0.1, 0.2, 0.6, 0.1])
    weights = row.expand(1, 2, 1, 4)
    mask = joint_attention_mask(weights, "heads", 0.25)
    assert mask[0, :, 0].tolist() == [[False, False, True, False]] * 2


def test_heads_reading_drops_what_all_heads_attend_to():
    # peak-normalised: [1, .5, .5] and [.1, 1, .6] -> min [.1, .5, .5]; only head 1 attends to key 0
    weights = torch.tensor([[[[0.5, 0.25, 0.25]], [[0.06, 0.588, 0.352]]]])
    mask = joint_attention_mask(weights, "heads", 0.34)  # ceil(1.02) = 2 of 3 keys
    assert mask[0, 0, 0].tolist() == [False, True, True]


def test_queries_reading_drops_the_columns_that_all_queries_share():
    weights = torch.tensor([[[[0.1, 0.7, 0.2], [0.3, 0.6, 0.1]]]])
    mask = joint_attention_mask(weights, "queries", 0.1)
    assert mask[0, 0].tolist() == [[False, True, False]] * 2


def test_similar_reading_spares_dissimilar_heads_and_the_stronger_head():
    strong, weak = [0.0, 0.9, 0.1], [0.05, 0.8, 0.15]
    unlike = [0.9, 0.05, 0.05]
    weights = torch.tensor([[[strong], [weak], [unlike]]])
    mask = joint_attention_mask(weights, "similar", 0.1, tau=0.9)
    assert mask[0, :, 0].tolist() == [[False] * 3, [False, True, False], [False] * 3]


@pytest.mark.parametrize("reading", JAD_READINGS)
@given(seed=st.integers(0, 1000), rho=st.floats(0, 1), n_cls=st.integers(0, 1))
@settings(max_examples=25, deadline=None)
def test_masks_leave_the_cls_key_and_never_a_whole_row(reading, seed, rho, n_cls):
    weights = attention(seed)
    mask = joint_attention_mask(weights, reading, rho, n_cls=n_cls)
    assert mask.shape == weights.shape
    assert not mask.all(-1).any()
    assert not mask[..., :n_cls].any()
    if rho == 0 or reading == "none":
        assert not mask.any()
    elif reading in ("heads", "queries", "random"):
        count = min(int(np.ceil(rho * 10)), 10 - n_cls - (0 if n_cls else 1))
        assert (mask.sum(-1) == count).all()


@pytest.mark.parametrize("amount", JAD_AMOUNTS)
@pytest.mark.parametrize("reading", JAD_READINGS)
def test_dropped_rows_still_sum_to_one_and_hold_no_nan(reading, amount):
    torch.manual_seed(0)
    layer = Attention(
        JadferConfig(**SMALL, jad_p=1.0, jad_rho=1.0, jad_amount=amount), reading
    ).train()
    logits = 100 * torch.randn(2, 4, 5, 10)
    weights = layer.drop(logits, n_cls=1).softmax(-1)
    assert torch.isfinite(weights).all()
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4, 5))


def test_evaluation_and_rho_zero_are_the_identity():
    logits = torch.randn(2, 4, 5, 10)
    for config, training in (
        (JadferConfig(**SMALL, jad_p=1.0, jad_rho=0.5), False),
        (JadferConfig(**SMALL, jad_p=1.0, jad_rho=0.0), True),
        (JadferConfig(**SMALL, jad_p=0.0, jad_rho=0.5), True),
    ):
        layer = Attention(config, "heads").train(training)
        assert layer.drop(logits, n_cls=1) is logits


def test_dropping_is_drawn_for_each_sample():
    torch.manual_seed(0)
    layer = Attention(JadferConfig(**SMALL, jad_p=0.5, jad_rho=0.2), "heads").train()
    logits = torch.randn(200, 4, 5, 10)
    dropped = torch.isinf(layer.drop(logits, n_cls=1)).flatten(1).any(1)
    assert 60 < int(dropped.sum()) < 140  # 100 expected, standard deviation 7


@pytest.mark.slow
@pytest.mark.parametrize("spatial", SPATIAL_TOKENS)
@pytest.mark.parametrize("branches", BRANCHES)
def test_every_parameter_gets_a_gradient(branches, spatial):
    torch.manual_seed(0)
    config = JadferConfig(branches=branches, spatial_tokens=spatial, drop_path=0, crop_px=64)
    network = Jadfer(config).train()
    output = network(torch.rand(2, 3, 64, 64))
    assert output.logits.shape == (2, 8)
    logits = [value for name, value in output.auxiliary.items() if name != "maps"]
    assert len(logits) == (2 if branches == "both" else 0)
    losses = [each.square().sum() for each in (output.logits, *logits)]
    (sum(losses) + variety_loss(output.auxiliary["maps"], margin=-1)).backward()
    without = [
        n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    # a bias on the keys shifts all logits of a softmax equally, which changes nothing
    # CB alone looks at the stem's fine map only
    unused = [f"stem.features.{i}." for i in (12, 13, 14)] + ["stem.conv2."]
    unused = [*(unused if branches == "context" else []), "key_value.bias"]
    assert [n for n in without if not any(part in n for part in unused)] == []


@pytest.mark.slow
def test_shapes_and_size_are_those_of_the_design():
    network = Jadfer(JadferConfig()).eval()
    with torch.inference_mode():
        features = network.stem(torch.rand(2, 3, 112, 112))
        output = network(torch.rand(2, 3, 112, 112))
    assert features.shape == (2, 512, 7, 7)
    maps = output.auxiliary["maps"]
    assert maps.shape == (2, 4, 7, 7)
    assert maps.min() >= 0 and torch.allclose(maps.mean((2, 3)), torch.ones(2, 4), atol=1e-4)
    assert sum(p.numel() for p in network.parameters()) < 5_000_000
    large = Jadfer(JadferConfig(stem="ir50")).eval()
    with torch.inference_mode():
        assert large.stem(torch.rand(1, 3, 112, 112)).shape == (1, 256, 14, 14)
        assert large(torch.rand(1, 3, 112, 112)).auxiliary["maps"].shape == (1, 4, 14, 14)


def test_a_batch_of_two_is_two_batches_of_one():
    torch.manual_seed(0)
    network = Jadfer(JadferConfig()).eval()
    crops = torch.rand(2, 3, 112, 112)
    with torch.inference_mode():
        together = network(crops).logits
        alone = torch.cat([network(crops[:1]).logits, network(crops[1:]).logits])
    assert torch.allclose(together, alone, atol=1e-5)


def test_spatial_projection_equals_its_definition():
    """F_i = proj_i(F * M_i), path by path, compared with the optimised form in the code."""
    torch.manual_seed(0)
    config = JadferConfig(**SMALL, spatial_tokens="cells", fine_maps=False)
    branch = Jadfer(config).eval().spatial
    features = torch.rand(2, 512, 7, 7)
    with torch.inference_mode():
        tokens, maps = branch(features, Probe())
        weight = branch.project.weight.flatten(1).chunk(2)  # (D/N, C) per path
        paths = [
            torch.einsum("dc,bchw->bdhw", w, features * maps[:, i : i + 1])
            for i, w in enumerate(weight)
        ]
        expected = torch.cat(paths, 1).flatten(2).transpose(1, 2) + branch.bias + branch.position
    assert torch.allclose(tokens, expected, atol=1e-5)


@pytest.mark.parametrize("contrast", [True, False])
def test_a_region_token_is_the_mean_feature_under_its_map(contrast):
    """Path by path with plain loops: pool with the map's weights, normalise, project."""
    torch.manual_seed(0)
    branch = Jadfer(JadferConfig(**SMALL, region_contrast=contrast)).eval().spatial
    features = torch.rand(2, 512, 7, 7)
    with torch.inference_mode():
        tokens, maps = branch(features, Probe())
        position = branch.position[0].T.reshape(1, 32, 7, 7)
        cells = branch.project(features) + position
        for face in range(2):
            for path in range(2):
                weights = maps[face, path] / maps[face, path].sum()
                pooled = (cells[face] * weights).sum((1, 2))
                pooled = pooled - cells[face].mean((1, 2)) if contrast else pooled
                expected = branch.norm(pooled) @ branch.path[path] + branch.bias[0, path]
                assert torch.allclose(tokens[face, path], expected, atol=1e-4)


def test_a_flat_map_shows_no_contrast():
    torch.manual_seed(0)
    branch = Jadfer(JadferConfig(**SMALL)).eval().spatial
    with torch.inference_mode():
        faces = branch(torch.rand(5, 512, 7, 7), Probe(maps=torch.ones_like))[0]
    assert torch.allclose(faces, faces[:1].expand_as(faces), atol=1e-5)  # whatever the face


def test_the_context_is_local():
    """A change in one corner of the fine map reaches that cell's token only, not the others."""
    torch.manual_seed(0)
    network = Jadfer(JadferConfig(**SMALL, context_layers=0)).eval()
    fine = torch.rand(1, 128, 14, 14)
    changed = fine.clone()
    changed[..., :2, :2] += 1
    seen = []
    network.interaction = torch.nn.ModuleList([Listener(seen)])
    with torch.inference_mode():
        network.score(fine)
        network.score(changed)
    moved = (seen[0] - seen[1]).abs().sum(-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == [1]  # the first cell, after the class token


class Listener(torch.nn.Module):
    """Stands for SCI; keeps the context that it is given."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, tokens, context):
        self.seen.append(context)
        return tokens


def test_centred_maps_forget_what_all_faces_share():
    torch.manual_seed(0)
    network = Jadfer(JadferConfig(**SMALL)).train()
    shared = torch.rand(1, 512, 7, 7)
    own = torch.rand(6, 512, 7, 7)
    mean = network.spatial.maps(shared + 0.1 * own).mean(0)
    assert mean.abs().max() < 1e-4
    for _ in range(200):
        network.spatial.maps(shared.expand(6, -1, -1, -1))
    network.eval()  # a face like all others: every cell weighs the same
    assert network.spatial.maps(shared).std() < 1e-2
    # and the whole map follows what is special: uniform for the common face
    assert network.spatial(shared, Probe())[1].sub(1).abs().max() < 0.05


def test_masks_by_mass_drop_the_same_attention_whatever_the_reading():
    torch.manual_seed(0)
    weights = attention(3, b=400, h=2, n_q=4, n_k=50)
    keys = {}
    for reading in ("heads", "queries", "random"):
        mask = joint_attention_mask(weights, reading, 0.3, amount="mass")
        # a standard error of 0.006: 400 faces, each off by at most one key of up to 0.3
        assert (weights * mask).sum(-1).mean().item() == pytest.approx(0.3, abs=0.02), reading
        keys[reading] = mask.sum().item()
    assert keys["queries"] < 0.7 * keys["random"]


@pytest.mark.parametrize("spatial", SPATIAL_TOKENS)
def test_probes_change_one_part_and_leave_the_network_as_it_was(spatial):
    torch.manual_seed(0)
    network = Jadfer(JadferConfig(**SMALL, spatial_tokens=spatial, fine_maps=True)).eval()
    fine = torch.rand(4, 128, 14, 14)
    with torch.inference_mode():
        before = network.score(fine)
        seen = []
        for probe in (
            Probe(maps=lambda m: m.mean((2, 3), keepdim=True).expand_as(m)),
            Probe(blank=True),
            Probe(context=torch.tensor([1, 2, 3, 0])),
            Probe(jad="own"),
            Probe(jad="random"),
        ):
            with network.probed(probe):
                seen.append(network.score(fine).logits)
        after = network.score(fine)
    assert torch.equal(before.logits, after.logits)
    for logits in seen:
        assert (logits - before.logits).abs().max() > 1e-5
    with torch.inference_mode(), network.probed(Probe(maps=lambda m: m)):
        assert torch.equal(network.score(fine).logits, before.logits)


def test_files_of_earlier_releases_build_the_earlier_network():
    config = checkpoint.load("jadfer-compact-0.4").config
    assert config.spatial_tokens == "cells" and not config.fine_maps and not config.centred_maps


def test_stems_have_the_declared_channels_and_reduction():
    for name, stem in STEMS.items():
        with torch.inference_mode():
            network = stem().eval()
            fine = network.fine(torch.rand(1, 3, 64, 64))
            features = network.coarse(fine)
        side = 64 // stem.fine_reduction
        assert fine.shape == (1, stem.fine_channels, side, side), name
        side = 64 // stem.reduction
        assert features.shape == (1, stem.channels, side, side), name


def test_config_refuses_what_does_not_fit():
    for wrong in ({"stem": "vgg"}, {"jad": "all"}, {"branches": "none"}, {"width": 250}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            JadferConfig(**wrong)


def test_variety_is_zero_for_disjoint_maps_and_one_minus_margin_for_equal_ones():
    disjoint = torch.zeros(1, 2, 2, 2)
    disjoint[0, 0, 0, 0] = disjoint[0, 1, 1, 1] = 1
    assert variety_loss(disjoint).item() == 0
    equal = torch.rand(1, 1, 3, 3).expand(1, 4, 3, 3)
    assert variety_loss(equal, margin=0.2).item() == pytest.approx(0.8, abs=1e-5)
    assert variety_loss(equal[:, :1]).item() == 0
    # two paths, variance 0: log(1 + 2 / 1e-6)
    assert variety_loss(equal[:, :2], "partition").item() == pytest.approx(np.log1p(2e6), rel=1e-4)
    with pytest.raises(ValueError, match="kind"):
        variety_loss(equal, "other")


def test_centred_variety_is_not_met_by_maps_that_differ_for_every_face_alike():
    """Two paths with fixed places of their own, which move together: they look at the same."""
    move = torch.rand(6, 1, 5, 5).expand(6, 2, 5, 5)
    places = torch.zeros(1, 2, 5, 5)
    places[0, 0, 0], places[0, 1, 4] = 50, 50
    maps = places + move
    assert variety_loss(maps, "cosine").item() == 0
    assert variety_loss(maps, "centred").item() == pytest.approx(0.8, abs=1e-3)


def test_soft_cross_entropy_against_torch_and_by_hand():
    logits = torch.randn(5, 8)
    labels = torch.randint(0, 8, (5,))
    hard = torch.nn.functional.one_hot(labels, 8).float()
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert torch.allclose(soft_cross_entropy(logits, hard), expected)
    uniform = torch.full((1, 4), 0.25)
    assert soft_cross_entropy(torch.zeros(1, 4), uniform).item() == pytest.approx(np.log(4))


@pytest.mark.data
def test_the_public_stem_is_the_public_network(shared):
    """Our stem with the public weights, then their head, against the public ONNX export."""
    import onnxruntime

    f = torch.nn.functional
    state = torch.load(
        shared / "models/mobilefacenet_arcface.pt", map_location="cpu", weights_only=True
    )
    stem = MobileFaceNetStem().eval()
    stem.load_state_dict(mobilefacenet_from_public(state), strict=True)
    rgb = torch.rand(2, 3, 112, 112)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        parts = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return f.batch_norm(x, *parts)

    with torch.inference_mode():
        x = f.conv2d(stem((rgb - mean) / std), state["gdconv.depthwise.weight"], groups=512)
        x = f.conv2d(norm(x, "gdconv.bn"), state["conv3.weight"], state["conv3.bias"])
        ours = f.normalize(norm(x.flatten(1), "bn")).numpy()
    session = onnxruntime.InferenceSession(
        str(shared / "models/mobilefacenet_arcface.onnx"), providers=["CPUExecutionProvider"]
    )
    theirs = session.run(None, {"input": (rgb * 2 - 1).numpy()})[0]
    cosine = (ours * theirs).sum(1)
    assert cosine.min() > 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
@pytest.mark.parametrize("stem", ["mobilefacenet", "ir50"])
def test_the_predictor_equals_the_plain_network(tmp_path, monkeypatch, stem, engine):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.manual_seed(0)
    network = Jadfer(JadferConfig(stem=stem, crop_px=64, **SMALL))
    for norm in network.modules():  # statistics that folding must not lose
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
    checkpoint.save(tmp_path / "m.safetensors", network, temperature=0.7)
    runtime = Runtime("cpu", "CPU", "fp32", 2, engine, 2)
    model = checkpoint.load(str(tmp_path / "m.safetensors"))
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    with torch.no_grad():
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        expected = (network.eval()(images).logits / 0.7).softmax(-1).numpy()
    for _ in range(2):  # the second time from the cache
        found = Predictor(model, runtime).probabilities(crops)
        assert found.dtype == np.float32 and np.abs(found - expected).max() < SAME_MACHINE
    graphs = list((tmp_path / "jadfer" / "graphs").glob("*.graph"))
    assert len(graphs) == (engine == "onnxruntime")
    for graph in graphs:  # a damaged one is replaced
        whole = graph.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 0x40
        graph.write_bytes(changed)
        assert np.allclose(Predictor(model, runtime).probabilities(crops), found)
        assert graph.read_bytes() == whole
    folded = Jadfer(model.config).eval()
    before = sum(isinstance(m, torch.nn.BatchNorm2d) for m in folded.stem.modules())
    fold_norms(folded)
    after = sum(isinstance(m, torch.nn.BatchNorm2d) for m in folded.stem.modules())
    assert after == 0 if stem == "mobilefacenet" else 0 < after < before


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["mobilefacenet", "ir50"])
def test_half_weights_give_the_scores_of_float32_and_take_tensors(tmp_path, monkeypatch, stem):
    """Half precision as on CUDA, tested on the CPU, where PyTorch has the same operations."""
    model = checkpoint.load()
    if model.config.stem != stem:
        torch.manual_seed(0)
        network = Jadfer(JadferConfig(stem=stem, **SMALL))
        checkpoint.save(tmp_path / "m.safetensors", network, temperature=0.1)
        model = checkpoint.load(str(tmp_path / "m.safetensors"))
    picture = face_picture()
    landmarks = load_detector(FaceOptions(detector="centerface"), 1).detect(picture).landmarks_px
    crops = np.concatenate([align.crop(picture, landmarks + shift) for shift in (-4, 0, 4)])
    crops = crops[:: 9 if stem == "ir50" else 4]  # half precision is slow on a CPU
    wanted = Predictor(model, Runtime("cpu", "CPU", "fp32", 2)).probabilities(crops)
    for precision, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        runtime = Runtime("cpu", "CPU", precision, 2)
        predictor = Predictor(model, runtime)
        predictor.engine = in_torch(model, runtime, half_weights=True)
        types = set()
        monkeypatch.setattr(Jadfer, "forward", noting_types(Jadfer.forward, types))
        found = predictor.probabilities(torch.from_numpy(crops))
        monkeypatch.undo()
        # IR-50 has norms that do not follow a convolution
        others = {torch.float32, torch.int64} if stem == "ir50" else set()
        assert types == {dtype} | others
        differ = np.abs(found - wanted)
        assert differ.mean() < HALF_MEAN and differ.max() < HALF_MAX
        np.testing.assert_array_equal(predictor.probabilities(crops), found)


def noting_types(forward, types):
    def noted(self, crops):
        assert not torch.is_autocast_enabled("cpu")
        types.update({crops.dtype} | {tensor.dtype for tensor in self.state_dict().values()})
        return forward(self, crops)

    return noted
