"""The commands of the two-party execution, called in this process on a small build."""

import contextlib
import io
import json
import subprocess

from rrnet_nni.fpga.program import ConvOp, LinearOp, MaxPoolOp, ReluOp, ReshapeOp, SquareOp, TruncateOp
from rrnet_nni.fpga.runtime.commands import prepare
from rrnet_nni.fpga.runtime.commands import run as cli
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder

SECRET_PIXEL = 1.2345678
MAINS = {"run": cli.main, "prepare": prepare.main}


def small_network():
    b = ProgramBuilder((1, 6, 6), 10, seed=5)
    weight, bias = b.constant("w", (4, 1, 3, 3), 8, 128), b.constant("b", (4,), 18, 1 << 16)
    b.add(ConvOp, "conv", ["image"], (4, 6, 6), 18, weight=weight, bias=bias, padding=(1, 1, 1, 1))
    b.add(TruncateOp, "conv.t", ["conv"], (4, 6, 6), 10, bits=8)
    b.add(ReluOp, "relu", ["conv.t"], (4, 6, 6), 10)
    b.add(MaxPoolOp, "pool", ["relu"], (4, 3, 3), 10, kernel=(2, 2), stride=(2, 2))
    b.add(SquareOp, "square", ["pool"], (4, 3, 3), 20)
    b.add(TruncateOp, "square.t", ["square"], (4, 3, 3), 10, bits=10)
    b.add(ReshapeOp, "flat", ["square.t"], (36,), 10)
    b.add(LinearOp, "fc", ["flat"], (3,), 18, weight=b.constant("fc", (3, 36), 8, 100), bias=None)
    return b.program(), b.weights


def command(module, *arguments):
    """The command in this process; what it starts are processes of their own."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = MAINS[module]([str(argument) for argument in arguments])
        except SystemExit as usage:
            status = usage.code
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def run(build, *arguments):
    return command("run", build, "--input", build.parent / "x.npy", *arguments)


def answer(completed):
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)
