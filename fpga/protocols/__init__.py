"""Two-party protocols, by name: what each operator sends, computes and needs beforehand."""

from ..errors import Refusal
from .base import Compute, Exchange, Phase, Protocol
from .beaver_ot import BeaverOT
from .masked import Masked, MaskedDcf
from .masked_variants import MaskedDcfNarrow, MaskedOneHotNarrow
from .ot_extension import OtExtension, SilentOt
from .paper import PaperProtocol

#: Every protocol that can be named; the first is the default of a search.
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        BeaverOT(),
        OtExtension(),
        SilentOt(),
        Masked(),
        MaskedDcf(),
        MaskedDcfNarrow(),
        MaskedOneHotNarrow(),
        PaperProtocol(),
    )
}


def protocol_names() -> tuple[str, ...]:
    """Names of all protocols, the default first."""
    return tuple(PROTOCOLS)


def get_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        Refusal: there is none.
    """
    if name not in PROTOCOLS:
        raise Refusal(f"protocol {name!r} is unknown: expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


__all__ = ["PROTOCOLS", "Compute", "Exchange", "Phase", "Protocol", "get_protocol", "protocol_names"]
