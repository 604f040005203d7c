"""The accelerator's budget adds up, agrees with the recorded synthesis, and refuses what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.cost.budget import SYNTHESISED, check_budget, device_budget
from rrnet_nni.fpga.devices import Device, device_names, load_device

RESULTS = Path(__file__).parents[3] / "docs" / "results" / "rtl_resources.json"


@pytest.mark.parametrize("name", device_names())
def test_every_packaged_device_fits_its_chip(name: str) -> None:
    assert check_budget(load_device(name)).to_dict()["fits"]


def test_the_lines_add_up() -> None:
    budget = device_budget(load_device("zcu104-rrnet"))
    for name, needed in budget.needs.items():
        assert needed == sum(getattr(line, name) for line in budget.lines) <= budget.usable[name]
    assert budget.available == {"dsp": 1728, "luts": 230_400, "bram": 312, "uram": 96}
    assert budget.usable == {"dsp": 1382, "luts": 161_280, "bram": 249, "uram": 76}


def test_the_blocks_are_those_of_the_recorded_synthesis() -> None:
    recorded = json.loads(RESULTS.read_text())["modules"]
    assert {name: (cost["dsp"], cost["luts"]) for name, cost in recorded.items()} == {
        name: (cost.dsp, cost.luts) for name, cost in SYNTHESISED.items()
    }


def larger(**changes: int) -> Device:
    device = load_device("zcu104-rrnet")
    assert device.accelerator is not None
    return replace(device, accelerator=replace(device.accelerator, **changes))


@pytest.mark.parametrize(
    ("device", "resource"),
    [
        (larger(array_tiles=11), "1,[0-9]+ DSP blocks, but only 1,382 of its 1,728"),
        (larger(aes_cores=20), "look-up tables, but only 161,280 of its 230,400"),
        (larger(tile_outputs=2, array_tiles=19), "block RAMs .36 Kbit., but only 249 of its 312"),
        (replace(larger(), buffer_bytes=3_000_000), "82 UltraRAMs, but only 76 of its 96"),
        (replace(load_device("zcu104"), aes_blocks_per_cycle=20.0), "look-up tables"),
    ],
)
def test_what_does_not_fit_is_refused_by_resource_need_and_supply(device: Device, resource: str) -> None:
    with pytest.raises(Refusal, match=f"device '{device.name}' needs .*{resource}"):
        check_budget(device)
