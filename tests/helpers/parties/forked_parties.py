"""Two parties as processes, for tests that kill one of them or disturb the link between them."""

import contextlib
import multiprocessing
import socket
import threading
import time

#: Seconds within which a party must have stopped, whatever happened to the other.
SURVIVAL_S = 10.0


class ForkedParties:
    """Runs `target(number, end, other_end, *arguments_of(number), pipe)` in a process per party.

    `relay(a, b)` may carry, cut or change what passes between the two ends.
    """

    def __init__(self, target, arguments_of, relay=None):
        context = multiprocessing.get_context("fork")
        if relay is None:
            ends = socket.socketpair()
        else:
            first, second = socket.socketpair(), socket.socketpair()
            ends = first[0], second[0]
            self.relay = threading.Thread(target=relay, args=(first[1], second[1]), daemon=True)
        self.pipes, self.processes = [], []
        for number in (0, 1):
            receiver, sender = context.Pipe(duplex=False)
            arguments = (number, ends[number], ends[1 - number], *arguments_of(number), sender)
            process = context.Process(target=target, args=arguments, daemon=True)
            process.start()
            sender.close()
            self.pipes.append(receiver)
            self.processes.append(process)
        for end in ends:
            end.close()
        if relay is not None:
            self.relay.start()

    def outcome(self, number, within_s=SURVIVAL_S):
        """What a party reported, or None if it was killed before it could."""
        assert self.pipes[number].poll(within_s), f"party {number} did not stop within {within_s} s"
        try:
            return self.pipes[number].recv()
        except EOFError:
            return None
        finally:
            self.processes[number].join(within_s)


def pump(source, target, damage):
    """Forward octets, letting `damage(position, octets)` change, cut (None) or delay them."""
    position = 0
    try:
        while octets := source.recv(1 << 16):
            changed = damage(position, bytearray(octets))
            if changed is None:
                break
            target.sendall(changed)
            position += len(octets)
    except OSError:
        return
    finally:
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def relay_with(damage):
    """Forward both directions; `damage(position, octets)` changes, cuts (None) or delays what party 0 sends."""

    def relay(first, second):
        forward = threading.Thread(target=pump, args=(first, second, damage), daemon=True)
        forward.start()
        pump(second, first, lambda position, octets: octets)
        forward.join(1)

    return relay


def wait_for_child(parent, mark):
    """Process id of the parent's child whose command line has `mark`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), open(f"/proc/{parent}/task/{parent}/children") as file:
            for child in file.read().split():
                with contextlib.suppress(OSError), open(f"/proc/{child}/cmdline") as line:
                    if mark in line.read():
                        return int(child)
        time.sleep(0.01)
    raise AssertionError(f"no child with {mark!r} was seen")
