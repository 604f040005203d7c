"""Questions of one daemon and answers of another, as control messages on the link between the two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rrnet_nni.base.errors import Refusal

from ....program import RING_BITS
from ...link.frames import WIRE_VERSION, LinkFault, printable
from ...link.link import Link
from ...session.agreement import RELEASE, read_hello

SERVICE_VERSION = 1
#: What a connection between the two daemons is for.
LANE, FILL, DEAL = "lane", "fill", "deal"
#: The answer for a set that party 1 has no part of.
UNKNOWN_SET = "unknown set"
_LISTENING = b"{}"


def ask(link: Link, question: Mapping[str, Any]) -> dict[str, Any]:
    """One question, one answer, one round trip."""
    link.exchange_control(json.dumps(question).encode())
    return read_hello(link.exchange_control(_LISTENING))


def hear(link: Link) -> dict[str, Any]:
    """The next question."""
    return read_hello(link.exchange_control(_LISTENING))


def tell(link: Link, answer: Mapping[str, Any]) -> None:
    """The answer to the question that was heard."""
    link.exchange_control(json.dumps(answer).encode())


def introduction(purpose: str, model: str, terms: Mapping[str, Any]) -> dict[str, Any]:
    """The first question on every connection."""
    return {"purpose": purpose, "model": model, **versions(), **terms}


def versions() -> dict[str, Any]:
    return {"service": SERVICE_VERSION, "wire": WIRE_VERSION, "release": RELEASE, "ring_bits": RING_BITS}


def check_alike(mine: Mapping[str, Any], theirs: Mapping[str, Any], here: str, there: str) -> None:
    """Refuse a peer that says something else of common matters; the sentence names both."""
    for key, value in mine.items():
        if theirs.get(key) != value:
            raise Refusal(
                f"the two servers differ in {key}: {printable(theirs.get(key))} at {there}, {value} at {here}"
            )


def field_of(message: Mapping[str, Any], key: str, kind: type) -> Any:
    """A field of a message; raises LinkFault where it is missing or of another type."""
    value = message.get(key)
    if type(value) is not kind:
        raise LinkFault(f"the other server sent a message without a valid {key!r}")
    return value
