"""Prepared material for the small network."""

import pytest
from helpers.parties.executing_parties import DIGEST, IMAGES, network

from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.material.dealer import prepare_set


@pytest.fixture
def material(tmp_path):
    def prepare(protocol):
        prepare_set(tmp_path / "material", network()[0], DIGEST, executions()[protocol], IMAGES)
        return tmp_path / "material"

    return prepare
