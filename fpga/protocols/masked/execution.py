"""`masked` for `runtime/`: its traffic, its parties and its dealer, and the masks that make the reference its equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from ...cost.protocol import Exchange
from ...program import AnyOperation, Program, SquareOp, TruncateOp, is_narrow
from ...program.lanes import side_by_side
from ...program.operators import comparison_count
from ...program.shapes import operation_shape
from ..material import RandomSource
from ..party import AheadChannel, Channel, DealerProgram, Execution, PartyProgram, Traffic
from ..shared.linear_geometry import weight_setup_bytes
from ..shared.local_operations import LOCAL_OPERATIONS, evaluate_local
from ..shared.together import joined_traffic
from .ahead import AheadParty
from .comparison import Comparison
from .costs import masked_offline_bytes, masked_steps
from .dcf import DcfComparison
from .dealer import MaskedDealer
from .masks import Forms, Lifting, MaskShares, Sources, both_words, lifted_forms, lifted_public, select_form
from .numpy_kernels import reduce_share
from .onehot import OneHotComparison
from .party import MaskedParty
from .plan import plan_masked


class MaskedExecution(Execution):
    """`masked` for `runtime/`."""

    name: ClassVar[str] = "masked"
    opens_narrow: ClassVar[bool] = True
    comparison: ClassVar[Comparison] = OneHotComparison()

    def traffic(self, program: Program, batch: int) -> Sequence[Traffic]:
        result = []
        for operation, plan in zip(program.operations, plan_masked(program)):
            shape = operation_shape(operation, program)
            rounds = tuple(
                step for step in masked_steps(shape, batch, plan, self.comparison.name) if isinstance(step, Exchange)
            )
            offline = masked_offline_bytes(shape, batch, plan, self.comparison.name)
            result.append(Traffic(operation.name, rounds, weight_setup_bytes(shape), offline))
        return joined_traffic(program, result)

    def party(self, number: int, program: Program, channel: Channel) -> PartyProgram:
        return MaskedParty(number, program, channel, self.comparison)

    def party_ahead(self, number: int, program: Program, channel: Channel, ahead: AheadChannel) -> PartyProgram:
        if side_by_side(program):  # their lanes take their rounds together
            return self.party(number, program, channel)
        return AheadParty(number, program, channel, self.comparison, ahead)

    def dealer(self, program: Program, weight_masks: Callable[[int], Sources]) -> DealerProgram:
        return MaskedDealer(program, weight_masks, self.comparison)

    def truncation_masks(
        self,
        program: Program,
        sources: Callable[[int], Sources],
        reduced: Mapping[str, np.ndarray] | None = None,
    ) -> MaskedRounding | RecordedRounding:
        return MaskedRounding(program, sources) if reduced is None else RecordedRounding(program, sources, reduced)

    def bytes_per_image(self, program: Program) -> int:
        """Everything is prepared for all operations at once."""
        total = 0
        for operation in program.operations:
            elements = max(program.tensor(name).elements for name in (*operation.inputs, operation.output))
            comparisons = comparison_count(operation_shape(operation, program))
            total += 16 * elements + self.comparison.bytes_per_element * comparisons
        return total


class MaskedDcfExecution(MaskedExecution):
    """`masked-dcf` for `runtime/`."""

    name: ClassVar[str] = "masked-dcf"
    comparison: ClassVar[Comparison] = DcfComparison()


class MaskedRounding:
    """Masks of the truncations, given the values: called for every operation in program order with its input's words.

    A truncation that opens a word rounds as the dealt mask r says. One that reduces a wide share rounds as party 1's
    share says, which follows from what the dealer knows and from the words that were opened before. On narrow shares it
    does not follow (see `RecordedRounding`).
    """

    def __init__(self, program: Program, sources: Callable[[int], Sources]) -> None:
        if is_narrow(program):
            raise ValueError("how narrow shares are rounded is known from a recorded execution alone")
        self._program, self._sources = program, sources
        self._steps = dict(zip((operation.name for operation in program.operations), enumerate(plan_masked(program))))
        self._masks = MaskShares()
        self._shares: dict[str, np.ndarray] = {}  # party 1's wide shares
        self._lifted: dict[str, tuple[np.ndarray, np.ndarray, Forms]] = {}  # A, t and party 1's shares of ρ_t

    def __call__(self, operation: AnyOperation, inputs: list[np.ndarray]) -> np.ndarray | None:
        """The mask of a truncation, uint32 r or uint64 m (see `truncate_words`); None for other operations."""
        index, plan = self._steps[operation.name]
        masks, name = self._masks, operation.inputs[0]
        if isinstance(operation, LOCAL_OPERATIONS):
            masks.pass_local(operation, plan)
            if plan.wide:
                shares = [self._shares[source] for source in operation.inputs]
                self._shares[operation.output] = evaluate_local(1, operation, shares)
            return None
        sources = self._sources(index)
        masks.open_inputs(operation, plan, lambda opened: both_words(sources, self._program.tensor(opened).shape))
        match operation:
            case TruncateOp() if plan.reduces:
                share = self._shares[name]
                self._shares[operation.output] = reduce_share(1, share, operation.bits)
                return np.uint64(0) - share
            case TruncateOp():
                if plan.wide:
                    self._lift(operation.output, masks.wires[name], inputs[0], operation.bits, sources[0])
                return masks.wires[name]
            case SquareOp() if plan.wide:
                if plan.lifts:
                    self._lift(name, masks.wires[name], inputs[0], 0, sources[0])
                public, form, own = self._lifted[name]
                squares = _other_shares(tuple(rho * rho for rho in masks.lifted[name][1]), sources[0])
                share = select_form(squares, form) - (public + public) * select_form(own, form)
                self._shares[operation.output] = share
        return None

    def _lift(self, name: str, mask: np.ndarray, value: np.ndarray, bits: int, source: RandomSource) -> None:
        """Follow a word y that is opened under a mask: without its `bits` low bits it is the value `name`."""
        forms = lifted_forms(mask, bits, wide=True)
        public, form = lifted_public(value + mask, Lifting(bits), wide=True)
        own = _other_shares(forms, source)
        self._masks.lifted[name] = mask, forms
        self._lifted[name] = public, form, own
        self._shares[name] = np.uint64(0) - select_form(own, form)


class RecordedRounding:
    """Masks of the truncations, given party 1's shares of what it reduced; called as `MaskedRounding` is.

    Any share gives a mask with which a truncation is right, so that the comparison proves no less than with dealt ones.
    """

    def __init__(self, program: Program, sources: Callable[[int], Sources], reduced: Mapping[str, np.ndarray]) -> None:
        self._program, self._sources, self._reduced = program, sources, reduced
        self._steps = dict(zip((operation.name for operation in program.operations), enumerate(plan_masked(program))))
        self._masks = MaskShares()

    def __call__(self, operation: AnyOperation, inputs: list[np.ndarray]) -> np.ndarray | None:
        """The mask of a truncation, uint32 r or uint64 m (see `truncate_words`); None for other operations."""
        index, plan = self._steps[operation.name]
        if isinstance(operation, LOCAL_OPERATIONS):
            self._masks.pass_local(operation, plan)
            return None
        sources = self._sources(index)
        self._masks.open_inputs(operation, plan, lambda opened: both_words(sources, self._program.tensor(opened).shape))
        if not isinstance(operation, TruncateOp):
            return None
        if not plan.reduces:
            return self._masks.wires[operation.inputs[0]]
        share = self._reduced[operation.name]
        return (share.dtype.type(0) - share).astype(np.uint64)


def _other_shares(values: Forms, source: RandomSource) -> Forms:
    """Party 1's shares of wide words, from the expansion of party 0's."""
    return tuple(value - source.wide_words(*value.shape[1:]) for value in values)
