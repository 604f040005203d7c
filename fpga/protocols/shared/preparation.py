"""One party's walk through a program that makes the material of a protocol without a dealer.

Party 0 ends with its seed alone and party 1 with corrections that are octet for octet what a dealer with the same two
seeds would have dealt, so that the online phase, its proofs of conformance and the store know no difference. The
parties are semi-honest; no input and no weight is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...cost.protocol import Exchange
from ...program import AnyOperation, ConvOp, LinearOp, Program
from ...ring import pack_weights
from ..material import RandomSource
from ..party import Channel, Observer
from .lattice.encryption import Evaluator, SecretKey
from .lattice.linear_material import LinearMaterial, receive_linear, send_linear
from .lattice.modulus import MODULI, SMALL, Modulus
from .linear_geometry import linear_geometry
from .oblivious_transfer.extension import extension_bytes
from .oblivious_transfer.punctured_seeds import SECURITY_BITS
from .oblivious_transfer.silent import SilentSupply
from .oblivious_transfer.transfers import SETUP_BYTES, Transfers, forward_octets

#: Working memory that one operation's transfers for a group of images may take, and what an element takes.
GROUP_BYTES, ELEMENT_BYTES = 192 << 20, 1200

WEIGHT_KEY_BYTES = 16

#: Least -log2 of what the encrypted products of a whole set may tell beyond the shares.
STATISTICAL_BITS = 40

#: Indices of some images and an operation -> this party's expansion.
Sources = Callable[[range, int], RandomSource]


@dataclass(frozen=True)
class PreparationTraffic:
    """What both parties send to prepare one operation for some images."""

    operation: str
    bytes_sent: tuple[int, int]


@dataclass(frozen=True)
class Manner:
    """How a whole set is prepared, the same at both parties: follows from the program and the number of images.

    Attributes:
        modulus: of the encryption.
        silent: forward transfers are silent.
    """

    modulus: Modulus = SMALL
    silent: bool = False


def setup_bytes(modulus: Modulus) -> tuple[int, int]:
    """What both parties send before the first operation.

    Base OTs, the encryption key, and party 0's part of the weight masks.
    """
    return SETUP_BYTES[0] + modulus.key_bytes + WEIGHT_KEY_BYTES, SETUP_BYTES[1]


def modulus_for(program: Program, images: int) -> Modulus:
    """The smallest modulus under which a set of so many images keeps `STATISTICAL_BITS`; the largest if none does."""
    enough = (each for each in MODULI if statistical_bits(program, images, each) >= STATISTICAL_BITS)
    return next(enough, MODULI[-1])


def statistical_bits(program: Program, images: int, modulus: Modulus) -> int:
    """How well flooding hides the weight masks from party 0: -log2 of the statistical distance, rounded down.

    Of all `images` of a set together, which share the weight masks; 128 where nothing is multiplied.
    """
    return min(SECURITY_BITS, modulus.mask_bits - (images * _hidden_total(program)).bit_length())


def set_bits(program: Program, images: int) -> tuple[int, int]:
    """The `statistical_bits` of one image and of a whole set, under the modulus that the set gets."""
    modulus = modulus_for(program, images)
    return statistical_bits(program, 1, modulus), statistical_bits(program, images, modulus)


def images_within(program: Program, bits: int, modulus: Modulus) -> int:
    """How many images a set may have that keeps so many `statistical_bits`, which some product costs; 0 if not one."""
    return (2 ** (modulus.mask_bits - bits) - 1) // _hidden_total(program)


def _hidden_total(program: Program) -> int:
    """What the masks of one image's encrypted products hide, added up."""
    products = [operation for operation in program.operations if isinstance(operation, ConvOp | LinearOp)]
    return sum(linear_material(operation, program).hidden_total() for operation in products)


def linear_material(operation: ConvOp | LinearOp, program: Program, modulus: Modulus = SMALL) -> LinearMaterial:
    """How the material of a linear operation is made."""
    source, result = program.tensor(operation.inputs[0]), program.tensor(operation.output)
    return LinearMaterial(linear_geometry(operation, program), source.shape, result.shape, modulus)


def image_parts(indices: range, size: int) -> Iterator[range]:
    """Consecutive parts of at most `size` images."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def images_together(elements: int) -> int:
    """Images whose transfers for `elements` each fit into the working memory."""
    return max(1, GROUP_BYTES // (ELEMENT_BYTES * elements))


class Preparation(ABC):
    """One party's side; `start` before `prepare`.

    Args:
        number: 0, the client, or 1, the server, which owns the model.
        program: the two-party program, the same at both.
        channel: to the other party.
        manner: how the set is prepared, the same at both.
    """

    protocol: ClassVar[str]

    def __init__(self, number: int, program: Program, channel: Channel, manner: Manner) -> None:
        self.number, self._program, self._channel = number, program, channel
        self._modulus, self._silent = manner.modulus, manner.silent

    @classmethod
    @abstractmethod
    def rounds(cls, program: Program, images: int, modulus: Modulus) -> Sequence[tuple[Exchange, ...]]:
        """What both parties send, per operation in program order, where no transfer is silent."""

    @classmethod
    def manner(cls, program: Program, images: int) -> Manner:
        """How a set of so many images is prepared: with silent transfers where they send less."""
        octets = images * sum(map(forward_octets, cls.rounds(program, 1, SMALL)))
        silent = octets + sum(SilentSupply().sent_for(8 * octets))
        return Manner(modulus_for(program, images), silent < extension_bytes(octets))

    @classmethod
    def traffic(cls, program: Program, images: int, manner: Manner, walk: int = 0) -> Sequence[PreparationTraffic]:
        """Predicted bytes of every operation, in program order; `setup_bytes` come once per set.

        `walk`: images that walk through the program side by side; 0 for all of them. Of silent transfers it decides
        which operations their expansions fall to.
        """
        sent = [[0, 0] for _ in program.operations]
        supply = SilentSupply()
        for part in image_parts(range(images), walk or max(1, images)):
            for total, rounds in zip(sent, cls.rounds(program, len(part), manner.modulus), strict=True):
                for party in (0, 1):
                    total[party] += sum(each.bytes_sent[party] for each in rounds)
                if manner.silent:
                    octets = forward_octets(rounds)
                    first, second = supply.sent_for(8 * octets)
                    total[0] += first
                    total[1] += second + octets - extension_bytes(octets)
        named = zip(program.operations, sent, strict=True)
        return [PreparationTraffic(operation.name, (first, second)) for operation, (first, second) in named]

    def start(self, session: bytes, weight_key: bytes, weight_masks: Callable[[bytes, int], RandomSource]) -> None:
        """Base OTs and keys.

        Args:
            session: 16 octets that both parties know and no other session has.
            weight_key: this party's key of the weight masks. Party 0's goes to party 1, which owns the weights.
            weight_masks: a party's key and an operation -> that party's part of the operation's weight mask.
        """
        self._transfers = Transfers(self.number, self._channel, session, self._silent)
        if self.number == 0:
            self._key = SecretKey(self._modulus)
            opened = np.frombuffer(weight_key, np.uint8)
            self._channel.exchange(np.concatenate((self._key.public_key(), opened)), 0)
            return
        received = self._channel.exchange(None, self._modulus.key_bytes + WEIGHT_KEY_BYTES)
        self._evaluator = Evaluator(received[: self._modulus.key_bytes], self._modulus)
        keys = received[self._modulus.key_bytes :].tobytes(), weight_key
        self._weight_masks = lambda operation: [weight_masks(key, operation) for key in keys]

    @abstractmethod
    def prepare(self, sources: Sources, indices: range, observe: Observer) -> list[list[np.ndarray]]:
        """Material of every operation for some inferences.

        Args:
            sources: this party's expansions of some of the inferences, at their start.
            indices: numbers of the inferences in the set.
            observe: measures each operation.

        Returns: party 1's corrections, uint8 buffers by operation and inference; empty ones at party 0.
        """

    def multiply_by_weights(
        self, index: int, operation: AnyOperation, mask: np.ndarray, fixed: np.ndarray | None
    ) -> np.ndarray:
        """Shares of the product of an input's mask with the operation's weight mask, uint32 [N, *outputs].

        Args:
            index: the operation's place in the program.
            operation: a convolution or linear operation.
            mask: this party's share of the input's mask, [N, *inputs].
            fixed: the share that party 0's seed fixes; None at party 1.
        """
        assert isinstance(operation, ConvOp | LinearOp)
        material = linear_material(operation, self._program, self._modulus)
        parts = list(image_parts(range(len(mask)), material.group(len(mask))))
        if fixed is not None:
            for part in parts:
                rows = slice(part.start, part.stop)
                send_linear(self._transfers, material, self._key, mask[rows], fixed[rows])
            return fixed
        first, second = (source.words(*material.geometry.weights)[0] for source in self._weight_masks(index))
        weights = first + second
        packed = pack_weights(weights, material.geometry.groups)
        made = self._transfers, material, self._evaluator, weights, packed
        return np.concatenate([receive_linear(*made, mask[part.start : part.stop]) for part in parts])
