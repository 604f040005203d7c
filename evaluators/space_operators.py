"""A backbone as operator shapes: the bridge from search spaces to costs.

Shapes are read off the real modules, by a forward pass of one image on torch's meta device, which computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, singledispatch
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program import operators as fpga
from rrnet_nni.fpga.program.operators import NamedOperator, OperatorShape
from rrnet_nni.search_spaces import ResidualAdd, SpaceOptions, X2act, build_network, candidates_of, fixed_choices
from rrnet_nni.search_spaces.gated_scaling import Multiply, ShiftedClip, SwishClip, SwishProduct
from rrnet_nni.search_spaces.gates import POOLINGS, activation_names
from rrnet_nni.search_spaces.layers import Identity
from rrnet_nni.search_spaces.patch_relu import Relu2x2
from rrnet_nni.search_spaces.slices import SlicedActivation


@dataclass(frozen=True)
class SpaceOperators:
    """What may be chosen and what is always there, as shapes.

    Attributes:
        choices: label -> candidate -> shape, labels in forward order.
        fixed: every other operator (convolutions, additions, pooling, linear layer) in forward order.
        input_shapes: label -> (channels, height, width) of what the gate gets.
        slices: label of a slice -> the activation that it is a slice of.
    """

    choices: Mapping[str, Mapping[str, OperatorShape]]
    fixed: tuple[NamedOperator, ...]
    input_shapes: Mapping[str, tuple[int, ...]]
    slices: Mapping[str, str] = field(default_factory=dict)


@cache
def describe_space(backbone: str, options: SpaceOptions) -> SpaceOperators:
    """All gates and all fixed operators of a space.

    As many networks contain every candidate as a gate has candidates; the last is all-ReLU with MaxPool.
    """
    candidates = candidates_of(backbone, options)
    choices: dict[str, dict[str, OperatorShape]] = {label: {} for label in candidates}
    fixed: tuple[NamedOperator, ...] = ()
    shapes: dict[str, tuple[int, ...]] = {}
    slices: dict[str, str] = {}
    activations = reversed(activation_names(options))
    candidates_in_turn = zip_longest(activations, reversed(POOLINGS), fillvalue=POOLINGS[0])
    for activation, pooling in candidates_in_turn:
        chosen = fixed_choices(backbone, options, activation, pooling)
        traced = _trace(_meta_network(backbone, options, chosen), _image_shape(options))
        for operator, shape in traced:
            if operator.name in chosen:
                choices[operator.name][chosen[operator.name]] = operator.shape
                shapes[operator.name] = shape
                if operator.activation is not None:
                    slices[operator.name] = operator.activation
        fixed = tuple(operator for operator, _ in traced if operator.name not in chosen)
    ordered = {label: {name: choices[label][name] for name in names} for label, names in candidates.items()}
    return SpaceOperators(ordered, fixed, shapes, slices)


def network_operators(backbone: str, options: SpaceOptions, choices: Mapping[str, str]) -> list[NamedOperator]:
    """Every operator of the frozen network in forward order; gates carry their labels."""
    return trace_operators(_meta_network(backbone, options, choices), _image_shape(options))


def _meta_network(backbone: str, options: SpaceOptions, choices: Mapping[str, str]) -> nn.Module:
    with torch.device("meta"):
        return build_network(backbone, options, choices)


def _image_shape(options: SpaceOptions) -> tuple[int, int, int]:
    return options.channels, options.image_size, options.image_size


def trace_operators(network: nn.Module, input_shape: tuple[int, int, int]) -> list[NamedOperator]:
    """The operators of any network made of convolutions, linear layers, ReLU, X2act, poolings and `ResidualAdd`.

    `network` must lie on the meta device; `input_shape` is (C, H, W). A module's `label`, else its path, names it.
    """
    return [operator for operator, _ in _trace(network, input_shape)]


def _trace(network: nn.Module, input_shape: tuple[int, int, int]) -> list[tuple[NamedOperator, tuple[int, ...]]]:
    """Every operator with the shape of its input, without the batch axis."""
    operators: list[tuple[NamedOperator, tuple[int, ...]]] = []
    cut = (module for module in network.modules() if isinstance(module, SlicedActivation))
    activations = {label: module.label for module in cut for label in module.labels}

    def record(module: nn.Module, path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            name = getattr(module, "label", path)
            operator = NamedOperator(name, operator_shape(module, inputs[0], output), activations.get(name))
            operators.append((operator, tuple(inputs[0].shape[1:])))

        return module.register_forward_hook(hook)

    handles = [record(module, path) for path, module in network.named_modules() if _is_operator(module)]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *input_shape, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    names = [operator.name for operator, _ in operators]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise Refusal(f"the network uses the operator name {repeated[0]} more than once")
    return operators


def _is_operator(module: nn.Module) -> bool:
    return operator_shape.dispatch(type(module)) is not operator_shape.dispatch(nn.Module)


@singledispatch
def operator_shape(module: nn.Module, x: Tensor, output: Tensor) -> OperatorShape:
    """Shape of one module as it was called: x and output are [1, ...]. Further kinds of modules are registered here."""
    raise TypeError(f"no operator shape for {type(module).__name__}")


@operator_shape.register
def _(module: nn.Conv2d, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.Conv(
        **_window(module, x),
        out_channels=module.out_channels,
        groups=module.groups,
    )


@operator_shape.register
def _(module: nn.MaxPool2d, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.MaxPool(**_window(module, x))


@operator_shape.register
def _(module: nn.AvgPool2d, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.AvgPool(**_window(module, x))


@operator_shape.register
def _(module: nn.AdaptiveAvgPool2d, x: Tensor, output: Tensor) -> OperatorShape:
    _, channels, height, width = x.shape
    return fpga.AvgPool(channels, height, width, kernel=(height, width), stride=(height, width))


@operator_shape.register
def _(module: nn.Linear, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.Linear(module.in_features, module.out_features)


@operator_shape.register
def _(module: nn.ReLU, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.Relu(output.numel())


@operator_shape.register
def _(module: Relu2x2, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.PatchRelu(*x.shape[1:])


@operator_shape.register
def _(module: Identity, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.Affine(0)


@operator_shape.register
def _(module: X2act, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.X2act(output.numel())


@operator_shape.register
def _(module: ShiftedClip, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.Relu6(output.numel())


@operator_shape.register
def _(module: SwishClip, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.Relu(2 * output.numel())


@operator_shape.register
def _(module: SwishProduct, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.X2act(output.numel())


@operator_shape.register
def _(module: Multiply, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.Mul(output.numel(), x.numel())


@operator_shape.register
def _(module: ResidualAdd, x: Tensor, output: Tensor) -> OperatorShape:
    return fpga.Add(output.numel())


def _window(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d, x: Tensor) -> dict[str, Any]:
    pad_height, pad_width = _pair(module.padding)
    return {
        "channels": x.shape[1],
        "height": x.shape[2],
        "width": x.shape[3],
        "kernel": _pair(module.kernel_size),
        "stride": _pair(module.stride),
        "padding": (pad_height, pad_width, pad_height, pad_width),
    }


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple) else (int(value), int(value))
