"""Bytes and rounds of every protocol against the closed formulas of the literature."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.cost import OperatorCost, operator_cost
from rrnet_nni.fpga.cost.protocol import Exchange
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import (
    Add,
    Affine,
    AvgPool,
    Conv,
    Linear,
    MaxPool,
    OperatorShape,
    Relu,
    Relu6,
    Square,
    Truncate,
    X2act,
)
from rrnet_nni.fpga.protocols import get_costs, protocol_names

DEVICE = load_device("zcu104")
CONV = Conv(16, 14, 14, (3, 3), (2, 2), (1, 1, 1, 1), out_channels=24)
LINEAR = Linear(512, 10)
LOCAL = (AvgPool(8, 4, 4, (2, 2), (2, 2)), Add(64), Affine(64))
elements_8 = st.integers(1, 2000).map(lambda n: 8 * n)  # whole bytes of a bit plane
pools = st.builds(
    lambda c, size, k: MaxPool(8 * c, size * k, size * k, (k, k), (k, k)),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(2, 4),
)


def cost(name: str, shape: OperatorShape, batch: int = 1) -> OperatorCost:
    return operator_cost(shape, DEVICE, get_costs(name), batch)


def comparisons_per_output(shape: MaxPool) -> int:
    return shape.kernel[0] * shape.kernel[1] - 1


def levels(shape: MaxPool) -> int:
    return (shape.kernel[0] * shape.kernel[1] - 1).bit_length()


@pytest.mark.parametrize("name", protocol_names())
@pytest.mark.parametrize("shape", LOCAL, ids=lambda shape: type(shape).__name__)
def test_local_operators_send_nothing_and_need_nothing(name: str, shape: OperatorShape) -> None:
    priced = cost(name, shape)
    assert (priced.rounds, priced.bytes_sent, priced.offline_bytes) == (0, (0, 0), (0, 0))
    assert priced.compute_ms > 0


@pytest.mark.parametrize("name", protocol_names())
@pytest.mark.parametrize("shape", [CONV, LINEAR], ids=["conv", "linear"])
def test_weights_are_opened_once_per_model_one_word_each(name: str, shape: Conv | Linear) -> None:
    assert cost(name, shape).setup_bytes == cost(name, shape, batch=7).setup_bytes == (4 * shape.weights,) * 2


@pytest.mark.parametrize("name", protocol_names())
def test_relu6_is_two_comparisons_side_by_side(name: str) -> None:
    one, both = cost(name, Relu(2048)), cost(name, Relu6(1024))
    assert (both.rounds, both.bytes_sent, both.offline_bytes) == (one.rounds, one.bytes_sent, one.offline_bytes)
    assert both.comparisons == one.comparisons == 2048


@pytest.mark.parametrize("name", protocol_names())
def test_an_unknown_shape_is_an_error_not_a_price(name: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        get_costs(name).phases("relu", DEVICE)  # type: ignore[arg-type]


def test_unknown_protocols_are_refused_with_the_known_names() -> None:
    with pytest.raises(Refusal, match="beaver-ot"):
        get_costs("magic")


# --- paper: COMM1 .. COMM4, one direction at a time


@given(elements_8)
def test_paper_comparison_is_one_word_and_2561_bits_in_four_messages(elements: int) -> None:
    priced = cost("paper", Relu(elements))
    assert priced.rounds == 4
    assert sum(priced.bytes_sent) * 8 == 32 + (32 * 16 + 32 * 4 * 16 + 1) * elements


@given(elements_8)
def test_paper_comparison_takes_5185_operations(elements: int) -> None:
    operations = 32 * 17 + 32 * (17 + 4 * 16) + (32 * 4 * 16 + 1)
    rate = DEVICE.comparator_operations_per_cycle * DEVICE.clock_hz
    assert operations == 5185
    assert cost("paper", Relu(elements)).compute_ms == pytest.approx(1e3 * operations * elements / rate)


@given(pools)
def test_paper_maxpool_is_one_comparison_less_than_the_window_per_output(shape: MaxPool) -> None:
    flat = cost("paper", Relu(comparisons_per_output(shape) * shape.output_elements))
    assert cost("paper", shape) == flat


@pytest.mark.parametrize(
    ("shape", "opened"), [(CONV, CONV.input_elements), (LINEAR, 512), (X2act(640), 640), (Square(640), 640)]
)
def test_paper_opens_each_input_word_once_in_two_messages(shape: OperatorShape, opened: int) -> None:
    priced = cost("paper", shape)
    assert (priced.rounds, priced.bytes_sent) == (2, (4 * opened, 4 * opened))
    assert priced.transfer_ms == pytest.approx(1e3 * 8 * opened / DEVICE.bandwidth_bytes_per_s)


def test_paper_convolution_is_three_products() -> None:
    rate = DEVICE.array_multiplications_per_cycle * DEVICE.clock_hz
    assert cost("paper", CONV).compute_ms == pytest.approx(1e3 * 3 * CONV.macs / rate)


# --- beaver-ot: openings of one word, the millionaires' tree in bit planes

BEAVER = ("beaver-ot", "beaver-ot-extension", "beaver-ot-silent")


@pytest.mark.parametrize("name", BEAVER)
def test_beaver_convolution_opens_its_raw_input_and_truncates_its_output(name: str) -> None:
    priced = cost(name, CONV)
    opened = 4 * (CONV.input_elements + CONV.output_elements)
    assert (priced.rounds, priced.bytes_sent) == (2, (opened, opened))


@pytest.mark.parametrize("name", BEAVER)
@pytest.mark.parametrize(("shape", "words"), [(Square(100), 1), (Truncate(100), 1), (X2act(100), 2)])
def test_beaver_square_and_truncation_open_one_word_each(name: str, shape: OperatorShape, words: int) -> None:
    priced = cost(name, shape)
    assert (priced.rounds, priced.bytes_sent) == (words, (400 * words, 400 * words))


@given(elements_8)
def test_beaver_ot_comparison_is_43_75_bytes_in_seven_rounds(elements: int) -> None:
    """Leaves: 31 choice bits one way, 217 table bits back; tree: 18 bits each; multiplexer: a bit and a word each."""
    priced = cost("beaver-ot", Relu(elements))
    assert priced.rounds == 7
    assert priced.bytes_sent == ((217 + 18 + 1 + 32) * elements // 8, (31 + 18 + 1 + 32) * elements // 8)
    assert sum(priced.bytes_sent) == 43.75 * elements


@given(elements_8)
def test_extension_comparison_is_mill_of_31_bits_and_the_multiplexer(elements: int) -> None:
    lam, ring, m = 128, 32, 4
    q = -(-(ring - 1) // m)
    table, k = 2**m, (q - 1).bit_length()
    mill = lam * (4 * q - k - 2) + table * (2 * q - 1) + 22 * (q - 1) - 2 * k
    priced = cost("beaver-ot-extension", Relu(elements))
    assert sum(priced.bytes_sent) * 8 == (mill + 2 * (lam + ring)) * elements
    assert priced.offline_bytes == (0, 0)
    assert priced.rounds == 7


@given(st.integers(100, 2000).map(lambda n: 8 * n))
def test_silent_ot_brings_the_comparison_to_49_bytes(elements: int) -> None:
    priced = cost("beaver-ot-silent", Relu(elements))
    assert priced.bytes_sent == cost("beaver-ot", Relu(elements)).bytes_sent
    assert (sum(priced.bytes_sent) + sum(priced.offline_bytes)) / elements == pytest.approx(49, abs=0.2)


@given(pools)
def test_beaver_maxpool_is_a_tree_of_comparisons(shape: MaxPool) -> None:
    priced = cost("beaver-ot", shape)
    count = comparisons_per_output(shape) * shape.output_elements
    assert priced.rounds == 7 * levels(shape)
    assert sum(priced.bytes_sent) == 43.75 * count
    assert priced.comparisons == count


# --- masked: what is executed, an operator in its usual place


@given(elements_8)
def test_masked_comparison_is_19_bits_each_in_four_rounds(elements: int) -> None:
    """Its input is open already: 18 bits of the tree and the masked sign, both ways; material for party 1 alone."""
    priced = cost("masked", Relu(elements))
    assert (priced.rounds, priced.bytes_sent) == (4, (19 * elements // 8,) * 2)
    assert priced.offline_bytes[0] == 0


def test_masked_opens_a_convolutions_raw_input_and_what_a_truncation_drops() -> None:
    priced = cost("masked", CONV)
    opened = 4 * (CONV.input_elements + CONV.output_elements)
    assert (priced.rounds, priced.bytes_sent) == (2, (opened, opened))
    assert cost("masked", Truncate(100)).bytes_sent == (400, 400)


def test_masked_x2act_sends_nothing_between_its_convolutions() -> None:
    """The truncation before it opened its input; its own truncation drops bits of wide shares."""
    priced = cost("masked", X2act(100))
    assert (priced.rounds, priced.bytes_sent) == (0, (0, 0))


@given(elements_8)
def test_masked_with_comparison_keys_sends_one_bit_each_in_one_round(elements: int) -> None:
    """25 blocks of 16 bytes to both parties, and what selects to party 1."""
    priced = cost("masked-dcf", Relu(elements))
    assert (priced.rounds, priced.bytes_sent) == (1, (elements // 8,) * 2)
    assert priced.offline_bytes == (400 * elements, 412 * elements)


def test_masked_computes_half_of_the_products_of_beaver() -> None:
    products = [cost(name, Conv(256, 8, 8, (3, 3), out_channels=256)).compute_ms for name in ("masked", "beaver-ot")]
    assert products[0] / products[1] == pytest.approx(0.5, rel=0.05)


# --- variants of masked: the table of their design, per party


@pytest.mark.parametrize(("name", "word"), [("masked-dcf-narrow", 2), ("masked-onehot-narrow", 2)])
@pytest.mark.parametrize("shape", [CONV, LINEAR], ids=["conv", "linear"])
def test_masked_variants_product_opens_its_output_once(name: str, word: int, shape: Conv | Linear) -> None:
    priced = cost(name, shape)
    assert (priced.rounds, priced.bytes_sent) == (1, (word * shape.output_elements,) * 2)
    assert priced.offline_bytes == (0, 4 * shape.output_elements)


@pytest.mark.parametrize(("name", "word"), [("masked-dcf-narrow", 3), ("masked-onehot-narrow", 3)])
def test_masked_variants_x2act_opens_one_word(name: str, word: int) -> None:
    priced = cost(name, X2act(1000))
    assert (priced.rounds, priced.bytes_sent, priced.offline_bytes) == (1, (word * 1000,) * 2, (0, 16_000))


@pytest.mark.parametrize(
    ("name", "bits", "word", "rounds", "offline"),
    [
        ("masked-dcf-narrow", 1, 3, 2, (144, 164)),
        ("masked-onehot-narrow", 5, 3, 3, (0, 20 + 101 / 8)),
    ],
)
@given(elements=elements_8)
def test_masked_variants_relu(
    name: str, bits: int, word: int, rounds: int, offline: tuple[float, float], elements: int
) -> None:
    priced = cost(name, Relu(elements))
    assert (priced.rounds, priced.bytes_sent) == (rounds, (elements * (8 * word + bits) // 8,) * 2)
    assert priced.offline_bytes == (offline[0] * elements, offline[1] * elements)


@pytest.mark.parametrize(("name", "word", "key"), [("masked-dcf-narrow", 2, 144)])
@given(shape=pools)
def test_masked_variants_maxpool(name: str, word: int, key: int, shape: MaxPool) -> None:
    priced = cost(name, shape)
    count = comparisons_per_output(shape) * shape.output_elements
    assert priced.rounds == 2 * levels(shape)
    assert priced.bytes_sent == (count * (8 * word + 1) // 8,) * 2
    assert priced.offline_bytes == (key * count, (key + 12) * count)


# --- what holds of every protocol


SHAPES = (CONV, LINEAR, Relu(1000), Relu6(96), X2act(1000), MaxPool(8, 9, 9, (3, 3), (2, 2), (1, 1, 1, 1)), *LOCAL)


@pytest.mark.parametrize("name", protocol_names())
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_an_operators_cost_is_that_of_its_primitives_phases(name: str, shape: OperatorShape) -> None:
    protocol = get_costs(name)
    phases = [phase for each in protocol.primitives(shape) for phase in protocol.phases(each, DEVICE, batch=3)]
    rounds = [phase for phase in phases if isinstance(phase, Exchange)]
    cycles = [phase.cycles for phase in phases if not isinstance(phase, Exchange)]
    assert {phase.kernel for phase in phases if not isinstance(phase, Exchange)} <= {"array", "comparator", "alu"}
    assert all(isinstance(size, int) and size >= 0 for step in rounds for size in step.bytes_sent)
    assert all(max(step.bytes_sent) > 0 for step in rounds)
    assert cycles
    assert min(cycles) > 0
    priced = cost(name, shape, batch=3)
    assert priced.bytes_sent == tuple(sum(step.bytes_sent[party] for step in rounds) for party in (0, 1))
    assert priced.rounds == len(rounds)
    assert priced.compute_ms == pytest.approx(1e3 * sum(cycles) / DEVICE.clock_hz)
