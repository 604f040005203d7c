"""Preprocessed material on disk, one directory per party, each inference's part used once by construction.

A set holds material for `count` inferences of one program under one protocol. Party 0's directory has keys; party 1's
keys and one file of corrections per inference. What has been used is one number, the next index, that is written and
synced, with the next link of the chain of keys and without those before it, before the first byte of an inference
leaves the machine: after a crash the inference that was under way is lost, never repeated. A lock keeps a second
process away.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...protocols.material import Corrections
from ...protocols.shared.randomness import Keystream
from .corrections_file import CorrectionsFile, corrections_path
from .key_chain import PartyKeys
from .party_set import (
    CERTIFICATES,
    LOCK,
    WEIGHTS,
    lock_set,
    party_directory,
    read_description,
    read_keys,
    read_next,
    write_durably,
    write_used,
)


class PartyMaterial:
    """One party's material for the images of a batch."""

    def __init__(self, keys: Sequence[bytes], parts: Sequence[Sequence[np.ndarray]], set_id: bytes) -> None:
        self._keys, self._parts, self._set_id = keys, parts, set_id

    @property
    def images(self) -> int:
        return len(self._keys)

    def source(self, operation: int) -> Keystream:
        """This party's expansion for one operation."""
        return Keystream(self._keys, operation, self._set_id)

    def corrections(self, operation: int) -> Corrections:
        """The dealer's corrections for one operation."""
        return Corrections([parts[operation] if parts else np.zeros(0, np.uint8) for parts in self._parts])


class MaterialStore:
    """One party's part of a set, locked by this process.

    Raises:
        Refusal: no set there, a set for another program, protocol or party, or another process is using it.
    """

    def __init__(self, root: Path, party: int) -> None:
        self.path = party_directory(root, party)
        self.description = read_description(self.path)
        if self.description.party != party:
            raise Refusal(f"{self.path} holds the material of party {self.description.party}, not of party {party}")
        self._lock = lock_set(self.path / LOCK)
        try:
            self._weights = PartyKeys(read_keys(self.path).weights, b"")
        except Refusal:
            os.close(self._lock)
            raise

    def __enter__(self) -> MaterialStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process, or another lane of this one, use the set."""
        os.close(self._lock)

    @property
    def next_index(self) -> int:
        """The first inference whose material has not been used."""
        return read_next(self.path)

    def check_program(self, program_digest: str, protocol: str) -> None:
        """Refuse material that was made for something else."""
        if self.description.program_digest != program_digest:
            raise Refusal(f"the material in {self.path} was made for another program; run rrnet-2pc-prepare again")
        if self.description.protocol != protocol:
            raise Refusal(f"the material in {self.path} is for {self.description.protocol}, not for {protocol}")

    def check_size(self, corrections_bytes: int) -> None:
        """Refuse material that is laid out otherwise than this release reads it; bytes are those of one inference."""
        if self.description.corrections_bytes != corrections_bytes:
            raise Refusal(
                f"the material in {self.path} has {self.description.corrections_bytes} bytes per image, not "
                f"{corrections_bytes}: another release made it; run rrnet-2pc-prepare again"
            )

    def check_preprocessing(self, wanted: str | None) -> None:
        """Refuse material that somebody else made than is wanted; None takes any."""
        made = self.description.preprocessing
        if wanted is not None and made != wanted:
            raise Refusal(f"the material in {self.path} is of {made} preprocessing, not of {wanted}")

    def bind_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Tie the set's weight masks to one model: the same mask on two models would reveal their difference."""
        digest = hashlib.sha256()
        for name in sorted(weights):
            digest.update(name.encode() + b"\0" + np.ascontiguousarray(weights[name]).tobytes())
        self._bind(WEIGHTS, digest.hexdigest(), "other weights")

    def bind_certificates(self, pair: str) -> None:
        """Tie the set to the two parties that made it or used it first over an encrypted link, by their fingerprint."""
        self._bind(CERTIFICATES, pair, "another pair of certificates")

    def _bind(self, name: str, digest: str, other: str) -> None:
        path = self.path / name
        if not path.exists():
            write_durably(path, digest.encode())
        elif path.read_text() != digest:
            raise Refusal(f"the material in {self.path} was used with {other}; run rrnet-2pc-prepare again")

    def claim(self, start: int, count: int) -> ClaimedMaterial:
        """Use up the inferences [start, start + count): durable when this returns.

        What a session before it claimed and never read leaves the disk.

        Raises:
            Refusal: part of them has been used, or there are not so many.
        """
        used = self.next_index
        if start < used:
            raise Refusal(f"inference {start} of the material in {self.path} has been used; material is used once")
        if start + count > self.description.count:
            left = max(0, self.description.count - start)
            raise Refusal(f"the material in {self.path} is enough for {left} of {count} images; run rrnet-2pc-prepare")
        _, following = read_keys(self.path).inferences(start - used)
        keys, following = following.inferences(count)
        write_used(self.path, start + count, following)
        self._discard_before(start)
        return ClaimedMaterial(self, range(start, start + count), keys)

    def read(self, indices: range, keys: Sequence[bytes]) -> PartyMaterial:
        """The material of claimed inferences under their keys; each can be read once."""
        material = self.load(indices, keys)
        self.discard(indices)
        return material

    def load(self, indices: range, keys: Sequence[bytes]) -> PartyMaterial:
        """The same for one who calls `discard` a little later, when nobody waits for it."""
        return PartyMaterial(keys, [self._load(i) for i in indices], bytes.fromhex(self.description.set_id))

    def discard(self, indices: range) -> None:
        """Remove the corrections of inferences that were loaded."""
        for index in indices if self.description.corrections_bytes else ():
            path = corrections_path(self.path, index)
            try:
                path.unlink()
            except OSError as error:
                raise ExecutionFault(f"the material {path} cannot be removed: {error.strerror}") from error

    def _discard_before(self, start: int) -> None:
        for index in range(start - 1, -1, -1):
            path = corrections_path(self.path, index)
            if not path.exists():
                return
            path.unlink(missing_ok=True)

    def _load(self, index: int) -> Sequence[np.ndarray]:
        """One inference's corrections by operation, read and checked as they are asked for."""
        return CorrectionsFile(corrections_path(self.path, index)) if self.description.corrections_bytes else ()

    def weight_masks(self, operation: int) -> Keystream:
        """This party's part of an operation's weight mask."""
        return self._weights.weight_source(operation)


@dataclass
class ClaimedMaterial:
    """Inferences that are used up and have not all been read yet; their keys are in memory alone."""

    _store: MaterialStore
    _indices: range
    _keys: list[bytes]

    def take(self, count: int) -> PartyMaterial:
        """The material of the next `count` images; never the same twice."""
        return self._store.read(*self._next(count))

    def load(self, count: int) -> PartyMaterial:
        """The same for one who lets the store `discard` them a little later."""
        return self._store.load(*self._next(count))

    def _next(self, count: int) -> tuple[range, list[bytes]]:
        if count > len(self._indices):
            raise ValueError(f"material for {len(self._indices)} images is claimed, not for {count}")
        taken, self._indices = self._indices[:count], self._indices[count:]
        keys, self._keys = self._keys[:count], self._keys[count:]
        return taken, keys
