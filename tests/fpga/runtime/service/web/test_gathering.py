"""Head and body of an answer leave in one piece."""

import asyncio

from rrnet_nni.fpga.runtime.service.web.gathering import GatheringTransport


class Written:
    """Notes what a transport is asked to do."""

    def __init__(self):
        self.done = []

    def write(self, data):
        self.done.append(data)

    def close(self):
        self.done.append("closed")

    def is_closing(self):
        return "closed" in self.done


def test_what_is_written_in_one_turn_of_the_loop_leaves_at_once_and_before_the_end():
    written = Written()

    async def answer():
        transport = GatheringTransport(written, asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        assert not written.done
        await asyncio.sleep(0)
        assert written.done == [b"head body"]
        transport.write(b"last")
        assert not transport.is_closing()
        transport.close()
        await asyncio.sleep(0)
        assert transport.is_closing()

    asyncio.run(answer())
    assert written.done == [b"head body", b"last", "closed"]
