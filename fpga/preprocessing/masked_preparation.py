"""Making the material of `masked`: wire masks that many operations share, and what opened words meet.

Masks of wires and weights are the parties' own expansions; everything else follows from shares of their bits
(`carries`, `mask_digits`), of products of bits with words, and of convolutions by homomorphic encryption.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..program import AnyOperation, ConvOp, LinearOp, MaxPoolOp, Program, ReluOp, SquareOp, TruncateOp, is_narrow
from ..protocols.base import Exchange
from ..protocols.beaver_ot import plane_bytes, pool_levels
from ..protocols.beaver_ot_execution import pool_shape
from ..protocols.bit_planes import word_planes
from ..protocols.local_operations import LOCAL_OPERATIONS
from ..protocols.masked import ONEHOT_PLANES
from ..protocols.masked_masks import Forms, MaskShares, draw_words
from ..protocols.masked_plan import plan_masked
from ..protocols.material import CorrectionWriter, RandomSource
from ..protocols.party import Channel
from ..protocols.pool_tree import first_differences
from .carries import share_carries
from .mask_digits import DigitShares, share_digits
from .masked_bits_plan import BitsPlan, plan_bits
from .masked_material import (
    RING_BITS,
    SIGN_BIT,
    MaskBits,
    SelectMasks,
    receive_select,
    send_select,
    share_forms,
    share_wide_squares,
    triple_shapes,
)
from .masked_traffic import lift_cuts, masked_rounds
from .preparation import Observer, Preparation, Sources, image_parts, images_together
from .square_material import square_share


@dataclass
class _Images:
    """Some images' masks so far: this party's shares.

    `digits` of wires that are compared, `bits` of lifted values by name.
    """

    indices: range
    masks: MaskShares = field(default_factory=MaskShares)
    digits: dict[str, DigitShares] = field(default_factory=dict)
    bits: dict[str, MaskBits] = field(default_factory=dict)


class MaskedPreparation(Preparation):
    """One party's side of `masked`."""

    protocol: ClassVar[str] = "masked"

    def __init__(self, number: int, program: Program, channel: Channel) -> None:
        super().__init__(number, program, channel)
        self._plans, self._bits_plans = plan_masked(program), plan_bits(program)

    @classmethod
    def refusal(cls, program: Program) -> str | None:
        if not is_narrow(program):
            return None
        return f"material of {cls.protocol} for narrow words needs a dealer: compile with --ring 32, or let one prepare"

    @classmethod
    def rounds(cls, program: Program, images: int) -> Sequence[tuple[Exchange, ...]]:
        return masked_rounds(program, images)

    def prepare(self, sources: Sources, indices: range, observe: Observer) -> list[list[np.ndarray]]:
        groups = [_Images(part) for part in image_parts(indices, self._images_together())]
        corrections: list[list[np.ndarray]] = []
        for index, operation in enumerate(self._program.operations):
            with observe(operation.name):
                writers = self._make(index, operation, groups, sources)
            corrections.append([buffer for writer in writers for buffer in writer.buffers()])
        return corrections

    def _images_together(self) -> int:
        """Images whose masks walk through the program side by side."""
        shapes = [pool_shape(each, self._program) for each in self._program.operations if isinstance(each, MaxPoolOp)]
        pooled = [count for shape in shapes for count in pool_levels(shape)]
        return images_together(max([*pooled, *(tensor.elements for tensor in self._program.tensors.values())]))

    def _make(
        self, index: int, operation: AnyOperation, groups: Sequence[_Images], sources: Sources
    ) -> list[CorrectionWriter]:
        """One operation's material; what party 0 writes stays empty."""
        writers = [CorrectionWriter(len(images.indices)) for images in groups]
        if isinstance(operation, LOCAL_OPERATIONS):
            for images in groups:
                images.masks.pass_local(operation, self._plans[index])
            return writers
        own = [sources(images.indices, index) for images in groups]
        shape = self._program.tensor(operation.inputs[0]).shape
        for images, source in zip(groups, own):
            images.masks.open_input(operation, self._plans[index], functools.partial(source.words, *shape))
        if isinstance(operation, ConvOp | LinearOp):
            self._multiply(index, operation, groups, own, writers)
            return writers
        for images, source, writer in zip(groups, own, writers):
            match operation:
                case TruncateOp() if not self._plans[index].reduces:
                    self._lift(index, operation.inputs[0], operation.output, operation.bits, images, source, writer)
                case SquareOp():
                    self._square(index, operation, images, source, writer)
                case ReluOp():
                    self._relu(index, operation, images, source, writer)
                case MaxPoolOp():
                    self._pool(operation, images, source, writer)
        return writers

    def _multiply(
        self,
        index: int,
        operation: ConvOp | LinearOp,
        groups: Sequence[_Images],
        own: Sequence[RandomSource],
        writers: Sequence[CorrectionWriter],
    ) -> None:
        """r_W ⊗ r_x, for all images at once."""
        shape = self._program.tensor(operation.output).shape
        mask = np.concatenate([images.masks.wires[operation.inputs[0]] for images in groups])
        fixed = np.concatenate([source.words(*shape) for source in own]) if self.number == 0 else None
        share = self.multiply_by_weights(index, operation, mask, fixed)
        place = 0
        for images, writer in zip(groups, writers):
            self._put(writer, share[place : place + len(images.indices)])
            place += len(images.indices)

    def _put(self, writer: CorrectionWriter, *shares: np.ndarray) -> None:
        if self.number == 1:
            for share in shares:
                writer.put(share)

    def _fixed(self, source: RandomSource, images: _Images, shape: tuple[int, ...], wide: bool, count: int) -> Forms:
        """Words that party 0's seed fixes as its shares, flat [N, E]; none at party 1."""
        if self.number == 1:
            return ()
        return tuple(draw_words(source, shape, wide).reshape(len(images.indices), -1) for _ in range(count))

    def _lift(
        self,
        index: int,
        wire: str,
        name: str,
        dropped: int,
        images: _Images,
        source: RandomSource,
        writer: CorrectionWriter,
    ) -> None:
        """The forms ρ_t of the value `name`, which is the wire without some low bits."""
        wide, mask = self._plans[index].wide, images.masks.wires[wire]
        flat = mask.reshape(len(mask), -1)
        fixed = self._fixed(source, images, mask.shape[1:], wide, 2)
        bits = self._mask_bits(self._bits_plans[index], flat, dropped, images)
        forms = share_forms(self._transfers, flat, bits, np.dtype(np.uint64 if wide else np.uint32), fixed)
        self._put(writer, *forms)
        images.masks.lifted[name] = mask, tuple(form.reshape(mask.shape) for form in forms)
        images.bits[name] = bits

    def _mask_bits(self, plan: BitsPlan | None, mask: np.ndarray, dropped: int, images: _Images) -> MaskBits:
        """The bits that lifting a wire without its `dropped` low bits needs."""
        assert plan is not None
        sign = word_planes(mask >> np.uint32(SIGN_BIT), 1)[:, 0]
        if not plan.digits:
            carries = share_carries(self._transfers, mask, lift_cuts(dropped))
            return MaskBits(dropped, carries.get(dropped), carries[RING_BITS], sign ^ carries[SIGN_BIT])
        digits = self._digits(plan, mask, images)
        carry = None
        if dropped:
            carry = digits.bit(dropped) ^ word_planes(mask >> np.uint32(dropped), 1)[:, 0]
        wrap = share_carries(self._transfers, mask, (RING_BITS,), (SIGN_BIT, digits.carry))[RING_BITS]
        return MaskBits(dropped, carry, wrap, sign ^ digits.carry)

    def _digits(self, plan: BitsPlan, mask: np.ndarray, images: _Images) -> DigitShares:
        """The digits of a wire's mask; dropped where nobody needs them again."""
        if plan.first:
            images.digits[plan.wire] = share_digits(self._transfers, mask)
        return images.digits.pop(plan.wire) if plan.last else images.digits[plan.wire]

    def _square(
        self, index: int, operation: SquareOp, images: _Images, source: RandomSource, writer: CorrectionWriter
    ) -> None:
        plan, name = self._plans[index], operation.inputs[0]
        if plan.lifts:
            self._lift(index, name, name, 0, images, source, writer)
        mask, forms = images.masks.gate_input(operation, plan)
        flat = tuple(form.reshape(len(form), -1) for form in forms)
        fixed = self._fixed(source, images, mask.shape[1:], plan.wide, len(forms))
        if plan.wide:
            r = mask.reshape(len(mask), -1)
            self._put(writer, *share_wide_squares(self._transfers, r, images.bits[name], flat, fixed))
            return
        for place, form in enumerate(flat):
            self._put(writer, square_share(self._transfers, form, fixed[place] if fixed else None))

    def _relu(
        self, index: int, operation: ReluOp, images: _Images, source: RandomSource, writer: CorrectionWriter
    ) -> None:
        mask, forms = images.masks.gate_input(operation, self._plans[index])
        r, plan = mask.reshape(len(mask), -1), self._bits_plans[index]
        assert plan is not None
        digits = self._digits(plan, r, images)
        self._select(r, digits, tuple(form.reshape(len(form), -1) for form in forms), source, writer)

    def _pool(self, operation: MaxPoolOp, images: _Images, source: RandomSource, writer: CorrectionWriter) -> None:
        shape = pool_shape(operation, self._program)
        for level, comparisons in enumerate(pool_levels(shape)):
            if level == 0:
                mask = first_differences(images.masks.wires[operation.inputs[0]], shape)
            else:
                mask = source.words(comparisons)
            self._select(mask, share_digits(self._transfers, mask), (mask,), source, writer)

    def _select(
        self, r: np.ndarray, digits: DigitShares, forms: Forms, source: RandomSource, writer: CorrectionWriter
    ) -> None:
        """Material for max(x, 0) where x has the sign of the word masked by r, and mask forms ρ_t."""
        masks = _draw_select(self.number, r.shape[1], len(forms), source)
        top = word_planes(r >> np.uint32(SIGN_BIT), 1)[:, 0] ^ digits.carry
        if self.number == 0:
            send_select(self._transfers, digits.onehot, top, forms, masks)
        else:
            self._put(writer, *receive_select(self._transfers, digits.onehot, top, forms, masks).ordered)


def _draw_select(number: int, elements: int, forms: int, source: RandomSource) -> SelectMasks:
    """What a party's seed fixes, in the order in which the dealer draws it."""
    octets = plane_bytes(elements)
    onehot = source.planes(ONEHOT_PLANES, octets) if number == 0 else None
    sign, triples, gates = source.planes(1, octets)[:, 0], [], []
    for opened, products in triple_shapes():
        triples.append(source.planes(opened, octets))
        if number == 0:
            gates.append(source.planes(products, octets))
    if number == 1:
        return SelectMasks(sign, tuple(triples))
    words = [source.words(elements) for _ in range(1 + forms)]
    return SelectMasks(sign, tuple(triples), onehot, tuple(gates), words[0], tuple(words[1:]))
