"""One party of `masked`: what it prepares before its input is known, and what it does online.

Prepared are mask shares and one ring convolution per layer; online every wire is opened once, and each layer is one
ring convolution. Which words are opened where is `masked_plan`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...program import (
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
from ...program.patches import patch_index
from ...ring import PackedWeights, pack_weights
from ..material import Corrections, RandomSource
from ..party import BatchMaterial, Channel, Observer, PartyProgram
from ..shared.linear_geometry import LinearGeometry, linear_geometry, open_words
from ..shared.local_operations import LOCAL_OPERATIONS, evaluate_local
from ..shared.opened_words import OperationPlan, opened_by
from ..shared.pool_tree import first_differences, pool_shape, run_pool_tree
from .comparison import Comparison, draw_pool, draw_select, evaluate_select
from .kernels import kernels
from .masks import Forms, Lifting, MaskShares, draw_words
from .opening import open_together, open_wire
from .plan import plan_masked
from .values import Lifted, PreparedOperation, Values


class MaskedParty(PartyProgram):
    def __init__(self, number: int, program: Program, channel: Channel, comparison: Comparison) -> None:
        super().__init__(number, program, channel)
        self._comparison = comparison
        self._plans = plan_masked(program)
        kernels()  # compiled code is built, loaded and checked now, not while an input waits
        comparison.load()

    def setup(
        self,
        weight_shares: Mapping[str, np.ndarray],
        weight_masks: Callable[[int], RandomSource],
        observe: Observer,
    ) -> None:
        self._biases: dict[int, np.ndarray] = {}  # of the weights only what is opened is kept, packed
        self._factors: dict[int, tuple[LinearGeometry, PackedWeights, PackedWeights]] = {}
        for index, operation in enumerate(self.program.operations):
            if not isinstance(operation, ConvOp | LinearOp):
                continue
            geometry = linear_geometry(operation, self.program)
            with observe(operation.name):
                mask = weight_masks(index).words(*geometry.weights)[0]
                opened = self.open_weights(index, weight_shares[operation.weight] + mask)  # M_W = W + r_W
                online = opened - mask if self.number == 1 else np.uint32(0) - mask  # i·M_W − r_W,i
                negated, online = (pack_weights(each, geometry.groups) for each in (np.uint32(0) - opened, online))
                self._factors[index] = geometry, negated, online
            if operation.bias is not None:
                self._biases[index] = weight_shares[operation.bias]

    def open_weights(self, index: int, masked: np.ndarray) -> np.ndarray:
        """Both parties' masked weights of an operation; the host of an accelerator keeps them for it."""
        return open_words(self.channel, masked)

    def prepare(self, material: BatchMaterial, observe: Observer) -> list[PreparedOperation]:
        masks = MaskShares()
        prepared = []
        for index, operation in enumerate(self.program.operations):
            if isinstance(operation, LOCAL_OPERATIONS):
                masks.pass_local(operation, self._plans[index])
                prepared.append(PreparedOperation())
                continue
            with observe(operation.name):
                source, dealt = material.source(index), material.corrections(index)
                prepared.append(self._prepare_operation(index, operation, masks, source, dealt))
        return prepared

    def _prepare_operation(
        self, index: int, operation: AnyOperation, masks: MaskShares, source: RandomSource, dealt: Corrections
    ) -> PreparedOperation:
        plan, name = self._plans[index], operation.inputs[0]
        shape = self.program.tensor(name).shape
        own: RandomSource | Corrections = source if self.number == 0 else dealt
        masks.open_inputs(operation, plan, lambda opened: source.words(*self.program.tensor(opened).shape))
        mask = masks.wires.get(name)
        match operation:
            case ConvOp() | LinearOp():
                return PreparedOperation(mask=mask, product=self._offline_product(index, operation, mask, own))
            case MulOp():
                factors = tuple(masks.wires[factor] for factor in operation.inputs)
                return PreparedOperation(forms=factors, product=own.words(*shape))
            case TruncateOp() if plan.reduces and not plan.opens:
                return PreparedOperation()
            case TruncateOp():
                mask, forms = masks.wires[opened_by(operation, plan)], self._draw_forms(own, shape, plan)
                masks.lifted[operation.output] = mask, forms
                return PreparedOperation(mask=mask, forms=forms)
            case SquareOp():
                if plan.lifts:
                    masks.lifted[name] = masks.wires[name], self._draw_forms(own, shape, plan)
                _, known_forms = masks.gate_input(operation, plan)
                squares = tuple(draw_words(own, shape, plan.wide) for _ in known_forms)
                return PreparedOperation(mask=mask, forms=known_forms, squares=squares)
            case ReluOp():
                if plan.lifts:
                    masks.lifted[name] = masks.wires[name], self._draw_forms(own, shape, plan)
                _, known_forms = masks.gate_input(operation, plan)
                flat = tuple(form.reshape(len(form), -1) for form in known_forms)
                select = draw_select(self._comparison, self.number, flat, source, dealt, plan.width)
                forms = masks.lifted[name][1] if plan.lifts else ()
                return PreparedOperation(mask=mask, forms=forms, selects=(select,))
            case SelectOp():
                signs = operation.inputs[1]
                _, forms = masks.gate_input(operation, plan)
                flat = tuple(form.reshape(len(form), -1) for form in forms)
                count = self.program.tensor(signs).elements
                select = draw_select(self._comparison, self.number, flat, source, dealt, plan.width, count)
                opened = masks.wires[name] if plan.opens else None, masks.wires[signs] if plan.opens_second else None
                return PreparedOperation(factor_masks=opened, selects=(select,))
            case MaxPoolOp():
                selects, level_masks = draw_pool(
                    self._comparison, self.number, pool_shape(operation, self.program), mask, source, dealt, plan.width
                )
                return PreparedOperation(mask=mask, selects=selects, level_masks=level_masks)
        raise ValueError(f"{operation.kind} is not an operation of masked")

    @staticmethod
    def _draw_forms(own: RandomSource | Corrections, shape: tuple[int, ...], plan: OperationPlan) -> Forms:
        """Shares of ρ_0 and ρ_1."""
        return draw_words(own, shape, plan.wide_forms), draw_words(own, shape, plan.wide_forms)

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
        if index in self._biases:
            result += self._biases[index].reshape(-1, *(1,) * (result.ndim - 2))
        return result

    def evaluate(self, share: np.ndarray, prepared: list[PreparedOperation], observe: Observer) -> np.ndarray:
        values = Values(self.number, self.program, share, postpones=True)

        def step(index: int, operation: AnyOperation) -> None:
            self._evaluate_operation(index, operation, values, prepared[index])
            prepared[index] = PreparedOperation()  # what was read for the last time leaves its memory to what follows
            values.end_reading(operation)

        self.walk(step, observe)
        return values.narrow(self.program.output)

    def _evaluate_operation(
        self, index: int, operation: AnyOperation, values: Values, known: PreparedOperation
    ) -> None:
        plan, name, output = self._plans[index], operation.inputs[0], operation.output
        if isinstance(operation, LOCAL_OPERATIONS):
            self._evaluate_local(operation, plan, values)
            return
        if plan.opens and known.mask is not None and not plan.reduces:
            own, bits = values.unreduced(name)
            values.opened[name] = open_wire(self.channel, self.number, own, known.mask, plan.width, bits)
        match operation:
            case ConvOp() | LinearOp() if known.product is not None:
                geometry, _, online = self._factors[index]
                values.shares[output] = geometry.product(values.opened[name], online, known.product)
            case MulOp() if known.product is not None:
                values.shares[output] = self._multiply(operation, plan, values, known.forms, known.product)
            case TruncateOp() if plan.reduces:
                self._reduce(operation, plan, values, known)
            case TruncateOp():
                self._lift(output, values.opened[name], Lifting(operation.bits), known.forms, values)
            case SquareOp():
                values.shares[output] = self._square(name, plan, values, known)
            case ReluOp():
                values.shares[output] = self._relu(name, plan, values, known)
            case SelectOp():
                values.shares[output] = self._choose(operation, plan, values, known)
            case MaxPoolOp():
                values.shares[output] = self._pool(operation, plan, values, known)

    def _evaluate_local(self, operation: AnyOperation, plan: OperationPlan, values: Values) -> None:
        if plan.wire:
            values.opened[operation.output] = evaluate_local(
                0, operation, [values.opened[name] for name in operation.inputs]
            )
        inputs = [values.share(name) if plan.wide else values.narrow(name) for name in operation.inputs]
        values.shares[operation.output] = evaluate_local(self.number, operation, inputs)

    def _reduce(self, operation: TruncateOp, plan: OperationPlan, values: Values, known: PreparedOperation) -> None:
        """Drop bits of the share; where the result is needed on more bits than are left, open and lift it."""
        source, output = operation.inputs[0], operation.output
        share = values.share(source)
        if self.reduced is not None:
            self.reduced[operation.name] = share
        if known.mask is None:
            values.reduce(output, share, operation.bits, plan.wide)
            return
        values.opened[output] = open_wire(self.channel, self.number, share, known.mask, plan.width, operation.bits)
        self._lift(output, values.opened[output], Lifting(width=plan.width), known.forms, values)

    def _lift(self, name: str, opened: np.ndarray, lifting: Lifting, forms: Forms, values: Values) -> None:
        """The value `name` follows from the opened word by `lifting`: in public, and a share of it."""
        values.shares[name] = kernels().lift(self.number, opened, lifting, forms)
        values.lifted[name] = Lifted(opened, lifting)

    def _gate_input(
        self, name: str, plan: OperationPlan, values: Values, known: PreparedOperation
    ) -> tuple[np.ndarray, Lifting | None, np.ndarray | None]:
        """The opened word of a gate's input; of a lifted one how it follows from that, and this party's share."""
        if plan.lifts:
            self._lift(name, values.opened[name], Lifting(width=plan.width), known.forms, values)
        if not (plan.lifted or plan.lifts):
            return values.opened[name], None, None
        lifted = values.lifted[name]
        return lifted.opened, lifted.lifting, values.share(name) if plan.wide else values.narrow(name)

    def _square(self, name: str, plan: OperationPlan, values: Values, known: PreparedOperation) -> np.ndarray:
        """q_i = [i = 0]·A² − 2A·ρ_t,i + (ρ_t²)_i."""
        opened, lifting, own = self._gate_input(name, plan, values, known)
        return kernels().square(self.number, opened, lifting, known.forms[0] if own is None else own, known.squares)

    def _multiply(
        self, operation: MulOp, plan: OperationPlan, values: Values, masks: Forms, product: np.ndarray
    ) -> np.ndarray:
        """(M_x − r_x) ⊙ (M_y − r_y), of which r_x ⊙ r_y is dealt; a factor per channel is broadcast."""
        factors = zip(operation.inputs, masks, (plan.opens, plan.opens_second), strict=True)
        self._open_together([(name, mask) for name, mask, opens in factors if opens], plan.width, values)
        first, second = (values.opened[name] for name in operation.inputs)
        result = product - first * masks[1] - second * masks[0]
        return result + first * second if self.number == 0 else result

    def _open_together(self, opening: Sequence[tuple[str, np.ndarray]], width: int, values: Values) -> None:
        """Open several tensors under their masks in one round."""
        masked = [values.narrow(name) + mask for name, mask in opening]
        for (name, _), words in zip(opening, open_together(self.channel, masked, width), strict=True):
            values.opened[name] = words

    def _choose(self, operation: SelectOp, plan: OperationPlan, values: Values, known: PreparedOperation) -> np.ndarray:
        """x · [s > 0], every element by the sign of its patch."""
        masks = zip(operation.inputs, known.factor_masks, strict=True)
        self._open_together([(name, mask) for name, mask in masks if mask is not None], plan.width, values)
        name, signs = operation.inputs
        word, lifting, own = self._gate_input(name, plan, values, known)
        shape, index = word.shape, patch_index(word.shape[1:], operation.patch)
        return self._select(values.opened[signs], word, lifting, own, known, plan.width, index).reshape(shape)

    def _relu(self, name: str, plan: OperationPlan, values: Values, known: PreparedOperation) -> np.ndarray:
        word, lifting, own = self._gate_input(name, plan, values, known)
        return self._select(word, word, lifting, own, known, plan.width).reshape(word.shape)

    def _select(
        self,
        opened: np.ndarray,
        word: np.ndarray,
        lifting: Lifting | None,
        own: np.ndarray | None,
        known: PreparedOperation,
        width: int,
        index: np.ndarray | None = None,
        level: int = 0,
    ) -> np.ndarray:
        """As `evaluate_select`, of tensors."""
        compared, images = (self._comparison, self.number, self.channel), len(word)
        words = opened.reshape(images, -1), word.reshape(images, -1)
        share = None if own is None else own.reshape(images, -1)
        return evaluate_select(*compared, *words, lifting, share, known.selects[level], width, index)

    def _pool(self, operation: MaxPoolOp, plan: OperationPlan, values: Values, known: PreparedOperation) -> np.ndarray:
        """Levels of max(a, b) = b + relu(a − b); the first level's differences are open with the input."""
        name = operation.inputs[0]
        shape = pool_shape(operation, self.program)

        def relu(level: int, difference: np.ndarray) -> np.ndarray:
            if level == 0:
                opened = first_differences(values.opened[name], shape)
            else:
                opened = open_wire(self.channel, self.number, difference, known.level_masks[level], plan.width)
            return self._select(opened, opened, None, None, known, plan.width, level=level)

        return run_pool_tree(values.narrow(name), shape, relu)
