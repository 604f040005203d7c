"""What may be chosen: gated activations and poolings in the backbones of the paper (Sec. III-A and III-B)."""

from rrnet_nni.base.compatibility import prepare_libraries

prepare_libraries()

from .build import (  # noqa: E402 (the libraries are prepared before anything imports them)
    build_network,
    build_space,
    candidates_of,
    fixed_choices,
)
from .layers import ResidualAdd  # noqa: E402
from .options import SpaceOptions  # noqa: E402
from .registry import Backbone, backbone, backbone_names  # noqa: E402
from .x2act import NormalizedX2act, PlainX2act, X2act, x2act_modules  # noqa: E402

__all__ = [
    "Backbone",
    "NormalizedX2act",
    "PlainX2act",
    "ResidualAdd",
    "SpaceOptions",
    "X2act",
    "backbone",
    "backbone_names",
    "build_network",
    "build_space",
    "candidates_of",
    "fixed_choices",
    "x2act_modules",
]
