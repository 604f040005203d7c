"""Preprocessing without a third party: the two parties make their material over the link, each its own part.

Nothing of a set is in place before both parties have written all of it: each works in a scratch directory beside the
place, both confirm, and each then puts its directory there. A party that dies leaves nothing that a run would take.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...program import RING_BITS, Program
from ...protocols import get_execution, preparations
from ...protocols.material import RandomSource
from ...protocols.party import Execution
from ...protocols.shared.lattice.modulus import MODULI
from ...protocols.shared.preparation import STATISTICAL_BITS, image_parts, images_within, set_bits, setup_bytes
from ...protocols.shared.randomness import KEY_BYTES, Keystream, fresh_bytes
from ..link.frames import WIRE_VERSION, LinkFault, printable
from ..link.link import Link
from ..material.corrections_file import corrections_path, write_corrections
from ..material.key_chain import KnownKeys, PartyKeys
from ..material.party_set import (
    TWO_PARTY,
    SetDescription,
    check_replaceable,
    party_directory,
    read_description,
    write_party,
)
from ..material.scratch import scratch_directory
from .accounting import MeasuredOperation, Recorder
from .agreement import PREPARATION_KEY, RELEASE, ROLES, read_hello

PREPARATION_VERSION = 5
SETUP_STEP = "base transfers and keys"

#: Corrections that party 1 holds before it writes them.
GROUP_BYTES = 256 << 20


@dataclass(frozen=True)
class PreparedSet:
    """A set that was made by the two parties, seen by one of them; bytes are party 0's and party 1's."""

    description: SetDescription
    rows: tuple[MeasuredOperation, ...]
    predictions: Mapping[str, tuple[int, int]]

    @property
    def bytes_sent(self) -> tuple[int, int]:
        return self.description.exchanged_bytes

    @property
    def predicted_bytes(self) -> tuple[int, int]:
        steps = self.predictions.values()
        return sum(step[0] for step in steps), sum(step[1] for step in steps)

    def operations(self, number: int) -> list[dict[str, Any]]:
        """Per step that sent anything: time, rounds and bytes beside the prediction, seen by party `number`."""
        order = 1 if number == 0 else -1
        return [
            {
                "operation": row.operation,
                "phase": row.phase,
                "rounds": row.rounds,
                "bytes_sent": [row.bytes_sent, row.bytes_received][::order],
                "predicted_bytes": list(self.predictions[row.operation]),
                "time_ms": 1e3 * row.seconds,
                "waited_ms": 1e3 * row.waited_s,
            }
            for row in self.rows
            if row.rounds
        ]


#: Both parties' keys.
Seeds = tuple[PartyKeys, PartyKeys]


def check_preparation(execution: Execution, program: Program, count: int) -> None:
    """Refuse a protocol whose material needs a dealer, and a set whose products the noise does not hide together."""
    if execution.name not in preparations():
        known = ", ".join(preparations())
        raise Refusal(f"material of {execution.name} needs a dealer; two parties alone prepare {known}")
    _, bits = set_bits(program, count)
    if bits < STATISTICAL_BITS:
        most = images_within(program, STATISTICAL_BITS, MODULI[-1])
        smaller = f"prepare sets of at most {most}, or " if most else ""
        raise Refusal(
            f"the {count} images of this set share the weights' masks, and noise hides their products with {bits} "
            f"statistical bits, not {STATISTICAL_BITS}: {smaller}let a dealer prepare"
        )


def predicted_preparation(protocol: str, program: Program, count: int) -> dict[str, tuple[int, int]]:
    """Step -> bytes that party 0 and party 1 send to prepare `count` inferences."""
    preparation = preparations()[protocol]
    manner = preparation.manner(program, count)
    walk = images_per_walk(get_execution(protocol), program, count)
    steps = preparation.traffic(program, count, manner, walk)
    return {SETUP_STEP: setup_bytes(manner.modulus), **{each.operation: each.bytes_sent for each in steps}}


def images_per_walk(execution: Execution, program: Program, count: int) -> int:
    """Inferences whose material is made side by side, as party 1 holds their corrections until it writes them."""
    per_image = sum(each.offline_bytes[1] for each in execution.traffic(program, 1))
    return max(1, min(count, GROUP_BYTES // max(1, per_image)))


def check_party_place(root: Path, party: int, replace: bool) -> None:
    """Refuse to write over this party's unused material, or over something else."""
    path = party_directory(root, party)
    if root.exists() and not root.is_dir():
        raise Refusal(f"{root} exists and is not a directory of material")
    if path.exists():
        read_description(path)
    check_replaceable(path, replace)


class Preparer:
    """One party of one preparation.

    Args:
        number: 0, the client, or 1, the server.
        program: the two-party program, the same at both.
        program_digest: of the build.
        execution: the protocol.
        link: to the other party.
        progress: hears the phase and the name of every operation that starts.
    """

    def __init__(
        self,
        number: int,
        program: Program,
        program_digest: str,
        execution: Execution,
        link: Link,
        progress: Callable[[str, str], None] | None = None,
    ) -> None:
        self.number = number
        self._program, self._digest, self._execution, self._link = program, program_digest, execution, link
        self._recorder = Recorder(link, progress)

    def run(self, root: Path, count: int, certificates: str | None = None) -> PreparedSet:
        """Prepare `count` inferences and put this party's part into `root`, bound to the parties' `certificates`.

        Raises:
            Refusal: the other party wants something else.
            ExecutionFault: the link, the other party or the disk failed; nothing is left behind.
        """
        check_preparation(self._execution, self._program, count)
        started = time.perf_counter()
        with scratch_directory(root) as scratch:
            identity = self._agree(count)
            keys = PartyKeys.fresh()
            size = self._write_corrections(scratch, keys, count, identity[16:32])
            sent = self._link.counters
            both = (sent.bytes_sent, sent.bytes_received)[:: 1 if self.number == 0 else -1]
            elapsed = time.perf_counter() - started
            described = SetDescription(
                identity[:16].hex(),
                self._execution.name,
                self._digest,
                count,
                self.number,
                elapsed,
                size,
                TWO_PARTY,
                (both[0], both[1]),
            )
            scratch.chmod(0o700)
            write_party(scratch, described, keys, certificates)
            target = party_directory(root, self.number)
            check_replaceable(target, replace=True)  # a run may have begun meanwhile
            if self._link.exchange_control(b"written") != b"written":
                raise LinkFault(f"the {ROLES[1 - self.number]} did not confirm that its material is written")
            root.mkdir(mode=0o700, exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            scratch.rename(target)
        return PreparedSet(described, tuple(self._recorder.rows.values()), self._predicted(count))

    def _agree(self, count: int) -> bytes:
        """Compare what is wanted; 32 octets that no other session has and both parties know."""
        mine = {
            "wire_version": WIRE_VERSION,
            "release": RELEASE,
            PREPARATION_KEY: PREPARATION_VERSION,
            "party": self.number,
            "program": self._digest,
            "protocol": self._execution.name,
            "ring_bits": RING_BITS,
            "count": count,
            "nonce": fresh_bytes(16).hex(),
        }
        sent = json.dumps(mine, sort_keys=True).encode()
        received = self._link.exchange_control(sent)
        theirs = read_hello(received)
        if theirs.get("party") != 1 - self.number:
            raise Refusal(f"both parties say that they are party {self.number}")
        if PREPARATION_KEY not in theirs:
            raise Refusal("the other party runs the program, this one prepares material")
        for key in sorted(set(mine) - {"party", "nonce"}):
            if mine[key] != theirs.get(key):
                raise Refusal(f"the parties differ in {key}: {mine[key]} here, {printable(theirs.get(key))} there")
        hellos = (sent, received) if self.number == 0 else (received, sent)
        return hashlib.sha256(b"".join(len(hello).to_bytes(4, "big") + hello for hello in hellos)).digest()

    def _write_corrections(self, scratch: Path, keys: PartyKeys, count: int, session: bytes) -> int:
        """Make everything; party 1 writes a file per inference and returns its corrections' size."""
        made_by = preparations()[self._execution.name]
        manner = made_by.manner(self._program, count)
        preparation = made_by(self.number, self._program, self._link, manner)
        with self._recorder.measure("setup", SETUP_STEP):
            preparation.start(session, keys.weights, _weight_masks)
        known = KnownKeys(keys)
        per_image = sum(each.offline_bytes[1] for each in self._execution.traffic(self._program, 1))
        for indices in image_parts(range(count), images_per_walk(self._execution, self._program, count)):
            corrections = preparation.prepare(
                lambda part, operation: Keystream(known.keys(part), operation), indices, self._observe
            )
            if self.number == 1:
                for place, index in enumerate(indices):
                    write_corrections(corrections_path(scratch, index), [buffers[place] for buffers in corrections])
        return per_image if self.number == 1 else 0

    def _predicted(self, count: int) -> dict[str, tuple[int, int]]:
        return predicted_preparation(self._execution.name, self._program, count)

    def _observe(self, name: str) -> AbstractContextManager[None]:
        return self._recorder.measure("offline", name)


def _weight_masks(key: bytes, operation: int) -> RandomSource:
    return Keystream([key], operation)


@dataclass(frozen=True)
class PreparedInProcess:
    """Party 1's corrections, per inference one uint8 buffer per operation, and what both parties measured."""

    corrections: list[list[np.ndarray]]
    rows: tuple[tuple[MeasuredOperation, ...], tuple[MeasuredOperation, ...]]


def prepare_in_process(program: Program, execution: Execution, seeds: Seeds, count: int) -> PreparedInProcess:
    """Both parties in threads of one process, for study and for tests; `seeds` are the parties' own."""
    check_preparation(execution, program, count)
    made_by = preparations()[execution.name]
    manner = made_by.manner(program, count)
    session = fresh_bytes(KEY_BYTES)
    ends = socket.socketpair()

    def run(number: int) -> tuple[list[list[np.ndarray]], tuple[MeasuredOperation, ...]]:
        keys = seeds[number]
        known = KnownKeys(keys)
        with Link(ends[number], f"party {1 - number}") as link:
            recorder = Recorder(link)
            preparation = made_by(number, program, link, manner)
            with recorder.measure("setup", SETUP_STEP):
                preparation.start(session, keys.weights, _weight_masks)
            made: list[list[np.ndarray]] = [[] for _ in program.operations]
            for indices in image_parts(range(count), images_per_walk(execution, program, count)):
                prepared = preparation.prepare(
                    lambda part, operation: Keystream(known.keys(part), operation),
                    indices,
                    lambda name: recorder.measure("offline", name),
                )
                for whole, part in zip(made, prepared, strict=True):
                    whole += part
            return made, tuple(recorder.rows.values())

    with ThreadPoolExecutor(2) as pool:
        (_, first), (made, second) = (future.result() for future in [pool.submit(run, number) for number in (0, 1)])
    return PreparedInProcess([[buffers[image] for buffers in made] for image in range(count)], (first, second))
