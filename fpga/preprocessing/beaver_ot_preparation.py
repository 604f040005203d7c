"""The two parties' walk through a program that makes the material of `beaver-ot` without a dealer.

Party 0 ends with its seed alone and party 1 with corrections that are octet for octet what a dealer with the same two
seeds would have dealt, so that the online phase, its proofs of conformance and the store know no difference. The
parties are semi-honest; no input and no weight is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from ..program import AnyOperation, ConvOp, LinearOp, MaxPoolOp, Program, ReluOp, SquareOp, TruncateOp
from ..protocols.base import Exchange
from ..protocols.beaver_ot import pool_levels
from ..protocols.beaver_ot_execution import linear_geometry, pool_shape
from ..protocols.material import CorrectionWriter, RandomSource
from ..protocols.party import Channel
from ..ring import pack_weights
from .lattice import KEY_BYTES, Evaluator, SecretKey
from .linear_material import LinearMaterial, receive_linear, send_linear
from .punctured_seeds import SECURITY_BITS
from .relu_material import receive_relu, relu_rounds, send_relu
from .sampling import MASK_BITS
from .square_material import receive_square, send_square, square_rounds
from .transfers import SETUP_BYTES, Transfers
from .truncation_material import receive_truncation, send_truncation, truncation_rounds

#: Working memory that one operation's transfers for a group of images may take, and what an element takes.
GROUP_BYTES, ELEMENT_BYTES = 192 << 20, 1200

WEIGHT_KEY_BYTES = 16

#: What both parties send before the first operation: base OTs, the encryption key, party 0's part of the weight masks.
PREPARATION_SETUP_BYTES = (SETUP_BYTES[0] + KEY_BYTES + WEIGHT_KEY_BYTES, SETUP_BYTES[1])

#: Called around each operation with its name: a context manager that measures it.
Observer = Callable[[str], AbstractContextManager[None]]
#: Indices of some images and an operation -> this party's expansion.
Sources = Callable[[range, int], RandomSource]


@dataclass(frozen=True)
class PreparationTraffic:
    """What both parties send to prepare one operation for some images."""

    operation: str
    bytes_sent: tuple[int, int]


def preparation_traffic(program: Program, images: int) -> Sequence[PreparationTraffic]:
    """Predicted bytes of every operation, in program order; `PREPARATION_SETUP_BYTES` come once per set."""
    result = []
    for operation in program.operations:
        rounds = _rounds(operation, program, images)
        sent = sum(each.bytes_sent[0] for each in rounds), sum(each.bytes_sent[1] for each in rounds)
        result.append(PreparationTraffic(operation.name, sent))
    return result


def statistical_bits(program: Program) -> int:
    """How well flooding hides the weight masks from party 0: -log2 of an image's statistical distance, rounded down.

    The worst case over all inputs and errors; 128 where nothing is multiplied.
    """
    products = [operation for operation in program.operations if isinstance(operation, ConvOp | LinearOp)]
    hidden = sum(_linear(operation, program).hidden_total() for operation in products)
    return min(SECURITY_BITS, MASK_BITS - hidden.bit_length())


def _rounds(operation: AnyOperation, program: Program, images: int) -> tuple[Exchange, ...]:
    elements = program.tensor(operation.output).elements
    match operation:
        case ConvOp() | LinearOp():
            return _linear(operation, program).image_rounds(images)
        case SquareOp():
            return square_rounds(elements, images)
        case TruncateOp():
            return truncation_rounds(operation.bits, elements, images)
        case ReluOp():
            return relu_rounds(elements, images)
        case MaxPoolOp():
            levels = pool_levels(pool_shape(operation, program))
            return tuple(each for comparisons in levels for each in relu_rounds(comparisons, images))
    return ()


def _linear(operation: ConvOp | LinearOp, program: Program) -> LinearMaterial:
    source, result = program.tensor(operation.inputs[0]), program.tensor(operation.output)
    return LinearMaterial(linear_geometry(operation, program), source.shape, result.shape)


def _parts(indices: range, size: int) -> Iterator[range]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


class BeaverOTPreparation:
    """One party's side; `start` before `prepare`.

    Args:
        number: 0, the client, or 1, the server, which owns the model.
        program: the two-party program, the same at both.
        channel: to the other party.
    """

    def __init__(self, number: int, program: Program, channel: Channel) -> None:
        self.number, self._program, self._channel = number, program, channel

    def start(self, session: bytes, weight_key: bytes, weight_masks: Callable[[bytes, int], RandomSource]) -> None:
        """Base OTs and keys.

        Args:
            session: 16 octets that both parties know and no other session has.
            weight_key: this party's key of the weight masks. Party 0's goes to party 1, which owns the weights.
            weight_masks: a party's key and an operation -> that party's part of the operation's weight mask.
        """
        self._transfers = Transfers(self.number, self._channel, session)
        if self.number == 0:
            self._key = SecretKey()
            opened = np.frombuffer(weight_key, np.uint8)
            self._channel.exchange(np.concatenate((self._key.public_key(), opened)), 0)
            return
        received = self._channel.exchange(None, KEY_BYTES + WEIGHT_KEY_BYTES)
        self._evaluator = Evaluator(received[:KEY_BYTES])
        keys = received[KEY_BYTES:].tobytes(), weight_key
        self._weight_masks = lambda operation: [weight_masks(key, operation) for key in keys]

    def prepare(self, sources: Sources, indices: range, observe: Observer) -> list[list[np.ndarray]]:
        """Material of every operation for some inferences.

        Args:
            sources: this party's expansions of some of the inferences, at their start.
            indices: numbers of the inferences in the set.
            observe: measures each operation.

        Returns: party 1's corrections, uint8 buffers [operation][inference]; empty ones at party 0.
        """
        corrections: list[list[np.ndarray]] = []
        for number, operation in enumerate(self._program.operations):
            buffers: list[np.ndarray] = []
            with observe(operation.name):
                for part in self._groups(operation, indices):
                    writer = CorrectionWriter(len(part))
                    if self.number == 0:
                        self._send(operation, sources(part, number))
                    else:
                        self._receive(number, operation, sources(part, number), writer)
                    buffers += writer.buffers()
            corrections.append(buffers)
        return corrections

    def _groups(self, operation: AnyOperation, indices: range) -> Iterator[range]:
        """Images whose material is made together."""
        if isinstance(operation, ConvOp | LinearOp):
            return _parts(indices, _linear(operation, self._program).group(len(indices)))
        elements = self._program.tensor(operation.output).elements
        if isinstance(operation, MaxPoolOp):
            elements = max((*pool_levels(pool_shape(operation, self._program)), 1))
        return _parts(indices, max(1, GROUP_BYTES // (ELEMENT_BYTES * elements)))

    def _send(self, operation: AnyOperation, source: RandomSource) -> None:
        transfers, elements = self._transfers, self._program.tensor(operation.output).elements
        match operation:
            case ConvOp() | LinearOp():
                send_linear(transfers, _linear(operation, self._program), self._key, source)
            case SquareOp():
                send_square(transfers, elements, source)
            case TruncateOp():
                send_truncation(transfers, operation.bits, elements, source)
            case ReluOp():
                send_relu(transfers, elements, source)
            case MaxPoolOp():
                for comparisons in pool_levels(pool_shape(operation, self._program)):
                    send_relu(transfers, comparisons, source)

    def _receive(self, number: int, operation: AnyOperation, source: RandomSource, writer: CorrectionWriter) -> None:
        transfers, elements = self._transfers, self._program.tensor(operation.output).elements
        match operation:
            case ConvOp() | LinearOp():
                material = _linear(operation, self._program)
                first, second = (mask.words(*material.geometry.weights)[0] for mask in self._weight_masks(number))
                mask = first + second
                packed = pack_weights(mask, material.geometry.groups)
                receive_linear(transfers, material, self._evaluator, mask, packed, source, writer)
            case SquareOp():
                receive_square(transfers, elements, source, writer)
            case TruncateOp():
                receive_truncation(transfers, operation.bits, elements, source, writer)
            case ReluOp():
                receive_relu(transfers, elements, source, writer)
            case MaxPoolOp():
                for comparisons in pool_levels(pool_shape(operation, self._program)):
                    receive_relu(transfers, comparisons, source, writer)
