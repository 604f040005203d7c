"""What a protocol says of itself: for each operator, which kernels run and what crosses the network.

An operator is a sequence of phases. `Compute` occupies one kernel of the accelerator; `Exchange` is one round: both
parties send at once and wait for each other. Everything that needs a cost (lookup table, compiler, schedule, simulator,
prediction of the bytes that the parties send) reads the same phases, so that the figures cannot drift apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from ..devices import Device
from ..program import Program
from ..program.operators import OperatorShape


@dataclass(frozen=True)
class Compute:
    """`cycles` clock cycles of `kernel` ("array", "comparator", "alu")."""

    kernel: str
    cycles: float


@dataclass(frozen=True)
class Exchange:
    """One round: party 0 sends `bytes_sent[0]` while party 1 sends `bytes_sent[1]`; costs one message latency."""

    bytes_sent: tuple[int, int]


Phase: TypeAlias = Compute | Exchange


def comparison_start(phases: Sequence[Phase]) -> int:
    """The first phase of an operator's comparisons; what comes before works on words of the input."""
    starts = (i for i, phase in enumerate(phases) if isinstance(phase, Compute) and phase.kernel == "comparator")
    return next(starts, len(phases))


class ProtocolCosts(ABC):
    """A two-party protocol on Z_2^32, priced per operator shape.

    `executable` protocols also have a party's program (see `protocols/party.py`), whose messages are exactly the
    `Exchange` phases that `phases` lists, operator by operator.
    """

    name: ClassVar[str]
    executable: ClassVar[bool]
    #: Whether words that were opened serve all later readers, local operations on them included.
    words_stay_open: ClassVar[bool] = False

    @abstractmethod
    def primitives(self, shape: OperatorShape) -> tuple[OperatorShape, ...]:
        """Network operator -> the program operations it becomes: Conv -> (Conv, Truncate), X2act -> (Square, ...)."""

    @abstractmethod
    def phases(self, shape: OperatorShape, device: Device, batch: int = 1) -> tuple[Phase, ...]:
        """Phases of one primitive operation (a Conv here is without its truncation) on a batch of images."""

    @abstractmethod
    def offline_bytes(self, shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
        """Bytes that the dealer hands to party 0 and party 1 for one primitive operation."""

    @abstractmethod
    def setup_bytes(self, shape: OperatorShape) -> tuple[int, int]:
        """Bytes sent once per session and model for one primitive operation (opened weights), by party 0 and 1."""

    def word_bytes(self) -> tuple[int, int]:
        """Bytes of an element's share that an operation loads of each input, and that it stores."""
        return 4, 4

    def product_input_words(self) -> int:
        """Words per element of its input that a tile of a ring product loads."""
        return 2  # X_i and E

    def in_place(self, program: Program) -> Mapping[str, ProtocolCosts]:
        """Per operation of a program the protocol that prices it where it stands, by name.

        For most protocols an operation costs the same wherever it stands.
        """
        return {operation.name: self for operation in program.operations}
