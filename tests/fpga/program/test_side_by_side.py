"""Lanes: operations between the picks of a tensor and the concatenation of what becomes of them."""

from __future__ import annotations

from rrnet_nni.fpga.program import AffineOp, ConcatOp, PickOp, Program, ReluOp, SquareOp, TruncateOp
from rrnet_nni.fpga.program.lanes import side_by_side
from rrnet_nni.fpga.program.picks import channel_offsets
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder

SHAPE = (4, 2, 2)


def two_lanes(read_outside: bool = False, between: bool = False) -> Program:
    builder = ProgramBuilder(SHAPE, 8)
    parts = [
        builder.add(PickOp, f"part{n}", ["image"], (2, 2, 2), 8, offsets=channel_offsets(2 * n, 2 * n + 2, SHAPE))
        for n in (0, 1)
    ]
    if between:
        builder.add(ReluOp, "elsewhere", ["image"], SHAPE, 8)
    relu = builder.add(ReluOp, "relu", [parts[0]], (2, 2, 2), 8)
    square = builder.add(SquareOp, "square", [parts[1]], (2, 2, 2), 16)
    short = builder.add(TruncateOp, "short", [square], (2, 2, 2), 8, bits=8)
    last = builder.add(ConcatOp, "joined", [relu, short], SHAPE, 8)
    if read_outside:
        total = builder.add(ConcatOp, "more", [last, relu], (6, 2, 2), 8)
        builder.add(AffineOp, "end", [total], (6, 2, 2), 8, multipliers=((1,),))
    return builder.program()


def test_lanes_run_from_picks_to_their_concatenation() -> None:
    (group,) = side_by_side(two_lanes())
    assert (group.first, group.join) == (0, 5)
    assert group.lanes == ((0, 2), (1, 3, 4))
    assert group.longest([0, 7, 1, 1, 1, 0]) == 1
    assert group.longest([0, 0, 7, 1, 1, 0]) == 0


def test_what_is_read_elsewhere_or_interrupted_is_no_lane() -> None:
    assert side_by_side(two_lanes(read_outside=True)) == []
    assert side_by_side(two_lanes(between=True)) == []


def test_one_sending_lane_has_nobody_to_wait_for() -> None:
    builder = ProgramBuilder(SHAPE, 8)
    parts = [
        builder.add(PickOp, f"part{n}", ["image"], (2, 2, 2), 8, offsets=channel_offsets(2 * n, 2 * n + 2, SHAPE))
        for n in (0, 1)
    ]
    relu = builder.add(ReluOp, "relu", [parts[0]], (2, 2, 2), 8)
    builder.add(ConcatOp, "joined", [parts[1], relu], SHAPE, 8)
    assert side_by_side(builder.program()) == []
