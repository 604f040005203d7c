"""What a party of `masked` knows: of an operation before its input, and of the program's values while it evaluates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ...program import AnyOperation, Program
from .comparison import SelectMaterial
from .masks import Forms, Lifting
from .numpy_kernels import reduce_share


@dataclass(frozen=True)
class PreparedOperation:
    """What a party knows of one operation before its input: which fields are set depends on the operation.

    `mask`: share of its input's mask r, where that is a wire. `forms`: shares of ρ_t, or of both factors' masks.
    `product`: share of the convolution's offline part, or of the product of both masks. `squares`: shares of ρ_t².
    `factor_masks`: shares of the masks of what a selection and its signs open, None where the words are open.
    `selects`: material of comparisons,
    `level_masks`: masks of the differences that later pooling levels open.
    """

    mask: np.ndarray | None = None
    forms: Forms = ()
    product: np.ndarray | None = None
    squares: Forms = ()
    factor_masks: tuple[np.ndarray | None, ...] = ()
    selects: tuple[SelectMaterial, ...] = ()
    level_masks: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Lifted:
    """A value z = A − ρ_t in public: the word M = y + r with its sign, and how A and the bit t follow from it.

    The parties' shares of z are those of the value.
    """

    opened: np.ndarray
    lifting: Lifting


class Values:
    """What a party knows of the program's values while it evaluates: shares, opened words M, lifted values.

    What no operation reads any more is forgotten. Where `postpones` is set, a truncation that opens nothing may leave
    its share as it was: the mask that most readers put on it drops the bits in the same pass over memory.
    """

    def __init__(self, number: int, program: Program, share: np.ndarray, postpones: bool) -> None:
        self.number, self.postpones = number, postpones
        self.shares = {program.input: share}
        self.opened: dict[str, np.ndarray] = {}
        self.lifted: dict[str, Lifted] = {}
        self._unreduced: dict[str, tuple[np.ndarray, int]] = {}
        self._readers = Counter(name for operation in program.operations for name in operation.inputs)
        self._readers[program.output] += 1

    def end_reading(self, operation: AnyOperation) -> None:
        """An operation has read its inputs."""
        for name in operation.inputs:
            self._readers[name] -= 1
            if not self._readers[name]:
                for known in (self.shares, self.opened, self.lifted, self._unreduced):
                    known.pop(name, None)

    def reduce(self, name: str, share: np.ndarray, bits: int, wide: bool) -> None:
        """The value `name` has this share without its `bits` low bits."""
        if self.postpones and not wide:
            self._unreduced[name] = share, bits
            return
        reduced = reduce_share(self.number, share, bits)
        self.shares[name] = reduced if wide else reduced.astype(np.uint32, copy=False)

    def unreduced(self, name: str) -> tuple[np.ndarray, int]:
        """The share modulo 2^32, or one of more bits of which so many low ones are to be dropped."""
        return (self.narrow(name), 0) if not self.postpones or name in self.shares else self._unreduced[name]

    def share(self, name: str) -> np.ndarray:
        """The share in as many bits as it is held."""
        if self.postpones and name not in self.shares:
            share, bits = self._unreduced.pop(name)
            self.shares[name] = reduce_share(self.number, share, bits).astype(np.uint32, copy=False)
        return self.shares[name]

    def narrow(self, name: str) -> np.ndarray:
        """The share modulo 2^32."""
        return self.share(name).astype(np.uint32, copy=False)
