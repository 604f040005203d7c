import re

import pytest
import torch
from torch import nn

from rrnet_nni.evaluators.space_operators import describe_space, network_operators
from rrnet_nni.fpga.program import operators as fpga
from rrnet_nni.fpga.program.operators import comparison_count, relu_count
from rrnet_nni.search_spaces import SpaceOptions, backbone_names, build_network, fixed_choices
from rrnet_nni.search_spaces.backbones.vgg import STAGES
from rrnet_nni.search_spaces.gated_scaling import HardSwish, SqueezeExcitation


def inventory(backbone: str, **options: object) -> tuple[int, int]:
    """ReLUs and pool comparisons of the all-ReLU, MaxPool network."""
    space = SpaceOptions(**options)  # type: ignore[arg-type]
    operators = network_operators(backbone, space, fixed_choices(backbone, space))
    relus = sum(relu_count(operator.shape) for operator in operators)
    return relus, sum(comparison_count(operator.shape) for operator in operators) - relus


@pytest.mark.parametrize(
    ("backbone", "relus", "pool_comparisons"),
    [
        ("resnet18", 188_416, 131_072),
        ("resnet34", 290_816, 131_072),
        ("resnet50", 784_384, 131_072),
        ("vgg16", 276_480, 93_696),
        ("mobilenet_v2", 1_502_208, 0),
    ],
)
def test_inventory_at_32_pixels_is_the_papers(backbone: str, relus: int, pool_comparisons: int) -> None:
    assert inventory(backbone) == (relus, pool_comparisons)


def test_plain_stem_resnet18_is_the_other_network_of_the_literature() -> None:
    assert inventory("resnet18", stem="plain") == (557_056, 0)


@pytest.mark.parametrize(
    "backbone", ["resnet18", "resnet34", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]
)
def test_imagenet_networks_count_as_torchvisions_own(backbone: str) -> None:
    import torchvision

    relus = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal relus
        relus += output.numel()

    with torch.device("meta"):
        reference = torchvision.models.get_model(backbone)
        for path, module in reference.named_modules():
            # The two activations inside of squeeze-and-excitation have no counterpart.
            if isinstance(module, nn.ReLU | nn.ReLU6 | nn.Hardswish) and not re.search(r"block\.\d\.activation", path):
                module.register_forward_hook(count)
        reference.eval()(torch.zeros(1, 3, 224, 224))
    expected_pool = 8 * 64 * 56 * 56 if backbone.startswith("resnet") else 0
    assert inventory(backbone, image_size=224, stem="imagenet", classes=1000) == (relus, expected_pool)


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "mobilenet_v3_small"])
def test_mobilenet_v3_as_published_has_torchvisions_layers_and_parameters(name: str) -> None:
    import torchvision

    options = SpaceOptions(image_size=224, stem="imagenet", classes=1000)
    with torch.device("meta"):
        reference = torchvision.models.get_model(name)
    choices = fixed_choices(f"{name}_se", options)
    network = build_network(f"{name}_se", options, choices)
    layers = [network.get_submodule(path) for path, _ in network.named_modules()]
    for kind in (nn.Conv2d, nn.BatchNorm2d, SqueezeExcitation):
        theirs = torchvision.ops.SqueezeExcitation if kind is SqueezeExcitation else kind
        assert sum(isinstance(layer, kind) for layer in layers) >= sum(
            isinstance(m, theirs) for m in reference.modules()
        )
    shapes = sorted(tuple(m.weight.shape) for m in layers if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1))
    assert shapes == sorted(
        tuple(m.weight.shape) for m in reference.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)
    )
    swishes = sum(isinstance(m, nn.Hardswish) for m in reference.modules())
    assert sum(isinstance(layer, HardSwish) for layer in layers) == swishes
    operators = network_operators(f"{name}_se", options, choices)
    gates = sum(isinstance(m, torchvision.ops.SqueezeExcitation) for m in reference.modules())
    assert sum(isinstance(each.shape, fpga.Mul) for each in operators) == gates
    assert sum(isinstance(each.shape, fpga.X2act) for each in operators) == swishes


def test_vgg16_at_224_pixels() -> None:
    relus = sum(count * channels * (224 >> stage) ** 2 for stage, (count, channels) in enumerate(STAGES))
    pools = sum(3 * channels * (112 >> stage) ** 2 for stage, (_, channels) in enumerate(STAGES))
    assert inventory("vgg16", image_size=224, classes=1000) == (relus, pools) == (13_547_520, 4_591_104)


@pytest.mark.parametrize("backbone", backbone_names())
@pytest.mark.parametrize("conv_weights", ["shared", "separate"])
def test_description_covers_every_operator_once(backbone: str, conv_weights: str) -> None:
    options = SpaceOptions(conv_weights=conv_weights, width=0.25)
    space = describe_space(backbone, options)
    assert list(space.choices) == list(fixed_choices(backbone, options))
    relus = network_operators(backbone, options, fixed_choices(backbone, options))
    merged = {operator.name: operator.shape for operator in space.fixed}
    merged |= {label: shapes.get("relu", shapes.get("maxpool")) for label, shapes in space.choices.items()}
    assert merged == {operator.name: operator.shape for operator in relus}


def test_candidates_of_a_gate_have_one_geometry() -> None:
    space = describe_space("vgg16", SpaceOptions())
    relu, x2act = space.choices["stage1.act1"].values()
    assert isinstance(relu, fpga.Relu)
    assert isinstance(x2act, fpga.X2act)
    assert relu.elements == x2act.elements == 64 * 32 * 32
    maxpool, avgpool = space.choices["stage1.pool"].values()
    assert isinstance(maxpool, fpga.MaxPool)
    assert isinstance(avgpool, fpga.AvgPool)
    assert maxpool.output_elements == avgpool.output_elements == 64 * 16 * 16


def test_both_modes_of_convolution_weights_list_the_same_operators() -> None:
    shared, separate = (
        describe_space("resnet8", SpaceOptions(image_size=16, conv_weights=mode)) for mode in ("shared", "separate")
    )
    assert shared == separate


def test_operators_come_in_forward_order() -> None:
    options = SpaceOptions(image_size=16)
    names = [operator.name for operator in network_operators("resnet8", options, fixed_choices("resnet8", options))]
    assert names[:3] == ["stem.conv", "stem.act", "stem.pool"]
    assert names[-2:] == ["pool", "classifier"]
    assert names.index("layer2.0.shortcut") < names.index("layer2.0.add") < names.index("layer2.0.act2")
