"""`masked` at work: a party's offline and online walks through a program, and the dealer's walk.

Which words are opened where is `masked_plan`'s; here every operation has three parts next to each other in spirit: what
the dealer deals, what a party prepares before the input is known (mask shares, one ring convolution per layer), and
what it does online (one opening, one ring convolution).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..operators import comparison_count
from ..program import (
    TRUNCATION_BOUND_BITS,
    AnyOperation,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    Program,
    ReluOp,
    SquareOp,
    TruncateOp,
)
from ..program_shapes import operation_shape
from ..ring import PackedWeights, pack_weights
from .base import Exchange
from .beaver_ot import beaver_ot_setup_bytes, pool_levels
from .beaver_ot_execution import linear_geometry, pool_shape
from .beaver_products import LinearGeometry, open_words
from .local_operations import LOCAL_OPERATIONS, evaluate_local
from .masked import masked_offline_bytes, masked_steps
from .masked_compare import SelectMaterial, deal_select, draw_select, evaluate_select, select_form
from .masked_plan import OperationPlan, plan_masked
from .material import Corrections, CorrectionWriter, RandomSource
from .party import BatchMaterial, Channel, DealerProgram, Execution, Observer, PartyProgram, Traffic
from .pool_tree import first_differences, run_pool_tree

Sources = tuple[RandomSource, RandomSource]
OFFSET = np.uint32(1 << TRUNCATION_BOUND_BITS)


@dataclass(frozen=True)
class Prepared:
    """What a party knows of one operation before its input: which fields are set depends on the operation.

    `mask`: share of its input's mask r, where that is a wire. `forms`: shares of ρ_t.
    `product`: share of the convolution's offline part. `squares`: shares of ρ_t². `selects`: material of comparisons,
    `level_masks`: masks of the differences that later pooling levels open.
    """

    mask: np.ndarray | None = None
    forms: tuple[np.ndarray, ...] = ()
    product: np.ndarray | None = None
    squares: tuple[np.ndarray, ...] = ()
    selects: tuple[SelectMaterial, ...] = ()
    level_masks: tuple[np.ndarray, ...] = ()


@dataclass
class Lifted:
    """A truncation's result z = A − ρ_t in public: A, the bit t, and the word M − 2^30 = y + r that it came from."""

    public: np.ndarray
    form: np.ndarray
    opened: np.ndarray


@dataclass
class Values:
    """What a party knows of the program's values while it evaluates: shares, opened words M, lifted results."""

    shares: dict[str, np.ndarray] = field(default_factory=dict)
    opened: dict[str, np.ndarray] = field(default_factory=dict)
    lifted: dict[str, Lifted] = field(default_factory=dict)


class MaskShares:
    """A party's walk over masks: shares of every wire's r and of every truncation's ρ_0 and ρ_1."""

    def __init__(self) -> None:
        self.wires: dict[str, np.ndarray] = {}
        self.truncated: dict[str, tuple[np.ndarray, tuple[np.ndarray, ...]]] = {}

    def open_input(self, operation: AnyOperation, plan: OperationPlan, draw: Callable[[], np.ndarray]) -> None:
        """A fresh mask for an input that is opened here."""
        if plan.opens:
            self.wires[operation.inputs[0]] = draw()

    def pass_local(self, operation: AnyOperation, plan: OperationPlan) -> None:
        """The mask of a local result is the same operation on the masks, without the public addend."""
        if plan.wire:
            self.wires[operation.output] = evaluate_local(1, operation, [self.wires[name] for name in operation.inputs])

    def forms(self, operation: AnyOperation, plan: OperationPlan) -> tuple[np.ndarray, ...]:
        """Mask forms of an elementwise gate's input: ρ_0 and ρ_1 of a truncation, or the one r of a wire."""
        source = operation.inputs[0]
        return self.truncated[source][1] if plan.lifted else (self.wires[source],)

    def word_mask(self, operation: AnyOperation, plan: OperationPlan) -> np.ndarray:
        """r of the opened word that has the sign of the input."""
        source = operation.inputs[0]
        return self.truncated[source][0] if plan.lifted else self.wires[source]


def truncation_forms(mask: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """ρ_t = (r >> s) − (1 − t)·msb(r)·2^(32−s) for t = 0 and t = 1."""
    shifted = mask >> np.uint32(bits)
    return shifted - ((mask >> np.uint32(31)) << np.uint32(32 - bits)), shifted


class MaskedParty(PartyProgram):
    """One party of `masked`."""

    def __init__(self, number: int, program: Program, channel: Channel) -> None:
        super().__init__(number, program, channel)
        self._plans = plan_masked(program)

    def setup(
        self,
        weight_shares: Mapping[str, np.ndarray],
        weight_masks: Callable[[int], RandomSource],
        observe: Observer,
    ) -> None:
        self._weights = weight_shares
        self._factors: dict[int, tuple[LinearGeometry, PackedWeights, PackedWeights]] = {}
        for index, operation in enumerate(self.program.operations):
            if not isinstance(operation, ConvOp | LinearOp):
                continue
            geometry = linear_geometry(operation, self.program)
            with observe(operation.name):
                mask = weight_masks(index).words(*geometry.weights)[0]
                opened = open_words(self.channel, weight_shares[operation.weight] + mask)  # M_W = W + r_W
                online = opened - mask if self.number == 1 else np.uint32(0) - mask  # i·M_W − r_W,i
                negated = np.uint32(0) - opened
                factors = pack_weights(negated, geometry.groups), pack_weights(online, geometry.groups)
                self._factors[index] = geometry, *factors

    def prepare(self, material: BatchMaterial, observe: Observer) -> list[Prepared]:
        masks = MaskShares()
        prepared = []
        for index, operation in enumerate(self.program.operations):
            if isinstance(operation, LOCAL_OPERATIONS):
                masks.pass_local(operation, self._plans[index])
                prepared.append(Prepared())
                continue
            with observe(operation.name):
                source, dealt = material.source(index), material.corrections(index)
                prepared.append(self._prepare_operation(index, operation, masks, source, dealt))
        return prepared

    def _prepare_operation(
        self, index: int, operation: AnyOperation, masks: MaskShares, source: RandomSource, dealt: Corrections
    ) -> Prepared:
        plan, shape = self._plans[index], self.program.tensor(operation.inputs[0]).shape
        own: RandomSource | Corrections = source if self.number == 0 else dealt
        masks.open_input(operation, plan, lambda: source.words(*shape))
        mask = masks.wires.get(operation.inputs[0])
        match operation:
            case ConvOp() | LinearOp():
                return Prepared(mask=mask, product=self._offline_product(index, operation, mask, own))
            case TruncateOp():
                truncated = own.words(*shape), own.words(*shape)
                if mask is not None:
                    masks.truncated[operation.output] = mask, truncated
                return Prepared(mask=mask, forms=truncated)
            case SquareOp():
                forms = masks.forms(operation, plan)
                return Prepared(mask=mask, forms=forms, squares=tuple(own.words(*shape) for _ in forms))
            case ReluOp():
                forms = tuple(form.reshape(len(form), -1) for form in masks.forms(operation, plan))
                return Prepared(mask=mask, selects=(draw_select(self.number, forms, source, dealt),))
            case MaxPoolOp():
                return self._prepare_pool(operation, mask, source, dealt)
        raise ValueError(f"{operation.kind} is not an operation of masked")

    def _offline_product(
        self,
        index: int,
        operation: ConvOp | LinearOp,
        mask: np.ndarray | None,
        own: RandomSource | Corrections,
    ) -> np.ndarray:
        """pre_i = c_i − M_W ⊗ r_x,i and the bias, with c = r_W ⊗ r_x."""
        geometry, negated, _ = self._factors[index]
        result = own.words(*self.program.tensor(operation.output).shape)
        if mask is not None:
            geometry.product(mask, negated, result)
        if operation.bias is not None:
            result += self._weights[operation.bias].reshape(-1, *(1,) * (result.ndim - 2))
        return result

    def _prepare_pool(
        self, operation: MaxPoolOp, mask: np.ndarray | None, source: RandomSource, dealt: Corrections
    ) -> Prepared:
        shape = pool_shape(operation, self.program)
        selects, level_masks = [], []
        for level, comparisons in enumerate(pool_levels(shape)):
            if level == 0 and mask is not None:
                difference_mask = first_differences(mask, shape)
            else:
                difference_mask = source.words(comparisons)
            level_masks.append(difference_mask)
            selects.append(draw_select(self.number, (difference_mask,), source, dealt))
        return Prepared(mask=mask, selects=tuple(selects), level_masks=tuple(level_masks))

    def evaluate(self, share: np.ndarray, prepared: list[Prepared], observe: Observer) -> np.ndarray:
        values = Values(shares={self.program.input: share})
        for index, operation in enumerate(self.program.operations):
            with observe(operation.name):
                self._evaluate_operation(index, operation, values, prepared[index])
        return values.shares[self.program.output]

    def _evaluate_operation(self, index: int, operation: AnyOperation, values: Values, known: Prepared) -> None:
        plan, name = self._plans[index], operation.inputs[0]
        if isinstance(operation, LOCAL_OPERATIONS):
            self._evaluate_local(operation, plan, values)
            return
        if plan.opens and known.mask is not None:
            values.opened[name] = open_words(self.channel, values.shares[name] + known.mask)
        match operation:
            case ConvOp() | LinearOp() if known.product is not None:
                geometry, _, online = self._factors[index]
                values.shares[operation.output] = geometry.product(values.opened[name], online, known.product)
            case TruncateOp():
                self._truncate(operation, values, known)
            case SquareOp():
                values.shares[operation.output] = self._square(name, plan, values, known)
            case ReluOp():
                values.shares[operation.output] = self._relu(name, plan, values, known)
            case MaxPoolOp():
                values.shares[operation.output] = self._pool(operation, values, known)

    def _evaluate_local(self, operation: AnyOperation, plan: OperationPlan, values: Values) -> None:
        if plan.wire:
            values.opened[operation.output] = evaluate_local(
                0, operation, [values.opened[name] for name in operation.inputs]
            )
        inputs = [values.shares[name] for name in operation.inputs]
        values.shares[operation.output] = evaluate_local(self.number, operation, inputs)

    def _truncate(self, operation: TruncateOp, values: Values, known: Prepared) -> None:
        """One opened word is the truncated value in the lifted form, and a share of it."""
        opened = values.opened[operation.inputs[0]]
        word = opened + OFFSET
        bits = operation.bits
        public = (word >> np.uint32(bits)) - np.uint32(1 << (TRUNCATION_BOUND_BITS - bits))
        form = word >> np.uint32(31)
        values.lifted[operation.output] = Lifted(public, form, opened)
        mask = select_form(known.forms, form)
        values.shares[operation.output] = public - mask if self.number == 0 else np.uint32(0) - mask

    def _gate_input(
        self, name: str, plan: OperationPlan, values: Values
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The word with the input's sign, A, and t where there are two forms."""
        if plan.lifted:
            lifted = values.lifted[name]
            return lifted.opened, lifted.public, lifted.form
        return values.opened[name], values.opened[name], None

    def _square(self, name: str, plan: OperationPlan, values: Values, known: Prepared) -> np.ndarray:
        """q_i = [i = 0]·A² − 2A·ρ_t,i + (ρ_t²)_i."""
        _, public, form = self._gate_input(name, plan, values)
        mask, square = select_form(known.forms, form), select_form(known.squares, form)
        result = square - (public + public) * mask
        return result + public * public if self.number == 0 else result

    def _relu(self, name: str, plan: OperationPlan, values: Values, known: Prepared) -> np.ndarray:
        opened, public, form = self._gate_input(name, plan, values)
        flat = [None if part is None else part.reshape(len(part), -1) for part in (opened, public, form)]
        result = evaluate_select(self.number, self.channel, flat[0], flat[1], flat[2], known.selects[0])  # type: ignore[arg-type]
        return result.reshape(opened.shape)

    def _pool(self, operation: MaxPoolOp, values: Values, known: Prepared) -> np.ndarray:
        """Levels of max(a, b) = b + relu(a − b); the first level's differences are open with the input."""
        name = operation.inputs[0]
        shape = pool_shape(operation, self.program)

        def relu(level: int, difference: np.ndarray) -> np.ndarray:
            if level == 0:
                opened = first_differences(values.opened[name], shape)
            else:
                opened = open_words(self.channel, difference + known.level_masks[level])
            return evaluate_select(self.number, self.channel, opened, opened, None, known.selects[level])

        return run_pool_tree(values.shares[name], shape, relu)


class MaskedDealer(DealerProgram):
    """The dealer of `masked`."""

    def __init__(self, program: Program, weight_masks: Callable[[int], Sources]) -> None:
        self._program = program
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
        plan, shape = self._plans[index], self._program.tensor(operation.inputs[0]).shape
        masks.open_input(operation, plan, lambda: sources[0].words(*shape) + sources[1].words(*shape))
        match operation:
            case ConvOp() | LinearOp():
                geometry, weight_mask = self._masks[index]
                product = geometry.product(masks.wires[operation.inputs[0]], weight_mask)
                writer.put(product - sources[0].words(*product.shape[1:]))
            case TruncateOp():
                mask = masks.wires[operation.inputs[0]]
                truncated = truncation_forms(mask, operation.bits)
                masks.truncated[operation.output] = mask, truncated
                for form in truncated:
                    writer.put(form - sources[0].words(*shape))
            case SquareOp():
                for form in masks.forms(operation, plan):
                    writer.put(form * form - sources[0].words(*shape))
            case ReluOp():
                forms = tuple(form.reshape(len(form), -1) for form in masks.forms(operation, plan))
                word_mask = masks.word_mask(operation, plan)
                deal_select(word_mask.reshape(len(word_mask), -1), forms, sources, writer)
            case MaxPoolOp():
                self._deal_pool(operation, masks.wires[operation.inputs[0]], sources, writer)

    def _deal_pool(self, operation: MaxPoolOp, mask: np.ndarray, sources: Sources, writer: CorrectionWriter) -> None:
        shape = pool_shape(operation, self._program)
        for level, comparisons in enumerate(pool_levels(shape)):
            if level == 0:
                difference = first_differences(mask, shape)
            else:
                difference = sources[0].words(comparisons) + sources[1].words(comparisons)
            deal_select(difference, (difference,), sources, writer)


class MaskedExecution(Execution):
    """`masked` for `board/`."""

    name: ClassVar[str] = "masked"

    def traffic(self, program: Program, batch: int) -> Sequence[Traffic]:
        result = []
        for operation, plan in zip(program.operations, plan_masked(program)):
            shape = operation_shape(operation, program)
            steps = masked_steps(shape, batch, plan.opens)
            rounds = tuple(step for step in steps if isinstance(step, Exchange))
            offline = masked_offline_bytes(shape, batch, plan.lifted)
            result.append(Traffic(operation.name, rounds, beaver_ot_setup_bytes(shape), offline))
        return result

    def party(self, number: int, program: Program, channel: Channel) -> PartyProgram:
        return MaskedParty(number, program, channel)

    def dealer(self, program: Program, weight_masks: Callable[[int], Sources]) -> DealerProgram:
        return MaskedDealer(program, weight_masks)

    def truncation_masks(self, program: Program, sources: Callable[[int], Sources]) -> dict[str, np.ndarray]:
        masks = MaskShares()
        result = {}
        for index, (operation, plan) in enumerate(zip(program.operations, plan_masked(program))):
            if isinstance(operation, LOCAL_OPERATIONS):
                masks.pass_local(operation, plan)
                continue
            name = operation.inputs[0]
            masks.open_input(operation, plan, lambda n=name, i=index: _sum_words(sources(i), program.tensor(n).shape))  # type: ignore[misc]
            if isinstance(operation, TruncateOp):
                result[operation.name] = masks.wires[name]
        return result

    def bytes_per_image(self, program: Program) -> int:
        """Everything is prepared for all operations at once."""
        total = 0
        for operation in program.operations:
            elements = max(program.tensor(name).elements for name in (*operation.inputs, operation.output))
            total += 16 * elements + 48 * comparison_count(operation_shape(operation, program))
        return total


def _sum_words(sources: Sources, shape: tuple[int, ...]) -> np.ndarray:
    return sources[0].words(*shape) + sources[1].words(*shape)
