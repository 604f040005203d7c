"""Every executable protocol computes the reference bit for bit and sends what it predicts."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.networks.small_programs import gated_network, patch_network, polynomial_network, residual_network, x2act
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.compiler.fixed_point.rings import narrow_rings
from rrnet_nni.fpga.compiler.report.report import program_traffic
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program import ConvOp, MaxPoolOp, ReluOp, SelectOp, SumPoolOp, TruncateOp, is_narrow
from rrnet_nni.fpga.program.reference import walk_reference
from rrnet_nni.fpga.protocols import executions, get_costs
from rrnet_nni.fpga.runtime.session.conformance import (
    ProgramBuilder,
    first_divergence,
    preparation_mismatch,
    run_shared,
    traffic_mismatch,
)
from rrnet_nni.fpga.runtime.session.two_party_prepare import preparations

pytestmark = pytest.mark.parametrize("execution", executions().values(), ids=executions())


@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_of_all_operators_agrees_with_the_reference(execution, batch):
    program, weights = residual_network()
    images = np.random.default_rng(batch).normal(size=(batch, 3, 9, 9))
    assert first_divergence(program, weights, images, execution) is None


@pytest.mark.parametrize("batch", [1, 3])
def test_each_operation_sends_what_is_predicted(execution, batch):
    program, weights = residual_network()
    images = np.random.default_rng(batch).normal(size=(batch, 3, 9, 9))
    assert traffic_mismatch(program, weights, images, execution) is None


@pytest.mark.parametrize("batch", [1, 3])
def test_polynomials_in_every_place_agree_with_the_reference_and_send_what_is_predicted(execution, batch):
    program, weights = polynomial_network()
    images = np.random.default_rng(batch).normal(size=(batch, 4, 6, 6))
    assert first_divergence(program, weights, images, execution) is None
    assert traffic_mismatch(program, weights, images, execution) is None


@pytest.mark.parametrize("batch", [1, 3])
def test_products_of_two_secrets_agree_with_the_reference_and_send_what_is_predicted(execution, batch):
    program, weights = gated_network()
    images = np.random.default_rng(batch).normal(size=(batch, 3, 5, 5))
    assert first_divergence(program, weights, images, execution) is None
    assert traffic_mismatch(program, weights, images, execution) is None


@pytest.mark.parametrize("batch", [1, 3])
def test_signs_of_patches_agree_with_the_reference_and_send_what_is_predicted(execution, batch):
    program, weights = patch_network()
    images = np.random.default_rng(batch).normal(size=(batch, 2, 5, 4))
    assert first_divergence(program, weights, images, execution) is None
    assert traffic_mismatch(program, weights, images, execution) is None


@pytest.mark.parametrize("network", [residual_network, polynomial_network, gated_network, patch_network])
def test_material_that_the_parties_make_alone_gives_the_reference(execution, network):
    if execution.name not in preparations():
        pytest.skip("its material needs a dealer, as it says where it is asked for")
    program, weights = network()
    images = np.random.default_rng(2).normal(size=(2, *program.tensor(program.input).shape))
    assert first_divergence(program, weights, images, execution, "two-party") is None
    assert preparation_mismatch(program, 2, execution) is None


@pytest.mark.parametrize("network", [residual_network, polynomial_network, gated_network, patch_network])
def test_the_compiler_reports_the_traffic_that_the_parties_have(execution, network):
    program, _ = network()
    rows = program_traffic(program, load_device("zcu104"), get_costs(execution.name))
    for row, traffic in zip(rows, execution.traffic(program, 1), strict=True):
        predicted = (traffic.bytes_sent, traffic.setup_bytes, traffic.offline_bytes)
        assert (row["operation"], row["rounds"]) == (traffic.operation, len(traffic.rounds))
        assert tuple(tuple(row[key]) for key in ("bytes_sent", "setup_bytes", "offline_bytes")) == predicted


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_polynomials_round_to_the_floor_or_one_more(execution, seed):
    b = ProgramBuilder((400,), 8)
    x2act(b, "act", "image", (400,), 8, 20)
    words = np.random.default_rng(seed).integers(-(2**11), 2**11, (2, 400)).astype(np.int32)
    result = run_shared(b.program(), {}, words, execution).output.view(np.int32)
    exact = (words.astype(np.int64) ** 2 * 3 + words * 2**12 - 99) >> 12
    assert np.isin(result - exact, (0, 1)).all()


def test_the_first_layer_that_diverges_is_named(execution):
    program, weights = residual_network()

    class Damaged(type(execution)):
        def party(self, number, program, channel):
            operations = tuple(replace(op, bits=6) if op.name == "dw.t" else op for op in program.operations)
            return super().party(number, replace(program, operations=operations), channel)

    images = np.random.default_rng(0).normal(size=(1, 3, 9, 9))
    assert first_divergence(program, weights, images, Damaged()) == "dw.t"


def relu_program(elements):
    b = ProgramBuilder((elements,), 0)
    b.add(ReluOp, "relu", ["image"], (elements,), 0)
    return b.program()


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None)
def test_relu_is_exact_on_the_whole_ring(execution, values):
    words = np.array(values, np.int32)[None]
    opened = run_shared(relu_program(len(values)), {}, words, execution).output
    assert np.array_equal(opened.view(np.int32), np.maximum(words, 0))


def test_relu_is_exact_at_its_corners(execution):
    corners = [0, 1, -1, 2**31 - 1, -(2**31), 2**30, -(2**30), 7, 8, -8, 0x7FFFFFF8, -0x7FFFFFF8]
    words = np.array([corners * 40], np.int32)
    for _ in range(5):
        opened = run_shared(relu_program(words.shape[1]), {}, words, execution).output
        assert np.array_equal(opened.view(np.int32), np.maximum(words, 0))


@st.composite
def poolings(draw):
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return draw(st.integers(1, 2)), kernel, stride, padding, draw(st.integers(0, 2**32))


@given(poolings())
@settings(max_examples=15, deadline=None)
def test_max_pooling_is_exact_for_every_geometry(execution, pooling):
    channels, kernel, stride, padding, seed = pooling
    height = (5 + padding[0] + padding[2] - kernel[0]) // stride[0] + 1
    width = (6 + padding[1] + padding[3] - kernel[1]) // stride[1] + 1
    b = ProgramBuilder((channels, 5, 6), 0)
    b.add(MaxPoolOp, "pool", ["image"], (channels, height, width), 0, kernel=kernel, stride=stride, padding=padding)
    words = np.random.default_rng(seed).integers(-(2**30), 2**30, (2, channels, 5, 6)).astype(np.int32)
    assert first_divergence(b.program(), {}, words, execution) is None
    assert traffic_mismatch(b.program(), {}, words, execution) is None


@given(bits=st.integers(1, 29), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_truncation_is_the_floor_or_one_more(execution, bits, seed):
    b = ProgramBuilder((300,), 0)
    b.add(TruncateOp, "t", ["image"], (300,), 0, bits=bits)
    words = np.random.default_rng(seed).integers(-(2**30) + 1, 2**30, (1, 300)).astype(np.int32)
    words[0, :4] = 2**30 - 1, -(2**30) + 1, 0, -1
    result = run_shared(b.program(), {}, words, execution).output.view(np.int32)
    assert np.isin(result - (words >> bits), (0, 1)).all()


def test_products_of_two_secrets_on_narrow_rings_agree_with_the_reference(execution):
    program, weights = gated_network()
    images = np.random.default_rng(4).normal(size=(2, 3, 5, 5))
    seen = dict.fromkeys(program.tensors, 1.0)
    for name, words in walk_reference(program, weights, images):
        seen[name] = float(np.abs(words.view(np.int32)).max()) * 2.0 ** -program.tensor(name).fraction_bits
    narrow = narrow_rings(program, {name: seen[name] for name in program.tensors})
    assert is_narrow(narrow)
    assert first_divergence(narrow, weights, images, execution) is None
    assert traffic_mismatch(narrow, weights, images, execution) is None


def test_a_patch_whose_sum_is_zero_is_left_out_and_one_of_the_least_above_stays(execution):
    b = ProgramBuilder((1, 2, 4), 0)
    sums = b.add(SumPoolOp, "sums", ["image"], (1, 1, 2), 0, kernel=(2, 2), stride=(2, 2))
    b.add(SelectOp, "select", ["image", sums], (1, 2, 4), 0, patch=(2, 2))
    words = np.array([[[[700, -700, 700, -700], [3, -3, 3, -2]]], [[[-5, 4, -(2**20), 2**21], [0, 0, 9, 9]]]], np.int32)
    found = run_shared(b.program(), {}, words, execution).output.view(np.int32)
    np.testing.assert_array_equal(found[0, 0], [[0, 0, 700, -700], [0, 0, 3, -2]])
    np.testing.assert_array_equal(found[1, 0], [[0, 0, -(2**20), 2**21], [0, 0, 9, 9]])


def test_patches_of_one_pixel_have_a_sign_each_however_the_material_is_made(execution):
    b = ProgramBuilder((2, 1, 1), 8)
    weight = b.constant("w", (3, 2, 1, 1), 6, 40)
    y = b.add(ConvOp, "conv", ["image"], (3, 1, 1), 14, weight=weight, bias=None)
    y = b.add(TruncateOp, "t", [y], (3, 1, 1), 8, bits=6)
    geometry = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0, 1, 1)}
    sums = b.add(SumPoolOp, "sums", [y], (3, 1, 1), 8, **geometry)
    b.add(SelectOp, "select", [y, sums], (3, 1, 1), 8, patch=(2, 2))
    images = np.random.default_rng(0).normal(size=(4, 2, 1, 1))
    assert first_divergence(b.program(), b.weights, images, execution) is None
    assert traffic_mismatch(b.program(), b.weights, images, execution) is None
    if execution.name in preparations():
        assert first_divergence(b.program(), b.weights, images, execution, "two-party") is None
        assert preparation_mismatch(b.program(), 2, execution) is None
