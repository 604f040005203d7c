"""A weighted sum of shares is one of the values, and leaves its inputs as they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.program import AffineOp
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
