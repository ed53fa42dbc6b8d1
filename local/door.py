"""Door: a TCP proxy before a program, which can be closed, slowed down, or made to talk nonsense."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self

from local.ports import HOST

_CHUNK = 64 * 1024
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


class Door:
    """Passes bytes to and from the port behind it, while it is open and nothing else is said.

    Every change ends the connections that there are: a kept-alive one would not notice it.
    """

    def __init__(self, behind: int) -> None:
        self.port = 0
        self.calls = 0
        """HTTP POST requests that were passed on."""
        self._behind = behind
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._delay = 0.0
        self._answer: bytes | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Listens, on the same port each time."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuses connections."""
        if self._server is not None:
            self._server.close()
            await self._disconnect()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        await self.close()
        try:
            yield
        finally:
            await self.open()

    @asynccontextmanager
    async def slow(self, seconds: float) -> AsyncIterator[None]:
        """Everybody waits so long before anything is passed on."""
        self._delay = seconds
        await self._disconnect()
        try:
            yield
        finally:
            self._delay = 0.0
            await self._disconnect()

    @asynccontextmanager
    async def answering(self, answer: bytes) -> AsyncIterator[None]:
        """Answers this to every HTTP request, which goes no further, and ends the connection."""
        self._answer = answer
        await self._disconnect()
        try:
            yield
        finally:
            self._answer = None
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
                await self._pass_on(reader, writer)
        except asyncio.CancelledError:
            pass  # by _disconnect; the task is asyncio's own, which would report it
        finally:
            self._connections.discard(connection)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._answer is not None:
            head = await reader.readuntil(b"\r\n\r\n")
            if length := _LENGTH.search(head):
                await reader.readexactly(int(length[1]))  # what is left unread would reset the connection
            writer.write(self._answer)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(self._delay)
        far_reader, far_writer = await asyncio.open_connection(HOST, self._behind)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, far_writer, self._count))
                group.create_task(_copy(far_reader, writer))
        except* OSError:
            pass  # one end is gone, which the other one is to see
        finally:
            far_writer.transport.abort()

    def _count(self, chunk: bytes) -> None:
        self.calls += chunk.startswith(b"POST ")  # nobody sends a second one before the answer


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], None] = lambda _: None
) -> None:
    while chunk := await reader.read(_CHUNK):
        seen(chunk)
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
