"""The gates of the search: which activation, which pooling (Sec. III-B), as NNI layer choices with readable labels.

Convolution weights are shared among a gate's candidates, or separate for each. The frozen network is the same tree of
modules either way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nni.nas.nn.pytorch import LayerChoice
from torch import nn

from .layers import AvgPool, ConvNorm, ConvPlan, Identity, MaxPool, Relu, ResidualUnit, Shape, Unit, window_output
from .options import EXTRA_ACTIVATIONS, SpaceOptions
from .patch_relu import Relu2x2
from .slices import SlicedActivation
from .x2act import NormalizedX2act, PlainX2act


def _x2act(options: SpaceOptions, label: str, shape: Shape) -> nn.Module:
    if options.x2act == "normalized":
        return NormalizedX2act(label, shape[0])
    per_channel = options.coefficients == "channel"
    assert options.x2act_w1 is not None, "the registry fills in the backbone's own"
    return PlainX2act(label, shape, per_channel=per_channel, c=options.x2act_c, w1=options.x2act_w1)


def _relu2x2(options: SpaceOptions, label: str, shape: Shape) -> nn.Module:
    """Images of one pixel have no neighbours."""
    return Relu2x2(label) if max(shape[1:]) > 1 else Relu(label)


#: Activations: name -> makes it for a space's options, a label and the shape (C, H, W).
ACTIVATIONS: dict[str, Callable[[SpaceOptions, str, Shape], nn.Module]] = {
    "relu": lambda options, label, shape: Relu(label),
    "x2act": _x2act,
    "relu2x2": _relu2x2,
    "identity": lambda options, label, shape: Identity(label),
}
POOLINGS = ("maxpool", "avgpool")


def activation_names(options: SpaceOptions) -> tuple[str, ...]:
    """The candidates of every activation gate: all but the extra ones that the space does not ask for."""
    left_out = set(EXTRA_ACTIVATIONS) - set(options.extra_activations)
    return tuple(name for name in ACTIVATIONS if name not in left_out)


@dataclass(frozen=True)
class Pooling:
    """A pooling window to be gated: label, kernel, stride and padding in pixels."""

    label: str
    kernel: int
    stride: int
    padding: int = 0

    def output_shape(self, shape: Shape) -> Shape:
        height, width = (window_output(size, self.kernel, self.stride, self.padding) for size in shape[1:])
        return shape[0], height, width


@dataclass(frozen=True)
class Gates:
    """Makes the gated units of one backbone as its options say."""

    options: SpaceOptions

    def conv_act(self, label: str, plan: ConvPlan, shape: Shape) -> nn.Module:
        """Conv-Act with the activation gated under `label`; `shape` is the convolution's output."""
        return self._activation_unit(label, shape, lambda act: Unit(ConvNorm(plan), act))

    def residual_act(self, label: str, add_label: str, plan: ConvPlan, shape: Shape) -> nn.Module:
        """Conv, residual addition, gated activation; the module takes (x, shortcut)."""
        return self._activation_unit(label, shape, lambda act: ResidualUnit(ConvNorm(plan), act, add_label))

    def conv_act_pool(self, label: str, plan: ConvPlan, shape: Shape, pooling: Pooling) -> nn.Module:
        """Conv-Act-Pool with both gated: the four combinations of Sec. III-B.

        With separate weights each of the four owns its convolution: a pooling gate whose candidates are activation
        gates of one label, so that a combination's probability is the product of the two gates'.
        """
        if not self._separate or not self._pooling_gated:
            return self._activation_unit(label, shape, lambda act: Unit(ConvNorm(plan), act, self.pooling(pooling)))

        def combinations(name: str) -> nn.Module:
            def unit(act: nn.Module) -> nn.Module:
                return Unit(ConvNorm(plan), act, _pool(name, pooling))

            return self._activation_unit(label, shape, unit)

        return LayerChoice({name: combinations(name) for name in POOLINGS}, label=pooling.label)

    def activation(self, label: str, shape: Shape) -> nn.Module:
        """A gate of activations alone, or one for each slice of channels."""
        if not self._activation_gated:
            return Relu(label)
        if self.options.groups > 1:
            return SlicedActivation(label, shape, self.options.groups, self._gated_activation)
        return self._gated_activation(label, shape)

    def _gated_activation(self, label: str, shape: Shape) -> nn.Module:
        names = activation_names(self.options)
        return LayerChoice({name: ACTIVATIONS[name](self.options, label, shape) for name in names}, label=label)

    def pooling(self, pooling: Pooling) -> nn.Module:
        """A gate of poolings alone."""
        if not self._pooling_gated:
            return _pool("maxpool", pooling)
        return LayerChoice({name: _pool(name, pooling) for name in POOLINGS}, label=pooling.label)

    def _activation_unit(self, label: str, shape: Shape, unit: Callable[[nn.Module], nn.Module]) -> nn.Module:
        if self._separate and self._activation_gated:
            return LayerChoice(
                {name: unit(ACTIVATIONS[name](self.options, label, shape)) for name in activation_names(self.options)},
                label=label,
            )
        return unit(self.activation(label, shape))

    @property
    def _separate(self) -> bool:
        return self.options.conv_weights == "separate"

    @property
    def _activation_gated(self) -> bool:
        return self.options.gates in ("both", "activation")

    @property
    def _pooling_gated(self) -> bool:
        return self.options.gates in ("both", "pooling")


def _pool(name: str, pooling: Pooling) -> nn.Module:
    kind = MaxPool if name == "maxpool" else AvgPool
    return kind(pooling.label, pooling.kernel, pooling.stride, pooling.padding)
