"""Both servers on one machine, to try the service: two processes that end with this one. It keeps nothing secret.

So that the first answer need not wait, this process deals the first material itself; the two make more by themselves.
"""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ..commands.children import tidy_end
from ..material.dealer import GROUP_BYTES, prepare_set
from .models.model import Model
from .models.pool import MADE_PREFIX
from .options import listed, load_listed
from .peers.filling import FIRST_COUNT

FIRST_PORT = 8700
LOOK_AGAIN_S = 0.1


def serve_both(options: argparse.Namespace) -> int:
    """Start both, say when they answer and where, and wait until this process is ended.

    Raises:
        Refusal: an option of a single server.
        ExecutionFault: a server ended by itself.
    """
    places = options.listen, options.connect, options.direct, options.dealer, options.http, options.servers
    keys = options.tls, options.dealer_tls, options.http_certificate, options.http_key, options.behind_proxy
    if any((*places, *keys)):
        raise Refusal("addresses and keys belong to one party's server: --party 0 or --party 1")
    link, *ports = _free_ports(3)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with tidy_end(options.ends_with_parent):
        if not options.no_filling:
            for each in listed(options):
                zero, one = (load_listed(each, options, party, None) for party in (0, 1))
                _deal_first(zero, one, options.low)
        servers = [_start(party, options, link, ports[party], urls) for party in (1, 0)]
        try:
            _wait_until_ready(servers, urls)
            sys.stdout.write(f"party 0 answers at {urls[0]} and party 1 at {urls[1]}\nthe page: {urls[0]}/\n")
            sys.stdout.flush()
            while all(server.poll() is None for server in servers):
                time.sleep(LOOK_AGAIN_S)
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait()
    raise ExecutionFault("a server ended; what it said last is above")


def _deal_first(zero: Model, one: Model, low: int) -> None:
    """Material for the first requests of a model, where there is none: up to the low mark, but nothing large."""
    if min(zero.pool.left(), one.pool.left()):
        return
    program, execution = zero.build.program, zero.execution
    count = max(FIRST_COUNT, min(low, GROUP_BYTES // max(1, execution.bytes_per_image(program))))
    root = zero.pool.root / f"{MADE_PREFIX}{secrets.token_hex(8)}"
    prepare_set(root, program, zero.build.program_digest, execution, count)


def _start(party: int, options: argparse.Namespace, link: int, port: int, urls: list[str]) -> subprocess.Popen[bytes]:
    arguments = [
        *options.builds,
        *("--party", str(party), ("--connect", "--listen")[party], f"127.0.0.1:{link}"),
        *("--http", f"127.0.0.1:{port}", "--servers", *urls, "--batch", str(options.batch), "--low", str(options.low)),
        *("--high", str(options.high), "--per-set", str(options.per_set), "--lanes", str(options.lanes)),
        *("--window-ms", str(options.window_ms), "--expiry", str(options.expiry), "--rate", str(options.rate)),
        *("--most-waiting", str(options.most_waiting), "--timeout", str(options.timeout)),
    ]
    arguments += ["--protocol", options.protocol] if options.protocol else []
    arguments += ["--models", str(options.models)] if options.models else []
    arguments += ["--pool", str(options.pool)] if options.pool else []
    arguments += ["--no-filling"] if options.no_filling else []
    command = [sys.executable, "-P", "-m", "rrnet_nni.fpga.runtime.service.serve", *arguments, "--ends-with-parent"]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def _wait_until_ready(servers: list[subprocess.Popen[bytes]], urls: list[str]) -> None:
    while not all(_health(url).get("ready") for url in urls):
        if any(server.poll() is not None for server in servers):
            raise ExecutionFault("a server did not start; what it said is above")
        time.sleep(LOOK_AGAIN_S)


def _health(url: str) -> dict[str, Any]:
    """What a server says of itself; nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as reply:
            found: dict[str, Any] = json.load(reply)
            return found
    except (urllib.error.URLError, OSError, ValueError):
        return {}


def _free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on, from a fixed one on so that bookmarks stay valid."""
    found: list[int] = []
    for port in range(FIRST_PORT, FIRST_PORT + 200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            return found
    raise ExecutionFault(f"no free ports from {FIRST_PORT} on")
