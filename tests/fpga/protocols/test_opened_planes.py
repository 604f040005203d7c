"""What is opened of one element is independent: bits and words, of every level, operation and shape."""

import numpy as np
import pytest
from helpers.statistics import LIMIT, largest_bias, largest_correlation
from helpers.tapped_sessions import Tapped, network

from rrnet_nni.fpga.program import ConvOp, LinearOp, SelectOp
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.protocols.shared.randomness import Keystream
from rrnet_nni.fpga.runtime.material.store import PartyMaterial
from rrnet_nni.fpga.runtime.session import in_process
from rrnet_nni.fpga.runtime.session.conformance import run_shared

IMAGES, SESSIONS = 16, 2
#: Bits of an opened word that its mask alone decides where the value is small, and its lowest one.
WORD_BITS = (31, 30, 29, 28, 0)

each_execution = pytest.mark.parametrize("execution", executions().values(), ids=executions())


def element_bits(octets, elements):
    """Bits by element of a round, [signals, IMAGES * elements], where it has planes or words of `elements`."""
    rows = octets.reshape(IMAGES, -1)
    if rows.shape[1] == 4 * elements:
        words = np.ascontiguousarray(rows).view("<u4").reshape(-1)
        return np.stack([words >> np.uint32(bit) & np.uint32(1) for bit in WORD_BITS]).astype(np.uint8)
    if 8 * rows.shape[1] % elements:
        return np.zeros((0, IMAGES * elements), np.uint8)
    planes = np.unpackbits(rows.reshape(IMAGES, -1, elements // 8), axis=-1)
    return planes.transpose(1, 0, 2).reshape(-1, IMAGES * elements)


def opened(pair, elements):
    """What a round of two equally long messages reveals: sums of words, exclusive ors of bits."""
    words = len(pair[0]) == IMAGES * elements * 4
    return (pair[0].view("<u4") + pair[1].view("<u4")).view(np.uint8) if words else pair[0] ^ pair[1]


def session_bits(program, execution, messages):
    """Elements of an operation's result, or signs that choose them -> bits by element of all that its rounds send."""
    place = sum(isinstance(operation, ConvOp | LinearOp) for operation in program.operations)  # weights come first
    found = {}
    for operation, traffic in zip(program.operations, execution.traffic(program, IMAGES)):
        signs = operation.inputs[1:] if isinstance(operation, SelectOp) else ()
        for elements in {program.tensor(name).elements for name in (operation.output, *signs)}:
            for pair in zip(*(sent[place : place + len(traffic.rounds)] for sent in messages)):
                parts = [element_bits(message, elements) for message in pair if message.size]
                if pair[0].size == pair[1].size:
                    parts.append(element_bits(opened(pair, elements), elements))
                found.setdefault(elements, []).extend(parts)
        place += len(traffic.rounds)
    return {elements: np.concatenate(parts) for elements, parts in found.items() if elements % 8 == 0}


@pytest.fixture
def observed(monkeypatch):
    """A function from an image to the bits of several sessions on copies of it."""
    monkeypatch.setattr(in_process, "Link", Tapped)

    def run(execution, image):
        program, weights = network()
        sessions = []
        for _ in range(SESSIONS):
            Tapped.sent = {}
            run_shared(program, weights, np.repeat(image[None], IMAGES, 0), execution)
            sessions.append(session_bits(program, execution, (Tapped.sent[0], Tapped.sent[1])))
        return {elements: np.concatenate([each[elements] for each in sessions], axis=1) for elements in sessions[0]}

    return run


@each_execution
@pytest.mark.parametrize("scale", [0, 2], ids=["zero", "noise"])
def test_every_opened_bit_is_balanced_and_independent_of_every_other_of_its_element(execution, observed, scale):
    bits = observed(execution, scale * np.random.default_rng(0).normal(size=(2, 8, 8)))
    assert len(bits[512]) >= (15 if execution.name == "masked-dcf" else 60)
    for elements, signals in bits.items():
        score, *which = largest_correlation(signals)
        assert score < LIMIT, (elements, which)
        score, *which = largest_bias(signals)
        assert score < LIMIT, (elements, which)


@each_execution
def test_no_eight_octets_of_an_expansion_are_drawn_twice(execution, monkeypatch):
    """Whatever operation, image, or kind of value they are drawn for."""
    drawn = {}

    class Recorded(Keystream):
        def octets(self, count):
            result = super().octets(count)
            drawn.setdefault(self.keys, []).append(result.copy())
            return result

    monkeypatch.setattr(PartyMaterial, "source", lambda self, operation: Recorded(self._keys, operation, self._set_id))
    program, weights = network()
    run_shared(program, weights, np.zeros((4, 2, 8, 8)), execution)
    assert len(drawn) == 2
    windows = []
    for draws in drawn.values():
        assert len(draws) > 4
        for octets in draws:
            words = np.ascontiguousarray(octets[:, : octets.shape[1] // 8 * 8])
            windows += [words.view("<u8").reshape(-1), np.ascontiguousarray(words[:, 4:-4]).view("<u8").reshape(-1)]
    values = np.concatenate(windows)
    assert len(values) > 10_000
    assert len(np.unique(values)) == len(values)
