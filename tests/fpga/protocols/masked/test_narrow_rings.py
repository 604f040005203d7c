"""Tensors on narrow rings: what the parties open has their bits, and the result is the reference's bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.networks.small_programs import polynomial_network, residual_network, x2act
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.compiler.fixed_point.rings import narrow_rings
from rrnet_nni.fpga.program import AffineOp, ConvOp, MaxPoolOp, ReluOp, SquareOp, TruncateOp
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.protocols.masked.costs import packed_bytes
from rrnet_nni.fpga.protocols.masked.kernels import kernels
from rrnet_nni.fpga.protocols.masked.numpy_kernels import NumpyKernels
from rrnet_nni.fpga.protocols.masked.plan import plan_masked
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder, first_divergence, run_shared, traffic_mismatch

MASKED = [name for name in executions() if name.startswith("masked")]
masked_executions = pytest.mark.parametrize("execution", [executions()[name] for name in MASKED], ids=MASKED)
every_execution = pytest.mark.parametrize("execution", executions().values(), ids=executions())
RINGS = (8, 12, 16, 20, 24, 28)


def narrowed(program, weights, images):
    """The program on the rings that these images ask for."""
    _, tensors = run_reference(program, weights, images, tensors=True)
    seen = {
        name: np.abs(words.astype(np.int64)).max() * 2.0 ** -program.tensor(name).fraction_bits
        for name, words in tensors.items()
    }
    return narrow_rings(program, seen)


def on_ring(program, bits, *names):
    """The program with these tensors on a ring of so many bits."""
    tensors = {
        name: replace(tensor, ring_bits=bits) if name in names else tensor for name, tensor in program.tensors.items()
    }
    return replace(program, tensors=tensors)


def bytes_sent(program, execution):
    return sum(sum(row.bytes_sent) for row in execution.traffic(program, 1))


@every_execution
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("network", "shape"), [(residual_network, (3, 9, 9)), (polynomial_network, (4, 6, 6))])
def test_networks_on_narrow_rings_agree_with_the_reference_and_send_what_is_predicted(execution, network, shape, batch):
    program, weights = network()
    images = np.random.default_rng(batch).normal(size=(batch, *shape))
    narrow = narrowed(program, weights, images)
    assert first_divergence(narrow, weights, images, execution) is None
    assert traffic_mismatch(narrow, weights, images, execution) is None
    whole, fewer = bytes_sent(program, execution), bytes_sent(narrow, execution)
    assert fewer < 0.75 * whole if execution.name in MASKED else fewer == whole


def test_a_whole_ring_changes_nothing():
    for network in (residual_network, polynomial_network):
        program, _ = network()
        assert {plan.width for plan in plan_masked(program)} == {32}
        assert not any(plan.reduces and plan.opens for plan in plan_masked(program))


def test_what_a_truncation_drops_and_its_reader_opens_is_all_that_a_product_needs():
    b = ProgramBuilder((2, 4, 4), 8)
    b.add(ConvOp, "conv", ["image"], (2, 4, 4), 18, weight=b.constant("w", (2, 2, 1, 1), 10, 9), bias=None)
    b.add(TruncateOp, "z", ["conv"], (2, 4, 4), 9, bits=9)
    b.add(ReluOp, "y", ["z"], (2, 4, 4), 9)
    plans = dict(zip(("conv", "z", "y"), plan_masked(on_ring(b.program(), 12, "z"))))
    assert (plans["conv"].opens, plans["conv"].width) == (True, 12 + 9)
    assert (plans["z"].reduces, plans["z"].opens) == (True, False)
    assert (plans["y"].opens, plans["y"].lifts, plans["y"].width) == (True, True, 12)


def test_a_truncation_lifts_its_result_where_a_product_needs_more_bits_than_are_left():
    b = ProgramBuilder((2, 4, 4), 8)
    for name, source in (("first", "image"), ("second", "first.t")):
        weight = b.constant(f"{name}.w", (2, 2, 1, 1), 10, 9)
        bits = b.tensors[source].fraction_bits
        b.add(ConvOp, name, [source], (2, 4, 4), bits + 10, weight=weight, bias=None)
        b.add(TruncateOp, f"{name}.t", [name], (2, 4, 4), bits, bits=10)
    b.add(ReluOp, "y", ["second.t"], (2, 4, 4), 8)
    program = on_ring(b.program(), 16, "first.t", "second.t")
    plans = dict(zip((operation.name for operation in program.operations), plan_masked(program)))
    assert plans["second"].width == 26
    assert (plans["first.t"].lifts, plans["first.t"].opens, plans["first.t"].width) == (True, True, 16)


@masked_executions
@given(ring=st.sampled_from(RINGS), seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_gates_are_exact_up_to_the_end_of_their_ring(execution, ring, seed):
    b = ProgramBuilder((8, 6, 6), 0)
    b.add(ReluOp, "relu", ["image"], (8, 6, 6), 0)
    b.add(MaxPoolOp, "pool", ["image"], (8, 2, 2), 0, kernel=(3, 3), stride=(3, 3))
    b.add(ReluOp, "pooled", ["pool"], (8, 2, 2), 0)
    end = 2 ** (ring - 2)
    words = np.random.default_rng(seed).integers(-end + 1, end, (2, 8, 6, 6)).astype(np.int32)
    words[:, 0, 0] = [end - 1, 1 - end, 0, -1, 1, end - 2]
    for length in (1, 2, 3):
        program = replace(b.program(), operations=b.program().operations[:length])
        program = on_ring(replace(program, output=program.operations[-1].output), ring, "image", "pool")
        assert first_divergence(program, {}, words, execution) is None


@masked_executions
@given(ring=st.sampled_from(RINGS), bits=st.integers(1, 24), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_a_truncation_to_a_narrow_ring_is_the_floor_or_one_more(execution, ring, bits, seed):
    b = ProgramBuilder((304,), 0)
    b.add(TruncateOp, "t", ["image"], (304,), 0, bits=bits)
    b.add(ReluOp, "relu", ["t"], (304,), 0)
    end = min(2 ** (ring - 2) - 2 << bits, 2**30)
    words = np.random.default_rng(seed).integers(-end + 1, end, (1, 304)).astype(np.int32)
    words[0, :4] = end - 1, -end + 1, 0, -1
    result = run_shared(on_ring(b.program(), ring, "t"), {}, words, execution).output.view(np.int32)
    floor = words >> bits
    assert ((result == np.maximum(floor, 0)) | (result == np.maximum(floor + 1, 0))).all()


@masked_executions
@given(ring=st.sampled_from((12, 16, 20)), seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_polynomials_of_narrow_words_round_to_the_floor_or_one_more(execution, ring, seed):
    b = ProgramBuilder((400,), 8)
    x2act(b, "act", "image", (400,), 8, 20)
    end = min(2 ** (ring - 2), 2**11)
    words = np.random.default_rng(seed).integers(-end + 1, end, (2, 400)).astype(np.int32)
    result = run_shared(on_ring(b.program(), ring, "image"), {}, words, execution).output.view(np.int32)
    exact = (words.astype(np.int64) ** 2 * 3 + words * 2**12 - 99) >> 12
    assert np.isin(result - exact, (0, 1)).all()


@st.composite
def gate_programs(draw):
    """Gates, truncations and sums in any order on tensors of one shape, all on random rings that hold them."""
    b, reach = ProgramBuilder((40,), 0), {"image": 2**9}
    for number in range(draw(st.integers(2, 9))):
        name, sources = f"t{number}", sorted(reach)
        source, other = draw(st.sampled_from(sources)), draw(st.sampled_from(sources))
        kind = draw(st.sampled_from(("relu", "square", "affine", "truncate")))
        if kind == "square" and reach[source] < 2**12:
            b.add(SquareOp, name, [source], (40,), 0)
            reach[name] = reach[source] ** 2
        elif kind == "truncate" and reach[source] > 2**7:
            bits = draw(st.integers(1, 6))
            b.add(TruncateOp, name, [source], (40,), 0, bits=bits)
            reach[name] = (reach[source] >> bits) + 1
        elif kind == "affine" and source != other and 3 * (reach[source] + reach[other]) < 2**25:
            shift = draw(st.integers(0, 3))
            b.add(AffineOp, name, [source, other], (40,), 0, multipliers=((1 << shift,), (-1,)), addend=(5,))
            reach[name] = (reach[source] << shift) + reach[other] + 5
        else:
            b.add(ReluOp, name, [source], (40,), 0)
            reach[name] = reach[source]
    return narrow_rings(b.program(), {name: bound / 2 for name, bound in reach.items() if draw(st.booleans())})


@masked_executions
@given(program=gate_programs(), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_gates_in_any_order_agree_with_the_reference(execution, program, seed):
    words = np.random.default_rng(seed).integers(-(2**9) + 1, 2**9, (2, 40)).astype(np.int32)
    assert first_divergence(program, {}, words, execution) is None
    assert traffic_mismatch(program, {}, words, execution) is None


@given(width=st.integers(1, 32), elements=st.integers(1, 70), seed=st.integers(0, 2**32))
def test_packed_words_have_their_bits_and_no_others(width, elements, seed):
    words, more = np.random.default_rng(seed).integers(0, 2**32, (2, 3, elements), dtype=np.uint32)
    ring = np.uint32(2**width - 1)
    for steps in (kernels(), NumpyKernels()):
        packed = steps.pack(words, width)
        assert packed.shape == (3, packed_bytes(elements, width))
        assert np.array_equal(packed, steps.pack(words & ring, width))
        assert np.array_equal(steps.add_packed(more.copy(), packed, width), (words + more) & ring)
