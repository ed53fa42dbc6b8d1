"""FaultProxy: a TCP proxy in front of a program that injects faults: refused, delayed or wrong answers."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self

from local.ports import HOST

_CHUNK = 64 * 1024
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


class FaultProxy:
    """Forwards bytes in both directions between its own port and `target_port`, unless a fault is injected.

    Each change ends the existing connections, because a kept-alive connection would not notice it.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        """Port of the proxy, from the first time that it listens."""
        self.post_count = 0
        """HTTP POST requests that were forwarded."""
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._delay = 0.0
        self._response: bytes | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """Refuse connections; afterwards listen on the same port again."""
        await self._close()
        try:
            yield
        finally:
            await self._listen()

    @asynccontextmanager
    async def delaying(self, seconds: float) -> AsyncIterator[None]:
        """Forward nothing on a connection before so many seconds have passed."""
        self._delay = seconds
        await self._disconnect()
        try:
            yield
        finally:
            self._delay = 0.0
            await self._disconnect()

    @asynccontextmanager
    async def responding(self, response: bytes) -> AsyncIterator[None]:
        """Answer every HTTP request with these bytes, forward nothing, and end the connection."""
        self._response = response
        await self._disconnect()
        try:
            yield
        finally:
            self._response = None
            await self._disconnect()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._disconnect()

    async def _disconnect(self) -> None:
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._forward(reader, writer)
        except asyncio.CancelledError:
            pass  # by _disconnect; the task is asyncio's own, which would report it
        finally:
            self._connections.discard(connection)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._response is not None:
            head = await reader.readuntil(b"\r\n\r\n")
            if length := _LENGTH.search(head):
                await reader.readexactly(int(length[1]))  # an unread rest would reset the connection
            writer.write(self._response)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(self._delay)
        target_reader, target_writer = await asyncio.open_connection(HOST, self._target_port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, target_writer, self._count))
                group.create_task(_copy(target_reader, writer))
        except* OSError:
            pass  # one end has closed; closing the other one passes that on
        finally:
            target_writer.transport.abort()

    def _count(self, chunk: bytes) -> None:
        self.post_count += chunk.startswith(b"POST ")  # clients wait for the answer before the next request


async def _copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    on_chunk: Callable[[bytes], None] = lambda _: None,
) -> None:
    while chunk := await reader.read(_CHUNK):
        on_chunk(chunk)
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
