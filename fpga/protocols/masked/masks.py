"""`masked`: masks of wires and of lifted values, as the dealer knows them and as each party shares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...program import RING_BITS, AnyOperation
from ..material import Corrections, RandomSource
from ..shared.local_operations import evaluate_local
from ..shared.opened_words import OperationPlan, opened_by

Sources = tuple[RandomSource, RandomSource]
#: ρ_t for t = 0 and 1, or the one mask of a wire.
Forms = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Lifting:
    """How z = A − ρ_t follows from M = y + r: M was opened on `width` bits, and z is y without its `bits` low bits."""

    bits: int = 0
    width: int = RING_BITS


@dataclass
class MaskShares:
    """A walk over masks in program order, on the masks themselves (dealer) or on one party's shares of them.

    `wires`: name -> r of the opened word. `lifted`: name -> r of the opened word that has the value's sign, and the
    forms ρ_t.
    """

    wires: dict[str, np.ndarray] = field(default_factory=dict)
    lifted: dict[str, tuple[np.ndarray, Forms]] = field(default_factory=dict)

    def open_inputs(self, operation: AnyOperation, plan: OperationPlan, draw: Callable[[str], np.ndarray]) -> None:
        """A fresh mask for what is opened here; `draw` makes one of a tensor's shape."""
        if plan.opens:
            self.wires[opened_by(operation, plan)] = draw(operation.inputs[0])
        if plan.opens_second:
            self.wires[operation.inputs[1]] = draw(operation.inputs[1])

    def pass_local(self, operation: AnyOperation, plan: OperationPlan) -> None:
        """The mask of a local result is the same operation on the masks, without the public addend."""
        if plan.wire:
            self.wires[operation.output] = evaluate_local(1, operation, [self.wires[name] for name in operation.inputs])

    def gate_input(self, operation: AnyOperation, plan: OperationPlan) -> tuple[np.ndarray, Forms]:
        """r of the opened word that has the sign of an elementwise gate's input, and the mask forms of that input."""
        source = operation.inputs[0]
        if plan.lifted or plan.lifts:
            mask, forms = self.lifted[source]
            return mask, forms if plan.wide else tuple(form.astype(np.uint32, copy=False) for form in forms)
        return self.wires[source], (self.wires[source],)


def lifted_forms(mask: np.ndarray, bits: int, wide: bool, width: int = RING_BITS) -> tuple[np.ndarray, np.ndarray]:
    """ρ_t = (r >> s) − (1 − t)·msb(r)·2^(w−s) for t = 0 and t = 1, modulo 2^64 if `wide`, else modulo 2^32.

    Args:
        mask: uint32 r, of which the low w bits count.
        bits: the s that a truncation drops; 0 lifts a wire.
        wide: whether the forms are integers in uint64.
        width: w, the bits of the opened word.
    """
    mask, kind = mask & ring_mask(width), np.dtype(np.uint64 if wide else np.uint32)
    shifted, top = (mask >> np.uint32(bits)).astype(kind), (mask >> np.uint32(width - 1)).astype(kind)
    return shifted - top * np.array(2 ** (width - bits) % 2 ** (8 * kind.itemsize), kind), shifted


def lifted_public(opened: np.ndarray, lifting: Lifting, wide: bool) -> tuple[np.ndarray, np.ndarray]:
    """A and t of z = A − ρ_t from M = y + r, opened on w bits, |y| < 2^(w−2); A modulo 2^64 if `wide`, else 2^32."""
    bits, width = lifting.bits, lifting.width
    word = (opened + np.uint32(1 << (width - 2))) & ring_mask(width)
    kind, offset = np.dtype(np.uint64 if wide else np.uint32), 1 << (width - 2 - bits)
    return (word >> np.uint32(bits)).astype(kind) - np.array(offset, kind), word >> np.uint32(width - 1)


def ring_mask(width: int) -> np.uint32:
    """The words below 2^width."""
    return np.uint32(2**width - 1)


def draw_words(own: RandomSource | Corrections, shape: tuple[int, ...], wide: bool) -> np.ndarray:
    """uint64 words if `wide`, else uint32."""
    return own.wide_words(*shape) if wide else own.words(*shape)


def select_form(forms: Forms, form: np.ndarray) -> np.ndarray:
    """ρ_t for the public t."""
    return np.where(form.astype(bool), forms[1], forms[0])


def both_words(sources: Sources, shape: tuple[int, ...]) -> np.ndarray:
    """The mask whose shares both parties expand: what the dealer knows, uint32 [N, *shape]."""
    return sources[0].words(*shape) + sources[1].words(*shape)
