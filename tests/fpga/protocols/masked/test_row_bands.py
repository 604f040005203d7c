"""Bands of rows: cut whole, put back whole, and executed ahead with the reference's values and predicted traffic."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.tapped_sessions import narrowed, network
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.program import AffineOp, ConvOp, MulOp, ReluOp, SquareOp, TruncateOp
from rrnet_nni.fpga.program.reference import encode_images
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.protocols.masked import ahead, row_bands
from rrnet_nni.fpga.protocols.masked.party import MaskedParty
from rrnet_nni.fpga.protocols.masked.plan import plan_masked
from rrnet_nni.fpga.protocols.masked.row_bands import MOST_BANDS, Cut, operation_bands
from rrnet_nni.fpga.protocols.shared.bit_planes import word_planes
from rrnet_nni.fpga.runtime.link.ahead import RoundsAhead
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder, disagreement, run_shared
from rrnet_nni.fpga.runtime.session.in_process import execute, share_weights, share_words

shapes = st.tuples(st.integers(1, 4), st.integers(1, 80), st.integers(1, 20))
MASKED = [executions()[name] for name in ("masked", "masked-dcf")]
every_masked = pytest.mark.parametrize("execution", MASKED, ids=lambda execution: execution.name)


@given(shapes)
def test_bands_are_all_rows_once_and_few_and_a_single_one_where_planes_cannot_be_cut(shape):
    bands = row_bands.row_bands(shape)
    assert [row for first, end in bands for row in range(first, end)] == list(range(shape[1]))
    assert len(bands) <= MOST_BANDS
    assert len(bands) == 1 or all((end - first) * shape[2] % 8 == 0 for first, end in bands)


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (32, 32), (32, 24), (6, 5)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (4, 4)])
def test_bands_of_a_convolution_are_all_rows_once_and_await_different_bands_of_its_input(size, kernel, stride):
    b = ProgramBuilder((3, *size), 8)
    weight, pad = b.constant("w", (4, 3, kernel, kernel), 8, 30), (kernel - 1) // 2
    made = [(side + 2 * pad - kernel) // stride + 1 for side in size]
    b.add(ConvOp, "conv", ["image"], (4, *made), 16, weight=weight, bias=None, stride=(stride, stride),
          padding=(pad, pad, pad, pad))  # fmt: skip
    program = b.program()
    (operation,) = program.operations
    bands = operation_bands(operation, plan_masked(program)[0], program)
    assert [row for first, end in bands for row in range(first, end)] == list(range(made[0]))
    source = row_bands.row_bands((3, *size))
    ends = [row_bands.rows_read(operation, program, rows)[0][1] for rows in bands]
    awaited = [sum(first < end for first, _ in source) for end in ends]
    assert awaited == sorted(set(awaited))
    assert len(bands) <= len(source)


@given(shapes, st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_a_band_of_planes_is_the_planes_of_a_band(shape, images, seed):
    words = np.random.default_rng(seed).integers(0, 2**32, (images, *shape), dtype=np.uint32)
    flat = words.reshape(images, -1)
    for rows in row_bands.row_bands(shape):
        cut = Cut(shape, rows)
        band = words[:, :, rows[0] : rows[1]].reshape(images, -1)
        assert np.array_equal(cut.flat(flat), band)
        assert np.array_equal(cut.flat(np.stack((flat, flat), axis=2))[..., 1], band)
        if len(row_bands.row_bands(shape)) > 1:
            assert np.array_equal(cut.planes(word_planes(flat, 5)), word_planes(band, 5))


def striding_network(compared_first=True):
    """Convolutions with strides and paddings, a sum of two branches, words that are opened twice, both activations.

    `compared_first`: of the words that are opened twice, a ReLU opens them before a convolution does.
    """
    b = ProgramBuilder((3, 32, 24), 8, seed=5)

    def conv(name, source, channels, kernel, size, stride=(1, 1), padding=(0, 0, 0, 0)):
        inputs = b.tensors[source].shape[0]
        weight = b.constant(f"{name}.w", (channels, inputs, kernel, kernel), 8, 30)
        return b.add(ConvOp, name, [source], (channels, *size), 16, weight=weight, bias=None, stride=stride,
                     padding=padding)  # fmt: skip

    b.add(TruncateOp, "stem.t", [conv("stem", "image", 4, 3, (32, 24), padding=(1, 1, 1, 1))], (4, 32, 24), 8, bits=8)
    b.add(ReluOp, "stem.a", ["stem.t"], (4, 32, 24), 8)
    main = conv("main", "stem.a", 8, 5, (16, 12), (2, 2), (1, 2, 2, 2))
    side = conv("side", "stem.a", 8, 1, (16, 12), (2, 2))
    b.add(AffineOp, "sum", [main, side], (8, 16, 12), 16, multipliers=((1,), tuple(range(1, 9))))
    b.add(TruncateOp, "sum.t", ["sum"], (8, 16, 12), 8, bits=8)
    b.add(SquareOp, "square", ["sum.t"], (8, 16, 12), 16)
    b.add(AffineOp, "poly", ["square", "sum.t"], (8, 16, 12), 24, multipliers=((1,), (1 << 16,)))
    b.add(TruncateOp, "poly.t", ["poly"], (8, 16, 12), 8, bits=16)
    if compared_first:
        b.add(ReluOp, "again", ["poly.t"], (8, 16, 12), 8)
    last = conv("last", "poly.t", 8, 3, (16, 12), padding=(2, 1, 0, 1))
    if not compared_first:
        b.add(ReluOp, "again", ["poly.t"], (8, 16, 12), 8)
    b.add(TruncateOp, "last.t", [last], (8, 16, 12), 8, bits=8)
    b.add(AffineOp, "joined", ["last.t", "again"], (8, 16, 12), 8, multipliers=((1,), (1,)))
    return b.program(), b.weights


@every_masked
@pytest.mark.parametrize("compared_first", [True, False])
@pytest.mark.parametrize("images", [1, 2])
def test_a_network_in_bands_is_the_reference_and_sends_what_is_predicted(execution, images, compared_first):
    program, weights = striding_network(compared_first)
    bands = [operation_bands(*each, program) for each in zip(program.operations, plan_masked(program))]
    assert {len(each) for each in bands} == {16, 15, 8}  # two rows each, and the last ones of a convolution joined
    pixels = np.random.default_rng(images).normal(size=(images, 3, 32, 24))
    assert disagreement(program, weights, pixels, execution, ahead=True) is None


@every_masked
@pytest.mark.parametrize("change", [lambda program: program, narrowed], ids=["whole", "narrow"])
def test_a_network_of_every_operation_runs_ahead(execution, change):
    program, weights = network()
    pixels = np.random.default_rng(3).normal(size=(2, 2, 8, 8))
    assert disagreement(change(program), weights, pixels, execution, ahead=True) is None


def multiplying_network():
    """A product of two tensors of which a convolution beside it has opened one before, on fewer bits."""
    b = ProgramBuilder((3, 16, 8), 8, seed=6)

    def conv(name, source, bits=8):
        weight = b.constant(f"{name}.w", (4, b.tensors[source].shape[0], 3, 3), bits, 30)
        geometry = {"bias": None, "stride": (1, 1), "padding": (1, 1, 1, 1)}
        made = b.add(ConvOp, name, [source], (4, 16, 8), 8 + bits, weight=weight, **geometry)
        return b.add(TruncateOp, f"{name}.t", [made], (4, 16, 8), 8, bits=bits)

    first, second = conv("first", "image"), conv("second", "image")
    side = conv("side", first, 2)
    b.add(MulOp, "product", [first, second], (4, 16, 8), 16)
    b.add(TruncateOp, "product.t", ["product"], (4, 16, 8), 8, bits=8)
    b.add(AffineOp, "joined", ["product.t", side], (4, 16, 8), 8, multipliers=((1,), (1,)))
    b.add(ReluOp, "end", ["joined"], (4, 16, 8), 8)
    program = b.program()
    rings = {"first.t": 16, "second.t": 16, "side.t": 16, "product.t": 16, "joined": 16}
    tensors = {name: replace(tensor, ring_bits=rings.get(name, 32)) for name, tensor in program.tensors.items()}
    return replace(program, tensors=tensors), b.weights


def test_words_are_opened_again_only_after_all_that_read_them():
    program = multiplying_network()[0]
    plans, places = plan_masked(program), []
    tasks = ahead._Tasks(program, plans, lambda index: None)
    for index, operation in enumerate(program.operations):
        begins = len(tasks.tasks)
        if isinstance(operation, ConvOp) and plans[index].opens:
            bands = row_bands.row_bands(program.tensor(operation.inputs[0]).shape)
            tasks.open(index, operation, [(rows, lambda: None) for rows in bands])
        tasks.add(index, operation, operation_bands(operation, plans[index], program), lambda band: None)
        places.append(set(range(begins, len(tasks.tasks))))
    names = [operation.name for operation in program.operations]
    product, side = names.index("product"), names.index("side")
    (task,) = places[product]
    assert plans[side].opens
    assert plans[product].opens
    behind, new = set(), {task}
    while new:
        new = set().union(*(tasks.tasks[place].needs for place in new)) - behind
        behind |= new
    assert places[side] <= behind


@every_masked
def test_a_product_beside_a_convolution_of_the_same_words_is_the_reference(execution):
    program, weights = multiplying_network()
    pixels = np.random.default_rng(4).normal(size=(1, 3, 16, 8))
    assert disagreement(program, weights, pixels, execution, ahead=True) is None


def test_several_messages_make_one_round():
    program, weights = striding_network()
    pixels = np.random.default_rng(3).normal(size=(1, 3, 32, 24))
    plain, banded = (run_shared(program, weights, pixels, MASKED[0], ahead=value) for value in (False, True))
    for party in (0, 1):
        rows = [{row.operation: row for row in each.rows[party] if row.phase == "online"} for each in (plain, banded)]
        assert rows[0].keys() == rows[1].keys()
        for name, row in rows[0].items():
            assert (row.rounds, row.bytes_sent) == (rows[1][name].rounds, rows[1][name].bytes_sent)
        assert rows[1]["main"].messages == 16 * rows[0]["main"].messages


def test_a_band_that_reads_a_row_too_few_is_noticed(monkeypatch):
    right = row_bands.rows_read

    def wrong(operation, program, rows):
        (first, end), (above, below) = right(operation, program, rows)
        return (first, end - 1), (above, below + 1)

    monkeypatch.setattr(ahead, "rows_read", wrong)
    program, weights = striding_network()
    pixels = np.random.default_rng(1).normal(size=(1, 3, 32, 24))
    assert disagreement(program, weights, pixels, MASKED[0], ahead=True) is not None


def test_a_program_whose_lanes_share_rounds_keeps_them(monkeypatch):
    monkeypatch.setattr("rrnet_nni.fpga.protocols.masked.execution.side_by_side", lambda program: ["lanes"])
    assert type(MASKED[0].party_ahead(0, network()[0], None, None)) is MaskedParty


@every_masked
def test_bands_send_the_octets_of_whole_tensors_in_another_order(execution, monkeypatch):
    """With the same seeds and shares: so that what the other party sees is distributed alike."""
    program, weights = striding_network()
    pixels = np.random.default_rng(4).normal(size=(1, 3, 32, 24))
    shares = share_words(encode_images(program, pixels)), share_weights(weights)
    seeds, sent = DealerSeeds.fresh(), {}

    def tap(kind, name):
        right = getattr(kind, name)

        def tapped(self, outgoing, *arguments):
            peer = self.peer if kind is Link else self._link.peer
            if outgoing is not None:
                sent.setdefault(peer, []).append(np.ascontiguousarray(outgoing).view(np.uint8).reshape(-1).copy())
            return right(self, outgoing, *arguments)

        monkeypatch.setattr(kind, name, tapped)

    tap(Link, "exchange")
    tap(RoundsAhead, "begin")
    seen = []
    for value in (False, True):
        sent.clear()
        execute(program, *shares, execution, seeds, ahead=value)
        seen.append({peer: np.concatenate(messages) for peer, messages in sent.items()})
    for peer, plain in seen[0].items():
        assert not np.array_equal(plain, seen[1][peer])
        assert np.array_equal(np.sort(plain), np.sort(seen[1][peer]))
