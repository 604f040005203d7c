"""Words that one operation opens serve others on the accelerator: gates, products, and local operations in between."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.simulated_builds import compiled, handing_on_model, images_for, prepared, software_words

from rrnet_nni.fpga.hls.csim import simulate_accelerators
from rrnet_nni.fpga.hls.simulator import find_cxx
from rrnet_nni.fpga.program.isa import Opcode, decode_instructions
from rrnet_nni.fpga.program.operands import Flag, Kind, decode_operands
from rrnet_nni.fpga.program.reference import encode_images

pytestmark = pytest.mark.skipif(find_cxx() is None, reason="there is no C++ compiler for the accelerator's sources")
MASKED = ("masked", "masked-dcf")


def test_the_model_hands_words_on_to_every_local_operation(tmp_path: Path) -> None:
    build = compiled(tmp_path / "model", handing_on_model(), "masked")
    operations = decode_operands((build.path / "operands.bin").read_bytes()).sections["operations"]
    handing_on = {Kind(record["kind"]) for record in operations if record["flags"] & Flag.KEEPS}
    assert handing_on >= {Kind.AFFINE, Kind.SUMPOOL, Kind.CONCAT, Kind.TRUNCATE}
    assert any(record["kind"] == Kind.CONCAT and record["flags"] & Flag.WIDE for record in operations)


@pytest.mark.parametrize("accelerated", [(0, 1), (1,)])
@pytest.mark.parametrize("protocol", MASKED)
def test_opened_words_are_handed_on(tmp_path: Path, protocol: str, accelerated: tuple[int, ...]) -> None:
    build = compiled(tmp_path / "model", handing_on_model(), protocol)
    words = encode_images(build.program, images_for(build, 2))
    material = prepared(build, tmp_path / "material", 2)
    shutil.copytree(material, tmp_path / "copy")
    found = simulate_accelerators(build, words, material, seed=7, accelerated=accelerated)
    np.testing.assert_array_equal(found.logits, software_words(build, words, tmp_path / "copy"))


@pytest.mark.parametrize("protocol", MASKED)
def test_words_that_are_kept_count_as_stored(tmp_path: Path, protocol: str) -> None:
    build = compiled(tmp_path / "model", handing_on_model(), protocol)
    operations = decode_operands((build.path / "operands.bin").read_bytes()).sections["operations"]
    for item in decode_instructions((build.path / "instructions.bin").read_bytes()):
        record = operations[item.operation]
        if item.opcode is Opcode.STORE and record["kind"] in (Kind.AFFINE, Kind.CONCAT, Kind.TRUNCATE):
            flags = Flag(record["flags"])
            octets = (8 if flags & Flag.WIDE else 4) + (4 if flags & Flag.KEEPS else 0)
            assert item.amount == octets * item.count
