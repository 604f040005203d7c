"""What the executable protocols share: their costs are read off the steps that their parties really take."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from ...cost.kernels import step_compute
from ...cost.protocol import Exchange, Phase, ProtocolCosts
from ...devices import Device
from ...program.operators import (
    Affine,
    Conv,
    Linear,
    OperatorShape,
    PatchRelu,
    Relu,
    Relu6,
    Select,
    Square,
    Truncate,
    X2act,
)


@dataclass(frozen=True)
class Work:
    """Local work between two rounds: `count` elementary steps of one kind on one kernel of the accelerator."""

    kernel: str
    step: str
    count: int


Step: TypeAlias = Work | Exchange


class ExecutedProtocol(ProtocolCosts):
    """A protocol on a program's primitive operations, each a sequence of local work and rounds."""

    executable: ClassVar[bool] = True
    #: Whether the truncation behind an X2act drops bits of shares, without a message.
    polynomial_is_local: ClassVar[bool] = False

    @abstractmethod
    def steps(self, shape: OperatorShape, batch: int) -> Sequence[Step]:
        """Local work and rounds of one primitive operation on a batch of images, in order."""

    def primitives(self, shape: OperatorShape) -> tuple[OperatorShape, ...]:
        match shape:
            case Conv() | Linear():
                return shape, Truncate(shape.output_elements)
            case X2act(elements=elements):
                drop = Affine(elements) if self.polynomial_is_local else Truncate(elements)
                return Square(elements), Affine(elements), drop
            case PatchRelu(elements=elements):
                return shape.sums, Select(elements, shape.comparisons)
            case Relu6(elements=elements):
                # min(max(x, 0), 6) = relu(x) - relu(x - 6), the two compared in one batch
                return Affine(elements), Relu(2 * elements), Affine(elements)
        return (shape,)

    def phases(self, shape: OperatorShape, device: Device, batch: int = 1) -> tuple[Phase, ...]:
        phases: list[Phase] = []
        for step in self.steps(shape, batch):
            if isinstance(step, Exchange):
                phases.append(step)
            else:
                phases.append(step_compute(step.kernel, step.step, step.count, shape, device))
        return tuple(phases)
