"""Several computations over one link at once: while one waits for its message, another one computes.

Every strand is a conversation of its own, and its frames carry its number. No thread is kept for the socket: one of the
strands that wait moves the octets of all of them. What arrives for a strand that still computes is kept until it asks.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .frames import DATA, FRAME_BYTES, DataReceiver, LinkFault, Receiver, Sender
from .link import Link, LinkCounters, told_as_faults

#: Four bits of a frame's kind say the strand.
STRAND_BITS = 4
MOST_STRANDS = 1 << STRAND_BITS
#: What may come for a strand before it asks: a message or two of the largest images, far from what fills a memory.
EARLY_LIMIT_BYTES = 1 << 28


def strand_kind(strand: int) -> int:
    """The kind of a strand's frames; those of the first are a plain link's."""
    return DATA | strand << STRAND_BITS


class StrandReader(Receiver):
    """Reads frames of all strands: into the buffer that waits for one, else into memory until one does."""

    def __init__(self, sequence: int, peer: str, count: int) -> None:
        super().__init__(sequence, peer)
        self.waiting: dict[int, DataReceiver] = {}
        self._kept: tuple[deque[memoryview], ...] = tuple(deque() for _ in range(count))
        self._strand = 0
        self._early: memoryview | None = None

    def accepts(self, kind: int) -> bool:
        self._strand = kind >> STRAND_BITS
        return kind == strand_kind(self._strand) and self._strand < len(self._kept)

    def place(self, length: int) -> memoryview:
        self._early = None
        receiver = self.waiting.get(self._strand)
        if receiver is not None and not receiver.done:
            return receiver.place(length)
        if not 0 < length <= FRAME_BYTES:
            raise LinkFault(f"{self._peer} sent a frame of {length} bytes")
        if sum(map(len, self._kept[self._strand])) + length > EARLY_LIMIT_BYTES:
            raise LinkFault(f"{self._peer} sent more than {EARLY_LIMIT_BYTES} bytes that this party does not wait for")
        self._early = memoryview(bytearray(length))
        return self._early

    def finished(self) -> bool:
        if self._early is not None:
            self._kept[self._strand].append(self._early)
        if (receiver := self.waiting.get(self._strand)) is not None:
            self.deliver(self._strand, receiver)
            receiver.done = receiver.finished()
        return False

    def deliver(self, strand: int, receiver: DataReceiver) -> None:
        """Give a strand what has come for it before it asked."""
        kept = self._kept[strand]
        while kept and not receiver.finished():
            early = kept.popleft()
            receiver.place(len(early))[:] = early
        receiver.done = receiver.finished()


@dataclass(eq=False)
class _Wait:
    """What a strand waits for: its message to be sent, and a buffer to be filled."""

    sending: bool
    receiver: DataReceiver

    @property
    def done(self) -> bool:
        return not self.sending and self.receiver.done


@dataclass(eq=False)
class Strand:
    """One strand's channel; used by one thread at a time."""

    number: int
    _strands: Strands
    counters: LinkCounters = field(default_factory=LinkCounters)

    def exchange(self, outgoing: np.ndarray | None, incoming_bytes: int) -> np.ndarray:
        """One round of this strand: send `outgoing` while receiving `incoming_bytes` octets as uint8."""
        started = time.perf_counter()
        payload = memoryview(b"") if outgoing is None else np.ascontiguousarray(outgoing).data.cast("B")
        received = np.empty(incoming_bytes, np.uint8)
        frames = self._strands.move(self.number, payload, received.data)
        self.counters = self.counters.after_round(len(payload), incoming_bytes, frames, time.perf_counter() - started)
        return received


class Strands:
    """The strands of a link that is used for nothing else meanwhile.

    Raises `LinkFault` as the link does, in every strand.
    """

    def __init__(self, link: Link, count: int) -> None:
        if not 0 < count <= MOST_STRANDS:
            raise ValueError(f"a link has 1 to {MOST_STRANDS} strands, not {count}")
        self.strands = tuple(Strand(number, self) for number in range(count))
        self._link = link
        self._turn = threading.Condition()
        self._moving = False
        self.fault: BaseException | None = None
        self._outgoing: deque[tuple[_Wait, Sender]] = deque()
        self._reader = StrandReader(link.sequence_in, link.peer, count)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)

    def __enter__(self) -> Strands:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the link back, with what the strands have counted."""
        os.close(self._bell)
        self._link.sequence_in = self._reader.sequence
        self._link.counters = sum((strand.counters for strand in self.strands), self._link.counters)

    def fail(self, error: BaseException) -> None:
        """Wake every strand with the fault of one of them."""
        with self._turn:
            self.fault = self.fault or error
            self._ring()

    def move(self, strand: int, payload: memoryview, received: memoryview) -> int:
        """Send a strand's message and fill its buffer; returns the frames that were sent."""
        sender = Sender(strand_kind(strand), payload, 0)
        with self._turn:
            wait = _Wait(not sender.done, DataReceiver(received, 0, self._link.peer))
            self._reader.deliver(strand, wait.receiver)
            self._reader.waiting[strand] = wait.receiver
            if wait.sending:
                self._outgoing.append((wait, sender))
                if self._moving:
                    os.eventfd_write(self._bell, 1)
            while not wait.done:
                self._check()
                if self._moving:
                    self._turn.wait()
                    continue
                with self._mover():
                    self._pump(wait)
            self._check()
            del self._reader.waiting[strand]
        return sender.frames

    def _check(self) -> None:
        if self.fault is not None:
            raise LinkFault(f"another part of the batch failed: {self.fault}") from self.fault

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)
        self._turn.notify_all()

    @contextlib.contextmanager
    def _mover(self) -> Iterator[None]:
        self._moving = True
        try:
            yield
        except BaseException as error:
            self.fault = self.fault or error
            raise
        finally:
            self._moving = False
            self._turn.notify_all()

    def _pump(self, mine: _Wait) -> None:
        """Move octets for all strands until `mine` is done."""
        deadline = time.monotonic() + self._link.timeout_s
        with told_as_faults(self._link.peer, lambda: self._reader.drain(self._link.socket)):
            while not mine.done and self.fault is None:
                progress = self._reader.advance(self._link.socket)
                progress |= self._send()
                if progress:
                    self._turn.notify_all()
                    deadline = time.monotonic() + self._link.timeout_s
                elif not self._poll(deadline):
                    silence = f"nothing moved for {self._link.timeout_s:g} s"
                    raise LinkFault(f"the link to {self._link.peer} stalled: {silence}")

    def _send(self) -> bool:
        if not self._outgoing:
            return False
        wait, sender = self._outgoing[0]
        begins = sender.at_frame
        if begins:
            sender.sequence = self._link.sequence_out
        progress = sender.advance(self._link.socket)
        if begins:
            self._link.sequence_out = sender.sequence
        if sender.done:
            self._outgoing.popleft()
            wait.sending = False
        elif sender.at_frame and len(self._outgoing) > 1:  # every strand gets its turn
            self._outgoing.rotate(-1)
        return progress

    def _poll(self, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._link.socket, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        poll.register(self._bell, select.POLLIN)
        self._turn.release()
        try:
            remaining = deadline - time.monotonic()
            ready = remaining > 0 and bool(poll.poll(remaining * 1000))
        finally:
            self._turn.acquire()
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        return ready
