"""The files of one party's part of a set of material: what it is for, its keys, what of it has been used.

What has been used and the link of the chain that gives the next inference's key are one file, replaced as a whole: no
link of a used inference stays beside the number that says so.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.files import write_whole
from rrnet_nni.base.settings import Mistake, WrongSetting, checked

from ...protocols.shared.randomness import KEY_BYTES
from .key_chain import LINK_BYTES, PartyKeys

SET_SCHEMA = 3
SET_ID_BYTES = 16

#: Who makes material: a third party that both trust, or the two parties themselves.
DEALER, TWO_PARTY = "dealer", "two-party"

PREPROCESSINGS = (DEALER, TWO_PARTY)

SET, WEIGHT_KEY, USED, LOCK = "set.json", "weights.key", "used.json", "lock"
WEIGHTS, CERTIFICATES = "weights.sha256", "certificates.sha256"


@dataclass(frozen=True)
class SetDescription:
    """What a set of material is for and who made it.

    `set_id` is 16 random octets in hexadecimal, the same at both parties, and public; `dealt_s` the time it took to
    make the set. `exchanged_bytes` are what party 0 and party 1 sent each other for it: nothing where a dealer made it.
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

    def __post_init__(self) -> None:
        if not re.fullmatch(f"[0-9a-f]{{{2 * SET_ID_BYTES}}}", self.set_id):
            raise WrongSetting(f"set_id must be {SET_ID_BYTES} octets in hexadecimal, not {self.set_id!r:.60}")


def party_directory(root: Path, party: int) -> Path:
    """Where a set's part for one party lies."""
    return root / f"party-{party}"


def read_description(path: Path) -> SetDescription:
    """What the set in a party's directory is for."""
    try:
        document = json.loads((path / SET).read_text())
    except OSError as error:
        raise Refusal(f"there is no prepared material in {path}; rrnet-2pc-prepare makes it") from error
    except ValueError as error:
        raise Refusal(f"{path / SET} is damaged") from error
    if not isinstance(document, dict) or document.pop("schema", None) != SET_SCHEMA:
        raise Refusal(f"{path / SET} has another schema; run rrnet-2pc-prepare again")
    try:
        return checked(document, SetDescription)
    except Mistake as mistake:
        raise Refusal(f"{path / SET} is damaged: {mistake}") from None


def unused_count(path: Path) -> int:
    """How many inferences a party's directory still holds material for; 0 where there is none."""
    if not (path / SET).exists():
        return 0
    return read_description(path).count - read_next(path)


def check_replaceable(path: Path, replace: bool) -> None:
    """Refuse to put another set where a process is using one, or where one is unused unless `replace` is set."""
    if not path.exists():
        return
    os.close(lock_set(path / LOCK))
    left = 0 if replace else unused_count(path)
    if left:
        raise Refusal(f"{path} still holds material for {left} inferences; --replace throws it away")


def write_party(path: Path, description: SetDescription, keys: PartyKeys, certificates: str | None = None) -> None:
    """Start a party's directory: description, keys, nothing used, and whose certificates it is bound to, if any's."""
    if certificates is not None:
        write_durably(path / CERTIFICATES, certificates.encode())
    write_durably(path / WEIGHT_KEY, keys.weights)
    write_used(path, 0, keys)
    write_durably(path / SET, json.dumps({"schema": SET_SCHEMA, **asdict(description)}, indent=1).encode())


def write_durably(path: Path, data: bytes) -> None:
    """Write a small file of secrets, whole or not at all; refuses by `ExecutionFault` where it cannot."""
    try:
        write_whole(path, data, mode=0o600)
    except OSError as error:
        raise ExecutionFault(f"{path} cannot be written: {error.strerror or error}") from error


def write_used(path: Path, following: int, keys: PartyKeys) -> None:
    """Everything before the inference `following` is used; the link of the chain is its own."""
    write_durably(path / USED, json.dumps({"next": following, "link": keys.link.hex()}).encode())


def read_next(path: Path) -> int:
    """The first inference that has not been used."""
    return _read_used(path)[0]


def read_keys(path: Path) -> PartyKeys:
    """A party's keys, from its next inference on."""
    try:
        weights = (path / WEIGHT_KEY).read_bytes()
    except OSError as error:
        raise Refusal(f"{path / WEIGHT_KEY} cannot be read: {error.strerror}; run rrnet-2pc-prepare again") from error
    if len(weights) != KEY_BYTES:
        raise Refusal(f"{path / WEIGHT_KEY} is damaged; run rrnet-2pc-prepare again")
    return PartyKeys(weights, _read_used(path)[1])


def _read_used(path: Path) -> tuple[int, bytes]:
    try:
        used = json.loads((path / USED).read_text())
        following, link = used["next"], bytes.fromhex(used["link"])
    except (OSError, ValueError, KeyError, TypeError):
        following, link = None, b""
    if type(following) is not int or following < 0 or len(link) != LINK_BYTES:
        raise Refusal(
            f"{path / USED} is missing or damaged: what was used is unknown; "
            "rrnet-2pc-prepare --replace makes new material"
        )
    return following, link


def lock_set(path: Path) -> int:
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
