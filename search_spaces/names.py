"""Names of the backbones, known without the libraries that build them."""

from __future__ import annotations

from importlib.metadata import entry_points

from rrnet_nni.base.errors import Refusal

from .options import ENTRY_POINT_GROUP

#: The project's own; `registry.BACKBONES` builds them.
OWN_BACKBONES = (
    *("resnet8", "resnet20", "resnet18", "resnet34", "resnet50"),
    *("vgg16", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"),
    *("mobilenet_v3_large_se", "mobilenet_v3_small_se"),
)


def check_backbone(name: str) -> None:
    """Refuse a backbone that neither the project has nor an installed package can have."""
    if name in OWN_BACKBONES or entry_points(group=ENTRY_POINT_GROUP):  # what packages add is known once it is loaded
        return
    raise Refusal(f"unknown backbone {name!r}; there are {', '.join(OWN_BACKBONES)}")
