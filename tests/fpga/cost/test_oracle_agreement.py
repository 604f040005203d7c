"""The networks written by hand and the backbones of the search spaces are the same networks."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers.networks.paper_networks import NETWORKS, paper_network, plain_stem_resnet18

from rrnet_nni.fpga.program.operators import AvgPool, OperatorShape

pytest.importorskip("torch")
pytest.importorskip("nni")

from rrnet_nni.evaluators.space_operators import network_operators
from rrnet_nni.search_spaces import SpaceOptions, fixed_choices


def _priced(shape: OperatorShape) -> OperatorShape:
    """A global pooling's stride has no meaning."""
    if isinstance(shape, AvgPool) and shape.kernel == (shape.height, shape.width):
        return AvgPool(shape.channels, shape.height, shape.width, shape.kernel)
    return shape


def backbone_shapes(name: str, polynomial: bool, stem: str | None = None) -> Counter[OperatorShape]:
    options = SpaceOptions(stem=stem)
    chosen = fixed_choices(name, options, *(("x2act", "avgpool") if polynomial else ("relu", "maxpool")))
    return Counter(_priced(operator.shape) for operator in network_operators(name, options, chosen))


@pytest.mark.parametrize("polynomial", [False, True], ids=["relu", "x2act"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_operator_agrees(name: str, polynomial: bool) -> None:
    by_hand = Counter(_priced(operator.shape) for operator in paper_network(name, polynomial))
    assert backbone_shapes(name, polynomial) == by_hand


def test_the_plain_stem_agrees() -> None:
    by_hand = Counter(_priced(operator.shape) for operator in plain_stem_resnet18(polynomial=False))
    assert backbone_shapes("resnet18", polynomial=False, stem="plain") == by_hand
