"""Where a trial ran, and how long it waited for its place; written beside its result by whoever ran it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.base.settings import Count, NotNegative, read_json

PLACEMENT_FILE = "placement.json"


@dataclass(frozen=True)
class Placement:
    """Where one trial ran.

    Attributes:
        machine: the host.
        waited_s: from when its λ was given out until it started.
        ran_s: from then until it ended.
        starts: how often it was started: again after its machine was lost, or its manager was resumed.
    """

    machine: str
    waited_s: NotNegative
    ran_s: NotNegative
    starts: Count = 1

    def save(self, directory: Path) -> None:
        write_whole_json(directory / PLACEMENT_FILE, asdict(self))

    @classmethod
    def load(cls, directory: Path) -> Placement | None:
        """What was written beside a result; None where nothing was.

        Raises:
            Refusal: the file is damaged.
        """
        path = directory / PLACEMENT_FILE
        return read_json(path, cls, "where a trial ran") if path.exists() else None


def this_machine() -> str:
    return socket.gethostname()


def machine_rows(placements: Sequence[Placement | None]) -> list[tuple[str, str, str, str, str]]:
    """(machine, trials, starts, minutes of work, longest wait in seconds) of every machine that ran trials."""
    known = [placement for placement in placements if placement is not None]
    rows = []
    for machine in sorted({placement.machine for placement in known}):
        here = [placement for placement in known if placement.machine == machine]
        starts = sum(placement.starts for placement in here)
        work = sum(placement.ran_s for placement in here) / 60
        wait = max(placement.waited_s for placement in here)
        rows.append((machine, str(len(here)), str(starts), f"{work:.1f}", f"{wait:.0f}"))
    return rows


MACHINE_TABLE = ("machine", "trials", "starts", "work [min]", "longest wait [s]")
