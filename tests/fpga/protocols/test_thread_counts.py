"""Two parties compute the reference bit for bit, whatever the number of threads and of images."""

import numpy as np
import pytest
from helpers.parties.executing_parties import network

from rrnet_nni.fpga.native.threads import use_threads
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.session.conformance import first_divergence


@pytest.mark.parametrize("images", [1, 16])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("protocol", sorted(executions()))
def test_any_number_of_threads_gives_the_reference(protocol, threads, images):
    program, weights = network()
    pixels = np.random.default_rng(threads).normal(size=(images, 2, 16, 16))
    use_threads(threads)
    try:
        assert first_divergence(program, weights, pixels, executions()[protocol]) is None
    finally:
        use_threads(1)
