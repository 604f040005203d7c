"""`rrnet-2pc-serve`: two servers of two operators answer clients on shares of their images."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rrnet_nni.base.console import Parser, add_common_options, run_command
from rrnet_nni.base.errors import Refusal

from ...program import ARGMAX, LOGITS
from ...protocols import executions
from ..commands.children import tidy_end
from ..commands.party_options import check_encrypted, count, reveal_policy
from ..link.addresses import is_loopback, parse_address
from ..link.link import DEFAULT_TIMEOUT_S
from ..link.tls import TlsIdentity, fingerprint, load_identity
from ..session.output_policy import ROUNDED
from ..session.quota import Quota
from .both import serve_both
from .daemon import Daemon, Front, Settings
from .direct import serve_clients
from .models.catalogue import Catalogue
from .options import add_marks, listed, load_listed, marks_of
from .peers.peer import Peer

EXAMPLES = """\
examples:
  rrnet-2pc-serve build/                        both servers on this machine, to try; prints the page's address
  rrnet-2pc-serve build/ --party 1 --listen 0.0.0.0:7700 --tls certificates/party-1 --http 127.0.0.1:8701
  rrnet-2pc-serve build/ --party 0 --connect SERVER:7700 --tls certificates/party-0 --http 127.0.0.1:8700
  rrnet-2pc-serve build/ --party 1 --direct 0.0.0.0:7700 --tls keys/      clients come with rrnet-2pc-run --party 0

A client sends each server one share of its image and adds the two shares of the logits that come back. It is no party
of the protocol and needs no trust. Neither server sees an image, as long as the two do not pool what they know: party 0
must be an operator of its own that does not collude with party 1. Party 1 owns the model (weights.bin); party 0 needs
none of it. Clients on other machines need HTTPS: --http-certificate and --http-key, or a proxy in front.
"""


def parser() -> Parser:
    """The command line."""
    result = Parser(prog="rrnet-2pc-serve", description=__doc__, epilog=EXAMPLES)
    result.add_argument("builds", nargs="*", metavar="[NAME=]BUILD", help="build directories of rrnet-2pc-compile")
    result.add_argument(
        "--models",
        type=Path,
        metavar="FILE",
        help="a file with more models, one a line; SIGHUP makes the server read it again",
    )
    result.add_argument(
        "--party", type=int, choices=(0, 1), help="party of this server (default: both on this machine, to try)"
    )
    address = result.add_mutually_exclusive_group()
    address.add_argument("--listen", metavar="ADDRESS", help="party 1: HOST:PORT on which to wait for party 0's server")
    address.add_argument("--connect", metavar="ADDRESS", help="party 0: HOST:PORT of party 1's server")
    address.add_argument(
        "--direct", metavar="ADDRESS", help="party 1 alone: HOST:PORT for clients that are party 0 (rrnet-2pc-run)"
    )
    result.add_argument("--tls", type=Path, metavar="DIR", help="keys of the two servers (rrnet-2pc-certificates)")
    result.add_argument("--dealer", metavar="ADDRESS", help="HOST:PORT of rrnet-2pc-deal, which then fills the pools")
    result.add_argument(
        "--dealer-tls", type=Path, metavar="DIR", help="this party's key for the dealer, and the dealer's certificate"
    )
    result.add_argument("--http", metavar="ADDRESS", help="HOST:PORT on which clients are answered")
    result.add_argument("--http-certificate", type=Path, metavar="FILE", help="certificate chain for HTTPS (PEM)")
    result.add_argument("--http-key", type=Path, metavar="FILE", help="key of that certificate (PEM)")
    result.add_argument(
        "--behind-proxy", action="store_true", help="answer without TLS on an address beyond this machine"
    )
    result.add_argument(
        "--servers", nargs=2, default=(), metavar="URL", help="both servers' public addresses, party 0's first"
    )
    result.add_argument("--protocol", help=f"{', '.join(executions())} (default: the one of the build)")
    result.add_argument("--pool", type=Path, metavar="DIR", help="directory of material (default: BUILD.pool)")
    _add_numbers(result)
    result.add_argument("--ends-with-parent", action="store_true", help=argparse.SUPPRESS)
    add_common_options(result, json_output=False)
    return result


def _add_numbers(result: Parser) -> None:
    result.add_argument("--batch", type=count, default=16, help="images that one execution takes (default 16)")
    result.add_argument("--lanes", type=count, default=2, help="executions in flight per model (default 2)")
    result.add_argument(
        "--window-ms",
        type=_amount,
        default=4.0,
        help="milliseconds to wait for requests that share an execution (default 4)",
    )
    result.add_argument(
        "--expiry",
        type=_amount,
        default=10.0,
        metavar="S",
        help="seconds that half of a request waits for the other half (default 10)",
    )
    result.add_argument("--most-waiting", type=count, default=512, help="images that may wait (default 512)")
    result.add_argument("--rate", type=_amount, default=0.0, help="requests per second of one address (default: any)")
    add_marks(result, "party 0: ")
    result.add_argument(
        "--reveal",
        type=reveal_policy,
        metavar="POLICY",
        help=f"--direct: what clients get: {LOGITS}, {ROUNDED}:BITS fraction bits of them, or {ARGMAX} (default: what "
        "each build computes)",
    )
    result.add_argument(
        "--quota", type=count, metavar="N", help="--direct: how many images each client's certificate may use in all"
    )
    result.add_argument("--sessions", type=count, default=4, help="--direct: clients served at a time (default 4)")
    result.add_argument("--no-filling", action="store_true", help="party 0: use only sets that were put into the pool")
    result.add_argument(
        "--timeout",
        type=_amount,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds of silence after which a connection ends",
    )


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to a million")
    return value


def run(options: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    check(options)
    if options.party is None:
        return serve_both(options)
    identity = load_own_identity(options)
    pair = None if identity is None or options.direct is not None else identity.pair
    models = Catalogue(lambda: [load_listed(each, options, options.party, pair) for each in listed(options)])
    paths = [path for model in models.values() for path in (model.build.path, model.pool.root)]
    paths += [path for path in (options.tls, options.dealer_tls, options.models) if path is not None]
    who = "the client" if options.direct else f"party {1 - options.party}'s server"
    address = options.direct or options.listen or options.connect
    peer = Peer(who, address, options.tls, options.timeout, tuple(paths))
    with tidy_end(options.ends_with_parent):
        if options.direct is not None:
            identify = functools.partial(load_own_identity, options)
            serve_clients(models, peer, identify, options.reveal, options.sessions, _quotas(options))
            return 0
        front = Front(options.http, options.http_certificate, options.http_key)
        Daemon(options.party, models, peer, identity, front, _settings(options, tuple(paths))).run()
    return 0


def _quotas(options: argparse.Namespace) -> Callable[[bytes], Quota] | None:
    if options.quota is None:
        return None
    return lambda certificate: Quota(options.tls, fingerprint(certificate), options.quota)


def _settings(options: argparse.Namespace, local_paths: tuple[Path, ...]) -> Settings:
    filling = options.party == 0 and not options.no_filling and options.dealer is None
    dealer = options.dealer and Peer("the dealer", options.dealer, options.dealer_tls, options.timeout, local_paths)
    return Settings(
        options.window_ms / 1e3,
        options.lanes,
        options.expiry,
        options.rate,
        marks_of(options) if filling else None,
        tuple(options.servers),
        dealer,
    )


def check(options: argparse.Namespace) -> None:
    """Refuse options that do not fit together, and what would send shares in plain to another machine."""
    if not options.builds and options.models is None:
        raise Refusal("there is no model to serve: name a BUILD, or a list of them with --models FILE")
    if options.direct is None and (options.reveal is not None or options.quota is not None):
        raise Refusal(
            "--reveal and --quota are for --direct: clients of two servers get shares of what a build computes"
        )
    if options.party is None:
        return
    if options.direct is not None:
        _check_direct(options)
        return
    if options.http is None or (options.listen or options.connect) is None:
        raise Refusal("one party's server needs --http ADDRESS, and --listen or --connect ADDRESS")
    if (options.listen is not None) != (options.party == 1):
        raise Refusal("party 1 waits (--listen) and party 0 comes (--connect)")
    check_encrypted(options.listen or options.connect, options.tls, server_side=options.party == 1)
    if options.dealer is not None:
        check_encrypted(options.dealer, options.dealer_tls, server_side=False, named="--dealer-tls")
    if (options.http_certificate is None) != (options.http_key is None):
        raise Refusal("--http-certificate and --http-key belong together")
    host, _ = parse_address(options.http)
    if options.http_certificate is None and not is_loopback(host) and not options.behind_proxy:
        raise Refusal(f"clients of {host} need HTTPS: --http-certificate and --http-key, or --behind-proxy")


def _check_direct(options: argparse.Namespace) -> None:
    if options.party != 1:
        raise Refusal("--direct is for party 1: a client that is party 0 itself comes to it")
    if options.http is not None:
        raise Refusal("--direct answers clients of the protocol, --http those of two servers: run a daemon for each")
    if options.dealer is not None:
        raise Refusal("--dealer fills the pools of two servers; with --direct a dealer's sets come as files")
    if options.quota is not None and options.tls is None:
        raise Refusal("--quota counts what each client's certificate uses: it needs --tls DIR")
    check_encrypted(options.direct, options.tls, server_side=True, several=True)


def load_own_identity(options: argparse.Namespace) -> TlsIdentity | None:
    """This party's key, and whom it expects: the other server, or clients."""
    if options.tls is None:
        return None
    return load_identity(options.tls, server_side=options.party == 1, several=options.direct is not None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet-2pc-serve`."""
    return run_command(parser(), run, arguments, lambda: {"protocol": executions()})


if __name__ == "__main__":
    sys.exit(main())
