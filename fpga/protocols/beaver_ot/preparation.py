"""Making the material of `beaver-ot`: every operation's masks are its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ...cost.protocol import Exchange
from ...program import AnyOperation, ConvOp, LinearOp, MaxPoolOp, MulOp, Program, ReluOp, SelectOp, SquareOp, TruncateOp
from ..material import CorrectionWriter, RandomSource
from ..shared.lattice.modulus import Modulus
from ..shared.pool_tree import pool_levels, pool_shape
from ..shared.preparation import Observer, Preparation, Sources, image_parts, images_together, linear_material
from ..shared.square_material import mul_rounds, mul_share, square_rounds, square_share
from .comparison import Signs
from .relu_material import receive_select, select_rounds, send_select
from .truncation_material import receive_truncation, send_truncation, truncation_rounds


class BeaverOTPreparation(Preparation):
    """One party's side of `beaver-ot`."""

    protocol: ClassVar[str] = "beaver-ot"

    @classmethod
    def rounds(cls, program: Program, images: int, modulus: Modulus) -> Sequence[tuple[Exchange, ...]]:
        return [_rounds(operation, program, images, modulus) for operation in program.operations]

    def prepare(self, sources: Sources, indices: range, observe: Observer) -> list[list[np.ndarray]]:
        corrections: list[list[np.ndarray]] = []
        for number, operation in enumerate(self._program.operations):
            buffers: list[np.ndarray] = []
            with observe(operation.name):
                for part in image_parts(indices, self._group(operation, len(indices))):
                    writer = CorrectionWriter(len(part))
                    self._make(number, operation, sources(part, number), writer)
                    buffers += writer.buffers()
            corrections.append(buffers)
        return corrections

    def _group(self, operation: AnyOperation, images: int) -> int:
        """Images whose material is made together."""
        if isinstance(operation, ConvOp | LinearOp):
            return images
        elements = self._program.tensor(operation.output).elements
        if isinstance(operation, MaxPoolOp):
            elements = max((*pool_levels(pool_shape(operation, self._program)), 1))
        return images_together(elements)

    def _make(self, number: int, operation: AnyOperation, source: RandomSource, writer: CorrectionWriter) -> None:
        """One operation's material; what party 0 writes stays empty."""
        transfers, result = self._transfers, self._program.tensor(operation.output)
        match operation:
            case ConvOp() | LinearOp():
                mask = source.words(*self._program.tensor(operation.inputs[0]).shape)
                fixed = source.words(*result.shape) if self.number == 0 else None
                self._put(writer, self.multiply_by_weights(number, operation, mask, fixed))
            case SquareOp():
                a = source.words(result.elements)
                fixed = source.words(result.elements) if self.number == 0 else None
                self._put(writer, square_share(transfers, a, fixed))
            case MulOp():
                self._put(writer, self._multiply(operation, source))
            case TruncateOp() if self.number == 0:
                send_truncation(transfers, operation.bits, result.elements, source)
            case TruncateOp():
                receive_truncation(transfers, operation.bits, result.elements, source, writer)
            case ReluOp():
                self._compare(result.elements, Signs(result.elements), source, writer)
            case SelectOp():
                self._compare(result.elements, Signs.of(operation, self._program), source, writer)
            case MaxPoolOp():
                for comparisons in pool_levels(pool_shape(operation, self._program)):
                    self._compare(comparisons, Signs(comparisons), source, writer)

    def _multiply(self, operation: MulOp, source: RandomSource) -> np.ndarray:
        """A ⊙ B."""
        shapes = [self._program.tensor(name).shape for name in operation.inputs]
        a, b = (source.words(*shape) for shape in shapes)
        fixed = source.words(*shapes[0]).reshape(len(a), -1) if self.number == 0 else None
        return mul_share(self._transfers, a, b, fixed)

    def _put(self, writer: CorrectionWriter, share: np.ndarray) -> None:
        if self.number == 1:
            writer.put(share)

    def _compare(self, elements: int, signs: Signs, source: RandomSource, writer: CorrectionWriter) -> None:
        if self.number == 0:
            send_select(self._transfers, elements, signs, source)
        else:
            receive_select(self._transfers, elements, signs, source, writer)


def _rounds(operation: AnyOperation, program: Program, images: int, modulus: Modulus) -> tuple[Exchange, ...]:
    elements = program.tensor(operation.output).elements
    match operation:
        case ConvOp() | LinearOp():
            return linear_material(operation, program, modulus).image_rounds(images)
        case SquareOp():
            return square_rounds(elements, images)
        case MulOp():
            return mul_rounds(elements, images)
        case TruncateOp():
            return truncation_rounds(operation.bits, elements, images)
        case ReluOp():
            return select_rounds(elements, elements, images)
        case SelectOp():
            return select_rounds(elements, program.tensor(operation.inputs[1]).elements, images)
        case MaxPoolOp():
            levels = pool_levels(pool_shape(operation, program))
            return tuple(each for count in levels for each in select_rounds(count, count, images))
    return ()
