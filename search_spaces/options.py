"""The options that every backbone takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge

from rrnet_nni.base.settings import Count, Positive, WrongSetting, check_settings

#: Where installed packages announce backbones of their own.
ENTRY_POINT_GROUP = "rrnet_nni.backbones"
Stem = Literal["pool", "plain", "imagenet"]
X2ActForm = Literal["normalized", "plain"]
#: Candidates that a gate has only where the space asks for them.
ExtraActivation = Literal["relu2x2", "identity"]
EXTRA_ACTIVATIONS: tuple[ExtraActivation, ...] = get_args(ExtraActivation)
#: Inputs of an X2act beyond ±RANGE_BOUND are penalized (in normalized bases: beyond as many deviations from the mean):
#: outside of it squares start to double from layer to layer.
RANGE_BOUND = 6.0


@dataclass(frozen=True)
class SpaceOptions:
    """How a backbone is built.

    Attributes:
        classes: outputs of the classifier.
        image_size: height and width of the input in pixels.
        channels: channels of the input, 1 for grey images.
        width: multiplier of every layer's channels.
        stem: `pool` (3x3 stride-1 convolution and 3x3 stride-2 pooling, the paper's ResNets), `plain` (no pooling),
            `imagenet` (strided, for large images); None takes the backbone's own default.
        conv_weights: `shared` among the candidates of a gate, or `separate` for each of them (Sec. III-B).
        gates: what is searched: `activation`, `pooling` or `both`; the rest stays ReLU and MaxPool.
        groups: slices of channels into which every activation is cut, each a gate of its own; an activation of fewer
            channels has a slice per channel.
        extra_activations: candidates of every activation gate beside ReLU and X2act, some of `EXTRA_ACTIVATIONS`.
        x2act: how X2act is trained: in `normalized` bases, per channel, or `plain` (Eq. 4 as it stands).
        coefficients: w1, w2 and b of the plain form per `layer` or per `channel`.
        x2act_c: the constant c of Eq. 4 in the plain form; None takes sqrt(Nx), so that c / sqrt(Nx) is 1.
        x2act_w1: w1 of the plain form before training; None takes the backbone's own (see `Backbone`). w2 starts at 1
            and b at 0 (STPAI, Sec. III-A).
    """

    classes: Annotated[int, Ge(2)] = 10
    image_size: Count = 32
    channels: Count = 3
    width: Positive = 1.0
    stem: Stem | None = None
    conv_weights: Literal["shared", "separate"] = "shared"
    gates: Literal["both", "activation", "pooling"] = "both"
    groups: Count = 1
    extra_activations: tuple[ExtraActivation, ...] = ()
    x2act: X2ActForm = "normalized"
    coefficients: Literal["layer", "channel"] = "layer"
    x2act_c: Positive | None = None
    x2act_w1: float | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        if len(set(self.extra_activations)) < len(self.extra_activations):
            raise WrongSetting(f"extra_activations must name each once, not {list(self.extra_activations)}")
        if self.groups > 1 and self.conv_weights == "separate":
            raise WrongSetting(
                "groups must be 1 where candidates have their own convolutions: set conv_weights: shared"
            )
        for name in ("x2act_c", "x2act_w1"):
            if self.x2act != "plain" and getattr(self, name) is not None:
                raise WrongSetting(f"{name} belongs to the plain form: set x2act: plain, or leave {name} out")
        if self.x2act != "plain" and self.coefficients != "layer":
            raise WrongSetting(
                "coefficients belong to the plain form (normalized bases have them per channel): set x2act: plain"
            )

    def to_dict(self) -> dict[str, Any]:
        """The options as plain JSON values; `checked` reads them back.

        What cuts activations or adds candidates stands there only where it does, so that other spaces keep their files.
        """
        values = asdict(self) | {"extra_activations": list(self.extra_activations)}
        unused = {"groups": 1, "extra_activations": []}
        return {name: value for name, value in values.items() if name not in unused or value != unused[name]}

    def uncut(self) -> SpaceOptions:
        """The same space with one gate an activation and the candidates that every space has."""
        return replace(self, groups=1, extra_activations=())

    def scaled(self, channels: int, divisor: int = 1) -> int:
        """`channels` times the width multiplier, rounded to a multiple of `divisor`, at least 4 channels."""
        rounded = int(channels * self.width / divisor + 0.5) * divisor
        return max(rounded, divisor, 4)
