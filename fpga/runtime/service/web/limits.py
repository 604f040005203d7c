"""How often one client may ask: a bucket of tokens per address."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

#: Addresses that are remembered; the one that was heard of least recently is forgotten first.
MOST_ADDRESSES = 10_000


class RateLimit:
    """At most `per_second` requests of an address on average, and a burst of as many seconds' worth as `burst_s`.

    `per_second` 0 limits nothing. Used by one thread.
    """

    def __init__(self, per_second: float, burst_s: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._most, self._clock = per_second, max(1.0, per_second * burst_s), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Take a token: 0, or how long until there is one."""
        if not self._per_second:
            return 0.0
        now = self._clock()
        tokens, then = self._buckets.pop(address, (self._most, now))
        tokens = min(self._most, tokens + (now - then) * self._per_second)
        admitted = tokens >= 1
        self._buckets[address] = (tokens - admitted, now)
        if len(self._buckets) > MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if admitted else (1 - tokens) / self._per_second
