"""Preprocessing by the two parties alone makes what a dealer with their seeds would, in the predicted bytes."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.parties.prepared_by_parties import network

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program import ConvOp
from rrnet_nni.fpga.protocols import executions, preparations
from rrnet_nni.fpga.protocols.shared.preparation import images_within, statistical_bits
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds, deal_for_both
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder, first_divergence, preparation_mismatch
from rrnet_nni.fpga.runtime.session.two_party_prepare import (
    STATISTICAL_BITS,
    check_preparation,
    prepare_in_process,
    set_warning,
)

each_protocol = pytest.mark.parametrize("protocol", preparations())


@each_protocol
def test_two_parties_make_what_a_dealer_with_their_seeds_would_deal(protocol):
    program, _ = network()
    seeds, execution = DealerSeeds.fresh(), executions()[protocol]
    made = prepare_in_process(program, execution, seeds.roots, 3).corrections
    dealt = deal_for_both(execution.dealer(program, seeds.weight_masks), seeds, range(3))[1]
    for ours, theirs in zip(made, dealt, strict=True):
        for operation, own, other in zip(program.operations, ours, theirs, strict=True):
            assert np.array_equal(own, other), operation.name


@pytest.mark.parametrize("seed", range(4))
def test_masks_of_narrow_words_are_prepared_as_a_dealer_would(seed):
    """On any rings: what is opened on how many bits, lifted where and squared how, follows from them."""
    program, _ = network()
    rings = np.random.default_rng(seed).choice([8, 12, 16, 20, 24, 32], len(program.tensors))
    tensors = {
        name: replace(tensor, ring_bits=int(bits)) for (name, tensor), bits in zip(program.tensors.items(), rings)
    }
    narrow, seeds, execution = replace(program, tensors=tensors), DealerSeeds.fresh(), executions()["masked"]
    made = prepare_in_process(narrow, execution, seeds.roots, 2).corrections
    dealt = deal_for_both(execution.dealer(narrow, seeds.weight_masks), seeds, range(2))[1]
    for ours, theirs in zip(made, dealt, strict=True):
        for operation, own, other in zip(program.operations, ours, theirs, strict=True):
            assert np.array_equal(own, other), operation.name
    assert preparation_mismatch(narrow, 2, execution) is None


@each_protocol
def test_images_prepared_apart_are_prepared_as_together(protocol, monkeypatch):
    """Groups of images are a matter of memory: what is made does not depend on them."""
    program, _ = network()
    seeds, execution = DealerSeeds.fresh(), executions()[protocol]
    together = prepare_in_process(program, execution, seeds.roots, 3).corrections
    monkeypatch.setattr("rrnet_nni.fpga.protocols.shared.preparation.GROUP_BYTES", 1)
    monkeypatch.setattr("rrnet_nni.fpga.protocols.shared.lattice.linear_material.HELD_BYTES", 1)
    apart = prepare_in_process(program, execution, seeds.roots, 3).corrections
    for ours, theirs in zip(together, apart, strict=True):
        assert all(np.array_equal(own, other) for own, other in zip(ours, theirs, strict=True))


@each_protocol
@pytest.mark.parametrize("batch", [1, 3])
def test_an_execution_with_two_party_material_is_the_reference_bit_for_bit(protocol, batch):
    program, weights = network()
    images = np.random.default_rng(batch).normal(size=(batch, 2, 8, 8))
    assert first_divergence(program, weights, images, executions()[protocol], "two-party") is None


@each_protocol
def test_each_operation_is_prepared_with_the_predicted_bytes(protocol):
    assert preparation_mismatch(network()[0], 2, executions()[protocol]) is None


def test_products_too_large_for_the_noise_that_hides_them_are_refused():
    b = ProgramBuilder((512, 512, 512), 8)
    for index in range(40):
        weight = b.constant(f"w{index}", (512, 512, 1, 1), 8, 1)
        b.add(ConvOp, f"c{index}", ["image"], (512, 512, 512), 16, weight=weight, bias=None)
    with pytest.raises(Refusal, match=r"too large for the noise .* 3\d statistical bits, at least 40"):
        check_preparation(executions()["beaver-ot"], b.program())
    check_preparation(executions()["beaver-ot"], network()[0])


def test_a_set_whose_images_together_hide_the_weights_too_badly_is_warned_of_with_the_number():
    program, _ = network()
    most = images_within(program, STATISTICAL_BITS)
    assert statistical_bits(program, most) == STATISTICAL_BITS
    assert statistical_bits(program, most + 1) == STATISTICAL_BITS - 1
    assert set_warning(program, most) is None
    warning = set_warning(program, most + 1)
    assert f"{STATISTICAL_BITS - 1} statistical bits, not {STATISTICAL_BITS}" in warning
    assert f"sets of at most {most}," in warning


def test_every_executable_protocol_prepares_by_two_parties_or_says_that_it_needs_a_dealer():
    program, _ = network()
    for name, execution in executions().items():
        if name not in preparations():
            with pytest.raises(Refusal, match="needs a dealer"):
                prepare_in_process(program, execution, DealerSeeds.fresh().roots, 1)
