"""What a command says of where it stands, and of the time that it has left."""

import itertools

import onnx
import pytest
from helpers.networks.small_onnx_models import mixed_model

from rrnet_nni.base.progress import Steps, TimeLeft, counted
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.compiler.steps import STEPS
from rrnet_nni.fpga.program import AffineOp, ConvOp, ReluOp, TruncateOp
from rrnet_nni.fpga.protocols import preparations
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


def shown(monkeypatch, capsys):
    """What a terminal got, line after line; the clock moves a second at every look."""
    now = itertools.count()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("time.perf_counter", lambda: float(next(now)))
    return lambda: [line for line in capsys.readouterr().err.split("\r\x1b[K") if line]


def test_counted_items_come_in_their_order_and_say_how_many_are_left(monkeypatch, capsys):
    lines = shown(monkeypatch, capsys)
    assert list(counted("abcdef", "rrnet init", "pictures")) == list("abcdef")
    assert lines() == [
        "rrnet init: 2/6 pictures, about 6 s left",
        "rrnet init: 3/6 pictures, about 4 s left",
        "rrnet init: 4/6 pictures, about 3 s left",
        "rrnet init: 5/6 pictures, about 1 s left",
    ]


def test_steps_have_a_place_among_all_and_the_line_is_wiped_even_after_a_fault(monkeypatch, capsys):
    lines = shown(monkeypatch, capsys)

    def compiled():
        with Steps("rrnet-2pc-compile", {"read": 1.0, "write": 3.0}) as steps:
            steps("read")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compiled()
    assert lines() == ["rrnet-2pc-compile: 1/2 read"]


def test_nothing_is_shown_but_on_a_terminal(capsys):
    list(counted(range(3), "x", "y"))
    with Steps("x", {"y": 1.0}) as steps:
        steps("y")
    assert capsys.readouterr().err == ""


def test_a_compilation_walks_through_its_steps_in_their_order(tmp_path):
    onnx.save(mixed_model(image_size=8), tmp_path / "model.onnx")
    heard = []
    compile_model(tmp_path / "model.onnx", tmp_path / "build", on_step=heard.append)
    assert heard == list(STEPS)
