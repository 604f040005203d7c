"""What an executable protocol provides beside its costs: the dealer's part and the party's part of every program.

`runtime/` owns processes, links, files and accounting; a protocol sees a channel, its material and shares.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from ..cost.protocol import Exchange
from ..program import AnyOperation, Program
from ..program.lanes import SideBySide, side_by_side
from ..program.reference import TruncationMasks
from .lanes import LaneChannel, run_together
from .material import Corrections, CorrectionWriter, RandomSource


class AheadChannel(Protocol):
    """One party's end of a link on which rounds may begin before others have ended."""

    def begin(self, outgoing: np.ndarray | None, incoming_bytes: int, rounds: int) -> None:
        """Send `outgoing`; `rounds` is 0 where it is a further part of a round that is counted already."""

    def finish(self) -> np.ndarray:
        """What the round that began first has brought, uint8."""


class Channel(Protocol):
    """One party's end of the link to the other."""

    def exchange(self, outgoing: np.ndarray | None, incoming_bytes: int) -> np.ndarray:
        """One round: send `outgoing` (any contiguous array) while receiving `incoming_bytes` octets, uint8."""


@dataclass(frozen=True)
class Traffic:
    """What one operation exchanges for a batch: its rounds, and bytes once per session and from the dealer."""

    operation: str
    rounds: tuple[Exchange, ...]
    setup_bytes: tuple[int, int]
    offline_bytes: tuple[int, int]

    @property
    def bytes_sent(self) -> tuple[int, int]:
        """Online bytes of party 0 and party 1."""
        return sum(r.bytes_sent[0] for r in self.rounds), sum(r.bytes_sent[1] for r in self.rounds)


#: Called around each operation with its name: a context manager that measures it.
Observer: TypeAlias = Callable[[str], AbstractContextManager[None]]


class BatchMaterial(Protocol):
    """One party's material for a batch of images, operation by operation."""

    @property
    def images(self) -> int: ...

    def source(self, operation: int) -> RandomSource: ...

    def corrections(self, operation: int) -> Corrections: ...


class PartyProgram(ABC):
    """One party's side of a program; made per session."""

    def __init__(self, number: int, program: Program, channel: Channel) -> None:
        self.number = number
        self.program = program
        self.channel: Channel = channel
        #: A dictionary here is filled with the shares that truncations reduce without opening, by operation's name.
        self.reduced: dict[str, np.ndarray] | None = None
        #: Whether lanes of operations take their rounds together; a peer that works operation by operation cannot.
        self.together = True

    def beside(self, channel: Channel) -> PartyProgram:
        """This party once more, set up alike, for another batch at the same time over a channel of its own."""
        other = copy.copy(self)
        other.channel = channel
        return other

    @abstractmethod
    def setup(
        self,
        weight_shares: Mapping[str, np.ndarray],
        weight_masks: Callable[[int], RandomSource],
        observe: Observer,
    ) -> None:
        """Open the masked weights, once per session.

        Args:
            weight_shares: this party's uint32 share of every constant.
            weight_masks: operation index -> source of this party's part of the weight mask.
            observe: measures each operation.
        """

    @abstractmethod
    def prepare(self, material: BatchMaterial, observe: Observer) -> Any:
        """What this party can compute for a batch before its input is known; no messages. Given to `evaluate`."""

    def walk(self, step: Callable[[int, AnyOperation], None], observe: Observer) -> None:
        """Call `step` with every operation and its number, in program order but for lanes, which go on together.

        What lanes exchange is measured with the concatenation behind them. While they run, `channel` is theirs.
        """
        groups = {group.first: group for group in side_by_side(self.program)} if self.together else {}
        index = 0
        while index < len(self.program.operations):
            group = groups.get(index)
            if group is None:
                with observe(self.program.operations[index].name):
                    step(index, self.program.operations[index])
                index += 1
                continue
            for member in range(group.first, group.join):
                with observe(self.program.operations[member].name):
                    pass
            with observe(self.program.operations[group.join].name):
                self._walk_together(step, group)
                step(group.join, self.program.operations[group.join])
            index = group.join + 1

    def _walk_together(self, step: Callable[[int, AnyOperation], None], group: SideBySide) -> None:
        channel, self.channel = self.channel, LaneChannel()

        def lane(members: Sequence[int]) -> Callable[[], None]:
            def run() -> None:
                for index in members:
                    step(index, self.program.operations[index])

            return run

        try:
            run_together(channel.exchange, [lane(members) for members in group.lanes])
        finally:
            self.channel = channel

    @abstractmethod
    def evaluate(self, share: np.ndarray, prepared: Any, observe: Observer) -> np.ndarray:
        """This party's share of the output from its share of the input, uint32 [N, *shape]."""


class DealerProgram(ABC):
    """The dealer's side: corrections from both parties' expansions. It sees no input, no weight and no message."""

    @abstractmethod
    def __init__(self, program: Program, weight_masks: Callable[[int], tuple[RandomSource, RandomSource]]) -> None: ...

    @abstractmethod
    def deal(self, sources: Callable[[int], tuple[RandomSource, RandomSource]], images: int) -> list[CorrectionWriter]:
        """Party 1's corrections of every operation for a batch of images.

        Args:
            sources: operation index -> both parties' expansions for the batch, at their start.
            images: size of the batch.
        """


class Execution(ABC):
    """An executable protocol: what it exchanges, and how its parties and its dealer are made."""

    name: ClassVar[str]
    #: Whether words are opened on the bits of their tensor's ring, and must be as small as that promises.
    opens_narrow: ClassVar[bool] = False

    @abstractmethod
    def traffic(self, program: Program, batch: int) -> Sequence[Traffic]:
        """Predicted traffic of every operation for a batch of images, in program order."""

    @abstractmethod
    def party(self, number: int, program: Program, channel: Channel) -> PartyProgram: ...

    def party_ahead(self, number: int, program: Program, channel: Channel, ahead: AheadChannel) -> PartyProgram:
        """A party that begins rounds before others have ended, over `ahead`; as `party` where it cannot."""
        return self.party(number, program, channel)

    @abstractmethod
    def dealer(
        self, program: Program, weight_masks: Callable[[int], tuple[RandomSource, RandomSource]]
    ) -> DealerProgram: ...

    @abstractmethod
    def truncation_masks(
        self,
        program: Program,
        sources: Callable[[int], tuple[RandomSource, RandomSource]],
        reduced: Mapping[str, np.ndarray] | None = None,
    ) -> TruncationMasks:
        """The masks of the truncations, [N, *shape], from both parties' expansions.

        Only the dealer can compute them; with them the fixed-point reference is bit for bit what the parties compute.
        Where the low bits of party 1's own share decide and follow from no expansion, they are taken from `reduced`:
        what party 1 recorded in the execution that is compared.
        """

    @abstractmethod
    def bytes_per_image(self, program: Program) -> int:
        """Working memory of one image in the most demanding operation, roughly; batches are cut by it."""
