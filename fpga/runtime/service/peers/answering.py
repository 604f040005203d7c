"""What party 1's daemon does for a connection of party 0's, which says first what it is for."""

from __future__ import annotations

from collections.abc import Mapping

from rrnet_nni.base.errors import Refusal

from ...link.frames import LinkFault
from ...link.link import Link
from ..models.model import Model
from ..telemetry import Telemetry
from .answering_lane import AnsweringLane
from .dialogue import FILL, LANE, check_alike, field_of, hear, versions
from .filling import answer_fill

#: Connections of party 0's daemon at a time.
MOST_CONNECTIONS = 128


class Answering:
    """Serves connections of party 0's daemon, each until its model has ended."""

    def __init__(self, models: Mapping[str, Model], telemetry: Telemetry) -> None:
        self._models, self._telemetry = models, telemetry

    def serve(self, link: Link, certificate: bytes | None) -> None:
        """One connection, a lane or a filling of a pool.

        Raises:
            Refusal, ExecutionFault: it cannot go on; the sentence says why.
        """
        question = hear(link)
        name = field_of(question, "model", str)
        model = self._models.get(name)
        if model is None:
            raise Refusal(f"party 1's server has no model {name!r}")
        check_alike({**versions(), **model.terms}, question, "party 1", "party 0")
        match question.get("purpose"):
            case purpose if purpose == LANE:
                AnsweringLane(model, link, self._telemetry).run()
            case purpose if purpose == FILL:
                answer_fill(model, link, question, self._telemetry)
            case other:
                raise LinkFault(f"party 0's server connects for {other!r}, which this release does not know")
