"""What every executable protocol must satisfy, against the plaintext reference.

A protocol conforms when, for every operator and for whole programs, the opened result is bit for bit the reference's
with the masks that were dealt, when each operation sends exactly the bytes and rounds that its prediction says, and
when the dealer's corrections have the predicted size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...program import AnyOperation, Constant, Program, Tensor, is_narrow
from ...program.reference import encode_images, walk_reference
from ...protocols.party import Execution
from ..material.dealer import DealerSeeds, deal_for_both
from ..material.party_set import DEALER
from .in_process import Executed, execute, share_weights, share_words
from .two_party_prepare import predicted_preparation, prepare_in_process


def run_shared(
    program: Program,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    execution: Execution,
    seeds: DealerSeeds | None = None,
    preprocessing: str = DEALER,
    record: bool = False,
    ahead: bool = False,
) -> Executed:
    """Share images and weights, then execute both parties in this process."""
    shared = share_words(encode_images(program, images)), share_weights(weights)
    return execute(program, *shared, execution, seeds, preprocessing=preprocessing, record=record, ahead=ahead)


def first_divergence(
    program: Program,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    execution: Execution,
    preprocessing: str = DEALER,
) -> str | None:
    """Name of the first operation whose opened result is not the reference's; None when all agree.

    Intermediate tensors are seen by executing prefixes of the program with the same seeds, never by looking into a
    party.
    """
    seeds = DealerSeeds.fresh()

    def agrees(length: int) -> bool:
        return _compare(program_prefix(program, length), weights, images, execution, seeds, preprocessing)[1]

    if agrees(len(program.operations)):
        return None
    return next(
        (program.operations[length - 1].name for length in range(1, len(program.operations) + 1) if not agrees(length)),
        None,
    )


def disagreement(
    program: Program,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    execution: Execution,
    preprocessing: str = DEALER,
    ahead: bool = False,
) -> str | None:
    """What one execution has otherwise than the reference and the predicted online traffic; None when nothing."""
    executed, same = _compare(program, weights, images, execution, DealerSeeds.fresh(), preprocessing, ahead)
    if same:
        return _online_mismatch(program, len(images), execution, executed)
    return f"the output is not the reference's: {first_divergence(program, weights, images, execution, preprocessing)}"


def _compare(
    program: Program,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    execution: Execution,
    seeds: DealerSeeds,
    preprocessing: str,
    ahead: bool = False,
) -> tuple[Executed, bool]:
    """An execution, and whether its output is the reference's under the masks that the seeds fix."""
    narrow = is_narrow(program)
    executed = run_shared(program, weights, images, execution, seeds, preprocessing, record=narrow, ahead=ahead)
    masks = execution.truncation_masks(
        program,
        lambda operation: seeds.images(range(len(images)), operation),
        executed.reduced if narrow else None,
    )
    walk = walk_reference(program, weights, images, masks)
    return executed, all(name != program.output or np.array_equal(executed.output, words) for name, words in walk)


def program_prefix(program: Program, length: int) -> Program:
    """The program that ends after its first `length` operations and outputs the last one's result."""
    operations = program.operations[:length]
    return replace(program, operations=operations, output=operations[-1].output)


def traffic_mismatch(
    program: Program, weights: Mapping[str, np.ndarray], images: np.ndarray, execution: Execution
) -> str | None:
    """A sentence about the first operation whose traffic is not the predicted one; None when all is."""
    executed = run_shared(program, weights, images, execution)
    return _online_mismatch(program, len(images), execution, executed) or _offline_mismatch(
        program, len(images), execution
    )


def _online_mismatch(program: Program, images: int, execution: Execution, executed: Executed) -> str | None:
    for traffic in execution.traffic(program, images):
        for party in (0, 1):
            measured = {(row.phase, row.operation): row for row in executed.rows[party]}
            online = measured["online", traffic.operation]
            setup = measured.get(("setup", traffic.operation))
            figures = {
                "bytes": (online.bytes_sent, traffic.bytes_sent[party]),
                "rounds": (online.rounds, len(traffic.rounds)),
                "set-up bytes": (0 if setup is None else setup.bytes_sent, traffic.setup_bytes[party]),
            }
            for what, (sent, predicted) in figures.items():
                if sent != predicted:
                    return f"{traffic.operation}: party {party} has {sent} {what}, predicted are {predicted}"
    return None


def _offline_mismatch(program: Program, images: int, execution: Execution) -> str | None:
    seeds = DealerSeeds.fresh()
    dealt = deal_for_both(execution.dealer(program, seeds.weight_masks), seeds, range(images))
    for index, traffic in enumerate(execution.traffic(program, images)):
        sizes = tuple(sum(len(parts[index]) for parts in own) for own in dealt)
        if sizes != traffic.offline_bytes:
            return f"{traffic.operation}: {sizes} bytes are dealt, predicted are {traffic.offline_bytes}"
    return None


def preparation_mismatch(program: Program, images: int, execution: Execution) -> str | None:
    """A sentence about the first step of two-party preprocessing whose bytes are not the predicted ones."""
    prepared = prepare_in_process(program, execution, DealerSeeds.fresh().parties, images)
    measured = [{row.operation: row for row in rows} for rows in prepared.rows]
    for step, predicted in predicted_preparation(execution.name, program, images).items():
        sent = measured[0][step].bytes_sent, measured[1][step].bytes_sent
        if sent != predicted:
            return f"{step}: the parties sent {sent} bytes, predicted are {predicted}"
    return None


class ProgramBuilder:
    """Writes small programs by hand: each method adds one operation and returns its output's name."""

    def __init__(self, input_shape: tuple[int, ...], fraction_bits: int, seed: int = 0) -> None:
        self.tensors = {"image": Tensor("image", input_shape, fraction_bits)}
        self.constants: dict[str, Constant] = {}
        self.weights: dict[str, np.ndarray] = {}
        self.operations: list[AnyOperation] = []
        self._generator = np.random.default_rng(seed)
        self._offset = 0

    def add(
        self, operation: type, name: str, inputs: list[str], shape: tuple[int, ...], fraction_bits: int, **fields: Any
    ) -> str:
        """Append an operation whose output has this shape and these fraction bits."""
        self.tensors[name] = Tensor(name, shape, fraction_bits)
        self.operations.append(operation(name=name, inputs=tuple(inputs), output=name, **fields))
        return name

    def constant(self, name: str, shape: tuple[int, ...], fraction_bits: int, bound: int) -> str:
        """A secret constant with uniform words in ±bound."""
        words = self._generator.integers(-bound, bound + 1, shape).astype(np.int32)
        self.constants[name] = Constant(name, shape, fraction_bits, self._offset)
        self.weights[name] = words
        self._offset += words.nbytes
        return name

    def program(self, name: str = "small") -> Program:
        """The program whose output is the last operation's."""
        return Program(name, "image", self.operations[-1].output, self.tensors, self.constants, tuple(self.operations))
