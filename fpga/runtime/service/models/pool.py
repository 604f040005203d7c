"""One party's pool of material for one model: sets that are made ahead of demand and used up one after the other.

A pool is a directory of sets as `rrnet-2pc-prepare` makes them, one sub-directory each; the two parties find the sets
that both have by their `set_id`. Which inferences were used is each set's own durable number. Beside it every execution
is noted in `used.jsonl`, for whoever audits that nothing was used twice: it holds no secret and decides nothing.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...material.party_set import SetDescription, party_directory, read_description, unused_count
from ...material.store import MaterialStore

AUDIT = "used.jsonl"
AUDIT_BYTES = 16 << 20
#: Made by the two parties here; sets under other names were put here by an operator.
MADE_PREFIX = "made-"
RESCAN_S = 1.0
#: A set that could not be used does not count for so long; lanes that have nothing to do try it again sooner.
ASIDE_S = 10.0
#: Age at which both parties must have put their parts of a set in place.
SETTLED_S = 60.0


@dataclass(frozen=True)
class PooledSet:
    """A set that lies in the pool and suits its model."""

    root: Path
    description: SetDescription


class Pool:
    """The sets of one party for one program under one protocol; several threads use it.

    Args:
        root: the directory, made if it is not there.
        party: whose part of the sets is read.
        program_digest, protocol: what the sets must be for; others are left alone.
        corrections_bytes: size of one inference's corrections in this release.
        certificates: fingerprint of the two servers' certificates, to which sets are bound; None on one machine.
        weights: party 1's, to which sets are bound too.
    """

    def __init__(
        self,
        root: Path,
        party: int,
        program_digest: str,
        protocol: str,
        corrections_bytes: int,
        certificates: str | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.certificates, self._weights = certificates, weights
        self.root, self.party = root, party
        self._digest, self._protocol, self.corrections_bytes = program_digest, protocol, corrections_bytes
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}
        self._aside_until_s: dict[str, float] = {}
        self._unopened: int | None = None
        self._scanned_s = 0.0
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refusal(f"{root} cannot hold material: {error.strerror}") from error

    def sets(self) -> list[PooledSet]:
        """What lies here for this program, oldest first, whether in use or not."""
        found = []
        for root in self.root.iterdir():
            path = party_directory(root, self.party)
            with contextlib.suppress(Refusal, OSError):
                described = read_description(path)
                if (described.program_digest, described.protocol, described.party) == (
                    self._digest,
                    self._protocol,
                    self.party,
                ):
                    found.append((path.stat().st_mtime, PooledSet(root, described)))
        return [each for _, each in sorted(found, key=lambda pair: pair[0])]

    def open(self, set_id: str, certificates: str | None = None) -> MaterialStore:
        """Open a set for one lane or session alone, of the two servers or bound to other `certificates`.

        Raises:
            Refusal: it is not here, is in use or used up, or belongs to others.
            ExecutionFault: what it is bound to cannot be written down.
        """
        certificates = certificates or self.certificates
        for each in self.sets():
            if each.description.set_id == set_id:
                break
        else:
            raise Refusal(f"there is no set {set_id} in {self.root}")
        with contextlib.ExitStack() as unless_opened:
            store = MaterialStore(each.root, self.party)
            unless_opened.callback(self.set_aside, set_id)
            unless_opened.callback(store.close)
            store.check_program(self._digest, self._protocol)
            store.check_size(self.corrections_bytes)
            if certificates is not None:
                store.bind_certificates(certificates)
            if self._weights is not None:
                store.bind_weights(self._weights)
            left = store.description.count - store.next_index
            if left < 1:
                self._remove(each.root)
                raise Refusal(f"the set {set_id} is used up")
            unless_opened.pop_all()
        with self._lock:
            self._open[set_id] = left
            self._aside_until_s.pop(set_id, None)
            self._unopened = None
        return store

    def close(self, store: MaterialStore, used_up: bool = False) -> None:
        """Give a set back; one that is used up goes, its seed with it."""
        set_id = store.description.set_id
        if used_up:
            self._remove(store.path.parent)
        store.close()
        with self._lock:
            self._open.pop(set_id, None)
            self._unopened = None

    def set_aside(self, set_id: str) -> None:
        """Do not count a set that one of the parties cannot use, for a while or until it is opened."""
        with self._lock:
            self._aside_until_s[set_id] = time.monotonic() + ASIDE_S
            self._unopened = None

    def discard(self, set_id: str) -> None:
        """Remove a set that the other party has no part of, if the two parties made it here and nobody uses it.

        A fresh one stays: the other party may be about to put its part in place.
        """
        for each in self.sets():
            made_here = each.root.name.startswith(MADE_PREFIX) and time.time() - each.root.stat().st_mtime > SETTLED_S
            if each.description.set_id == set_id and made_here:
                with contextlib.suppress(Refusal), MaterialStore(each.root, self.party):
                    self._remove(each.root)
        self.changed()

    def changed(self) -> None:
        """A set was added or removed."""
        with self._lock:
            self._unopened = None

    def left(self) -> int:
        """Inferences for which there is unused material, at the other party too as far as that is known."""
        with self._lock:
            if self._unopened is None or time.monotonic() > self._scanned_s + RESCAN_S:
                self._unopened, self._scanned_s = self._count_unopened(), time.monotonic()
            return self._unopened + sum(self._open.values())

    def left_by_set(self) -> dict[str, int]:
        """Set -> its unused inferences, without sets that one party could not use; the oldest first."""
        with self._lock:
            aside = self._aside()
            unopened = {name: left for name, left in self._unopened_sets() if name not in aside}
            return unopened | self._open

    def note(self, set_id: str, start: int, count: int, left: int) -> None:
        """Write down that an execution uses `count` inferences from `start`, of which `left` remain."""
        with self._lock:
            self._open[set_id] = left
            path = self.root / AUDIT
            try:
                with path.open("a") as file:
                    file.write(json.dumps({"party": self.party, "set": set_id, "start": start, "count": count}) + "\n")
                    size = file.tell()
                if size > AUDIT_BYTES:
                    path.replace(path.with_name(f"{AUDIT}.1"))
            except OSError as error:
                raise ExecutionFault(f"{path} cannot be written: {error.strerror}") from error

    def _count_unopened(self) -> int:
        aside = self._aside()
        return sum(left for name, left in self._unopened_sets() if name not in aside)

    def _aside(self) -> set[str]:
        """Sets that do not count now."""
        now = time.monotonic()
        self._aside_until_s = {name: until for name, until in self._aside_until_s.items() if until > now}
        return set(self._aside_until_s)

    def _unopened_sets(self) -> Iterator[tuple[str, int]]:
        for each in self.sets():
            if each.description.set_id not in self._open:
                with contextlib.suppress(Refusal):
                    left = unused_count(party_directory(each.root, self.party))
                    yield each.description.set_id, max(0, left)

    def _remove(self, root: Path) -> None:
        """Remove this party's part; what a crash leaves of it lacks something that a run needs, or is used up."""
        shutil.rmtree(party_directory(root, self.party), ignore_errors=True)
        with contextlib.suppress(OSError):
            root.rmdir()
