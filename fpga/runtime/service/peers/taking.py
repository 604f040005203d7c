"""What a party's daemon does with the dealer: it says what is left in a pool and takes the sets that come."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rrnet_nni.base.errors import Refusal

from ...link.frames import LinkFault
from ...link.link import Link
from ..models.model import Model
from ..telemetry import Telemetry
from .dialogue import DEAL, ask, field_of, hear, introduction, tell
from .peer import Peer, converse, converse_for
from .set_transfer import take_part

#: Sets that are told of: as many as a message has room for.
MOST_TOLD = 1000


class Taking:
    """A party's connections to the dealer."""

    def __init__(self, dealer: Peer, telemetry: Telemetry) -> None:
        self._dealer, self._telemetry = dealer, telemetry

    def task(self, model: Model) -> Callable[[], None]:
        """What to run for a model, in a thread, until the model has ended."""
        take = partial(converse, self._dealer, lambda link: take_sets(model, link, self._telemetry))
        return partial(converse_for, model, take, "dealer down", self._telemetry)


def take_sets(model: Model, link: Link, telemetry: Telemetry) -> None:
    """Answer the dealer until the model has ended.

    Raises:
        Refusal, ExecutionFault: the connection cannot go on.
    """
    terms = {"party": model.party, "program": model.build.program_digest, "protocol": model.execution.name}
    ask(link, introduction(DEAL, model.name, terms))
    telemetry.log("dealer up", model=model.name)
    while not model.ended.is_set():
        question = hear(link)
        match question.get("do"):
            case "rest":
                tell(link, {})
            case "left":
                left = model.pool.left_by_set()
                tell(link, {"left": dict(list(left.items())[:MOST_TOLD])})
            case "discard":
                model.pool.discard(field_of(question, "set", str))
                tell(link, {})
            case "take":
                count = take_part(model, link, question)
                telemetry.log("material taken", model=model.name, count=count, material=model.pool.left())
            case other:
                raise LinkFault(f"the dealer asks for {other!r}, which this release does not know")
    raise Refusal(f"this server has no model {model.name!r} any more")
