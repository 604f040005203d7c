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

from ....cost.protocol import Exchange
from ....program import (
    AnyOperation,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    MulOp,
    Program,
    ReluOp,
    SelectOp,
    SquareOp,
    TruncateOp,
)
from ....program.patches import patch_index
from ...material import CorrectionWriter, RandomSource
from ...party import Channel
from ...shared.bit_planes import plane_bytes, word_planes
from ...shared.lattice.modulus import Modulus
from ...shared.local_operations import LOCAL_OPERATIONS
from ...shared.oblivious_transfer.carries import share_carries
from ...shared.pool_tree import first_differences, pool_levels, pool_shape
from ...shared.preparation import Manner, Observer, Preparation, Sources, image_parts, images_together
from ...shared.square_material import mul_share, square_share
from ..costs import and_levels, onehot_planes
from ..masks import Forms, MaskShares, draw_words
from ..plan import plan_masked
from .bits_material import MaskBits, SelectMasks, receive_select, send_select, share_forms, share_wide_squares
from .bits_plan import BitsPlan, Word, plan_bits
from .mask_digits import DigitShares, share_digits
from .traffic import lift_cuts, masked_rounds


@dataclass
class _Images:
    """Some images' masks so far: this party's shares.

    `digits` of words that are compared, `bits` of lifted values by name.
    """

    indices: range
    masks: MaskShares = field(default_factory=MaskShares)
    digits: dict[Word, DigitShares] = field(default_factory=dict)
    bits: dict[str, MaskBits] = field(default_factory=dict)


class MaskedPreparation(Preparation):
    """One party's side of `masked`."""

    protocol: ClassVar[str] = "masked"

    def __init__(self, number: int, program: Program, channel: Channel, manner: Manner) -> None:
        super().__init__(number, program, channel, manner)
        self._plans, self._bits_plans = plan_masked(program), plan_bits(program)

    @classmethod
    def rounds(cls, program: Program, images: int, modulus: Modulus) -> Sequence[tuple[Exchange, ...]]:
        return masked_rounds(program, images, modulus)

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
        for images, source in zip(groups, own):
            draw = functools.partial(self._draw_mask, source)
            images.masks.open_inputs(operation, self._plans[index], draw)
        if isinstance(operation, ConvOp | LinearOp):
            self._multiply(index, operation, groups, own, writers)
            return writers
        for images, source, writer in zip(groups, own, writers):
            match operation:
                case TruncateOp() if self._bits_plans[index] is not None:
                    self._lift(index, operation.output, images, source, writer)
                case MulOp():
                    self._multiply_masks(operation, images, source, writer)
                case SquareOp():
                    self._square(index, operation, images, source, writer)
                case ReluOp():
                    self._relu(index, operation, images, source, writer)
                case SelectOp():
                    self._choose(index, operation, images, source, writer)
                case MaxPoolOp():
                    self._pool(operation, self._plans[index].width, images, source, writer)
        return writers

    def _draw_mask(self, source: RandomSource, name: str) -> np.ndarray:
        return source.words(*self._program.tensor(name).shape)

    def _multiply_masks(
        self, operation: MulOp, images: _Images, source: RandomSource, writer: CorrectionWriter
    ) -> None:
        """r_x ⊙ r_y."""
        first, second = (images.masks.wires[name] for name in operation.inputs)
        fixed = self._fixed(source, images, first.shape[1:], False, 1)
        self._put(writer, mul_share(self._transfers, first, second, fixed[0] if fixed else None))

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

    def _lift(self, index: int, name: str, images: _Images, source: RandomSource, writer: CorrectionWriter) -> None:
        """The forms ρ_t of the value `name`."""
        bits = self._bits_plans[index]
        assert bits is not None
        wide, mask = self._plans[index].wide_forms, images.masks.wires[bits.word[0]]
        flat = mask.reshape(len(mask), -1)
        fixed = self._fixed(source, images, mask.shape[1:], wide, 2)
        images.bits[name] = self._mask_bits(bits, flat, images)
        kind = np.dtype(np.uint64 if wide else np.uint32)
        forms = share_forms(self._transfers, flat, images.bits[name], kind, fixed)
        self._put(writer, *forms)
        images.masks.lifted[name] = mask, tuple(form.reshape(mask.shape) for form in forms)

    def _mask_bits(self, plan: BitsPlan, mask: np.ndarray, images: _Images) -> MaskBits:
        """The bits that lifting a word needs."""
        width, dropped = plan.width, plan.dropped
        sign = _bit(mask, width - 1)
        if not plan.digits:
            carries = share_carries(self._transfers, mask, lift_cuts(width, dropped))
            return MaskBits(width, dropped, carries.get(dropped), carries[width], sign ^ carries[width - 1])
        digits = self._digits(plan, mask, images)
        carry = digits.bit(dropped) ^ _bit(mask, dropped) if dropped else None
        wrap = share_carries(self._transfers, mask, (width,), (width - 1, digits.carry))[width]
        return MaskBits(width, dropped, carry, wrap, sign ^ digits.carry)

    def _digits(self, plan: BitsPlan, mask: np.ndarray, images: _Images) -> DigitShares:
        """The digits of a word's mask."""
        if plan.word not in images.digits:
            images.digits[plan.word] = share_digits(self._transfers, mask, plan.width)
        return images.digits[plan.word]

    def _square(
        self, index: int, operation: SquareOp, images: _Images, source: RandomSource, writer: CorrectionWriter
    ) -> None:
        plan, name = self._plans[index], operation.inputs[0]
        if plan.lifts:
            self._lift(index, name, images, source, writer)
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
        plan, bits = self._plans[index], self._bits_plans[index]
        assert bits is not None
        if plan.lifts:
            self._lift(index, operation.inputs[0], images, source, writer)
        mask, forms = images.masks.gate_input(operation, plan)
        r = mask.reshape(len(mask), -1)
        digits = self._digits(bits, r, images)
        if bits.last:
            del images.digits[bits.word]
        flat = tuple(form.reshape(len(form), -1) for form in forms)
        self._select(bits.width, r, digits, flat, source, writer)

    def _choose(
        self, index: int, operation: SelectOp, images: _Images, source: RandomSource, writer: CorrectionWriter
    ) -> None:
        """Of signs that choose the elements of their patches."""
        plan, bits = self._plans[index], self._bits_plans[index]
        assert bits is not None
        r = images.masks.wires[operation.inputs[1]]
        r = r.reshape(len(r), -1)
        digits = self._digits(bits, r, images)
        if bits.last:
            del images.digits[bits.word]
        _, forms = images.masks.gate_input(operation, plan)
        flat = tuple(form.reshape(len(form), -1) for form in forms)
        patches = patch_index(self._program.tensor(operation.output).shape, operation.patch)
        shared = r.shape[1] < len(patches)
        self._select(bits.width, r, digits, flat, source, writer, patches if shared else None)

    def _pool(
        self, operation: MaxPoolOp, width: int, images: _Images, source: RandomSource, writer: CorrectionWriter
    ) -> None:
        shape = pool_shape(operation, self._program)
        for level, comparisons in enumerate(pool_levels(shape)):
            if level == 0:
                mask = first_differences(images.masks.wires[operation.inputs[0]], shape)
            else:
                mask = source.words(comparisons)
            self._select(width, mask, share_digits(self._transfers, mask, width), (mask,), source, writer)

    def _select(
        self,
        width: int,
        r: np.ndarray,
        digits: DigitShares,
        forms: Forms,
        source: RandomSource,
        writer: CorrectionWriter,
        patches: np.ndarray | None = None,
    ) -> None:
        """Material for max(x, 0) where x has the sign of the word masked by r, and mask forms ρ_t.

        `patches`: the sign of each element, int64 [E]; None where each has its own.
        """
        signs = r.shape[1]
        masks = _draw_select(self.number, width, (signs, forms[0].shape[1]), len(forms), source)
        shares = digits.onehot, _bit(r, width - 1) ^ digits.carry, forms, masks
        if self.number == 0:
            send_select(self._transfers, width, *shares, patches)
        else:
            self._put(writer, *receive_select(self._transfers, width, *shares, signs, patches).ordered)


def _bit(words: np.ndarray, place: int) -> np.ndarray:
    """One bit of words, a plane [N, P]."""
    return word_planes(words >> np.uint32(place), 1)[:, 0]


def _draw_select(number: int, width: int, counts: tuple[int, int], forms: int, source: RandomSource) -> SelectMasks:
    """What a party's seed fixes for signs and the elements that they choose, in the order in which the dealer draws."""
    signs, elements = counts
    octets = plane_bytes(signs)
    onehot = source.planes(onehot_planes(width), octets) if number == 0 else None
    sign, triples, gates = source.planes(1, octets)[:, 0], [], []
    for opened, products in and_levels(width):
        triples.append(source.planes(opened, octets))
        if number == 0:
            gates.append(source.planes(products, octets))
    if number == 1:
        return SelectMasks(sign, tuple(triples))
    words = [source.words(signs), *(source.words(elements) for _ in range(forms))]
    return SelectMasks(sign, tuple(triples), onehot, tuple(gates), words[0], tuple(words[1:]))
