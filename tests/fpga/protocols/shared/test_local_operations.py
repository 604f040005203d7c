"""Sums of shares are sums of the values, and leave their inputs as they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.program import AffineOp, SumPoolOp
from rrnet_nni.fpga.protocols.shared.local_operations import evaluate_local

factors = st.one_of(st.just((1,)), st.tuples(st.integers(-(2**31), 2**31 - 1)), st.just((1, 1, 1)), st.just((1, -5, 3)))


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
@given(multipliers=st.lists(factors, min_size=1, max_size=3), addend=st.one_of(st.just((0,)), factors))
def test_a_weighted_sum_is_its_formula_at_both_parties(kind, multipliers, addend):
    operation = AffineOp("sum", tuple("abc"[: len(multipliers)]), "y", tuple(multipliers), addend)
    generator = np.random.default_rng(len(multipliers))
    inputs = [generator.integers(0, np.iinfo(kind).max, (2, 3, 4, 5), kind, endpoint=True) for _ in multipliers]
    before = [words.copy() for words in inputs]
    exact = [
        words.astype(object) * np.reshape(np.array(m, object), (-1, 1, 1)) for m, words in zip(multipliers, inputs)
    ]
    for number in (0, 1):
        total = sum(exact) + (number == 0) * np.reshape(np.array(addend, object), (-1, 1, 1))
        assert np.array_equal(
            evaluate_local(number, operation, inputs), (total % (int(np.iinfo(kind).max) + 1)).astype(kind)
        )
    assert all(np.array_equal(one, other) for one, other in zip(before, inputs, strict=True))


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    size=st.tuples(st.integers(3, 7), st.integers(4, 6)),
)
def test_sums_of_windows_are_their_formula(kind, kernel, stride, padding, size):
    operation = SumPoolOp("sums", ("x",), "y", kernel, stride, padding)
    words = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (2, 3, *size), kind, endpoint=True)
    top, left, bottom, right = padding
    padded = np.pad(words, ((0, 0), (0, 0), (top, bottom), (left, right)))
    rows, columns = (
        range(0, length - taps + 1, step) for length, taps, step in zip(padded.shape[2:], kernel, stride, strict=True)
    )
    expected = [
        [padded[:, :, y : y + kernel[0], x : x + kernel[1]].sum(axis=(2, 3), dtype=kind) for x in columns] for y in rows
    ]
    found = evaluate_local(0, operation, [words])
    assert found.dtype == kind
    assert np.array_equal(found, np.moveaxis(np.array(expected), (0, 1), (2, 3)))


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
def test_a_window_of_the_whole_image_sums_it(kind):
    words = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (2, 3, 4, 5), kind, endpoint=True)
    found = evaluate_local(1, SumPoolOp("sums", ("x",), "y", (4, 5), (4, 5)), [words])
    assert found.shape == (2, 3, 1, 1)
    assert np.array_equal(found[:, :, 0, 0], words.sum(axis=(2, 3), dtype=kind))
