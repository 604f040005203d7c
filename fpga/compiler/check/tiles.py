"""Every tile is computed once, and every round of the protocol sends its bytes."""

from __future__ import annotations

import math

from rrnet_nni.base.errors import Refusal

from ...cost.protocol import Exchange, comparison_start
from ...program import AnyOperation, ConvOp, LinearOp, MaxPoolOp, ReluOp, SelectOp
from ...program.isa import Opcode
from ...program.shapes import operation_shape, tile_shape
from ...program.views import view_channel
from ..schedule.operand_table import TiledStage
from .scheduled_build import WORD_BYTES, ScheduledBuild, boxes_overlap, image_shape


def check_tiles(scheduled: ScheduledBuild) -> None:
    """Every operation's last stage makes its whole output once; every tile has one load and one store.

    Raises:
        Refusal: the operation or the instruction for which that is not so.
    """
    for index, operation in enumerate(scheduled.program.operations):
        stages = scheduled.by_operation.get(index, [])
        if view_channel(operation, scheduled.program) is not None:
            continue
        if not stages or stages[-1].tensor != operation.output:
            raise Refusal(f"operation {operation.name!r} has no tiles")
        for stage in stages:
            _check_partition(scheduled, operation.name, stage)
            for tile in range(len(stage.tiles)):
                load = scheduled.loads.get((index, stage.first_phase, tile))
                store = scheduled.stores.get((index, stage.end_phase, tile))
                if load is None or store is None:
                    raise Refusal(f"operation {operation.name!r}: tile {tile} is never loaded or never stored")
                if not scheduled.before(load, store):
                    raise scheduled.refuse(store, "may start before its tile is loaded")
        if isinstance(operation, ConvOp | LinearOp):
            _check_weights(scheduled, operation, stages[-1])


def _check_partition(scheduled: ScheduledBuild, name: str, stage: TiledStage) -> None:
    channels, rows, _ = image_shape(scheduled.program, stage.tensor)
    area = 0
    for number, tile in enumerate(stage.tiles):
        if not (0 <= tile[0] < tile[1] <= channels and 0 <= tile[2] < tile[3] <= rows):
            raise Refusal(f"operation {name!r}: tile {number} {list(tile)} is not inside tensor {stage.tensor!r}")
        if any(boxes_overlap(tile, other) for other in stage.tiles[:number]):
            raise Refusal(f"operation {name!r}: tile {number} is computed twice")
        area += (tile[1] - tile[0]) * (tile[3] - tile[2])
    if area != channels * rows:
        raise Refusal(f"operation {name!r}: its tiles do not cover tensor {stage.tensor!r}")


def _check_weights(scheduled: ScheduledBuild, operation: ConvOp | LinearOp, stage: TiledStage) -> None:
    """Every band of a product's weights is loaded whole."""
    weight = scheduled.program.constants[operation.weight]
    loaded = dict(scheduled.bands(stage))
    filter_bytes = WORD_BYTES * math.prod(weight.shape[1:])
    for band in {(tile[0], tile[1]) for tile in stage.tiles}:
        found = sum(scheduled.instructions[piece].amount for piece in loaded.get(band, ()))
        if found < filter_bytes * (band[1] - band[0]):
            raise Refusal(
                f"operation {operation.name!r}: {found} bytes of weights are loaded for channels {band[0]} to {band[1]}"
            )


def check_messages(scheduled: ScheduledBuild) -> None:
    """Every round of the protocol is there, with its bytes in both directions.

    Raises:
        Refusal: the operation and the phase for which that is not so.
    """
    sent: dict[tuple[int, int], list[int]] = {}
    for item in scheduled.instructions:
        if item.opcode in (Opcode.SEND, Opcode.RECEIVE):
            pair = sent.setdefault((item.operation, item.phase), [0, 0])
            pair[item.opcode is Opcode.RECEIVE] += item.amount
    for index, operation in enumerate(scheduled.program.operations):
        for number, expected in enumerate(_expected_bytes(scheduled, index, operation)):
            found = tuple(sent.pop((index, number), (0, 0)))
            if found != expected:
                raise Refusal(
                    f"operation {operation.name!r}, phase {number}: {found} bytes are sent, "
                    f"the protocol sends {expected}"
                )
    if sent:
        operation_index, phase = min(sent)
        raise Refusal(f"{scheduled.where}: operation {operation_index} sends in phase {phase}, where nothing is due")


def _expected_bytes(scheduled: ScheduledBuild, index: int, operation: AnyOperation) -> list[tuple[int, int]]:
    """Per phase what both parties send; a tile of a comparison has bit planes of its own, in whole octets."""
    protocol, device = scheduled.placed[operation.name], scheduled.device
    whole = protocol.phases(operation_shape(operation, scheduled.program), device)
    parts = [whole]
    if isinstance(operation, ReluOp | SelectOp | MaxPoolOp):
        tiles = scheduled.by_operation[index][-1].tiles
        shapes = [tile_shape(operation, scheduled.program, tile[:2], tile[2:]) for tile in tiles]
        parts = [protocol.phases(shape, device) for shape in shapes]
    start, sums = comparison_start(whole), []
    for number, phase in enumerate(whole):
        found = [phase] if number < start else [part[number] for part in parts if number < len(part)]
        sent = [part.bytes_sent for part in found if isinstance(part, Exchange)]
        sums.append((sum(first for first, _ in sent), sum(second for _, second in sent)))
    return sums
