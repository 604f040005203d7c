"""The host of an accelerator: what runs on the board's processor beside the fabric.

It opens the session and the weights as a software party does, lays shares and corrections out in the accelerator's
memory, starts it, and reads the result's share back. The accelerator's messages go over a link of their own.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..program import ConvOp, LinearOp, Program
from ..program.isa import decode_instructions, encode_instructions
from ..program.operands import BUS_BYTES, OperandTable, decode_operands
from ..protocols import get_protocol
from ..protocols.material import RandomSource
from ..protocols.party import Channel, DealerProgram, Execution, PartyProgram, Traffic
from .bridge import Bridge
from .recording import save_recording
from .serial import serial_instructions
from .simulator import check_ended


@dataclass(frozen=True)
class Fabric:
    """One accelerator to be driven: its executable, its files, and its end of the link to the other one.

    `descriptor` is -1 where the other party is software: the host then carries the messages (`bridge.py`). `seed` is of
    the order in which units that can go on take turns in the simulation. Of the first image all files are kept in
    `record`, if it is given (`recording.py`).
    """

    simulator: Path
    instructions: bytes
    operands: bytes
    descriptor: int = -1
    seed: int = 0
    record: Path | None = None


@dataclass(frozen=True)
class Counted:
    """What the accelerator counted for one image; `array_cycles` are of products, on all tiles of the array in sum."""

    instructions: int
    bytes_sent: int
    bytes_received: int
    array_cycles: int


class Board:
    """The memory of one party's accelerator, and the accelerator to run on it."""

    def __init__(self, number: int, fabric: Fabric, channel: Channel) -> None:
        self.table: OperandTable = decode_operands(fabric.operands)
        self._instructions, self._bridge = fabric.instructions, None
        if fabric.descriptor < 0:
            items = serial_instructions(decode_instructions(fabric.instructions), self.table, number)
            self._instructions = encode_instructions(items, self.table.program_digest)
            self._bridge = Bridge(self.table, items, number, channel)
        self.weight_key = bytes(BUS_BYTES)
        self.hash_keys = bytes(BUS_BYTES), bytes(BUS_BYTES)
        self.counted: list[Counted] = []
        self._number, self._fabric = number, fabric
        self._memory = np.zeros(self.table.header["memory_words"] * (BUS_BYTES // 4), "<u4")

    def put(self, address: int, words: np.ndarray) -> None:
        """Write uint32 words to bus word `address`."""
        start = address * (BUS_BYTES // 4)
        self._memory[start : start + words.size] = words.reshape(-1)

    def put_biases(self, program: Program, weight_shares: Mapping[str, np.ndarray]) -> None:
        """This party's shares of all biases."""
        for record, operation in zip(self.table.sections["operations"], program.operations):
            if isinstance(operation, ConvOp | LinearOp) and operation.bias is not None:
                self.put(record["bias"], weight_shares[operation.bias])

    def run(self, share: np.ndarray, image_key: bytes, corrections: Sequence[np.ndarray]) -> np.ndarray:
        """Share of one image's result, flat uint32, from its share."""
        header = self.table.header
        self.put(header["input"], share)
        with tempfile.TemporaryDirectory(prefix="rrnet-accelerator-") as scratch:
            files = {
                "instructions.bin": self._instructions,
                "operands.bin": self._fabric.operands,
                "memory.bin": self._memory.tobytes(),
                "material.bin": self._material(corrections),
                "keys.bin": image_key + self.weight_key + b"".join(self.hash_keys),
            }
            for name, data in files.items():
                (Path(scratch) / name).write_bytes(data)
            answer = self._simulate(Path(scratch))
            self.counted.append(Counted(*(answer[item.name] for item in fields(Counted))))
            if self._fabric.record is not None and len(self.counted) == 1:
                save_recording(Path(scratch), self._fabric.record, self._number)
            memory = (Path(scratch) / "memory.out").read_bytes()
            return np.frombuffer(memory, "<u4", header["output_words"], header["output"] * BUS_BYTES).astype(np.uint32)

    def _simulate(self, scratch: Path) -> dict[str, Any]:
        """Run the accelerator on the files in a directory; carries its messages where the other party is software."""
        fabric = self._fabric
        pair = None if self._bridge is None else socket.socketpair()
        descriptor = fabric.descriptor if pair is None else pair[1].fileno()
        command = [str(fabric.simulator), str(self._number), str(scratch), *[str(descriptor)] * 2, str(fabric.seed)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=(descriptor,)
        )
        try:
            if pair is not None and self._bridge is not None:
                pair[1].close()
                with contextlib.suppress(ConnectionError):  # the accelerator stopped; its status says why
                    self._bridge.carry(pair[0])
            output, errors = process.communicate()
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
            for end in pair or ():
                end.close()
        check_ended(self._number, process.returncode, errors)
        answer: dict[str, Any] = json.loads(output)
        return answer

    def _material(self, corrections: Sequence[np.ndarray]) -> bytes:
        """The dealer's corrections of one image at the addresses of the table; a party may have none."""
        dealt = any(len(octets) for octets in corrections)
        data = np.zeros(self.table.header["material_words"] * BUS_BYTES if dealt else 0, np.uint8)
        for record, octets in zip(self.table.sections["operations"], corrections):
            start = record["corrections"] * BUS_BYTES
            data[start : start + len(octets)] = octets
        return data.tobytes()


class AcceleratedExecution(Execution):
    """An executable protocol whose parties drive accelerators; its dealer and its traffic are the protocol's own.

    Args:
        execution: the protocol.
        fabrics: by party; None is a party in software.
    """

    def __init__(self, execution: Execution, fabrics: tuple[Fabric | None, Fabric | None]) -> None:
        self.name = execution.name  # type: ignore[misc]
        self._execution, self._fabrics = execution, fabrics
        self.boards: dict[int, Board] = {}

    @property
    def accelerators(self) -> int:
        """How many of the parties have one."""
        return sum(fabric is not None for fabric in self._fabrics)

    def traffic(self, program: Program, batch: int) -> Sequence[Traffic]:
        return self._execution.traffic(program, batch)

    def party(self, number: int, program: Program, channel: Channel) -> PartyProgram:
        fabric = self._fabrics[number]
        if fabric is None:
            party = self._execution.party(number, program, channel)
            party.together = self.accelerators == 0
            return party
        layout = get_protocol(self.name).accelerator
        assert layout is not None
        self.boards[number] = Board(number, fabric, channel)
        return layout.host(number, program, channel, self.boards[number])

    def dealer(
        self, program: Program, weight_masks: Callable[[int], tuple[RandomSource, RandomSource]]
    ) -> DealerProgram:
        return self._execution.dealer(program, weight_masks)

    def truncation_masks(self, program: Program, sources: Any, reduced: Any = None) -> Any:
        return self._execution.truncation_masks(program, sources, reduced)

    def bytes_per_image(self, program: Program) -> int:
        return self._execution.bytes_per_image(program)
