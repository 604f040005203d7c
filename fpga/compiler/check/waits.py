"""No tile is read before it is certainly stored, and no opened word before the messages that open it have arrived."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...program import AnyOperation, MulOp, SelectOp, TruncateOp
from ...program.check import needed_region
from ...program.isa import Opcode
from ...program.views import origin, view_channel
from ...protocols import get_protocol
from ...protocols.shared.local_operations import LOCAL_OPERATIONS
from ...protocols.shared.opened_words import OperationPlan, opened_by
from ..schedule.operand_table import TiledStage
from .scheduled_build import ScheduledBuild, boxes_overlap, image_shape, makers


def check_dependencies(scheduled: ScheduledBuild) -> None:
    """Every tile is loaded after all that it reads was stored, and its phases follow each other.

    Raises:
        Refusal: an instruction that may start too early.
    """
    chains: dict[tuple[int, int, int], list[int]] = {}
    for index, item in enumerate(scheduled.instructions):
        if item.opcode in (Opcode.WAIT, Opcode.LOAD_WEIGHTS):
            continue
        for number, stage in enumerate(scheduled.by_operation.get(item.operation, ())):
            inside = stage.first_phase <= item.phase < stage.end_phase or (
                item.phase == stage.end_phase and item.opcode is Opcode.STORE
            )
            if inside and not (item.opcode is Opcode.STORE and item.phase == stage.first_phase < stage.end_phase):
                chains.setdefault((item.operation, number, item.tile), []).append(index)
    for (operation, number, tile), indices in chains.items():
        _check_chain(scheduled, indices)
        stage = scheduled.by_operation[operation][number]
        _check_inputs(scheduled, stage, number, tile)
        _check_weights_wait(scheduled, stage, tile)


def _check_chain(scheduled: ScheduledBuild, indices: Sequence[int]) -> None:
    """Load, phases in order, store: each after all of the phase before."""
    instructions, rank = scheduled.instructions, {Opcode.LOAD: -1}
    ordered = sorted(indices, key=lambda i: (rank.get(instructions[i].opcode, instructions[i].phase), i))
    groups: list[list[int]] = []
    last: tuple[int, bool] | None = None
    for index in ordered:
        item = instructions[index]
        key = (item.phase, item.opcode in (Opcode.SEND, Opcode.RECEIVE))
        if item.opcode is not Opcode.LOAD and key == last and key[1]:
            groups[-1].append(index)
        else:
            groups.append([index])
        last = None if item.opcode is Opcode.LOAD else key
    for earlier, later in itertools.pairwise(groups):
        for index in later:
            for previous in earlier:
                if not scheduled.before(previous, index):
                    raise scheduled.refuse(index, f"may start before instruction {previous} has completed")


def _check_inputs(scheduled: ScheduledBuild, stage: TiledStage, number: int, tile: int) -> None:
    operation = scheduled.operation(stage)
    for source in (stage.tensor,) if stage.tensor != operation.output else operation.inputs:
        sources = [scheduled.by_operation[stage.operation][number - 1]] if number else makers(scheduled, source)
        for maker in sources:
            _check_read(scheduled, stage, tile, source, maker)


def _check_read(scheduled: ScheduledBuild, stage: TiledStage, tile: int, source: str, maker: TiledStage) -> None:
    """What `tile` needs of `source` is certainly stored by the tiles of `maker` when it is loaded."""
    operation, box, load = scheduled.operation(stage), stage.tiles[tile], scheduled.load(stage, tile)
    needed = box if stage.tensor != operation.output else needed_region(operation, scheduled.program, source, box)
    whole, first = origin(scheduled.program, source, maker.tensor)
    needed = (needed[0] + first, needed[1] + first, *needed[2:])
    flat = image_shape(scheduled.program, maker.tensor) != image_shape(scheduled.program, whole)
    for other, made in enumerate(maker.tiles):
        if flat or boxes_overlap(made, needed):
            store = scheduled.store(maker, other)
            if not scheduled.before(store, load):
                raise scheduled.refuse(load, f"may read {source!r} before instruction {store} has stored it")


def _check_weights_wait(scheduled: ScheduledBuild, stage: TiledStage, tile: int) -> None:
    box, load = stage.tiles[tile], scheduled.load(stage, tile)
    for band, pieces in scheduled.bands(stage):
        if band[0] < box[1] and box[0] < band[1]:
            for index in pieces:
                if not scheduled.before(index, load):
                    raise scheduled.refuse(load, f"may start before its weights (instruction {index}) are there")


def check_opened_words(scheduled: ScheduledBuild) -> None:
    """Where an opened wire serves several readers: each loads its tiles after the messages that open what they read.

    An operation stores the words that it opens with its result, after its messages; see `check_dependencies`.

    Raises:
        Refusal: a load that may come too early.
    """
    plan_words = get_protocol(scheduled.protocol.name).plan
    if plan_words is None:
        return
    openers: dict[str, TiledStage] = {}
    words_of: dict[str, str] = {}  # a lifted value: the tensor whose opened words its readers load
    for index, (operation, plan) in enumerate(
        zip(scheduled.program.operations, plan_words(scheduled.program), strict=True)
    ):
        source = operation.inputs[0]
        if view_channel(operation, scheduled.program) is not None:
            if source in openers:
                openers[operation.output] = openers[source]
            continue
        stages = scheduled.by_operation[index]
        for name, words in _words_read(operation, plan, words_of):
            for tile in range(len(stages[-1].tiles)):
                _check_read(scheduled, stages[-1], tile, name, openers[words])
        if plan.opens:
            openers[opened_by(operation, plan)] = stages[0]
        if plan.opens_second:
            openers[operation.inputs[1]] = stages[0]
        if plan.wire:
            openers[operation.output] = stages[-1]
        if isinstance(operation, TruncateOp):
            words_of[operation.output] = operation.output if plan.reduces else source
        elif plan.lifts:
            words_of[source] = source


def _words_read(operation: AnyOperation, plan: OperationPlan, words_of: dict[str, str]) -> list[tuple[str, str]]:
    """Inputs of an operation that it reads as words which another one opened, with the tensor of these words."""
    source = operation.inputs[0]
    if isinstance(operation, SelectOp):
        signs = [] if plan.opens_second else [(operation.inputs[1], operation.inputs[1])]
        chosen = [] if plan.opens else [(source, words_of[source] if plan.lifted else source)]
        return chosen + signs
    if isinstance(operation, MulOp):
        opens = (plan.opens, plan.opens_second)
        return [(name, name) for name, opened_here in zip(operation.inputs, opens, strict=True) if not opened_here]
    if plan.lifted:
        return [(source, words_of[source])]
    if plan.wire:
        return [(name, name) for name in operation.inputs]
    if plan.opens or plan.reduces or isinstance(operation, LOCAL_OPERATIONS):
        return []
    return [(source, source)]
