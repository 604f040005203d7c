"""No two tiles hold the same bytes of the on-chip buffer at the same time, and none lies outside of it."""

from __future__ import annotations

from dataclasses import dataclass

from .scheduled_build import WORD_BYTES, ScheduledBuild


@dataclass(frozen=True)
class _Held:
    """Bytes [begin, end) of the buffer, from instruction `load` until all of `users` are done."""

    begin: int
    end: int
    load: int
    users: tuple[int, ...]


def check_buffers(scheduled: ScheduledBuild) -> None:
    """What a load takes of the buffer is free: whoever held it before has certainly been stored.

    Raises:
        Refusal: a load for which that is not so, or that lies outside of the buffer.
    """
    held = sorted(_holders(scheduled), key=lambda holder: holder.load)
    for holder in held:
        if holder.begin < 0 or holder.end > scheduled.device.buffer_bytes:
            problem = f"uses buffer bytes {holder.begin} to {holder.end} of {scheduled.device.buffer_bytes}"
            raise scheduled.refuse(holder.load, problem)
    live: list[_Held] = []
    for holder in held:
        kept = []
        for other in live:
            if other.end <= holder.begin or holder.end <= other.begin:
                kept.append(other)
                continue
            if not all(scheduled.before(user, holder.load) for user in other.users):
                raise scheduled.refuse(holder.load, f"takes buffer bytes that instruction {other.load} may still use")
            rest = (other.begin, min(other.end, holder.begin)), (max(other.begin, holder.end), other.end)
            kept += [_Held(begin, end, other.load, other.users) for begin, end in rest if begin < end]
        live = [*kept, holder]


def _holders(scheduled: ScheduledBuild) -> list[_Held]:
    """Tiles from their load to their store, bands of weights to the last store of a tile that uses them."""
    held = []
    for stage in scheduled.stages:
        operation = scheduled.operation(stage)
        stored = scheduled.placed[operation.name].word_bytes()[1] if stage.tensor == operation.output else WORD_BYTES
        for tile in range(len(stage.tiles)):
            load = scheduled.load(stage, tile)
            item = scheduled.instructions[load]
            end = item.address + item.amount + stored * item.count
            held.append(_Held(item.address, end, load, (scheduled.store(stage, tile),)))
        for band, pieces in scheduled.bands(stage):
            users = tuple(
                scheduled.store(stage, tile)
                for tile, box in enumerate(stage.tiles)
                if box[0] < band[1] and band[0] < box[1]
            )
            begin = scheduled.instructions[pieces[0]].address
            size = sum(scheduled.instructions[piece].amount for piece in pieces)
            held.append(_Held(begin, begin + size, pieces[0], users))
    return held
