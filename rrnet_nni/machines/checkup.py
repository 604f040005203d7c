"""One look at everything that trials need on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..task import Task
from . import software, surroundings
from .finding import Finding


@dataclass(frozen=True)
class Needs:
    """What this machine is wanted for.

    Attributes:
        task: the task of the trials, whose images must be here; None where that is not to be looked at.
        gpus: GPUs of one trial.
        port: where NNI's manager shall listen; 0 for any.
        ssh_port: of the ssh server that a machine of an experiment has; None on a machine that only runs the manager.
    """

    task: Task | None = None
    gpus: int = 0
    port: int = 0
    ssh_port: int | None = None


def checkup(needs: Needs) -> Iterator[Finding]:
    """Everything, one finding after the other; what takes seconds comes last."""
    yield software.python()
    yield from software.packages()
    yield software.commands()
    yield surroundings.folder("disk", surroundings.working_folder(needs.ssh_port is not None))
    yield surroundings.cache()
    yield surroundings.port(needs.port)
    yield surroundings.gpus(needs.gpus)
    if needs.task is not None:
        yield surroundings.images(needs.task)
    if needs.ssh_port is not None:
        yield surroundings.ssh_server(needs.ssh_port)
    with tempfile.TemporaryDirectory() as scratch:
        yield software.compiler(Path(scratch))
    yield software.manager()
    yield software.torch()
