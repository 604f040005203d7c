"""A small build with images beside it."""

import numpy as np
import pytest
from helpers.networks.small_programs import digits_network
from helpers.parties.party_commands import SECRET_PIXEL

from rrnet_nni.fpga.program.write_build import write_build


@pytest.fixture
def build(tmp_path):
    program, weights = digits_network()
    write_build(tmp_path / "build", program, weights, {"device": "zcu104", "protocol": "beaver-ot"})
    images = np.random.default_rng(0).normal(size=(3, 1, 6, 6))
    images[0, 0, 0, :3] = SECRET_PIXEL
    np.save(tmp_path / "x.npy", images)
    return tmp_path / "build"
