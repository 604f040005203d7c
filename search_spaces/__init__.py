"""What may be chosen: gated activations and poolings in the backbones of the paper (Sec. III-A and III-B).

Names are imported when they are first used: a task file is read and refused before torch and NNI are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rrnet_nni.base.compatibility import prepare_libraries
from rrnet_nni.base.lazy import lazy_names

if TYPE_CHECKING:
    from .build import build_network, build_space, candidates_of, fixed_choices
    from .layers import ResidualAdd
    from .options import SpaceOptions
    from .registry import Backbone, backbone, backbone_names
    from .x2act import NormalizedX2act, PlainX2act, X2act, x2act_modules

prepare_libraries()

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

_HOMES = {
    "Backbone": "registry",
    "NormalizedX2act": "x2act",
    "PlainX2act": "x2act",
    "ResidualAdd": "layers",
    "SpaceOptions": "options",
    "X2act": "x2act",
    "backbone": "registry",
    "backbone_names": "registry",
    "build_network": "build",
    "build_space": "build",
    "candidates_of": "build",
    "fixed_choices": "build",
    "x2act_modules": "x2act",
}

__getattr__ = lazy_names(__name__, _HOMES)
