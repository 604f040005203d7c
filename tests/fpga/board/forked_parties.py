"""Two parties as forked processes, for tests that kill one of them or disturb the link between them."""

import multiprocessing
import socket
import threading

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
