"""What both parties compare before anything secret is sent: program, protocol, ring, material and terms of the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from rrnet_nni.base.errors import Refusal

from ...program import RING_BITS
from ...protocols.shared.randomness import fresh_bytes
from ..link.frames import WIRE_VERSION, LinkFault, printable
from ..link.link import Link
from ..link.strands import MOST_STRANDS
from ..material.store import MaterialStore

ROLES = ("client", "server")

#: By how many inferences the parties' indexes may differ, or by twice a session's: a peer cannot use up a set at once.
MOST_SKIPPED = 256

#: What only a party that prepares material says of itself.
PREPARATION_KEY = "preparation_version"


def _release() -> str:
    """Of the installed package: another one may lay material and messages out otherwise."""
    try:
        return version("rrnet-nni")
    except PackageNotFoundError:
        return "not installed"


RELEASE = _release()


@dataclass(frozen=True)
class Terms:
    """What both parties must say alike before they start; `images` is the client's to say (None at the server).

    `reveal` is how much of the logits is opened (`output_policy`). `strands` is how many parts of a batch may be
    executed at once; the lower of both parties' numbers holds. `ahead`: rounds may begin before others have ended, if
    both parties say so.
    """

    program_digest: str
    protocol: str
    reveal_to: int
    images: int | None
    batch: int
    reveal: str = "logits"
    strands: int = 1
    ahead: bool = False


class Agreed(NamedTuple):
    """How many images, from which index of the material, in how many strands, and whether rounds begin ahead."""

    images: int
    start: int
    strands: int
    ahead: bool


def agree(link: Link, number: int, terms: Terms, store: MaterialStore) -> Agreed:
    """Compare the terms.

    Raises:
        Refusal: something differs; the sentence says what.
    """
    mine = {
        "wire_version": WIRE_VERSION,
        "release": RELEASE,
        "party": number,
        "program": terms.program_digest,
        "protocol": terms.protocol,
        "ring_bits": RING_BITS,
        "material": store.description.set_id,
        "material_count": store.description.count,
        "next_index": store.next_index,
        "images": terms.images,
        "batch": terms.batch,
        "reveal_to": terms.reveal_to,
        "reveal": terms.reveal,
        "strands": terms.strands,
        "ahead": terms.ahead,
        "nonce": fresh_bytes(16).hex(),
    }
    sent = json.dumps(mine, sort_keys=True).encode()
    received = link.exchange_control(sent)
    theirs = read_hello(received)
    problem = _difference(mine, theirs, number)
    if problem is not None:
        raise Refusal(problem)
    hellos = (sent, received) if number == 0 else (received, sent)
    transcript = hashlib.sha256(b"".join(len(hello).to_bytes(4, "big") + hello for hello in hellos))
    proofs = [hashlib.sha256(transcript.digest() + bytes([party])).digest() for party in (0, 1)]
    if link.exchange_control(proofs[number]) != proofs[1 - number]:
        raise LinkFault("the other party does not answer to this session: a recorded session is being replayed")
    count = int(terms.images if terms.images is not None else theirs["images"])
    apart = abs(mine["next_index"] - theirs["next_index"])
    if apart > max(MOST_SKIPPED, 2 * count):
        raise Refusal(
            f"{mine['next_index']} inferences of the material are used here, {theirs['next_index']} there: no "
            "crash explains that; run rrnet-2pc-prepare again"
        )
    ahead = terms.ahead and theirs["ahead"] is True
    return Agreed(count, max(mine["next_index"], theirs["next_index"]), min(mine["strands"], theirs["strands"]), ahead)


def agree_on_start(link: Link, number: int) -> None:
    """Both parties have written down what they use up."""
    if link.exchange_control(b"claimed") != b"claimed":
        raise LinkFault(f"the {ROLES[1 - number]} did not confirm the use of its material")


def read_hello(data: bytes) -> dict[str, Any]:
    """What the other party says of itself; raises LinkFault for what is no JSON object."""
    try:
        hello = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LinkFault("the other party sent a handshake that cannot be read") from error
    if not isinstance(hello, dict):
        raise LinkFault("the other party sent a handshake that cannot be read")
    return hello


def _difference(mine: Mapping[str, Any], theirs: Mapping[str, Any], number: int) -> str | None:
    """The first thing in which the parties differ, as a sentence."""
    if theirs.get("party") != 1 - number:
        return f"both parties say that they are party {number}"
    if PREPARATION_KEY in theirs:
        return "the other party prepares material, this one runs the program"
    what = {
        "wire_version": "the version of the link",
        "release": "the release of rrnet-nni",
        "ring_bits": "the ring",
        "protocol": "the protocol",
        "program": "the program (two different builds?)",
        "material": "the preprocessed material (two different sets?)",
        "material_count": "the size of the preprocessed material",
        "reveal_to": "who learns the logits",
        "reveal": "how much of the logits is revealed",
        "batch": "the batch size",
    }
    for key, meaning in what.items():
        if mine[key] != theirs.get(key):
            return f"the parties differ in {meaning}: {mine[key]} here, {printable(theirs.get(key))} there"
    images = mine["images"] if number == 0 else theirs.get("images")
    if type(images) is not int or images < 1:
        return "the client has no images"
    index, strands = theirs.get("next_index"), theirs.get("strands")
    numbers = type(index) is int and index >= 0 and type(strands) is int and 0 < strands <= MOST_STRANDS
    if not numbers or not isinstance(theirs.get("nonce"), str) or not isinstance(theirs.get("ahead"), bool):
        return "the other party's handshake is incomplete"
    return None
