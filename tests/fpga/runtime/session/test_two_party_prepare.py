"""Preprocessing by the two parties alone makes what a dealer with their seeds would, in the predicted bytes."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.parties.prepared_by_parties import network

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program import ConvOp
from rrnet_nni.fpga.protocols import executions, preparations
from rrnet_nni.fpga.protocols.shared.lattice.modulus import LARGE, MEDIUM, SMALL
from rrnet_nni.fpga.protocols.shared.preparation import (
    STATISTICAL_BITS,
    Manner,
    images_within,
    modulus_for,
    set_bits,
    statistical_bits,
)
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds, deal_for_both
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder, first_divergence, preparation_mismatch
from rrnet_nni.fpga.runtime.session.two_party_prepare import (
    check_preparation,
    images_per_walk,
    predicted_preparation,
    prepare_in_process,
)

each_protocol = pytest.mark.parametrize("protocol", preparations())


@each_protocol
def test_two_parties_make_what_a_dealer_with_their_seeds_would_deal(protocol):
    program, _ = network()
    seeds, execution = DealerSeeds.fresh(), executions()[protocol]
    made = prepare_in_process(program, execution, seeds.parties, 3).corrections
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
    made = prepare_in_process(narrow, execution, seeds.parties, 2).corrections
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
    together = prepare_in_process(program, execution, seeds.parties, 3).corrections
    monkeypatch.setattr("rrnet_nni.fpga.protocols.shared.preparation.GROUP_BYTES", 1)
    monkeypatch.setattr("rrnet_nni.fpga.protocols.shared.lattice.linear_material.HELD_BYTES", 1)
    apart = prepare_in_process(program, execution, seeds.parties, 3).corrections
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


@each_protocol
@pytest.mark.parametrize("walks", [1, 3])
def test_silent_transfers_make_what_a_dealer_would_for_the_predicted_bytes(protocol, walks, monkeypatch):
    """Whether all images walk through the program together or one after the other."""
    program, _ = network()
    monkeypatch.setattr(preparations()[protocol], "manner", lambda program, images: Manner(silent=True))
    if walks > 1:
        monkeypatch.setattr("rrnet_nni.fpga.runtime.session.two_party_prepare.GROUP_BYTES", 1)
    seeds, execution = DealerSeeds.fresh(), executions()[protocol]
    assert images_per_walk(execution, program, 3) == 3 // walks
    made = prepare_in_process(program, execution, seeds.parties, 3).corrections
    dealt = deal_for_both(execution.dealer(program, seeds.weight_masks), seeds, range(3))[1]
    for ours, theirs in zip(made, dealt, strict=True):
        assert all(np.array_equal(own, other) for own, other in zip(ours, theirs, strict=True))
    assert preparation_mismatch(program, 3, execution) is None


def wide_network():
    """So many products that the smallest modulus hides no image, and the next one not any number."""
    b = ProgramBuilder((512, 64, 64), 8)
    for index in range(3):
        weight = b.constant(f"w{index}", (512, 512, 1, 1), 8, 1)
        b.add(ConvOp, f"c{index}", ["image"], (512, 64, 64), 16, weight=weight, bias=None)
    return b.program()


def test_a_set_takes_the_smallest_modulus_under_which_all_of_its_images_keep_forty_bits():
    program = wide_network()
    assert images_within(program, STATISTICAL_BITS, SMALL) == 0
    most = images_within(program, STATISTICAL_BITS, MEDIUM)
    assert 1 <= most < 10_000
    sizes = 1, most, most + 1, 100 * most
    assert [modulus_for(program, images) for images in sizes] == [MEDIUM, MEDIUM, LARGE, LARGE]
    assert modulus_for(network()[0], 1) == SMALL
    assert statistical_bits(program, most, MEDIUM) == STATISTICAL_BITS
    assert statistical_bits(program, most + 1, MEDIUM) == STATISTICAL_BITS - 1
    for images in (1, most, most + 1, 10**6):  # a million is as many as a set may have
        assert set_bits(program, images)[1] >= STATISTICAL_BITS
        check_preparation(executions()["beaver-ot"], program, images)


def test_a_set_of_less_than_forty_bits_under_the_largest_modulus_is_refused_with_the_number():
    program = wide_network()
    most = images_within(program, STATISTICAL_BITS, LARGE)
    check_preparation(executions()["beaver-ot"], program, most)
    with pytest.raises(Refusal, match=f"39 statistical bits, not 40: prepare sets of at most {most}, or"):
        check_preparation(executions()["beaver-ot"], program, most + 1)


@each_protocol
def test_material_under_the_larger_modulus_is_the_dealers_for_the_predicted_bytes(protocol, monkeypatch):
    program, weights = network()
    smaller = predicted_preparation(protocol, program, 2)
    monkeypatch.setattr("rrnet_nni.fpga.protocols.shared.preparation.STATISTICAL_BITS", 80)
    assert modulus_for(program, 2) == LARGE
    images = np.random.default_rng(3).normal(size=(2, 2, 8, 8))
    assert first_divergence(program, weights, images, executions()[protocol], "two-party") is None
    assert preparation_mismatch(program, 2, executions()[protocol]) is None
    larger = predicted_preparation(protocol, program, 2)
    assert 4 / 3 < larger["conv"][0] / smaller["conv"][0] <= (4 * 48) / (3 * 44)
    assert 1 < larger["conv"][1] / smaller["conv"][1] <= 48 / 44


def test_every_executable_protocol_prepares_by_two_parties_or_says_that_it_needs_a_dealer():
    program, _ = network()
    for name, execution in executions().items():
        if name not in preparations():
            with pytest.raises(Refusal, match="needs a dealer"):
                prepare_in_process(program, execution, DealerSeeds.fresh().parties, 1)
