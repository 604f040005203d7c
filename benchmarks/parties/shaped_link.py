"""A link of chosen rate and delay between two network namespaces of this machine, for any pair of programs.

Rate alone is `tbf` on a veth pair. Delay, for which not every kernel has `netem`, is a relay of IP packets in user
space between two tun devices. Both need root.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

MTU = 65000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


@dataclass(frozen=True)
class Shape:
    """`delay_s` is one way; a delay of 0 leaves the kernel's own."""

    name: str
    bytes_per_s: float
    delay_s: float


@dataclass(frozen=True)
class Ends:
    """Party 0's and party 1's end: what a command starts with, its address, and the interface's name."""

    prefixes: tuple[tuple[str, ...], tuple[str, ...]]
    hosts: tuple[str, str]
    interface: str


#: What the benchmarks mean by a LAN and a WAN: 1 GB/s, and 100 Mbit/s with 10 ms each way.
SHAPES = {"lan": Shape("lan", 1e9, 0.0), "wan": Shape("wan", 100e6 / 8, 0.010)}
LOOPBACK = Ends(((), ()), ("127.0.0.1", "127.0.0.1"), "lo")


@contextlib.contextmanager
def shaped(shape: Shape) -> Iterator[Ends]:
    """Two namespaces joined by a link of this shape, while the context lasts."""
    if os.geteuid() != 0:
        raise SystemExit("shaping a link needs root (network namespaces); --network loopback does not")
    spaces = tuple(f"rrnet-{os.getpid()}-{party}" for party in (0, 1))
    hosts = "10.77.31.1", "10.77.31.2"
    with contextlib.ExitStack() as stack:
        for space in spaces:
            _ip("netns", "add", space)
            stack.callback(_ip, "netns", "del", space)
            _ip("-n", space, "link", "set", "lo", "up")
        if shape.delay_s:
            stack.enter_context(_relayed(spaces, shape))
        else:
            _paired(spaces, shape)
        for space, host in zip(spaces, hosts):
            _ip("-n", space, "address", "add", f"{host}/24", "dev", "link0")
            _ip("-n", space, "link", "set", "link0", "mtu", str(MTU), "up")
        yield Ends((_inside(spaces[0]), _inside(spaces[1])), hosts, "link0")


def _inside(space: str) -> tuple[str, ...]:
    return "ip", "netns", "exec", space


def _paired(spaces: tuple[str, ...], shape: Shape) -> None:
    peer = ("type", "veth", "peer", "name", "link0", "netns", spaces[1])
    _ip("link", "add", "link0", "netns", spaces[0], *peer)
    for space in spaces:
        limit = ("rate", f"{round(shape.bytes_per_s * 8)}bit", "burst", "1mb", "latency", "50ms")
        subprocess.run([*_inside(space), "tc", "qdisc", "add", "dev", "link0", "root", "tbf", *limit], check=True)


@contextlib.contextmanager
def _relayed(spaces: tuple[str, ...], shape: Shape) -> Iterator[None]:
    devices = [_tun(space) for space in spaces]
    try:
        for source, target in (devices, devices[::-1]):
            threading.Thread(target=_forward, args=(source, target, shape), daemon=True).start()
        yield
    finally:
        for device in devices:
            os.close(device)


def _tun(space: str) -> int:
    """A tun device called link0 in a namespace; its packets are read and written here."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    name = f"rr{os.getpid() % 10**6}{space[-1]}"
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22s", name.encode(), _IFF_TUN | _IFF_NO_PI, bytes(22)))
    _ip("link", "set", name, "netns", space, "name", "link0")
    return device


def _forward(source: int, target: int, shape: Shape) -> None:
    """One direction: packets leave at the link's rate and arrive after its delay."""
    queue: collections.deque[tuple[float, bytes]] = collections.deque()
    ready = threading.Semaphore(0)

    def deliver() -> None:
        while True:
            ready.acquire()
            due, packet = queue.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            with contextlib.suppress(OSError):  # a packet to an interface that is not up is lost
                os.write(target, packet)

    threading.Thread(target=deliver, daemon=True).start()
    free_at = time.monotonic()
    while True:
        try:
            packet = os.read(source, MTU + 100)
        except OSError:
            return
        free_at = max(free_at, time.monotonic()) + len(packet) / shape.bytes_per_s
        queue.append((free_at + shape.delay_s, packet))
        ready.release()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
