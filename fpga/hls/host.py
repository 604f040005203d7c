"""The host of an accelerator: what runs on the board's processor beside the fabric.

It opens the session and the weights as a software party does, lays shares and corrections out in the accelerator's
memory, starts it, and reads the result's share back. The accelerator's messages go over a link of their own.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExecutionFault
from ..operands import BUS_BYTES, OperandTable, decode_operands
from ..program import ConvOp, LinearOp, Program
from ..protocols.beaver_products import open_words
from ..protocols.material import RandomSource
from ..protocols.party import BatchMaterial, Channel, DealerProgram, Execution, Observer, PartyProgram, Traffic

#: What the accelerator's exit statuses mean (fpga/hls/src/status.h).
STATUSES = {
    1: "instructions.bin is not what it expects",
    2: "operands.bin is not what it expects",
    3: "instructions.bin and operands.bin belong to different programs",
    4: "a tile does not fit its place on the chip",
    5: "an address lies outside of the memory",
    6: "an address lies outside of the dealer's corrections",
    7: "a message has another size than the schedule says",
    8: "an instruction comes before one that it needs",
    9: "the instructions wait for each other",
    10: "the other party is gone",
    11: "the operation or protocol is not one of this accelerator",
}


@dataclass(frozen=True)
class Fabric:
    """One accelerator to be driven: its executable, its files, and its end of the link to the other one.

    `seed` is of the order in which units that can go on take turns in the simulation.
    """

    simulator: Path
    instructions: bytes
    operands: bytes
    descriptor: int
    seed: int = 0


@dataclass(frozen=True)
class Counted:
    """What the accelerator counted for one image."""

    instructions: int
    bytes_sent: int
    bytes_received: int


class AcceleratorParty(PartyProgram):
    """One party of `beaver-ot` whose online phase runs on an accelerator."""

    def __init__(self, number: int, program: Program, channel: Channel, fabric: Fabric) -> None:
        super().__init__(number, program, channel)
        self._fabric = fabric
        self._table: OperandTable = decode_operands(fabric.operands)
        self.counted: list[Counted] = []

    def setup(
        self,
        weight_shares: Mapping[str, np.ndarray],
        weight_masks: Callable[[int], RandomSource],
        observe: Observer,
    ) -> None:
        """Open F = W − B, and put it and the biases' shares into the memory."""
        self._memory = np.zeros(self._table.header["memory_words"] * (BUS_BYTES // 4), "<u4")
        self._weight_key = bytes(BUS_BYTES)
        for index, operation in enumerate(self.program.operations):
            if not isinstance(operation, ConvOp | LinearOp):
                continue
            record, weight = self._table.sections["operations"][index], weight_shares[operation.weight]
            with observe(operation.name):
                masks = weight_masks(index)
                self._weight_key = masks.keys[0]
                opened = open_words(self.channel, weight - masks.words(*weight.shape)[0])
            self._put(record["weights"], opened)
            if operation.bias is not None:
                self._put(record["bias"], weight_shares[operation.bias])

    def prepare(self, material: BatchMaterial, observe: Observer) -> BatchMaterial:
        """Nothing: masks are expanded on the chip."""
        return material

    def evaluate(self, share: np.ndarray, prepared: BatchMaterial, observe: Observer) -> np.ndarray:
        """One image after the other."""
        keys = prepared.source(0).keys
        dealt = [prepared.corrections(index).buffers for index in range(len(self.program.operations))]
        shape = self.program.tensor(self.program.output).shape
        outputs = []
        for image, words in enumerate(share):
            self._put(self._table.header["input"], words)
            corrections = [buffers[image] for buffers in dealt]
            outputs.append(self._run(keys[image], corrections).reshape(shape))
        return np.stack(outputs)

    def _put(self, address: int, words: np.ndarray) -> None:
        start = address * (BUS_BYTES // 4)
        self._memory[start : start + words.size] = words.reshape(-1)

    def _material(self, corrections: Sequence[np.ndarray]) -> bytes:
        """The dealer's corrections of one image at the addresses of the table; party 0 has none."""
        data = np.zeros(self._table.header["material_words"] * BUS_BYTES if self.number else 0, np.uint8)
        for record, octets in zip(self._table.sections["operations"], corrections):
            start = record["corrections"] * BUS_BYTES
            data[start : start + len(octets)] = octets
        return data.tobytes()

    def _run(self, image_key: bytes, corrections: Sequence[np.ndarray]) -> np.ndarray:
        fabric = self._fabric
        with tempfile.TemporaryDirectory(prefix="rrnet-accelerator-") as scratch:
            files = {
                "instructions.bin": fabric.instructions,
                "operands.bin": fabric.operands,
                "memory.bin": self._memory.tobytes(),
                "material.bin": self._material(corrections),
                "keys.bin": image_key + self._weight_key,
            }
            for name, data in files.items():
                (Path(scratch) / name).write_bytes(data)
            end = str(fabric.descriptor)
            command = [str(fabric.simulator), str(self.number), scratch, end, end, str(fabric.seed)]
            finished = subprocess.run(
                command, capture_output=True, text=True, pass_fds=(fabric.descriptor,), check=False
            )
            if finished.returncode:
                problem = STATUSES.get(finished.returncode, finished.stderr.strip()[-300:])
                raise ExecutionFault(f"the accelerator of party {self.number} stopped: {problem}")
            answer: dict[str, Any] = json.loads(finished.stdout)
            self.counted.append(Counted(answer["instructions"], answer["bytes_sent"], answer["bytes_received"]))
            start = self._table.header["output"] * BUS_BYTES
            memory = (Path(scratch) / "memory.out").read_bytes()
            return np.frombuffer(memory, "<u4", self._table.header["output_words"], start).astype(np.uint32)


class AcceleratedExecution(Execution):
    """An executable protocol whose parties drive accelerators; its dealer and its traffic are the protocol's own."""

    def __init__(self, execution: Execution, fabrics: tuple[Fabric, Fabric]) -> None:
        self.name = execution.name  # type: ignore[misc]
        self._execution, self._fabrics = execution, fabrics
        self.parties: dict[int, AcceleratorParty] = {}

    def traffic(self, program: Program, batch: int) -> Sequence[Traffic]:
        return self._execution.traffic(program, batch)

    def party(self, number: int, program: Program, channel: Channel) -> AcceleratorParty:
        party = self.parties[number] = AcceleratorParty(number, program, channel, self._fabrics[number])
        return party

    def dealer(
        self, program: Program, weight_masks: Callable[[int], tuple[RandomSource, RandomSource]]
    ) -> DealerProgram:
        return self._execution.dealer(program, weight_masks)

    def truncation_masks(self, program: Program, sources: Any) -> Any:
        return self._execution.truncation_masks(program, sources)

    def bytes_per_image(self, program: Program) -> int:
        return self._execution.bytes_per_image(program)
