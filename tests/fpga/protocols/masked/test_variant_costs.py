"""Against a prototype's measurement: plain-stem ResNet-18, one 32x32 image, bytes per party."""

from __future__ import annotations

import pytest
from helpers.networks.paper_networks import plain_stem_resnet18

from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.protocols.masked.variant_costs import MaskedDcfNarrow, MaskedVariant

DEVICE = load_device("zcu104")


def test_masked_resnet18_sends_what_was_measured_with_a_prototype() -> None:
    """4.44 MB in 36 rounds, 11.4 MB offline; here shortcuts are openings of their own (the prototype fused them)."""
    shortcuts = 4 * (32_768 + 16_384 + 8_192)
    cost = network_cost(plain_stem_resnet18(polynomial=True), DEVICE, MaskedVariant()).total
    assert (cost.bytes_sent[0] - shortcuts) / 1e6 == pytest.approx(4.44, rel=0.01)
    assert cost.rounds - 3 == pytest.approx(36, abs=1)
    assert cost.offline_bytes == (0, pytest.approx(11.4e6, rel=0.02))


@pytest.mark.parametrize(
    ("protocol", "sent_mb", "offline_mb"), [(MaskedVariant(), 4.51, (223, 236)), (MaskedDcfNarrow(), 2.84, (80, 94))]
)
def test_masked_all_relu_resnet18_sends_what_was_measured(protocol, sent_mb: float, offline_mb) -> None:
    cost = network_cost(plain_stem_resnet18(polynomial=False), DEVICE, protocol).total
    assert cost.bytes_sent[0] / 1e6 == pytest.approx(sent_mb, rel=0.06)
    assert [size / 1e6 for size in cost.offline_bytes] == pytest.approx(offline_mb, rel=0.01)
