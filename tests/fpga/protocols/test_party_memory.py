"""What a party keeps in memory of a model."""

import gc
import weakref
from contextlib import nullcontext

import numpy as np
import pytest

from rrnet_nni.fpga.program import LinearOp
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.protocols.shared.randomness import Keystream
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder


class Silent:
    """A channel whose other end sends zeros."""

    def exchange(self, outgoing, incoming_bytes):
        return np.zeros(incoming_bytes, np.uint8)


@pytest.mark.parametrize("protocol", executions())
def test_the_weights_shares_leave_memory_with_the_set_up_and_the_biases_stay(protocol):
    b = ProgramBuilder((6,), 8)
    weight, bias = b.constant("w", (9, 6), 8, 100), b.constant("b", (9,), 16, 100)
    b.add(LinearOp, "fc", ["image"], (9,), 16, weight=weight, bias=bias)
    party = executions()[protocol].party(1, b.program(), Silent())
    shares = {"w": np.ones((9, 6), np.uint32), "b": np.ones(9, np.uint32)}
    weights, biases = (weakref.ref(shares[name]) for name in "wb")
    party.setup(shares, lambda index: Keystream([bytes(16)], index), lambda name: nullcontext())
    del shares
    gc.collect()
    assert weights() is None
    assert biases() is not None
