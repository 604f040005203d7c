"""The backbones by name: an explicit list, and what installed packages add through an entry point.

A third-party package registers a `Backbone` under the entry point group `rrnet_nni.backbones`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points

from nni.nas.nn.pytorch import ModelSpace

from rrnet_nni.base.errors import Refusal

from .backbones.mobilenet_v2 import MobileNetV2
from .backbones.mobilenet_v3 import BLOCKS, PUBLISHED, MobileNetV3
from .backbones.resnet import PLANS, ResNet
from .backbones.vgg import VGG16
from .options import ENTRY_POINT_GROUP, SpaceOptions, Stem


@dataclass(frozen=True)
class Backbone:
    """A network family member that can be searched.

    Attributes:
        name: how task files and command lines call it.
        build: makes the space from options whose stem is resolved; under NNI's `model_context` it makes the frozen
            network. Gates must come from `rrnet_nni.search_spaces.gates.Gates`. Its attribute `stage_paths`, if it has
            one, names the modules whose outputs end a stage: what a student imitates of its teacher's features.
        stems: the stems it has; the first is its default.
        x2act_w1: w1 of a plain X2act before training. Squares behind residual additions compound along a stage's
            identity shortcuts: with six blocks in a row (ResNet-34 and -50) a start at 0.05 overflows in the first
            forward pass, and 0.005 stays below 20; with up to three 0.05 stays below 40 and trains better.
    """

    name: str
    build: Callable[[SpaceOptions], ModelSpace]
    stems: tuple[Stem, ...]
    x2act_w1: float = 0.05


BACKBONES = (
    *(
        Backbone(name, partial(ResNet, name), ("pool", "plain", "imagenet"), 0.05 if max(plan.blocks) <= 3 else 0.005)
        for name, plan in PLANS.items()
    ),
    Backbone("vgg16", VGG16, ("plain",)),
    Backbone("mobilenet_v2", MobileNetV2, ("plain", "imagenet")),
    *(Backbone(name, partial(MobileNetV3, name), ("plain", "imagenet")) for name in BLOCKS),
    *(
        Backbone(f"{name}{PUBLISHED}", partial(MobileNetV3, f"{name}{PUBLISHED}"), ("plain", "imagenet"))
        for name in BLOCKS
    ),
)


@cache
def _registry() -> dict[str, Backbone]:
    registry = {entry.name: entry for entry in BACKBONES}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        entry = point.load()
        if not isinstance(entry, Backbone):
            raise Refusal(f"entry point {point.name} of group {ENTRY_POINT_GROUP} is not a Backbone")
        if entry.name in registry:
            raise Refusal(f"entry point {point.name} of group {ENTRY_POINT_GROUP} redefines backbone {entry.name}")
        registry[entry.name] = entry
    return registry


def backbone_names() -> tuple[str, ...]:
    """Names of all backbones, the project's own first."""
    return tuple(_registry())


def backbone(name: str) -> Backbone:
    """The backbone of that name; a `Refusal` lists the names that exist."""
    if name not in _registry():
        raise Refusal(f"unknown backbone {name!r}; there are {', '.join(backbone_names())}")
    return _registry()[name]
