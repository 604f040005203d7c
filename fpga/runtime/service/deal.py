"""`rrnet-2pc-deal`: a dealer of its own that keeps the pools of two servers filled, and sees nothing else of them."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rrnet_nni.base.console import Parser, add_common_options, run_command
from rrnet_nni.base.errors import Refusal

from ...program.build import load_build
from ...protocols import executions, get_execution
from ..commands.children import tidy_end
from ..commands.party_options import check_encrypted, seconds
from ..link.link import DEFAULT_TIMEOUT_S
from ..link.tls import load_identity
from .models.catalogue import named_build
from .options import add_marks, marks_of
from .peers.dealing import Dealing, DealingDesk, Dealt
from .peers.peer import Peer
from .peers.reception import Reception
from .signals import heard
from .telemetry import Telemetry

EXAMPLES = """\
examples:
  rrnet-2pc-deal digits=build/ --listen 0.0.0.0:7800 --tls keys/
  rrnet-2pc-serve digits=build/ --party 1 ... --dealer DEALER:7800 --dealer-tls keys-for-dealer/      and party 0 alike

The dealer needs the build without weights.bin. It sees neither images nor weights nor messages, but whoever has its
seeds and one party's messages has everything: it must be an operator of its own that colludes with neither party.
keys/peers/ holds the certificates of the two, as party-0.pem and party-1.pem.
"""
#: Connections of parties at a time: two per model, and what is left of broken ones.
MOST_CONNECTIONS = 128


def parser() -> Parser:
    """The command line."""
    result = Parser(prog="rrnet-2pc-deal", description=__doc__, epilog=EXAMPLES)
    result.add_argument(
        "builds", nargs="+", metavar="[NAME=]BUILD", help="build directories, under the names that both servers use"
    )
    result.add_argument(
        "--listen", metavar="ADDRESS", required=True, help="HOST:PORT on which to wait for both servers"
    )
    result.add_argument("--tls", type=Path, metavar="DIR", help="the dealer's key, and both parties' certificates")
    result.add_argument("--protocol", help=f"{', '.join(executions())} (default: the one of the build)")
    add_marks(result)
    result.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds of silence after which a connection ends",
    )
    result.add_argument("--ends-with-parent", action="store_true", help=argparse.SUPPRESS)
    add_common_options(result, json_output=False)
    return result


def run(options: argparse.Namespace) -> int:
    """Deal until a signal ends it."""
    check_encrypted(options.listen, options.tls, server_side=True, several=True)
    identity = None if options.tls is None else load_identity(options.tls, server_side=True, several=True)
    models = [_load(each, options.protocol) for each in options.builds]
    if len({model.name for model in models}) < len(models):
        raise Refusal("two models have the same name: give them others, as NAME=BUILD")
    stop, telemetry = threading.Event(), Telemetry("dealer")
    workers = {model.name: Dealing(model, marks_of(options), stop, telemetry) for model in models}
    paths = (*(model.build.path for model in models), *([] if options.tls is None else [options.tls]))
    peer = Peer("a party's server", options.listen, options.tls, options.timeout, paths)
    desk = DealingDesk(workers, identity)
    with tidy_end(options.ends_with_parent):
        _serve(Reception(peer, identity, MOST_CONNECTIONS, desk.serve, stop, telemetry), workers, stop, telemetry, peer)
    return 0


def _serve(
    reception: Reception, workers: dict[str, Dealing], stop: threading.Event, telemetry: Telemetry, peer: Peer
) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    threads = [threading.Thread(target=worker.run, daemon=True) for worker in workers.values()]
    for thread in threads:
        thread.start()
    with heard({signal.SIGTERM: end, signal.SIGINT: end}):
        telemetry.log("listening", link=peer.address)
        reception.run()
        for thread in threads:
            thread.join()
    telemetry.log("ended")


def _load(named: str, protocol: str | None) -> Dealt:
    name, path = named_build(named)
    build = load_build(path, weights=False)
    return Dealt(name, build, get_execution(protocol or build.protocol_name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet-2pc-deal`."""
    return run_command(parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
