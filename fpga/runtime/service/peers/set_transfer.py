"""One party's part of a set on its way from the dealer to its pool: announced, sent, written, and put in place.

Nothing of a set counts before both parties have written all of it. What only one of them has put in place, because
somebody was killed just then, is found later and removed unused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...link.frames import LinkFault
from ...link.link import Link
from ...material.corrections_file import corrections_path
from ...material.key_chain import PartyKeys
from ...material.party_set import (
    DEALER,
    SetDescription,
    party_directory,
    read_description,
    read_keys,
    write_party,
)
from ...material.scratch import scratch_directory
from ..models.model import Model
from ..models.pool import MADE_PREFIX
from .dialogue import ask, field_of, hear, tell

#: Octets that a file of corrections has beside them: at most this many, and 12 for every operation.
FILE_OVERHEAD = 64
_SET_ID = re.compile("[0-9a-f]{32}")
_NAME = re.compile(f"{MADE_PREFIX}[0-9a-f]{{16}}")


def send_part(link: Link, path: Path, name: str, between: Callable[[], None]) -> None:
    """The dealer: send what lies in a party's directory; it is written when this returns. Calls `between` files.

    Raises:
        ExecutionFault: the party is gone, or could not write it.
    """
    described = read_description(path)
    files = [corrections_path(path, index) for index in range(described.count)] if described.corrections_bytes else []
    size = files[0].stat().st_size if files else 0
    ask(link, {"do": "take", "name": name, "set": asdict(described), "file_bytes": size})
    link.exchange(np.frombuffer(read_keys(path).octets, np.uint8), 0)
    for file in files:
        link.exchange(np.fromfile(file, np.uint8), 0)
        between()
    if not field_of(ask(link, {"do": "written"}), "written", bool):
        raise LinkFault("a party did not write its part of a set")


def put_in_place(link: Link, name: str) -> None:
    """The dealer: let the party use what it has written."""
    ask(link, {"do": "place", "name": name})


def take_part(model: Model, link: Link, question: dict[str, Any]) -> int:
    """A party: receive its part of a set, put it into the pool when the dealer says so; returns its inferences.

    Raises:
        Refusal: the set is not for this party and model.
        ExecutionFault: the dealer is gone or the disk is full; nothing is left behind.
    """
    name, described = field_of(question, "name", str), _description(model, field_of(question, "set", dict))
    size = field_of(question, "file_bytes", int)
    most = described.corrections_bytes + FILE_OVERHEAD + 12 * len(model.build.program.operations)
    if not _NAME.fullmatch(name) or not 0 <= size <= most or (size > 0) != (described.corrections_bytes > 0):
        raise Refusal("the dealer sends a set whose name or size is not valid")
    root = model.pool.root / name
    target = party_directory(root, model.party)
    if target.exists():
        raise Refusal("the dealer sends a set under the name of another one")
    tell(link, {"ok": True})
    with scratch_directory(root) as scratch:
        keys = PartyKeys.of_octets(link.exchange(None, PartyKeys.SIZE).tobytes())
        for index in range(described.count if size else 0):
            _write(corrections_path(scratch, index), link.exchange(None, size))
        scratch.chmod(0o700)
        write_party(scratch, described, keys, model.pool.certificates)
        _await(link, "written", {"written": True})
        _await(link, "place")
        root.mkdir(mode=0o700, exist_ok=True)
        scratch.rename(target)
    model.pool.changed()
    tell(link, {"placed": True})
    return described.count


def _await(link: Link, expected: str, answer: dict[str, Any] | None = None) -> None:
    """Hear the expected question, and what the dealer says meanwhile to be heard at all."""
    while (question := hear(link)).get("do") == "rest":
        tell(link, {})
    if question.get("do") != expected:
        raise LinkFault(f"the dealer says {question.get('do')!r} where {expected!r} is due")
    if answer is not None:
        tell(link, answer)


def _description(model: Model, said: dict[str, Any]) -> SetDescription:
    """What the set is for, as far as it is for this party and model; the dealer's word alone decides nothing else."""
    described = SetDescription(
        field_of(said, "set_id", str),
        field_of(said, "protocol", str),
        field_of(said, "program_digest", str),
        field_of(said, "count", int),
        field_of(said, "party", int),
        field_of(said, "dealt_s", float),
        field_of(said, "corrections_bytes", int),
        DEALER,
    )
    expected = model.party, model.execution.name, model.build.program_digest, model.pool.corrections_bytes
    found = described.party, described.protocol, described.program_digest, described.corrections_bytes
    if found != expected or not _SET_ID.fullmatch(described.set_id) or described.count < 1:
        raise Refusal("the dealer sends a set for another party, model or release")
    if any(each.description.set_id == described.set_id for each in model.pool.sets()):
        raise Refusal("the dealer sends a set that is here already")
    return described


def _write(path: Path, octets: np.ndarray) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(octets.data)
    except OSError as error:
        raise ExecutionFault(f"{path} cannot be written: {error.strerror or error}") from error
