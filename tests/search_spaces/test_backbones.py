import random
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from rrnet_nni.base.compatibility import freeze_apart
from rrnet_nni.base.errors import Refusal
from rrnet_nni.search_spaces import (
    Backbone,
    PlainX2act,
    SpaceOptions,
    backbone,
    backbone_names,
    build_network,
    build_space,
    candidates_of,
    fixed_choices,
    registry,
    x2act_modules,
)

SMALL = {"width": 0.125, "image_size": 32, "classes": 7}
MODES = ("shared", "separate")


def random_choices(name: str, options: SpaceOptions, seed: int) -> dict[str, str]:
    generator = random.Random(seed)
    return {label: generator.choice(candidates) for label, candidates in candidates_of(name, options).items()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", backbone_names())
def test_backbone_trains_a_step_at_a_random_architecture(name: str, mode: str) -> None:
    options = SpaceOptions(**SMALL, conv_weights=mode)
    torch.manual_seed(0)
    network = build_network(name, options, random_choices(name, options, seed=1))
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[1] != losses[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", backbone_names())
def test_space_freezes_to_the_network_that_is_built(name: str, mode: str) -> None:
    options = SpaceOptions(**SMALL, conv_weights=mode)
    choices = random_choices(name, options, seed=2)
    frozen = freeze_apart(build_space(name, options), choices)
    built = build_network(name, options, choices)
    built.load_state_dict(frozen.state_dict())
    x = torch.randn(2, 3, 32, 32)
    # In training mode, where batch normalization keeps the untrained squares finite.
    assert torch.equal(frozen(x), built(x))
    assert bool(torch.isfinite(built(x)).all())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", backbone_names())
def test_network_agrees_with_its_onnx(name: str, mode: str, tmp_path: object) -> None:
    options = SpaceOptions(**SMALL, conv_weights=mode)
    torch.manual_seed(3)
    network = build_network(name, options, random_choices(name, options, seed=3)).eval()
    x = torch.randn(3, 3, 32, 32)
    path = f"{tmp_path}/model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), path, dynamo=False, opset_version=18)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(logits, network(x).detach().numpy(), rtol=1e-3, atol=1e-4)


def test_separate_weights_give_each_of_the_four_combinations_its_convolution() -> None:
    def convolutions(mode: str) -> int:
        space = build_space("resnet8", SpaceOptions(conv_weights=mode))
        return sum(m.label == "stem.conv" for m in space.modules() if isinstance(m, nn.Conv2d))

    assert convolutions("shared") == 1
    assert convolutions("separate") == 4


def test_gates_can_be_activations_or_poolings_alone() -> None:
    activations = candidates_of("vgg16", SpaceOptions(gates="activation"))
    poolings = candidates_of("vgg16", SpaceOptions(gates="pooling"))
    assert len(activations) == 13
    assert set(activations.values()) == {("relu", "x2act")}
    assert len(poolings) == 5
    assert activations | poolings == candidates_of("vgg16", SpaceOptions()) | {}


def test_labels_are_stable_and_readable() -> None:
    assert list(candidates_of("resnet8", SpaceOptions())) == [
        "stem.act", "stem.pool", "layer1.0.act1", "layer1.0.act2",
        "layer2.0.act1", "layer2.0.act2", "layer3.0.act1", "layer3.0.act2",
    ]  # fmt: skip


def test_options_reach_the_polynomials() -> None:
    options = SpaceOptions(x2act="plain", coefficients="channel", x2act_c=2.0, x2act_w1=0.02, image_size=16)
    network = build_network("resnet8", options, fixed_choices("resnet8", options, "x2act", "avgpool"))
    stem = next(x2act_modules(network))
    assert isinstance(stem, PlainX2act)
    assert stem.w1.shape == (16, 1, 1)
    assert float(stem.w1[0].detach()) == pytest.approx(0.02)
    assert stem.scale == pytest.approx(2 / (16 * 16 * 16) ** 0.5)


@pytest.mark.parametrize("form", ["normalized", "plain"])
@pytest.mark.parametrize("name", backbone_names())
def test_all_polynomial_network_starts_in_a_safe_range(name: str, form: str) -> None:
    options = SpaceOptions(width=0.25, x2act=form)
    torch.manual_seed(0)
    network = build_network(name, options, fixed_choices(name, options, "x2act", "avgpool"))
    peaks: list[float] = []
    for module in x2act_modules(network):
        module.register_forward_hook(lambda module, inputs, output: peaks.append(float(output.detach().abs().max())))
    network(torch.randn(16, 3, 32, 32))
    assert max(peaks) < 60


def test_building_depends_on_torchs_seed_alone() -> None:
    options = SpaceOptions(image_size=16)
    relu, poly = (fixed_choices("resnet8", options, *kind) for kind in (("relu", "maxpool"), ("x2act", "avgpool")))
    states = []
    for choices in (relu, poly, relu):
        torch.manual_seed(5)
        states.append(build_network("resnet8", options, choices).state_dict())
    assert all(torch.equal(states[0][key], states[2][key]) for key in states[0])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_networks_of_one_backbone_share_nothing() -> None:
    options = SpaceOptions(image_size=16)
    space = build_space("resnet8", options)
    choices = fixed_choices("resnet8", options, "x2act")
    first, second = freeze_apart(space, choices), freeze_apart(space, choices)
    assert not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 0}, "width"),
        ({"classes": 1}, "classes"),
        ({"stem": "deep"}, "stem must be one of pool, plain, imagenet"),
        ({"conv_weights": "both"}, "conv_weights"),
        ({"gates": "none"}, "gates"),
        ({"x2act": "plain", "x2act_w1": float("nan")}, "x2act_w1"),
        ({"x2act": "hermite"}, "normalized, plain"),
        ({"x2act_w1": 0.05}, "x2act: plain"),
        ({"x2act_c": 2.0}, "x2act: plain"),
        ({"coefficients": "channel"}, "x2act: plain"),
        ({"image_size": True}, "image_size"),
    ],
)
def test_impossible_options_are_refused_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        SpaceOptions(**change)  # type: ignore[arg-type]


def test_impossible_combinations_are_refused_by_name() -> None:
    with pytest.raises(Refusal, match="unknown backbone 'alexnet'; there are resnet8"):
        build_space("alexnet", SpaceOptions())
    with pytest.raises(Refusal, match="vgg16 has the stems plain"):
        build_space("vgg16", SpaceOptions(stem="imagenet"))
    with pytest.raises(Refusal, match="image_size 16 is too small for vgg16"):
        build_space("vgg16", SpaceOptions(image_size=16))
    options = SpaceOptions()
    choices = fixed_choices("resnet8", options)
    with pytest.raises(Refusal, match=r"no choice for stem\.pool"):
        build_network("resnet8", options, {k: v for k, v in choices.items() if k != "stem.pool"})
    with pytest.raises(Refusal, match=r"stem\.pool must be one of maxpool, avgpool, not 'relu'"):
        build_network("resnet8", options, choices | {"stem.pool": "relu"})
    with pytest.raises(Refusal, match="chooses for layer9"):
        build_network("resnet8", options, choices | {"layer9": "relu"})


def test_installed_packages_add_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Backbone("own_net", backbone("resnet8").build, ("plain",))

    class Point:
        name = "own"

        def load(self) -> Backbone:
            return own

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()] if group == "rrnet_nni.backbones" else [])
    registry._registry.cache_clear()
    try:
        assert "own_net" in backbone_names()
        assert len(candidates_of("own_net", SpaceOptions())) == 7
    finally:
        registry._registry.cache_clear()
