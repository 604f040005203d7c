"""The rates of a device file must fit its chip."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rrnet_nni.fpga.cost.resources import kernel_resources
from rrnet_nni.fpga.devices import device_names, load_device


@pytest.mark.parametrize("name", device_names())
def test_the_kernels_of_every_packaged_device_fit_its_chip(name: str) -> None:
    assert kernel_resources(load_device(name)).fits


def test_a_claim_beyond_the_chip_does_not_fit() -> None:
    device = load_device("zcu104")
    assert not kernel_resources(replace(device, array_multiplications_per_cycle=800.0)).fits  # 1,600 DSP blocks
    assert not kernel_resources(replace(device, aes_blocks_per_cycle=20.0)).fits  # 156 k look-up tables


def test_resources_grow_with_every_rate() -> None:
    device = load_device("zcu104")
    used = kernel_resources(device)
    assert used.dsp_blocks == pytest.approx(2 * 372.5 + 1.5 * 40)
    for key in ("array_multiplications_per_cycle", "alu_operations_per_cycle", "aes_blocks_per_cycle"):
        more = kernel_resources(replace(device, **{key: 2 * getattr(device, key)}))
        assert more.luts > used.luts
