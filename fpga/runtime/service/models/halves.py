"""Halves of requests: what one server holds of a client's images until both servers execute them together.

A client sends each server one share under the same request id. Party 0 proposes which requests form a batch, party 1
says which of them it holds too; a half whose partner never comes is taken back by the one who put it in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

#: How long a half that party 1 did not have is left alone before it is proposed again; doubled each time.
RETRY_S = 0.02
#: While another batch is being executed a request waits that many windows for others, or that part of what executions
#: take of late if that is longer: both machines are busy anyway, and who was just answered may come again.
PATIENCE, PATIENT_PART = 8, 0.5
#: Weight of the latest execution in what executions take of late.
LATEST = 0.2


@dataclass(frozen=True)
class Answer:
    """This server's share of the logits, uint32 [images, *shape], and which execution it is of, the same at both."""

    share: np.ndarray
    execution: str


class Overload(Exception):
    """The queue is full."""


class Duplicate(Exception):
    """A request of this id is waiting or being executed."""


class Interrupted(Exception):
    """The two servers could not finish an execution; the client may ask again under another id."""


class Withdrawn(Exception):
    """Its client took a half back before both servers had it."""


@dataclass(eq=False)
class Half:
    """One server's share of a request's images (uint32 [images, *shape]) and where its answer goes."""

    request_id: str
    share: np.ndarray
    arrived_s: float = field(default_factory=time.monotonic)
    answer: Future[Answer] = field(default_factory=Future)
    not_before_s: float = 0.0
    begun_s: float = 0.0
    retry_s: float = RETRY_S
    unwanted: bool = False

    @property
    def images(self) -> int:
        return len(self.share)


class HalfQueue:
    """The halves of one model at one server, in the order in which they came.

    Args:
        most_images: images that may wait or be executed at a time.
    """

    def __init__(self, most_images: int) -> None:
        self._most_images = most_images
        self._waiting: dict[str, Half] = {}
        self._running: dict[str, Half] = {}
        self._images = 0
        self._usual_s = 0.0
        self._changed = threading.Condition()

    def add(self, half: Half) -> None:
        """Put a half in.

        Raises:
            Overload: too many images are here already.
            Duplicate: its id is.
        """
        with self._changed:
            if half.request_id in self._waiting or half.request_id in self._running:
                raise Duplicate(half.request_id)
            if self._images + half.images > self._most_images:
                raise Overload
            self._waiting[half.request_id] = half
            self._images += half.images
            self._changed.notify_all()

    @property
    def images(self) -> int:
        """Images that wait or are being executed."""
        return self._images

    def take(self, most_images: int, window_s: float, timeout_s: float) -> list[Half]:
        """The next batch, oldest first; nothing when none came within `timeout_s`.

        Waits `window_s` after the oldest half for others to share its execution, unless the batch is full, and
        longer while another batch is being executed.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                now = time.monotonic()
                batch = self._next(now, most_images)
                if batch:
                    since = max(batch[0].arrived_s, batch[0].not_before_s)
                    patience_s = max(window_s * PATIENCE, self._usual_s * PATIENT_PART)
                    due = since + (patience_s if self._running else window_s)
                    if due <= now or self._filled(batch, most_images):
                        return self._start(batch)
                if now >= deadline and not batch:
                    return []
                self._changed.wait((due if batch else min(deadline, self._soonest(now, deadline))) - now)

    def claim(self, request_ids: Sequence[str], wait_s: float) -> list[Half]:
        """Those of the named halves that are here, or come within `wait_s`."""
        deadline = time.monotonic() + wait_s
        with self._changed:
            while True:
                here = [self._waiting[name] for name in request_ids if name in self._waiting]
                remaining = deadline - time.monotonic()
                if len(here) == len(request_ids) or remaining <= 0:
                    return self._start(here)
                self._changed.wait(remaining)

    def put_back(self, halves: Collection[Half]) -> None:
        """Let halves wait again whose partner is not at the other server yet, each time a little longer."""
        with self._changed:
            dropped = [half for half in halves if half.unwanted]
            for half in halves:
                if half.unwanted:
                    continue
                self._running.pop(half.request_id)
                half.not_before_s = time.monotonic() + half.retry_s
                half.retry_s *= 2
                self._waiting[half.request_id] = half
            self._changed.notify_all()
        self.finish(dropped, Withdrawn())

    def withdraw(self, half: Half) -> bool:
        """Take a half out that still waits.

        False when it is done, or proposed to the other server: then it gets its answer where that one has it too, and
        is `Withdrawn` where not.
        """
        with self._changed:
            half.unwanted = True
            if self._waiting.get(half.request_id) is not half:
                return False
            del self._waiting[half.request_id]
            self._images -= half.images
            return True

    def finish(self, halves: Collection[Half], answers: Sequence[Answer] | Exception) -> None:
        """Give the halves of a batch their answers, or all of them the reason why there is none."""
        with self._changed:
            if halves and not isinstance(answers, Exception):
                self._learn(time.monotonic() - min(half.begun_s for half in halves))
            for half in halves:
                if self._running.pop(half.request_id, None) is not None:
                    self._images -= half.images
            self._changed.notify_all()
        for index, half in enumerate(halves):
            if not half.answer.set_running_or_notify_cancel():
                continue
            if isinstance(answers, Exception):
                half.answer.set_exception(answers)
            else:
                half.answer.set_result(answers[index])

    def _next(self, now: float, most_images: int) -> list[Half]:
        batch, images = [], 0
        for half in self._waiting.values():
            if half.not_before_s > now:
                continue
            if images + half.images > most_images:
                break
            batch.append(half)
            images += half.images
        return batch

    def _filled(self, batch: Sequence[Half], most_images: int) -> bool:
        """Whether no other half fits in: waiting longer would gain nothing."""
        ready = sum(half.not_before_s <= time.monotonic() for half in self._waiting.values())
        return len(batch) < ready or sum(half.images for half in batch) == most_images

    def _learn(self, execution_s: float) -> None:
        self._usual_s += LATEST * (execution_s - self._usual_s)

    def _start(self, batch: list[Half]) -> list[Half]:
        now = time.monotonic()
        for half in batch:
            half.begun_s = now
            del self._waiting[half.request_id]
            self._running[half.request_id] = half
        return batch

    def _soonest(self, now: float, deadline: float) -> float:
        later = [half.not_before_s for half in self._waiting.values() if half.not_before_s > now]
        return min(later, default=deadline)
