"""What a daemon does at signals, while a block runs."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from types import FrameType


@contextlib.contextmanager
def heard(handlers: Mapping[int, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    """Call these handlers at these signals; afterwards the ones from before."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
