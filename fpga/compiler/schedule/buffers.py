"""The on-chip buffer: tiles from below, weights from above and never into the `reserve` that tiles can count on."""

from __future__ import annotations


class OnChipBuffer:
    """Free ranges of the buffer, first fit."""

    def __init__(self, size: int, reserve: int) -> None:
        self.free = [(0, size)]
        self.reserve = reserve

    def allocate(self, size: int, weights: bool) -> int | None:
        """The address of `size` bytes, or None where no free range is long enough."""
        if weights:
            return self._allocate_high(size)
        for position, (start, length) in enumerate(self.free):
            if length >= size:
                self.free[position : position + 1] = [(start + size, length - size)] if length > size else []
                return start
        return None

    def _allocate_high(self, size: int) -> int | None:
        for position in range(len(self.free) - 1, -1, -1):
            start, length = self.free[position]
            begin = start + length - size
            if begin >= max(start, self.reserve):
                self.free[position : position + 1] = [(start, begin - start)] if begin > start else []
                return begin
        return None

    def release(self, start: int, size: int) -> None:
        """Give `size` bytes at `start` back."""
        end, kept = start + size, []
        for begin, length in self.free:
            if begin + length == start:
                start = begin
            elif begin == end:
                end = begin + length
            else:
                kept.append((begin, length))
        kept.append((start, end - start))
        kept.sort()
        self.free = kept
