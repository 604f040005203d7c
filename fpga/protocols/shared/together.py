"""What is exchanged by lanes of operations that take their rounds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from ...cost.protocol import Exchange
from ...program import Program
from ...program.lanes import side_by_side
from ..party import Traffic


def joined_traffic(program: Program, traffic: Sequence[Traffic]) -> list[Traffic]:
    """The traffic of a program whose lanes run together: their rounds are those of the concatenation behind them."""
    result = list(traffic)
    for group in side_by_side(program):
        rounds = [[step for index in lane for step in traffic[index].rounds] for lane in group.lanes]
        for lane in group.lanes:
            for index in lane:
                result[index] = replace(traffic[index], rounds=())
        joined = tuple(_sum([step for step in steps if step is not None]) for steps in zip_longest(*rounds))
        result[group.join] = replace(traffic[group.join], rounds=joined)
    return result


def _sum(steps: Sequence[Exchange]) -> Exchange:
    first, second = (sum(step.bytes_sent[party] for step in steps) for party in (0, 1))
    return Exchange((first, second))
