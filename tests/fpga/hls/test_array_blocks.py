"""The array in C++ cuts a product into the blocks whose cycles `cost/array.py` counts, dense and depthwise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.simulated_builds import compiled, images_for, kernels_model, prepared, software_words

from rrnet_nni.fpga.cost.array import array_plans, part_shape
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.hls.csim import simulate_accelerators
from rrnet_nni.fpga.hls.simulator import find_cxx
from rrnet_nni.fpga.program.build import Build
from rrnet_nni.fpga.program.operators import Conv, Linear
from rrnet_nni.fpga.program.reference import encode_images
from rrnet_nni.fpga.program.shapes import operation_shape

pytestmark = pytest.mark.skipif(find_cxx() is None, reason="there is no C++ compiler for the accelerator's sources")
#: Whose tiles are those that a device without tiles of its own gets.
DEVICE = "zcu104-rrnet"
PRODUCTS = {"beaver-ot": 2, "masked": 1}


def block_cycles(build: Build) -> int:
    """Cycles of products of every tile of every product: those of its blocks, one after the other."""
    accelerator = load_device(DEVICE).accelerator
    assert accelerator is not None
    stages = json.loads((build.path / "tiles.json").read_text())["stages"]
    cycles = 0
    for stage in stages:
        operation = build.program.operations[stage["operation"]]
        shape = operation_shape(operation, build.program)
        if not isinstance(shape, Conv | Linear) or stage["tensor"] != operation.output:
            continue
        for first, end, top, bottom in stage["tiles"]:
            plan = next(iter(array_plans(part_shape(shape, end - first, bottom - top), accelerator)))
            cycles += plan.jobs * sum(block.rows * block.columns * block.taps for block in plan.job)
    return cycles


@pytest.mark.parametrize("protocol", ["beaver-ot", "masked"])
def test_products_are_cut_into_the_blocks_that_the_cost_model_counts(tmp_path: Path, protocol: str) -> None:
    build = compiled(tmp_path / "model", kernels_model(), protocol)
    words = encode_images(build.program, images_for(build, 1))
    material = prepared(build, tmp_path / "material", 1)
    shutil.copytree(material, tmp_path / "copy")
    found = simulate_accelerators(build, words, material)
    np.testing.assert_array_equal(found.logits, software_words(build, words, tmp_path / "copy"))
    expected = PRODUCTS[protocol] * block_cycles(build)
    assert [party[0].array_cycles for party in found.counted] == [expected] * 2
