"""One party's walk through a program on shares, measured, and at a device's pace where it has one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...program import Program
from ...protocols.party import BatchMaterial, Execution
from ...protocols.shared.randomness import Keystream
from ..link.ahead import RoundsAhead
from ..link.link import Link
from ..link.strands import Strand
from .accounting import Recorder
from .pacing import Pace


class PartyEvaluator:
    """A party's walk through the program on shares; what is done between sharing and opening."""

    def __init__(
        self,
        number: int,
        program: Program,
        execution: Execution,
        link: Link,
        recorder: Recorder | None = None,
        pace: Pace | None = None,
        ahead: bool = False,
    ) -> None:
        self._pace = pace
        self._recorder = Recorder(link) if recorder is None else recorder
        self._ahead = RoundsAhead(link) if ahead else None
        if self._ahead is None:
            self._party = execution.party(number, program, link)
        else:
            self._party = execution.party_ahead(number, program, link, self._ahead)

    def beside(self, strand: Strand, recorder: Recorder) -> PartyEvaluator:
        """This evaluator once more, set up alike, for another batch at the same time over a strand of the link."""
        other = copy.copy(self)
        other._recorder, other._party = recorder, self._party.beside(strand)
        return other

    def record_reduced(self, shares: dict[str, np.ndarray]) -> None:
        """Keep the shares that truncations reduce, by operation's name: for comparison with the reference."""
        self._party.reduced = shares

    def setup(self, weight_shares: Mapping[str, np.ndarray], weight_masks: Callable[[int], Keystream]) -> None:
        """Open the masked weights, once per session."""
        self._party.setup(weight_shares, weight_masks, lambda name: self._recorder.measure("setup", name))

    def prepare(self, material: BatchMaterial) -> Any:
        """What can be computed before the input is known; given to `evaluate`."""
        return self._party.prepare(material, lambda name: self._recorder.measure("prepare", name))

    def evaluate(self, share: np.ndarray, prepared: Any) -> np.ndarray:
        """This party's share of the output, uint32 [N, *shape], from its share of the input."""
        if self._pace is None:
            output = self._party.evaluate(share, prepared, lambda name: self._recorder.measure("online", name))
            if self._ahead is not None:
                self._ahead.close()
            return output
        pace, images = self._pace, len(share)

        @contextmanager
        def observe(name: str) -> Iterator[None]:
            with self._recorder.measure("online", name), pace.keep(name, images):
                yield

        pace.start()
        output = self._party.evaluate(share, prepared, observe)
        pace.finish()
        return output
