"""Compiled networks execute bit for bit as the fixed-point reference and send what is predicted, in every protocol.

And with every kind of preprocessing that there is for it.
"""

import pytest
from exactness_networks import NETWORKS, compiled

from rrnet_nni.fpga.compiler.fixed_point.rings import RINGS, WHOLE
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.session.conformance import disagreement, preparation_mismatch, traffic_mismatch
from rrnet_nni.fpga.runtime.session.two_party_prepare import preparations

SMALL = ("resnet18-small",)

#: Protocol, preprocessing and the rings of the build: `beaver-ot` opens whole words whatever they are.
WAYS = [
    (name, preprocessing, ring)
    for preprocessing, names in (("dealer", executions()), ("two-party", preparations()))
    for name in names
    for ring in (RINGS if name.startswith("masked") else (WHOLE,))
]

pytestmark = pytest.mark.parametrize(("protocol", "preprocessing", "ring"), WAYS, ids=["-".join(way) for way in WAYS])


def check(network, activations, batch, protocol, preprocessing, ring):
    fixed, images = compiled(network, activations, ring)
    execution = executions()[protocol]
    assert disagreement(fixed.program, fixed.weights, images[:batch], execution, preprocessing) is None


@pytest.mark.parametrize("network", SMALL)
def test_a_small_network_executes_bit_for_bit(protocol, preprocessing, ring, network):
    check(network, "mixed", 2, protocol, preprocessing, ring)
    fixed, images = compiled(network, "mixed", ring)
    if preprocessing == "two-party":
        assert preparation_mismatch(fixed.program, 2, executions()[protocol]) is None
    else:
        assert traffic_mismatch(fixed.program, fixed.weights, images[:2], executions()[protocol]) is None


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("activations", ["relu", "x2act", "mixed"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_executes_bit_for_bit(protocol, preprocessing, ring, network, activations, batch):
    if protocol == "masked-dcf" and batch > 1 and network not in SMALL:
        pytest.skip("both parties in one process would hold 800 B of keys per comparison and image")
    check(network, activations, batch, protocol, preprocessing, ring)
