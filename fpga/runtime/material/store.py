"""Preprocessed material on disk, one directory per party, each inference's part used once by construction.

A set holds material for `count` inferences of one program under one protocol. Party 0's directory has a seed; party 1's
a seed and one file of corrections per inference. What has been used is one number, the next index, that is written
and synced before the first byte of an inference leaves the machine: after a crash the inference that was under way is
lost, never repeated. A lock keeps a second process away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.files import write_whole

from ...protocols.material import Corrections
from ...protocols.shared.randomness import ROOT_BYTES, Keystream, derive_key
from .corrections_file import corrections_path, unpack_corrections

SET_SCHEMA = 1
#: Who makes material: a third party that both trust, or the two parties themselves.
DEALER, TWO_PARTY = "dealer", "two-party"
PREPROCESSINGS = (DEALER, TWO_PARTY)
_SET, _SEED, _USED, _LOCK, _WEIGHTS = "set.json", "seed", "used.json", "lock", "weights.sha256"


@dataclass(frozen=True)
class SetDescription:
    """What a set of material is for and who made it.

    `set_id` is random and the same at both parties, `dealt_s` the time it took to make the set. `exchanged_bytes` are
    what party 0 and party 1 sent each other for it: nothing where a dealer made it.
    """

    set_id: str
    protocol: str
    program_digest: str
    count: int
    party: int
    dealt_s: float
    corrections_bytes: int
    preprocessing: str = DEALER
    exchanged_bytes: tuple[int, int] = (0, 0)


def party_directory(root: Path, party: int) -> Path:
    """Where a set's part for one party lies."""
    return root / f"party-{party}"


class PartyMaterial:
    """One party's material for the images of a batch."""

    def __init__(self, keys: Sequence[bytes], parts: Sequence[Sequence[np.ndarray]]) -> None:
        self._keys, self._parts = keys, parts

    @property
    def images(self) -> int:
        return len(self._keys)

    def source(self, operation: int) -> Keystream:
        """This party's expansion for one operation."""
        return Keystream(self._keys, operation)

    def corrections(self, operation: int) -> Corrections:
        """The dealer's corrections for one operation."""
        return Corrections([parts[operation] if parts else np.zeros(0, np.uint8) for parts in self._parts])


def image_key(root: bytes, index: int) -> bytes:
    """Key of one inference's material."""
    return derive_key(root, f"inference {index}")


def weight_key(root: bytes) -> bytes:
    """Key of a party's part of the weight masks."""
    return derive_key(root, "weights")


def weight_source(root: bytes, operation: int) -> Keystream:
    """A party's part of the weight mask B of one operation: one for the whole set, as F = W − B is."""
    return Keystream([weight_key(root)], operation)


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
        self._lock = _lock(self.path / _LOCK)
        try:
            self._root = _read_seed(self.path / _SEED)
        except Refusal:
            os.close(self._lock)
            raise

    def __enter__(self) -> MaterialStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    @property
    def next_index(self) -> int:
        """The first inference whose material has not been used."""
        return _read_next(self.path)

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
        path = self.path / _WEIGHTS
        if not path.exists():
            write_durably(path, digest.hexdigest().encode())
        elif path.read_text() != digest.hexdigest():
            raise Refusal(f"the material in {self.path} was used with other weights; run rrnet-2pc-prepare again")

    def claim(self, start: int, count: int) -> ClaimedMaterial:
        """Use up the inferences [start, start + count): durable when this returns.

        What a session before it claimed and never read leaves the disk.

        Raises:
            Refusal: part of them has been used, or there are not so many.
        """
        if start < self.next_index:
            raise Refusal(f"inference {start} of the material in {self.path} has been used; material is used once")
        if start + count > self.description.count:
            left = max(0, self.description.count - start)
            raise Refusal(f"the material in {self.path} is left for {left} of {count} images; run rrnet-2pc-prepare")
        write_durably(self.path / _USED, json.dumps({"next": start + count}).encode())
        self._discard_before(start)
        return ClaimedMaterial(self, range(start, start + count))

    def read(self, indices: range) -> PartyMaterial:
        """The material of claimed inferences; each can be read once."""
        return PartyMaterial([image_key(self._root, i) for i in indices], [self._take(i) for i in indices])

    def _discard_before(self, start: int) -> None:
        for index in range(start - 1, -1, -1):
            path = corrections_path(self.path, index)
            if not path.exists():
                return
            path.unlink(missing_ok=True)

    def _take(self, index: int) -> list[np.ndarray]:
        """One inference's corrections, cut by operation; the file goes as soon as it is read."""
        if self.description.corrections_bytes == 0:
            return []
        path = corrections_path(self.path, index)
        try:
            data = path.read_bytes()
            path.unlink()
        except OSError as error:
            raise ExecutionFault(f"the material {path} cannot be read: {error.strerror}") from error
        return unpack_corrections(data, str(path))

    def weight_masks(self, operation: int) -> Keystream:
        """This party's part of an operation's weight mask."""
        return weight_source(self._root, operation)


@dataclass
class ClaimedMaterial:
    """Inferences that are used up and have not all been read yet."""

    _store: MaterialStore
    _indices: range

    def take(self, count: int) -> PartyMaterial:
        """The material of the next `count` images; never the same twice."""
        if count > len(self._indices):
            raise ValueError(f"material for {len(self._indices)} images is claimed, not for {count}")
        taken, self._indices = self._indices[:count], self._indices[count:]
        return self._store.read(taken)


def read_description(path: Path) -> SetDescription:
    """What the set in a party's directory is for."""
    try:
        document = json.loads((path / _SET).read_text())
    except OSError as error:
        raise Refusal(f"there is no prepared material in {path}; rrnet-2pc-prepare makes it") from error
    except ValueError as error:
        raise Refusal(f"{path / _SET} is damaged") from error
    if not isinstance(document, dict) or document.pop("schema", None) != SET_SCHEMA:
        raise Refusal(f"{path / _SET} has another schema; run rrnet-2pc-prepare again")
    try:
        document["exchanged_bytes"] = tuple(document.get("exchanged_bytes", (0, 0)))
        described = SetDescription(**document)
    except TypeError as error:
        raise Refusal(f"{path / _SET} is damaged") from error
    if any(type(getattr(described, name)) is not int for name in ("count", "party", "corrections_bytes")):
        raise Refusal(f"{path / _SET} is damaged")
    return described


def unused_count(path: Path) -> int:
    """How many inferences a party's directory still holds material for; 0 where there is none."""
    if not (path / _SET).exists():
        return 0
    return read_description(path).count - _read_next(path)


def check_replaceable(path: Path, replace: bool) -> None:
    """Refuse to put another set where a process is using one, or where one is unused unless `replace` is set."""
    if not path.exists():
        return
    os.close(_lock(path / _LOCK))
    left = 0 if replace else unused_count(path)
    if left:
        raise Refusal(f"{path} still holds material for {left} inferences; --replace throws it away")


def write_party(path: Path, description: SetDescription, seed: bytes) -> None:
    """Start a party's directory: description, seed and nothing used."""
    write_durably(path / _SEED, seed)
    write_durably(path / _USED, json.dumps({"next": 0}).encode())
    write_durably(path / _SET, json.dumps({"schema": SET_SCHEMA, **asdict(description)}, indent=1).encode())


def write_durably(path: Path, data: bytes) -> None:
    """Write a small file of secrets, whole or not at all; refuses by `ExecutionFault` where it cannot."""
    try:
        write_whole(path, data, mode=0o600)
    except OSError as error:
        raise ExecutionFault(f"{path} cannot be written: {error.strerror or error}") from error


def _read_next(path: Path) -> int:
    try:
        used = json.loads((path / _USED).read_text())["next"]
    except (OSError, ValueError, KeyError, TypeError):
        used = None
    if type(used) is not int or used < 0:
        raise Refusal(
            f"{path / _USED} is missing or damaged: what was used is unknown; "
            "rrnet-2pc-prepare --replace makes new material"
        )
    return used


def _read_seed(path: Path) -> bytes:
    try:
        seed = path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}; run rrnet-2pc-prepare again") from error
    if len(seed) != ROOT_BYTES:
        raise Refusal(f"{path} is damaged; run rrnet-2pc-prepare again")
    return seed


def _lock(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Refusal(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Refusal(f"another process is using the material in {path.parent}") from error
    return descriptor
