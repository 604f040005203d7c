"""A set of material in use by one lane: set up once, then executed from in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...link.link import Link
from ...material.store import ClaimedMaterial, MaterialStore
from ...session.evaluator import PartyEvaluator
from ...session.session import exchange_weight_shares
from ..models.halves import Answer, Half
from ..models.model import Model

#: Batches whose material is claimed at once: one durable write for all of them, and as much is lost by a crash.
BATCHES_PER_CLAIM = 8
#: By how many inferences the parties' numbers of used ones may differ: a server cannot use up the other's set at once.
MOST_SKIPPED = 1024


def common_start(one: int, other: int, count: int) -> int | None:
    """Where both parties go on in a set of `count`: at the larger of their numbers of used inferences.

    None where nothing is left from there on, or where the two differ by more than a crash makes them.
    """
    start = max(one, other)
    return start if abs(one - other) <= MOST_SKIPPED and start < count else None


class OpenSet:
    """One party's side of the executions on one set, from inference `start` on.

    Both parties claim in equal steps from an equal start, so that they agree on every batch's place without a word.
    """

    def __init__(self, model: Model, link: Link, store: MaterialStore, start: int) -> None:
        self.set_id = store.description.set_id
        self._model, self._store = model, store
        self._position = self._claimed = start
        self._loaded = range(0)
        self._material: ClaimedMaterial | None = None
        program, weights = model.build.program, model.build.weights if model.party == 1 else None
        self._evaluator = PartyEvaluator(model.party, program, model.execution, link)
        self._evaluator.setup(exchange_weight_shares(link, model.party, program, weights), store.weight_masks)

    @property
    def position(self) -> int:
        """The next inference."""
        return self._position

    @property
    def left(self) -> int:
        """Inferences that are not used yet."""
        return self._store.description.count - self._position

    def claim_ahead(self) -> int:
        """How many images the next batch may have; their material is durably claimed when this returns."""
        if self._position == self._claimed:
            count = min(self.left, self._model.batch * BATCHES_PER_CLAIM)
            if count:
                self._material = self._store.claim(self._claimed, count)
            self._claimed += count
        return min(self._claimed - self._position, self._model.batch)

    def execute(self, halves: Sequence[Half]) -> list[Answer]:
        """This server's shares of the logits of some halves, which are the same requests at the other one."""
        if self._material is None:
            raise ValueError("nothing is claimed")
        count = sum(half.images for half in halves)
        first, self._position = self._position, self._position + count
        self._model.pool.note(self.set_id, first, count, self.left)
        material = self._material.load(count)
        self._loaded = range(first, first + count)
        prepared = self._evaluator.prepare(material)
        logits = self._evaluator.evaluate(np.concatenate([half.share for half in halves]), prepared)
        answers, place = [], 0
        for half in halves:
            share = logits[place : place + half.images]
            answers.append(Answer(share, f"{self.set_id}:{first + place}:{half.images}"))
            place += half.images
        return answers

    def discard_used(self) -> None:
        """Remove what the last execution used, once its answers are on their way."""
        used, self._loaded = self._loaded, range(0)
        self._store.discard(used)

    def close(self) -> None:
        """Give the set back to the pool."""
        try:
            self.discard_used()
        finally:
            self._model.pool.close(self._store, used_up=self.left <= 0)
