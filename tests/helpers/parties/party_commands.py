"""The commands of the two-party execution, called in this process on a small build."""

import contextlib
import io
import json
import subprocess

from rrnet_nni.fpga.runtime.commands import prepare
from rrnet_nni.fpga.runtime.commands import run as cli

SECRET_PIXEL = 1.2345678
MAINS = {"run": cli.main, "prepare": prepare.main}


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
