"""Addresses of parties on a network, and the sockets between them."""

from __future__ import annotations

import ipaddress
import socket
import time

from rrnet_nni.base.errors import ExecutionFault, Refusal


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT` as a pair; refuses anything else."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Refusal(f"address {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether traffic to this host stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(address: str, backlog: int) -> socket.socket:
    """A socket that listens on `HOST:PORT`; `[::]` takes both families.

    Raises:
        Refusal: the address is none.
        ExecutionFault: it cannot be listened on.
    """
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=backlog, dualstack_ipv6=both)
    except OSError as error:
        reason, _, _ = str(error.strerror or error).partition(" (while attempting")  # and the address once more
        raise ExecutionFault(f"cannot listen on {address}: {reason}") from error


def connect(address: str, timeout_s: float) -> socket.socket:
    """Connect to the other party, which may start a little later."""
    host, port = parse_address(address)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return socket.create_connection((host, port), timeout=max(0.1, deadline - time.monotonic()))
        except OSError as error:
            unknown = isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN
            if unknown or time.monotonic() + 0.2 > deadline:
                raise ExecutionFault(f"cannot connect to {address}: {error.strerror or error}") from error
            time.sleep(0.2)
