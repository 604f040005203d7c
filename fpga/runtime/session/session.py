"""One session between two parties: agree on everything, share, evaluate, open the logits to the named party.

Before any share is sent both sides compare the program, the protocol, the ring, the material and the terms of the run,
and prove with fresh nonces that they talk to a live peer rather than to a recording.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...program import Program
from ...protocols.party import Execution
from ...protocols.shared.randomness import Keystream
from ..link.link import Link, LinkCounters
from ..material.store import MaterialStore
from .accounting import SHARE_WEIGHTS, MeasuredOperation, Recorder
from .agreement import Terms, agree, agree_on_start
from .batches import Conversation, run_batches, send_seed, split_batches
from .evaluator import PartyEvaluator
from .output_policy import dropped_bits
from .pacing import Pace
from .quota import Quota


@dataclass(frozen=True)
class SessionResult:
    """What one party knows afterwards: words of the logits (uint32 [N, *shape]) if they were opened to it.

    `batches` are the sizes of the parts that were executed, of which up to `strands` went side by side.
    """

    logits: np.ndarray | None
    rows: tuple[MeasuredOperation, ...]
    counters: LinkCounters
    batches: tuple[int, ...]
    strands: int
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
        count, start, strands, ahead = agree(self._link, self.number, terms, self._store)
        if self._quota is not None:
            self._quota.claim(count)
        if weights is not None:
            self._store.bind_weights(weights)
        material = self._store.claim(start, count)
        strands = 1 if ahead else min(strands, terms.batch)
        batches = split_batches(count, terms.batch, strands)
        agree_on_start(self._link, self.number)
        evaluator = PartyEvaluator(
            self.number, self._program, self._execution, self._link, self._recorder, self._pace, ahead
        )
        started = time.perf_counter()
        self._set_up(evaluator, weights)
        setup_s = time.perf_counter() - started
        conversation = Conversation(
            self.number, self._program, self._link, evaluator, self._recorder, terms.reveal_to, terms.reveal
        )
        executed = run_batches(conversation, material, images, batches, strands)
        logits = executed.logits if terms.reveal_to == self.number else None
        rows = tuple(self._recorder.rows.values())
        return SessionResult(
            logits,
            rows,
            self._link.counters,
            tuple(batches),
            min(strands, len(batches)),
            setup_s,
            prepare_s=executed.prepare_s,
            online_s=executed.online_s,
        )

    def _set_up(self, evaluator: PartyEvaluator, weights: Mapping[str, np.ndarray] | None) -> None:
        """The weights' shares end with this: what a protocol needs of them it keeps."""
        with self._recorder.measure("setup", SHARE_WEIGHTS):
            shares = exchange_weight_shares(self._link, self.number, self._program, weights)
        evaluator.setup(shares, self._store.weight_masks)


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
    stream = Keystream([send_seed(link, sender=number == 1)], 0)
    shares = {constant.name: stream.words(*constant.shape)[0] for constant in program.constants.values()}
    if number == 0:
        return shares
    if weights is None:
        raise Refusal("the server needs the weights of the model")
    return {name: weights[name].view(np.uint32) - share for name, share in shares.items()}
