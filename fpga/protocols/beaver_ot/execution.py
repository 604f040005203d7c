"""`beaver-ot` at work: a party's walk through a program, and the dealer's walk that makes its material."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...cost.protocol import Exchange
from ...program import (
    WORD_BYTES,
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
from ...program.operators import comparison_count
from ...program.shapes import operation_shape
from ...ring import PackedWeights, pack_weights
from ..material import Corrections, CorrectionWriter, Expanded, RandomSource
from ..party import BatchMaterial, Channel, DealerProgram, Execution, Observer, PartyProgram, Traffic
from ..shared.linear_geometry import linear_geometry, weight_setup_bytes
from ..shared.local_operations import LOCAL_OPERATIONS, evaluate_local
from ..shared.pool_tree import pool_levels, pool_shape, run_pool_tree
from ..shared.together import joined_traffic
from .comparison import Signs, deal_select, evaluate_relu, evaluate_select, select_expansion
from .costs import beaver_ot_offline_bytes, beaver_ot_steps
from .products import BeaverLinear, BeaverMul, BeaverSquare, Truncation, truncation_mask
from .tables import OT_MASK_PLANES, tables


def expansion_octets(number: int, operation: AnyOperation, program: Program) -> int:
    """What party `number` expands of its seed for one operation on one image."""
    inputs, outputs = (program.tensor(name).elements for name in (operation.inputs[0], operation.output))
    match operation:
        case ConvOp() | LinearOp() | SquareOp():
            words = inputs + (outputs if number == 0 else 0)
        case MulOp():
            words = inputs + program.tensor(operation.inputs[1]).elements + (outputs if number == 0 else 0)
        case TruncateOp():
            words = inputs + (2 * outputs if number == 0 else 0)
        case ReluOp():
            return select_expansion(number, outputs, outputs)
        case SelectOp():
            return select_expansion(number, outputs, program.tensor(operation.inputs[1]).elements)
        case MaxPoolOp():
            levels = pool_levels(pool_shape(operation, program))
            return sum(select_expansion(number, level, level) for level in levels)
        case _:
            return 0
    return WORD_BYTES * words


@dataclass(frozen=True)
class ExpandedMaterial:
    """Per operation what a party expanded of its seed beforehand, and the dealer's corrections."""

    sources: Sequence[Expanded]
    dealt: Sequence[Corrections]


class BeaverOTParty(PartyProgram):
    """One party of `beaver-ot`."""

    def __init__(self, number: int, program: Program, channel: Channel) -> None:
        super().__init__(number, program, channel)
        tables()  # compiled code is built, loaded and checked now, not while an input waits

    def setup(
        self,
        weight_shares: Mapping[str, np.ndarray],
        weight_masks: Callable[[int], RandomSource],
        observe: Observer,
    ) -> None:
        self._biases: dict[int, np.ndarray] = {}
        self._linear: dict[int, BeaverLinear] = {}
        for index, operation in enumerate(self.program.operations):
            if not isinstance(operation, ConvOp | LinearOp):
                continue
            geometry = linear_geometry(operation, self.program)
            linear = self._linear[index] = BeaverLinear(self.number, geometry)
            with observe(operation.name):
                mask = weight_masks(index).words(*geometry.weights)[0]
                linear.setup(self.channel, weight_shares[operation.weight], mask)
            if operation.bias is not None:
                self._biases[index] = weight_shares[operation.bias]

    def prepare(self, material: BatchMaterial, observe: Observer) -> ExpandedMaterial:
        """Expand everything."""
        sources = []
        for index, operation in enumerate(self.program.operations):
            octets = expansion_octets(self.number, operation, self.program)
            if octets:
                with observe(operation.name):
                    source = material.source(index)
                    sources.append(Expanded(source.planes(1, octets)[:, 0], source.keys))
            else:
                sources.append(Expanded(np.zeros((material.images, 0), np.uint8)))
        return ExpandedMaterial(sources, [material.corrections(index) for index in range(len(sources))])

    def evaluate(self, share: np.ndarray, prepared: ExpandedMaterial, observe: Observer) -> np.ndarray:
        values = {self.program.input: share}
        readers = Counter(name for operation in self.program.operations for name in operation.inputs)

        def step(index: int, operation: AnyOperation) -> None:
            inputs = [values[name] for name in operation.inputs]
            values[operation.output] = self.evaluate_operation(index, operation, inputs, prepared)
            for name in operation.inputs:
                readers[name] -= 1
                if not readers[name] and name != self.program.output:
                    values.pop(name, None)

        self.walk(step, observe)
        return values[self.program.output]

    def evaluate_operation(
        self, index: int, operation: AnyOperation, inputs: list[np.ndarray], material: ExpandedMaterial
    ) -> np.ndarray:
        """Share of one operation's result, uint32 [N, *shape]."""
        if isinstance(operation, LOCAL_OPERATIONS):
            return evaluate_local(self.number, operation, inputs)
        share, number, channel = inputs[0], self.number, self.channel
        source, dealt = material.sources[index], material.dealt[index]
        match operation:
            case ConvOp() | LinearOp():
                output = self.program.tensor(operation.output).shape
                result = self._linear[index].evaluate(channel, share, output, source, dealt)
                if index in self._biases:
                    result += self._biases[index].reshape(-1, *(1,) * (result.ndim - 2))
                return result
            case SquareOp():
                return BeaverSquare.evaluate(number, channel, share, source, dealt)
            case MulOp():
                return BeaverMul.evaluate(number, channel, (share, inputs[1]), source, dealt)
            case TruncateOp():
                return Truncation.evaluate(number, operation.bits, channel, share, source, dealt)
            case ReluOp():
                flat = evaluate_relu(number, channel, share.reshape(len(share), -1), source, dealt)
                return flat.reshape(share.shape)
            case SelectOp():
                flat, sums = (words.reshape(len(words), -1) for words in inputs)
                signs = Signs.of(operation, self.program)
                return evaluate_select(number, channel, flat, sums, signs, source, dealt).reshape(share.shape)
            case MaxPoolOp():
                return run_pool_tree(
                    share,
                    pool_shape(operation, self.program),
                    lambda level, difference: evaluate_relu(number, channel, difference, source, dealt),
                )
        raise ValueError(f"{operation.kind} is not an operation of beaver-ot")


class BeaverOTDealer(DealerProgram):
    """The dealer of `beaver-ot`; it keeps the session's weight masks B, laid out for its products A ⊗ B."""

    def __init__(self, program: Program, weight_masks: Callable[[int], tuple[RandomSource, RandomSource]]) -> None:
        self._program = program
        self._masks: dict[int, PackedWeights] = {}
        for index, operation in enumerate(program.operations):
            if isinstance(operation, ConvOp | LinearOp):
                geometry = linear_geometry(operation, program)
                first, second = (source.words(*geometry.weights)[0] for source in weight_masks(index))
                self._masks[index] = pack_weights(first + second, geometry.groups)

    def deal(self, sources: Callable[[int], tuple[RandomSource, RandomSource]], images: int) -> list[CorrectionWriter]:
        writers = [CorrectionWriter(images) for _ in self._program.operations]
        for operation, writer in enumerate(writers):
            self._deal_operation(operation, sources(operation), writer)
        return writers

    def _deal_operation(
        self, operation: int, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter
    ) -> None:
        step = self._program.operations[operation]
        source, result = self._program.tensor(step.inputs[0]), self._program.tensor(step.output)
        match step:
            case ConvOp() | LinearOp():
                geometry = linear_geometry(step, self._program)
                shapes = source.shape, result.shape
                BeaverLinear.deal(geometry, self._masks[operation], shapes, sources, writer)
            case SquareOp():
                BeaverSquare.deal(result.shape, sources, writer)
            case MulOp():
                BeaverMul.deal((source.shape, self._program.tensor(step.inputs[1]).shape), sources, writer)
            case TruncateOp():
                Truncation.deal(step.bits, result.shape, sources, writer)
            case ReluOp():
                deal_select(result.elements, Signs(result.elements), sources, writer)
            case SelectOp():
                deal_select(result.elements, Signs.of(step, self._program), sources, writer)
            case MaxPoolOp():
                for comparisons in pool_levels(pool_shape(step, self._program)):
                    deal_select(comparisons, Signs(comparisons), sources, writer)


class BeaverOTExecution(Execution):
    """`beaver-ot` for `runtime/`."""

    name: ClassVar[str] = "beaver-ot"

    def traffic(self, program: Program, batch: int) -> Sequence[Traffic]:
        result = []
        for operation in program.operations:
            shape = operation_shape(operation, program)
            rounds = tuple(step for step in beaver_ot_steps(shape, batch) if isinstance(step, Exchange))
            setup, offline = weight_setup_bytes(shape), beaver_ot_offline_bytes(shape, batch)
            result.append(Traffic(operation.name, rounds, setup, offline))
        return joined_traffic(program, result)

    def party(self, number: int, program: Program, channel: Channel) -> PartyProgram:
        return BeaverOTParty(number, program, channel)

    def dealer(
        self, program: Program, weight_masks: Callable[[int], tuple[RandomSource, RandomSource]]
    ) -> DealerProgram:
        return BeaverOTDealer(program, weight_masks)

    def truncation_masks(
        self,
        program: Program,
        sources: Callable[[int], tuple[RandomSource, RandomSource]],
        reduced: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        return {
            operation.name: truncation_mask(program.tensor(operation.output).shape, sources(index))
            for index, operation in enumerate(program.operations)
            if isinstance(operation, TruncateOp)
        }

    def bytes_per_image(self, program: Program) -> int:
        """Everything is expanded for all operations at once; beside it, the work on one operation."""
        expanded = sum(expansion_octets(0, operation, program) for operation in program.operations)
        largest = 0
        for operation in program.operations:
            elements = max(program.tensor(name).elements for name in (*operation.inputs, operation.output))
            comparisons = comparison_count(operation_shape(operation, program))
            largest = max(largest, 32 * elements, comparisons * (OT_MASK_PLANES // 2))
        return expanded + largest
