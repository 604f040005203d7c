"""The options that every backbone takes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from rrnet_nni.base.errors import Refusal

#: Where installed packages announce backbones of their own.
ENTRY_POINT_GROUP = "rrnet_nni.backbones"
STEMS = ("pool", "plain", "imagenet")
CONV_WEIGHTS = ("shared", "separate")
GATES = ("both", "activation", "pooling")
X2ACT_FORMS = ("normalized", "plain")
COEFFICIENTS = ("layer", "channel")
#: Candidates that a gate has only where the space asks for them.
EXTRA_ACTIVATIONS = ("identity",)
#: Inputs of an X2act beyond ±RANGE_BOUND are penalized (in normalized bases: beyond as many deviations from the mean):
#: outside of it squares start to double from layer to layer.
RANGE_BOUND = 8.0


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

    classes: int = 10
    image_size: int = 32
    channels: int = 3
    width: float = 1.0
    stem: str | None = None
    conv_weights: str = "shared"
    gates: str = "both"
    groups: int = 1
    extra_activations: tuple[str, ...] = ()
    x2act: str = "normalized"
    coefficients: str = "layer"
    x2act_c: float | None = None
    x2act_w1: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("classes", 2), ("image_size", 1), ("channels", 1), ("groups", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise Refusal(f"{name} must be a whole number of at least {least}, not {value!r}")
        _require_positive("width", self.width)
        if self.x2act_c is not None:
            _require_positive("x2act_c", self.x2act_c)
        if self.x2act_w1 is not None and not _is_number(self.x2act_w1):
            raise Refusal(f"x2act_w1 must be a finite number, not {self.x2act_w1!r}")
        for name, allowed in (
            ("conv_weights", CONV_WEIGHTS),
            ("gates", GATES),
            ("x2act", X2ACT_FORMS),
            ("coefficients", COEFFICIENTS),
            ("stem", (None, *STEMS)),
        ):
            if getattr(self, name) not in allowed:
                words = ", ".join(word for word in allowed if word)
                raise Refusal(f"{name} must be one of {words}, not {getattr(self, name)!r}")
        self._check_activations()
        for name in ("x2act_c", "x2act_w1"):
            if self.x2act != "plain" and getattr(self, name) is not None:
                raise Refusal(f"{name} belongs to the plain form: set x2act: plain, or leave {name} out")
        if self.x2act != "plain" and self.coefficients != "layer":
            raise Refusal("coefficients belong to the plain form (normalized bases are per channel): set x2act: plain")

    def _check_activations(self) -> None:
        extra = self.extra_activations
        if isinstance(extra, str) or set(extra) - set(EXTRA_ACTIVATIONS) or len(set(extra)) < len(extra):
            allowed = ", ".join(EXTRA_ACTIVATIONS)
            raise Refusal(f"extra_activations must be a list of some of {allowed}, each once, not {extra!r}")
        object.__setattr__(self, "extra_activations", tuple(extra))  # a list where it comes from JSON
        if self.groups > 1 and self.conv_weights == "separate":
            raise Refusal("groups must be 1 where every candidate has its own convolution: set conv_weights: shared")

    def to_dict(self) -> dict[str, Any]:
        """The options as plain JSON values; `SpaceOptions(**options.to_dict())` gives them back.

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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require_positive(name: str, value: float) -> None:
    if not _is_number(value) or value <= 0:
        raise Refusal(f"{name} must be a positive number, not {value!r}")
