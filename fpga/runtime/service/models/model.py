"""One model at one server: its program, its halves, its pool, and what clients are told of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.image_format import ImageFormat

from ....program import TRUNCATION_BOUND_BITS
from ....program.build import Build, load_build
from ....program.revealed import check_revealed
from ....protocols import get_costs, get_execution
from ....protocols.party import Execution
from .halves import HalfQueue
from .pool import Pool


class LaneCount:
    """How many connections to the other server can execute requests of a model now.

    `awaited` says that the model ought to be ready: it was there from the start, or has been ready once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.up, self.awaited = 0, False

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """A lane is up while the block runs."""
        with self._lock:
            self.up, self.awaited = self.up + 1, True
        try:
            yield
        finally:
            with self._lock:
                self.up -= 1


@dataclass(frozen=True, eq=False)
class Model:
    """What a server needs to answer for one model.

    `batch` is how many images one execution takes at most. `ended` is set when the model is no longer served.
    """

    name: str
    party: int
    build: Build
    execution: Execution
    batch: int
    halves: HalfQueue
    pool: Pool
    lanes: LaneCount = field(default_factory=LaneCount)
    ended: threading.Event = field(default_factory=threading.Event)

    def same_build(self, other: Model) -> bool:
        """Whether the other one computes the same from the same place."""
        mine, theirs = self.build, other.build
        alike = (mine.path, mine.images, self.terms) == (theirs.path, theirs.images, other.terms)
        return alike and all(np.array_equal(mine.weights[name], theirs.weights[name]) for name in mine.weights)

    @property
    def terms(self) -> dict[str, Any]:
        """What both servers must have alike."""
        return {"program": self.build.program_digest, "protocol": self.execution.name, "batch": self.batch}

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.build.program.tensor(self.build.program.input).shape

    @property
    def image_bytes(self) -> int:
        """Octets of one image's share."""
        return 4 * int(np.prod(self.input_shape))

    def describe(self) -> dict[str, Any]:
        """What a client needs to know; nothing of it is secret."""
        program, images = self.build.program, self.build.images
        first, last = program.tensor(program.input), program.tensor(program.output)
        word_bits = first.ring_bits - 2 if self.execution.opens_narrow else TRUNCATION_BOUND_BITS
        return {
            "model": self.name,
            "party": self.party,
            "program": self.build.program_digest,
            "protocol": self.execution.name,
            "images_per_request": self.batch,
            "input": {"shape": list(first.shape), "fraction_bits": first.fraction_bits, "word_bits": word_bits},
            "output": {"shape": list(last.shape), "fraction_bits": last.fraction_bits, "scale": list(last.scale)},
            "images": None if images is None else _describe_images(images),
        }


def _describe_images(images: ImageFormat) -> dict[str, Any]:
    """How a client makes a picture's pixels into the model's numbers, and what the classes are called."""
    return {
        "color": images.color,
        "scale": images.scale,
        "mean": list(images.mean),
        "std": list(images.std),
        "contrast_bound": images.contrast_bound,
        "classes": list(images.classes),
    }


def load_model(
    name: str,
    path: Path,
    party: int,
    pool: Path,
    *,
    protocol: str | None,
    batch: int,
    most_waiting: int,
    certificates: str | None,
) -> Model:
    """Read a build and open its pool.

    Raises:
        Refusal: no build there, one that reveals more than it says, or a protocol that cannot be executed.
    """
    build = load_build(path, weights=party == 1)
    check_revealed(build.program)
    chosen = protocol or build.protocol_name
    if not get_costs(chosen).executable:
        raise Refusal(f"{path} was compiled for {chosen}, which cannot be executed: name another with --protocol")
    execution = get_execution(chosen)
    corrections = sum(each.offline_bytes[party] for each in execution.traffic(build.program, 1))
    return Model(
        name,
        party,
        build,
        execution,
        batch,
        HalfQueue(most_waiting),
        Pool(
            pool,
            party,
            build.program_digest,
            execution.name,
            corrections,
            certificates,
            build.weights if party == 1 else None,
        ),
    )
