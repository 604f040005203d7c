"""A request's head has a deadline, and head and body of an answer leave in one piece."""

import asyncio
import time

import uvicorn

from rrnet_nni.fpga.runtime.service.web import connection
from rrnet_nni.fpga.runtime.service.web.connection import ClientConnection, GatheringTransport


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


async def say_ok(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def heard_and_seconds(port, *pieces):
    """What a client hears that says these pieces, some time apart, and when its connection ends."""
    started = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.05)
    heard = await reader.read()
    writer.close()
    return heard, time.monotonic() - started


def test_who_does_not_finish_a_requests_head_in_time_is_disconnected(monkeypatch):
    monkeypatch.setattr(connection, "HEAD_S", 0.4)
    head = b"GET / HTTP/1.1\r\nHost: x\r\n"

    async def check():
        options = {"http": ClientConnection, "lifespan": "off", "log_config": None, "timeout_keep_alive": 2}
        server = uvicorn.Server(uvicorn.Config(say_ok, port=0, **options))
        serving = asyncio.ensure_future(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        silent, half, whole, second_half = await asyncio.gather(
            heard_and_seconds(port),
            heard_and_seconds(port, head),
            heard_and_seconds(port, head[:20], head[20:], b"\r\n"),
            heard_and_seconds(port, head + b"\r\n", head),
        )
        server.should_exit = True
        await serving
        return silent, half, whole, second_half

    silent, half, whole, second_half = asyncio.run(check())
    assert silent[0] == half[0] == b""
    assert max(silent[1], half[1], second_half[1]) < 1.5
    assert whole[0].endswith(b"\r\n\r\nok")
    assert whole[1] > 1.5, "who was answered may come again as long as idle clients may"
    assert second_half[0].count(b"ok") == 1
