"""A paced execution takes the modelled time of two boards, and says which clock its figures are of."""

import time

import pytest

from rrnet_nni.fpga.devices.load import load_device
from rrnet_nni.fpga.program import ReluOp, SquareOp
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder
from rrnet_nni.fpga.runtime.session.pacing import Pace


@pytest.fixture
def pace():
    b = ProgramBuilder((64, 32, 32), 8)
    b.add(ReluOp, "relu", ["image"], (64, 32, 32), 8)
    b.add(SquareOp, "square", ["relu"], (64, 32, 32), 16)
    return Pace(b.program(), load_device("zcu104"), "beaver-ot")


def test_operations_take_at_least_their_modelled_time(pace):
    started = time.perf_counter()
    pace.start()
    for name in ("relu", "square"):
        with pace.keep(name, 1):
            pass
    pace.finish()
    assert pace.modelled_s == pytest.approx(pace.operation_s("relu", 1) + pace.operation_s("square", 1))
    assert time.perf_counter() - started >= pace.modelled_s > 0


def test_a_batch_is_modelled_as_a_batch(pace):
    assert pace.operation_s("relu", 4) > 2 * pace.operation_s("relu", 1)


def test_a_machine_slower_than_the_boards_keeps_its_own_clock(pace):
    pace.start()
    with pace.keep("square", 1):
        time.sleep(0.2)
    pace.finish()
    assert pace.late_s > 0.1
    assert pace.clock == "wall"
