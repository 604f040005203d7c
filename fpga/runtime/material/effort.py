"""How long operations take to prepare, one beside the other: for saying how much is left."""

from __future__ import annotations

from ...program import ConvOp, LinearOp, Program
from ...protocols import preparations
from ...protocols.shared.lattice.conv_packing import packing_cost
from ...protocols.shared.preparation import Manner, linear_material

#: Processor time of both parties: of the packing's unit, a transform, and of an octet that transfers send.
TRANSFORM_S, OCTET_S = 80e-6, 12e-9


def expected_effort(protocol: str, program: Program) -> dict[str, float]:
    """Operation -> seconds per image, roughly; only their ratios are meant."""
    efforts = {}
    steps = preparations()[protocol].traffic(program, 1, Manner())
    for operation, traffic in zip(program.operations, steps, strict=True):
        if isinstance(operation, ConvOp | LinearOp):
            efforts[operation.name] = TRANSFORM_S * packing_cost(linear_material(operation, program).packing)
        else:
            efforts[operation.name] = OCTET_S * sum(traffic.bytes_sent)
    return efforts
