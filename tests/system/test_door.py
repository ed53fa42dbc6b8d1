"""Door: what goes through it, and what does not. Behind it is a program that says everything back."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from local.door import Door
from local.ports import HOST, free_ports

REQUEST = b"POST /events HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000

_RESET = struct.pack("ii", 1, 0)  # linger, for no time


@dataclass
class Echo:
    """A program behind the door: what it heard, and says back."""

    port: int = 0
    heard: bytearray = field(default_factory=bytearray)
    rude: bool = False
    """Resets the connection instead of answering."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1000):
                self.heard += chunk
                if self.rude:
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    return
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass  # the door was closed
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, HOST)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest.fixture
async def door(echo: Echo) -> AsyncIterator[Door]:
    """Fails the test when one of the door's own tasks does."""
    unhandled: list[object] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    async with Door(echo.port) as opened:
        yield opened
    loop.set_exception_handler(before)
    assert unhandled == []


async def say(door: Door, what: bytes) -> bytes:
    """All that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection(HOST, door.port)
    try:
        writer.write(what)
        writer.write_eof()
        return await rest(reader)
    finally:
        writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What is still answered. However a connection ends, it ends."""
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            return await reader.read()
    return b""


async def test_everything_passes_both_ways(door: Door, echo: Echo) -> None:
    """To the last byte, and the end too, for several at the same time."""
    said = [bytes([number]) * 300_000 for number in range(3)]
    assert await asyncio.gather(*(say(door, each) for each in said)) == said
    assert len(echo.heard) == 900_000


async def test_a_closed_door_refuses_and_opens_where_it_was(door: Door, echo: Echo) -> None:
    """Who was inside is put out."""
    reader, writer = await asyncio.open_connection(HOST, door.port)
    writer.write(b"first")
    assert await reader.readexactly(5) == b"first"
    async with door.closed():
        assert await rest(reader) == b""
        with pytest.raises(ConnectionRefusedError):
            await say(door, b"refused")
    assert await say(door, b"again") == b"again"
    assert echo.heard == b"firstagain"
    writer.close()


async def test_another_answer_reaches_the_client_whole(door: Door, echo: Echo) -> None:
    """However long its request is; the program behind hears nothing of it."""
    async with door.answering(b"nonsense"):
        for _ in range(5):
            assert await say(door, REQUEST) == b"nonsense"
    assert echo.heard == b""
    assert await say(door, b"back") == b"back"


async def test_a_slow_door_lets_everything_through_later(door: Door) -> None:
    """Not before it is time, and unchanged."""
    loop = asyncio.get_running_loop()
    async with door.slow(0.2):
        began = loop.time()
        assert await say(door, b"slow") == b"slow"
        assert loop.time() - began >= 0.2


async def test_a_program_that_breaks_off_is_no_error_of_the_door(door: Door, echo: Echo) -> None:
    """The client's connection ends as well."""
    echo.rude = True
    reader, writer = await asyncio.open_connection(HOST, door.port)
    writer.write(b"hello")
    assert await rest(reader) == b""
    writer.close()


async def test_nobody_behind_ends_the_connection() -> None:
    """The client sees that nobody is there."""
    [port] = free_ports(1)
    async with Door(port) as door:
        assert await say(door, b"hello") == b""
