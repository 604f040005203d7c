"""Both parties and the dealer in one process, for the Python API and for tests.

Party programs, links and material are those of `rrnet-2pc-run`; but one process that holds both shares keeps nothing
secret.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ...program import Program
from ...protocols.party import Execution
from ...protocols.shared.randomness import Keystream, fresh_bytes
from ..link.link import Link
from ..material.dealer import DealerSeeds, deal_for_both
from ..material.party_set import DEALER, TWO_PARTY
from ..material.store import PartyMaterial
from .accounting import MeasuredOperation, Recorder
from .evaluator import PartyEvaluator
from .two_party_prepare import prepare_in_process


@dataclass(frozen=True)
class Executed:
    """Both parties' shares of the output (uint32 [N, *shape]), what each measured, and what party 1 recorded.

    `reduced`: party 1's shares that truncations reduced without opening, by operation's name, if they were asked for.
    """

    shares: tuple[np.ndarray, np.ndarray]
    rows: tuple[tuple[MeasuredOperation, ...], tuple[MeasuredOperation, ...]]
    reduced: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def output(self) -> np.ndarray:
        """The output's words, uint32 [N, *shape]."""
        return self.shares[0] + self.shares[1]


def share_words(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two uniform shares that sum to `words` (uint32 or int32) modulo 2^32."""
    first = Keystream([fresh_bytes(16)], 0).words(*words.shape)[0]
    return first, words.view(np.uint32) - first


def share_weights(weights: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Both parties' shares of every constant, from int32 words by name."""
    pairs = {name: share_words(np.ascontiguousarray(words)) for name, words in weights.items()}
    return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}


def execute(
    program: Program,
    image_shares: tuple[np.ndarray, np.ndarray],
    weight_shares: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    execution: Execution,
    seeds: DealerSeeds | None = None,
    timeout_s: float = 60.0,
    preprocessing: str = DEALER,
    record: bool = False,
    ahead: bool = False,
) -> Executed:
    """Make material for a batch and run both parties in threads over a pair of sockets.

    Args:
        program: the two-party program.
        image_shares: uint32 [N, *shape] shares of the input's words.
        weight_shares: uint32 shares of every constant.
        execution: the protocol.
        seeds: both parties' seeds; fresh ones by default.
        timeout_s: of the link.
        preprocessing: who makes the material, a dealer or the two parties.
        record: keep party 1's shares that truncations reduce, for `Execution.truncation_masks`.
        ahead: rounds may begin before others have ended.

    Raises:
        ExecutionFault: the parties could not finish.
    """
    seeds = DealerSeeds.fresh() if seeds is None else seeds
    count = len(image_shares[0])
    corrections = make_corrections(program, execution, seeds, count, preprocessing)
    ends = socket.socketpair()
    reduced: dict[str, np.ndarray] = {}

    def run_party(number: int) -> tuple[np.ndarray, tuple[MeasuredOperation, ...]]:
        keys, _ = seeds.parties[number].inferences(count)
        material = PartyMaterial(keys, corrections[number], seeds.set_id)
        with Link(ends[number], f"party {1 - number}", timeout_s) as link:
            recorder = Recorder(link)
            evaluator = PartyEvaluator(number, program, execution, link, recorder, ahead=ahead)
            if record and number == 1:
                evaluator.record_reduced(reduced)
            evaluator.setup(weight_shares[number], seeds.parties[number].weight_source)
            share = evaluator.evaluate(image_shares[number], evaluator.prepare(material))
            return share, tuple(recorder.rows.values())

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run_party, number) for number in (0, 1)]
        (first, first_rows), (second, second_rows) = (future.result() for future in futures)
    return Executed((first, second), (first_rows, second_rows), reduced)


def make_corrections(
    program: Program, execution: Execution, seeds: DealerSeeds, count: int, preprocessing: str
) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]]]:
    """Both parties' corrections for some inferences: per party and inference, one uint8 buffer per operation."""
    if preprocessing == TWO_PARTY:
        return [[] for _ in range(count)], prepare_in_process(program, execution, seeds.parties, count).corrections
    return deal_for_both(execution.dealer(program, seeds.weight_masks), seeds, range(count))
