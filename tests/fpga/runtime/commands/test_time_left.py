"""What a preparation says about the time that it has left."""

from rrnet_nni.fpga.program import AffineOp, ConvOp, ReluOp, TruncateOp
from rrnet_nni.fpga.protocols import preparations
from rrnet_nni.fpga.runtime.commands.time_left import TimeLeft
from rrnet_nni.fpga.runtime.material.effort import expected_effort
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder


def test_the_time_left_follows_from_what_is_done_and_is_no_guess():
    now = [100.0]
    left = TimeLeft({"a": 1.0, "b": 3.0}, walks=2, clock=lambda: now[0])
    said = []
    for operation, seconds in (("setup", 1.0), ("a", 1.0), ("b", 4.0), ("a", 2.0), ("b", 8.0), ("end", 0.0)):
        said.append(left(operation))
        now[0] += seconds
    assert said == ["", "", "", ", about 6 s left", ", about 5 s left", ", about 0 s left"]


def test_every_operation_that_sends_anything_has_an_effort():
    b = ProgramBuilder((2, 8, 8), 8)
    weight = b.constant("w", (4, 2, 3, 3), 8, 100)
    b.add(ConvOp, "conv", ["image"], (4, 8, 8), 16, weight=weight, bias=None, padding=(1,) * 4)
    b.add(TruncateOp, "t", ["conv"], (4, 8, 8), 8, bits=8)
    b.add(ReluOp, "relu", ["t"], (4, 8, 8), 8)
    b.add(AffineOp, "sum", ["relu", "t"], (4, 8, 8), 8, multipliers=((1,), (1,)))
    for protocol in preparations():
        efforts = expected_effort(protocol, b.program())
        assert all(efforts[name] > 0 for name in ("conv", "t", "relu"))
        assert efforts["sum"] == 0
