"""One session between two parties: agree on everything, share, evaluate, open the logits to the named party.

Before any share is sent both sides compare the program, the protocol, the ring, the material and the terms of the run,
and prove with fresh nonces that they talk to a live peer rather than to a recording.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...program import Program
from ...protocols.party import BatchMaterial, Execution
from ...protocols.shared.randomness import SEED_BYTES, Keystream, fresh_bytes
from ..link.link import Link, LinkCounters
from ..material.store import ClaimedMaterial, MaterialStore
from .accounting import OPEN_LOGITS, SHARE_INPUT, SHARE_WEIGHTS, MeasuredOperation, Recorder
from .agreement import Terms, agree, agree_on_start
from .output_policy import drop, dropped_bits, restore
from .pacing import Pace
from .quota import Quota


@dataclass(frozen=True)
class SessionResult:
    """What one party knows afterwards: words of the logits (uint32 [N, *shape]) if they were opened to it."""

    logits: np.ndarray | None
    rows: tuple[MeasuredOperation, ...]
    counters: LinkCounters
    batches: tuple[int, ...]
    setup_s: float
    prepare_s: float
    online_s: float


class Party:
    """One party of one session.

    Args:
        number: 0, the client, or 1, the server.
        program: the two-party program, the same at both.
        execution: the protocol.
        link: to the other party.
        store: this party's preprocessed material.
        progress: hears the phase and the name of every operation that starts.
        pace: the clock of a device that the online phase keeps; None runs as fast as this machine can.
        quota: what the other party may use; None bounds nothing but the material does.
    """

    def __init__(
        self,
        number: int,
        program: Program,
        execution: Execution,
        link: Link,
        store: MaterialStore,
        progress: Callable[[str, str], None] | None = None,
        pace: Pace | None = None,
        quota: Quota | None = None,
    ) -> None:
        self.number = number
        self._quota = quota
        self._pace = pace
        self._program, self._execution, self._link, self._store = program, execution, link, store
        self._recorder = Recorder(link, progress)

    def run(
        self,
        terms: Terms,
        images: np.ndarray | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> SessionResult:
        """Agree, set up, evaluate all batches and open the logits.

        Args:
            terms: what this party expects of the session.
            images: uint32 words [N, *shape]; the client's, None at the server.
            weights: int32 words by constant; the server's, None at the client.

        Raises:
            Refusal: the other party wants something else, or the material or its quota does not suffice.
            ExecutionFault: the link or the other party failed.
        """
        dropped_bits(terms.reveal, self._program)  # refuses before anything is used up
        self._store.check_program(terms.program_digest, terms.protocol)
        self._store.check_size(
            sum(each.offline_bytes[self.number] for each in self._execution.traffic(self._program, 1))
        )
        count, start = agree(self._link, self.number, terms, self._store)
        if self._quota is not None:
            self._quota.claim(count)
        if weights is not None:
            self._store.bind_weights(weights)
        material = self._store.claim(start, count)
        batches = split_batches(count, terms.batch)
        agree_on_start(self._link, self.number)
        evaluator = PartyEvaluator(self.number, self._program, self._execution, self._link, self._recorder, self._pace)
        started = time.perf_counter()
        with self._recorder.measure("setup", SHARE_WEIGHTS):
            shares = exchange_weight_shares(self._link, self.number, self._program, weights)
        evaluator.setup(shares, self._store.weight_masks)
        setup_s = time.perf_counter() - started
        opened, first, spent = [], 0, np.zeros(2)
        for size in batches:
            part = None if images is None else images[first : first + size]
            words, *seconds = self._run_batch(evaluator, material, size, part, terms)
            opened.append(words)
            spent += seconds
            first += size
        logits = np.concatenate(opened) if terms.reveal_to == self.number else None
        rows = tuple(self._recorder.rows.values())
        return SessionResult(
            logits,
            rows,
            self._link.counters,
            tuple(batches),
            setup_s,
            prepare_s=float(spent[0]),
            online_s=float(spent[1]),
        )

    def _run_batch(
        self, evaluator: PartyEvaluator, material: ClaimedMaterial, size: int, images: np.ndarray | None, terms: Terms
    ) -> tuple[np.ndarray, float, float]:
        """The opened logits of one batch, and the seconds before and after its images were needed.

        Its material is gone when this returns: large batches fill the memory only once.
        """
        started = time.perf_counter()
        prepared = evaluator.prepare(material.take(size))
        begun = time.perf_counter()
        share = self._share_images(images, size)
        words = self._open(evaluator.evaluate(share, prepared), terms)
        return words, begun - started, time.perf_counter() - begun

    def _share_images(self, images: np.ndarray | None, count: int) -> np.ndarray:
        """The client's images in two shares: the server's is the expansion of a seed that the client draws."""
        shape = self._program.tensor(self._program.input).shape
        with self._recorder.measure("online", SHARE_INPUT):
            seed = _send_seed(self._link, sender=self.number == 0)
            share = Keystream([seed], 0).words(count, *shape)[0]
            if self.number == 1:
                return share
            if images is None:
                raise Refusal("the client needs images")
            return images - share

    def _open(self, share: np.ndarray, terms: Terms) -> np.ndarray:
        """The logits, as far as they are revealed, at the party that may know them; at the other one nothing."""
        bits = dropped_bits(terms.reveal, self._program)
        with self._recorder.measure("online", OPEN_LOGITS):
            share = drop(self.number, share, bits)
            if self.number != terms.reveal_to:
                self._link.exchange(share, 0)
                return np.zeros(0, np.uint32)
            received = self._link.exchange(None, share.nbytes)
            return restore(share + received.view("<u4").astype(np.uint32, copy=False).reshape(share.shape), bits)


class PartyEvaluator:
    """A party's walk through the program on shares; what `Party` does between sharing and opening."""

    def __init__(
        self,
        number: int,
        program: Program,
        execution: Execution,
        link: Link,
        recorder: Recorder | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace
        self._recorder = Recorder(link) if recorder is None else recorder
        self._party = execution.party(number, program, link)

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
            return self._party.evaluate(share, prepared, lambda name: self._recorder.measure("online", name))
        pace, images = self._pace, len(share)

        @contextmanager
        def observe(name: str) -> Iterator[None]:
            with self._recorder.measure("online", name), pace.keep(name, images):
                yield

        pace.start()
        output = self._party.evaluate(share, prepared, observe)
        pace.finish()
        return output


def split_batches(images: int, largest: int) -> list[int]:
    """Sizes of as few and as equal batches as `largest` allows."""
    parts = -(-images // largest)
    return [images // parts + (index < images % parts) for index in range(parts)]


def exchange_weight_shares(
    link: Link, number: int, program: Program, weights: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    """Party `number`'s share of every constant (uint32): party 0's is the expansion of a seed that party 1 draws.

    Args:
        link: to the other party, which calls this too.
        number: 0 or 1.
        program: whose constants are shared.
        weights: int32 words by constant; party 1's, None at party 0.

    Raises:
        Refusal: party 1 has no weights.
    """
    stream = Keystream([_send_seed(link, sender=number == 1)], 0)
    shares = {constant.name: stream.words(*constant.shape)[0] for constant in program.constants.values()}
    if number == 0:
        return shares
    if weights is None:
        raise Refusal("the server needs the weights of the model")
    return {name: weights[name].view(np.uint32) - share for name, share in shares.items()}


def _send_seed(link: Link, sender: bool) -> bytes:
    """A fresh seed that both parties know afterwards."""
    if not sender:
        return link.exchange(None, SEED_BYTES).tobytes()
    seed = fresh_bytes(SEED_BYTES)
    link.exchange(np.frombuffer(seed, np.uint8), 0)
    return seed
