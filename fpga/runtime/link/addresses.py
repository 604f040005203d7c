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
