"""The tables behind a comparison do what oblivious transfer promises, and every backend makes the same octets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.native.library import CompilationUnavailable
from rrnet_nni.fpga.program import ConvOp, LinearOp, MaxPoolOp, ReluOp, ReshapeOp, SquareOp, TruncateOp
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.protocols.beaver_ot import tables as ot_tables
from rrnet_nni.fpga.protocols.beaver_ot.execution import BeaverOTParty
from rrnet_nni.fpga.protocols.beaver_ot.tables import (
    OT_MASK_PLANES,
    CompiledTables,
    NumpyTables,
    agrees_with_numpy,
    ot_masks,
    tables,
)
from rrnet_nni.fpga.protocols.material import Expanded
from rrnet_nni.fpga.protocols.shared.bit_planes import select, word_planes
from rrnet_nni.fpga.protocols.shared.digit_planes import (
    CHOICE_PLANES,
    DIGIT,
    LOWEST,
    join_digits,
    split_digits,
    split_leaves,
)
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder, run_shared


def backends():
    try:
        return [NumpyTables(), CompiledTables()]
    except CompilationUnavailable:
        return [NumpyTables()]


@pytest.mark.parametrize("backend", backends(), ids=lambda backend: backend.name)
@given(elements=st.integers(1, 700), images=st.integers(1, 3), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_the_receiver_learns_greater_and_equal_of_every_digit(backend, elements, images, seed):
    generator = np.random.default_rng(seed)
    threshold, value = (generator.integers(0, 2**31, (images, elements), dtype=np.uint32) for _ in range(2))
    value[:, ::3] = threshold[:, ::3]
    thresholds, own = word_planes(threshold, CHOICE_PLANES), word_planes(value, CHOICE_PLANES)
    octets = own.shape[2]
    masks = generator.integers(0, 256, (images, OT_MASK_PLANES, octets), dtype=np.uint8)
    random_choices = generator.integers(0, 256, own.shape, dtype=np.uint8)
    messages, leaves = backend.answer(masks, random_choices ^ own, thresholds)
    chosen_masks = join_digits(*map(select, ot_masks(masks), split_digits(random_choices)))
    opened = leaves ^ backend.choose(messages, own) ^ chosen_masks
    bits = np.unpackbits(opened, axis=-1, count=elements)
    greater, equal = split_leaves(bits)
    shift = 0
    for digit in range(8):
        width = LOWEST if digit == 0 else DIGIT
        low, high = ((word >> shift) % (1 << width) for word in (threshold, value))
        assert np.array_equal(greater[:, digit], high > low)
        if digit:
            assert np.array_equal(equal[:, digit - 1], high == low)
        shift += width


def test_a_compiled_backend_that_is_wrong_is_not_used(monkeypatch):
    class Wrong(NumpyTables):
        def choose(self, messages, own):
            return ~super().choose(messages, own)

    assert not agrees_with_numpy(Wrong())
    assert agrees_with_numpy(NumpyTables())
    monkeypatch.setattr(ot_tables, "CompiledTables", Wrong)
    tables.cache_clear()
    assert type(tables()) is NumpyTables
    tables.cache_clear()


def test_the_backend_follows_the_environment(monkeypatch):
    monkeypatch.setenv("RRNET_RING_BACKEND", "limbs")
    tables.cache_clear()
    assert tables().name == "numpy"
    tables.cache_clear()


def test_a_party_expands_beforehand_exactly_what_it_reads(monkeypatch):
    """And reads all that was dealt."""
    b = ProgramBuilder((2, 5, 5), 8, seed=4)
    weight = b.constant("w", (3, 2, 3, 3), 8, 90)
    b.add(ConvOp, "conv", ["image"], (3, 5, 5), 16, weight=weight, bias=None, padding=(1, 1, 1, 1))
    b.add(TruncateOp, "t", ["conv"], (3, 5, 5), 8, bits=8)
    b.add(ReluOp, "relu", ["t"], (3, 5, 5), 8)
    b.add(MaxPoolOp, "pool", ["relu"], (3, 3, 3), 8, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    b.add(SquareOp, "square", ["pool"], (3, 3, 3), 16)
    b.add(ReshapeOp, "flat", ["square"], (27,), 16)
    b.add(LinearOp, "fc", ["flat"], (4,), 24, weight=b.constant("v", (4, 27), 8, 9), bias=b.constant("c", (4,), 24, 9))
    seen = []
    prepare = BeaverOTParty.prepare
    monkeypatch.setattr(BeaverOTParty, "prepare", lambda *given: seen.append(prepare(*given)) or seen[-1])
    run_shared(b.program(), b.weights, np.zeros((2, 2, 5, 5)), executions()["beaver-ot"])
    assert len(seen) == 2
    assert all(source.exhausted for material in seen for source in material.sources)
    assert all(dealt.exhausted for dealt in seen[1].dealt)


def test_reading_more_than_was_expanded_is_noticed():
    source = Expanded(np.arange(16, dtype=np.uint8).reshape(2, 8))
    assert source.words(1).tolist() == [[0x03020100], [0x0B0A0908]]
    with pytest.raises(ValueError, match="than was expanded"):
        source.wide_words(1)
