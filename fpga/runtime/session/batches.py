"""The batches of a session: their material, their images' shares, their execution, the opening of their logits.

Where the link has strands, parts of a batch are executed side by side: while one waits for the other party, another one
computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...program import Program
from ...protocols.shared.randomness import SEED_BYTES, Keystream, fresh_bytes
from ..link.link import Link
from ..link.strands import Strand, Strands
from ..material.store import ClaimedMaterial, PartyMaterial
from .accounting import OPEN_LOGITS, SHARE_INPUT, Recorder
from .evaluator import PartyEvaluator
from .output_policy import drop, dropped_bits, restore

Answer = TypeVar("Answer")
#: Runs some jobs and returns their answers in order.
RunAll: TypeAlias = Callable[[Sequence[Callable[[], Answer]]], list[Answer]]


@dataclass(frozen=True)
class Executed:
    """Words of the logits, uint32 [N, *shape], empty where they are opened to the other party; and seconds."""

    logits: np.ndarray
    prepare_s: float
    online_s: float


@dataclass(frozen=True)
class PreparedBatch:
    """What a party has of a batch before its images: the server's share of them, uint32 [N, *shape], and material."""

    server_share: np.ndarray
    known: Any


@dataclass(frozen=True)
class Conversation:
    """One party's side of batches that follow each other on one channel.

    Attributes:
        number: this party's.
        program: the two-party program.
        channel: to the other party.
        evaluator: this party's, set up, on the same channel.
        recorder: measures the channel.
        reveal_to: the party that learns the logits.
        reveal: how much of them (`output_policy`).
    """

    number: int
    program: Program
    channel: Link | Strand
    evaluator: PartyEvaluator
    recorder: Recorder
    reveal_to: int
    reveal: str

    def beside(self, strand: Strand) -> Conversation:
        """The same over a strand, with a recorder of its own; progress is heard of the first one."""
        recorder = Recorder(strand, self.recorder.progress if strand.number == 0 else None)
        evaluator = self.evaluator.beside(strand, recorder)
        return Conversation(self.number, self.program, strand, evaluator, recorder, self.reveal_to, self.reveal)

    def prepare(self, material: PartyMaterial) -> PreparedBatch:
        """What a batch needs before its images are known: at the client it returns when both have prepared."""
        known = self.evaluator.prepare(material)
        return PreparedBatch(self._server_share(material.images), known)

    def execute(self, images: np.ndarray | None, prepared: PreparedBatch) -> np.ndarray:
        """The opened logits of one batch; `images` are the client's words, None at the server."""
        share = prepared.server_share
        if self.number == 0:
            if images is None:
                raise Refusal("the client needs images")
            share = images - share
        return self.open_logits(self.evaluator.evaluate(share, prepared.known))

    def _server_share(self, size: int) -> np.ndarray:
        """The server's share of the images is the expansion of a seed that it draws, and sends when it is ready."""
        shape = self.program.tensor(self.program.input).shape
        with self.recorder.measure("online", SHARE_INPUT):
            return Keystream([send_seed(self.channel, sender=self.number == 1)], 0).words(size, *shape)[0]

    def open_logits(self, share: np.ndarray) -> np.ndarray:
        """The logits, as far as they are revealed, at the party that may know them; at the other one nothing."""
        bits = dropped_bits(self.reveal, self.program)
        with self.recorder.measure("online", OPEN_LOGITS):
            share = drop(self.number, share, bits)
            if self.number != self.reveal_to:
                self.channel.exchange(share, 0)
                return np.zeros(0, np.uint32)
            received = self.channel.exchange(None, share.nbytes)
            return restore(share + received.view("<u4").astype(np.uint32, copy=False).reshape(share.shape), bits)


def split_batches(images: int, largest: int, strands: int = 1) -> list[int]:
    """Sizes of as few and as equal parts as there may be, `strands` of which hold at most `largest` images."""
    parts = -(-images // (largest // strands))
    parts = min(images, -(-parts // strands) * strands)
    return [images // parts + (index < images % parts) for index in range(parts)]


def run_batches(
    conversation: Conversation, material: ClaimedMaterial, images: np.ndarray | None, batches: list[int], count: int
) -> Executed:
    """Execute batches, `count` of them at once where it is more than one.

    Raises:
        Refusal, ExecutionFault: a batch failed; the others end too.
    """
    if count == 1 or len(batches) == 1:
        return _waves([conversation], material, images, batches, lambda jobs: [job() for job in jobs])
    link = conversation.channel
    assert isinstance(link, Link)
    with Strands(link, count) as strands, ThreadPoolExecutor(count) as pool:
        conversations = [conversation.beside(strand) for strand in strands.strands]
        try:
            return _waves(conversations, material, images, batches, partial(_side_by_side, pool, strands))
        finally:
            for each in conversations:
                conversation.recorder.add(each.recorder)


def _waves(
    conversations: Sequence[Conversation],
    material: ClaimedMaterial,
    images: np.ndarray | None,
    batches: list[int],
    run_all: RunAll[Any],
) -> Executed:
    """As many batches at once as there are conversations.

    Their material is gone when a wave ends: large batches fill the memory only once.
    """
    opened, first, prepare_s, online_s = [], 0, 0.0, 0.0
    for at in range(0, len(batches), len(conversations)):
        wave = list(zip(conversations, batches[at : at + len(conversations)]))
        started = time.perf_counter()
        taken = [material.take(size) for _, size in wave]
        prepared = run_all([partial(each.prepare, part) for (each, _), part in zip(wave, taken, strict=True)])
        begun = time.perf_counter()
        jobs = []
        for (each, size), known in zip(wave, prepared, strict=True):
            part = None if images is None else images[first : first + size]
            jobs.append(partial(each.execute, part, known))
            first += size
        opened += run_all(jobs)
        prepare_s, online_s = prepare_s + begun - started, online_s + time.perf_counter() - begun
    return Executed(np.concatenate(opened), prepare_s, online_s)


def _side_by_side(pool: ThreadPoolExecutor, strands: Strands, jobs: Sequence[Callable[[], Answer]]) -> list[Answer]:
    def guarded(job: Callable[[], Answer]) -> Answer:
        try:
            return job()
        except BaseException as error:
            strands.fail(error)
            raise

    running = [pool.submit(guarded, job) for job in jobs]
    wait(running)
    if strands.fault is not None:
        raise strands.fault
    return [each.result() for each in running]


def send_seed(channel: Link | Strand, sender: bool) -> bytes:
    """A fresh seed that both parties know afterwards."""
    if not sender:
        return channel.exchange(None, SEED_BYTES).tobytes()
    seed = fresh_bytes(SEED_BYTES)
    channel.exchange(np.frombuffer(seed, np.uint8), 0)
    return seed
