"""The dealer of `masked`: party 1's corrections of every operation, from both parties' expansions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...program import AnyOperation, ConvOp, LinearOp, MaxPoolOp, MulOp, Program, ReluOp, SelectOp, SquareOp, TruncateOp
from ...program.patches import patch_index
from ...ring import PackedWeights, pack_weights
from ..material import CorrectionWriter
from ..party import DealerProgram
from ..shared.linear_geometry import LinearGeometry, linear_geometry
from ..shared.local_operations import LOCAL_OPERATIONS
from ..shared.opened_words import OperationPlan, opened_by
from ..shared.pool_tree import first_differences, pool_levels, pool_shape
from .comparison import Comparison, deal_select
from .masks import Forms, MaskShares, Sources, both_words, draw_words, lifted_forms
from .plan import plan_masked


class MaskedDealer(DealerProgram):
    """The dealer of `masked`."""

    def __init__(self, program: Program, weight_masks: Callable[[int], Sources], comparison: Comparison) -> None:
        self._program, self._comparison = program, comparison
        self._plans = plan_masked(program)
        self._masks: dict[int, tuple[LinearGeometry, PackedWeights]] = {}
        for index, operation in enumerate(program.operations):
            if isinstance(operation, ConvOp | LinearOp):
                geometry = linear_geometry(operation, program)
                first, second = (source.words(*geometry.weights)[0] for source in weight_masks(index))
                self._masks[index] = geometry, pack_weights(first + second, geometry.groups)

    def deal(self, sources: Callable[[int], Sources], images: int) -> list[CorrectionWriter]:
        masks = MaskShares()
        writers = [CorrectionWriter(images) for _ in self._program.operations]
        for index, (operation, writer) in enumerate(zip(self._program.operations, writers)):
            if isinstance(operation, LOCAL_OPERATIONS):
                masks.pass_local(operation, self._plans[index])
            else:
                self._deal_operation(index, operation, masks, sources(index), writer)
        return writers

    def _deal_operation(
        self, index: int, operation: AnyOperation, masks: MaskShares, sources: Sources, writer: CorrectionWriter
    ) -> None:
        plan, name = self._plans[index], operation.inputs[0]
        masks.open_inputs(operation, plan, lambda opened: both_words(sources, self._program.tensor(opened).shape))
        match operation:
            case ConvOp() | LinearOp():
                geometry, weight_mask = self._masks[index]
                product = geometry.product(masks.wires[name], weight_mask)
                writer.put(product - sources[0].words(*product.shape[1:]))
            case MulOp():
                product = masks.wires[name] * masks.wires[operation.inputs[1]]
                writer.put(product - sources[0].words(*product.shape[1:]))
            case TruncateOp() if plan.opens or not plan.reduces:
                mask = masks.wires[opened_by(operation, plan)]
                dropped = 0 if plan.reduces else operation.bits
                masks.lifted[operation.output] = mask, lifted_forms(mask, dropped, plan.wide_forms, plan.width)
                self._share(masks.lifted[operation.output][1], sources, writer)
            case SquareOp():
                if plan.lifts:
                    self._deal_lift(name, plan, masks, sources, writer)
                _, known = masks.gate_input(operation, plan)
                self._share(tuple(form * form for form in known), sources, writer)
            case ReluOp():
                if plan.lifts:
                    self._deal_lift(name, plan, masks, sources, writer)
                word_mask, known = masks.gate_input(operation, plan)
                flat = tuple(form.reshape(len(form), -1) for form in known)
                word_mask = word_mask.reshape(len(word_mask), -1)
                deal_select(self._comparison, word_mask, flat, sources, writer, plan.width)
            case SelectOp():
                signs = masks.wires[operation.inputs[1]]
                _, known = masks.gate_input(operation, plan)
                flat = tuple(form.reshape(len(form), -1) for form in known)
                patches = patch_index(self._program.tensor(name).shape, operation.patch)
                words = signs.reshape(len(signs), -1)
                deal_select(self._comparison, words, flat, sources, writer, plan.width, patches)
            case MaxPoolOp():
                self._deal_pool(operation, plan, masks.wires[name], sources, writer)

    def _deal_lift(
        self, name: str, plan: OperationPlan, masks: MaskShares, sources: Sources, writer: CorrectionWriter
    ) -> None:
        """The forms of a wire that a gate lifts."""
        forms = lifted_forms(masks.wires[name], 0, plan.wide_forms, plan.width)
        masks.lifted[name] = masks.wires[name], forms
        self._share(forms, sources, writer)

    @staticmethod
    def _share(values: Forms, sources: Sources, writer: CorrectionWriter) -> None:
        """Party 1's shares; party 0's are the next draws of its expansion."""
        for value in values:
            writer.put(value - draw_words(sources[0], value.shape[1:], value.dtype == np.uint64))

    def _deal_pool(
        self, operation: MaxPoolOp, plan: OperationPlan, mask: np.ndarray, sources: Sources, writer: CorrectionWriter
    ) -> None:
        shape = pool_shape(operation, self._program)
        for level, comparisons in enumerate(pool_levels(shape)):
            if level == 0:
                difference = first_differences(mask, shape)
            else:
                difference = sources[0].words(comparisons) + sources[1].words(comparisons)
            deal_select(self._comparison, difference, (difference,), sources, writer, plan.width)
