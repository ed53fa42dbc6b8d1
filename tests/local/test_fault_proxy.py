"""FaultProxy in front of an echo server."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from local.fault_proxy import FaultProxy
from local.ports import HOST, free_ports

REQUEST = b"POST /events HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000

_RESET = struct.pack("ii", 1, 0)  # linger for 0 s


@dataclass
class Echo:
    """The target of the proxy: sends back all that it receives."""

    port: int = 0
    received: bytearray = field(default_factory=bytearray)
    resets: bool = False
    """Whether it resets connections instead of answering."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1000):
                self.received += chunk
                if self.resets:
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    return
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass  # ended by the proxy
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
async def proxy(echo: Echo) -> AsyncIterator[FaultProxy]:
    """Fails the test when one of the proxy's own tasks fails."""
    unhandled: list[object] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    async with FaultProxy(echo.port) as opened:
        yield opened
    loop.set_exception_handler(before)
    assert unhandled == []


async def exchange(proxy: FaultProxy, request: bytes) -> bytes:
    """Return all that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        writer.write(request)
        writer.write_eof()
        return await read_rest(reader)
    finally:
        writer.close()


async def read_rest(reader: asyncio.StreamReader) -> bytes:
    """Return the rest of the answer; empty for a connection that is reset."""
    async with asyncio.timeout(30):
        with suppress(ConnectionError):
            return await reader.read()
    return b""


async def test_bytes_pass_in_both_directions(proxy: FaultProxy, echo: Echo) -> None:
    """To the last byte and the end of the stream, on several connections at the same time."""
    requests = [bytes([number]) * 300_000 for number in range(3)]
    assert await asyncio.gather(*(exchange(proxy, request) for request in requests)) == requests
    assert len(echo.received) == 900_000


async def test_a_refusing_proxy_listens_on_the_same_port_afterwards(proxy: FaultProxy, echo: Echo) -> None:
    """Existing connections are ended."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    writer.write(b"first")
    assert await reader.readexactly(5) == b"first"
    async with proxy.refusing():
        assert await read_rest(reader) == b""
        with pytest.raises(ConnectionRefusedError):
            await exchange(proxy, b"refused")
    assert await exchange(proxy, b"again") == b"again"
    assert echo.received == b"firstagain"
    writer.close()


async def test_an_injected_response_is_complete(proxy: FaultProxy, echo: Echo) -> None:
    """However long the request is; the target receives nothing of it."""
    async with proxy.responding(b"garbage"):
        for _ in range(5):
            assert await exchange(proxy, REQUEST) == b"garbage"
    assert echo.received == b""
    assert await exchange(proxy, b"back") == b"back"


async def test_a_delayed_request_is_unchanged(proxy: FaultProxy) -> None:
    """It is forwarded when the delay is over."""
    loop = asyncio.get_running_loop()
    async with proxy.delaying(0.2):
        began = loop.time()
        assert await exchange(proxy, b"slow") == b"slow"
        assert loop.time() - began >= 0.2


async def test_a_reset_by_the_target_ends_the_clients_connection(proxy: FaultProxy, echo: Echo) -> None:
    """It is no error of the proxy."""
    echo.resets = True
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    writer.write(b"hello")
    assert await read_rest(reader) == b""
    writer.close()


async def test_without_a_target_the_connection_ends() -> None:
    """The client's connection is accepted and closed."""
    [port] = free_ports(1)
    async with FaultProxy(port) as proxy:
        assert await exchange(proxy, b"hello") == b""
