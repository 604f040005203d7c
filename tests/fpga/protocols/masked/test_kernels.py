"""The steps of masked wires are what they are said to be, in C and in NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.native.library import OPTIONS, CompilationUnavailable
from rrnet_nni.fpga.program import AffineOp, MaxPoolOp, ReluOp, SquareOp, TruncateOp
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.protocols.masked import comparison as masked_comparison
from rrnet_nni.fpga.protocols.masked import party as masked_party
from rrnet_nni.fpga.protocols.masked.kernels import CompiledKernels, agrees_with_numpy, kernels
from rrnet_nni.fpga.protocols.masked.masks import Lifting, lifted_forms
from rrnet_nni.fpga.protocols.masked.numpy_kernels import NumpyKernels, reduce_share
from rrnet_nni.fpga.protocols.shared.bit_planes import indicators, plane_words
from rrnet_nni.fpga.protocols.shared.digit_planes import split_digits, split_leaves
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder, first_divergence

#: Without the abilities of the CPU that compiles: what is written for vectors of another length is left out.
PLAIN = tuple(option for option in OPTIONS if option != "-march=native")


def backends():
    try:
        return [NumpyKernels(), CompiledKernels(), CompiledKernels(PLAIN)]
    except CompilationUnavailable:
        return [NumpyKernels()]


pytestmark = pytest.mark.parametrize("steps", backends(), ids=("numpy", "compiled", "compiled for any CPU"))


def words(seed, *shape):
    return np.random.default_rng(seed).integers(0, 2**32, shape, dtype=np.uint32)


@given(elements=st.integers(1, 300), bits=st.integers(1, 32), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_planes_hold_the_bits_of_the_words(steps, elements, bits, seed):
    given_words = words(seed, 2, elements)
    planes = steps.word_planes(given_words, bits)
    assert planes.shape == (2, bits, (elements + 7) // 8)
    rebuilt = sum(plane_words(planes[:, bit], elements) << np.uint32(bit) for bit in range(bits))
    assert np.array_equal(rebuilt, given_words & np.uint32((1 << bits) - 1))


@given(elements=st.integers(1, 600), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_leaves_compare_each_digit_with_the_masks(steps, elements, seed):
    """Shares of the one-hot words of r give shares of [m < r] and [m = r], digit by digit."""
    m, r = words(seed, 1, elements), words(seed + 1, 1, elements)
    m[0, ::3] = r[0, ::3]  # equal digits too
    digits = [indicators(part) for part in split_digits(steps.word_planes(r, 31))]
    onehot = np.concatenate([part.reshape(1, -1, part.shape[-1]) for part in digits], axis=1)
    first = np.random.default_rng(seed).integers(0, 256, onehot.shape, dtype=np.uint8)
    less, equal = split_leaves(steps.word_leaves(first, m) ^ steps.word_leaves(onehot ^ first, m))
    shift = 0
    for index, width in enumerate((3, 4, 4, 4, 4, 4, 4, 4)):
        mine, other = ((value >> np.uint32(shift)) & np.uint32((1 << width) - 1) for value in (m, r))
        assert np.array_equal(plane_words(less[:, index], elements), mine < other)
        if index:
            assert np.array_equal(plane_words(equal[:, index - 1], elements), mine == other)
        shift += width


@given(bits=st.integers(0, 29), seed=st.integers(0, 2**32), wide=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_lifted_word_is_the_integer_without_its_low_bits(steps, bits, seed, wide):
    generator = np.random.default_rng(seed)
    bits = bits if wide else max(bits, 1)
    value, mask = generator.integers(-(2**30) + 1, 2**30, (1, 500)), words(seed, 1, 500)
    value[0, :4] = 2**30 - 1, -(2**30) + 1, 0, -1
    opened = value.astype(np.uint32) + mask
    forms = lifted_forms(mask, bits, wide)
    shares = tuple(generator.integers(0, np.iinfo(form.dtype).max, form.shape, dtype=form.dtype) for form in forms)
    zero = steps.lift(0, opened, Lifting(bits), shares)
    one = steps.lift(1, opened, Lifting(bits), tuple(form - share for form, share in zip(forms, shares)))
    lifted = (zero + one).view(np.int64 if wide else np.int32)
    assert np.isin(lifted - (value >> bits), (0, 1)).all()


@given(bits=st.integers(1, 32), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_reducing_a_wide_share_never_fails(steps, bits, seed):
    """Whatever the shares: the floor or one more, modulo 2^32, for integers of up to 62 bits."""
    generator = np.random.default_rng(seed)
    value = generator.integers(-(2**62), 2**62, 500)
    value[:6] = 0, 1, -1, 2**31, -(2**31), 2**62 - 1
    first = generator.integers(0, 2**64, 500, dtype=np.uint64)
    first[6:9] = 0, 2**64 - 1, 2**63
    shares = first, value.view(np.uint64) - first
    total = sum(reduce_share(party, share, bits) for party, share in enumerate(shares))
    difference = (total - (value >> bits).view(np.uint64)).astype(np.uint32)
    assert np.isin(difference, (0, 1)).all()


def test_a_network_executes_on_this_backend(steps, monkeypatch):
    for module in (masked_party, masked_comparison):
        monkeypatch.setattr(module, "kernels", lambda: steps)
    b = ProgramBuilder((3, 5, 5), 6)
    b.add(AffineOp, "scale", ["image"], (3, 5, 5), 8, multipliers=((3, -2, 5),))
    b.add(TruncateOp, "t", ["scale"], (3, 5, 5), 5, bits=3)
    b.add(SquareOp, "square", ["t"], (3, 5, 5), 10)
    b.add(TruncateOp, "square.t", ["square"], (3, 5, 5), 5, bits=5)
    b.add(ReluOp, "relu", ["square.t"], (3, 5, 5), 5)
    b.add(ReluOp, "relu2", ["t"], (3, 5, 5), 5)
    b.add(AffineOp, "sum", ["relu", "relu2"], (3, 5, 5), 5, multipliers=((1,), (-1,)))
    b.add(MaxPoolOp, "pool", ["sum"], (3, 3, 3), 5, kernel=(3, 3), stride=(1, 1))
    images = np.random.default_rng(1).normal(size=(2, 3, 5, 5))
    assert first_divergence(b.program(), {}, images, executions()["masked"]) is None


def test_a_backend_that_computes_something_else_is_passed_over(steps, monkeypatch):
    class Wrong(type(steps)):
        def word_leaves(self, onehot, words):
            return super().word_leaves(onehot, words) ^ np.uint8(1)

    assert agrees_with_numpy(steps)
    assert not agrees_with_numpy(Wrong())


def test_the_environment_can_ask_for_numpy(steps, monkeypatch):
    monkeypatch.setenv("RRNET_RING_BACKEND", "limbs")
    assert kernels.__wrapped__().name == "numpy"
