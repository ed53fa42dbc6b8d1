"""Clients of the live stream that discard what they receive.

`python -m benchmarks.viewers PORT COUNT` prints a line when all are connected, and runs until it is stopped.
It discards everything, because the system shares the machine.
"""

import asyncio
import sys

import uvloop

from local.ports import HOST

_REQUEST = b"GET /api/live HTTP/1.1\r\nhost: adapter\r\naccept: text/event-stream\r\n\r\n"
_PIECE = 1024 * 1024


async def viewers(port: int, count: int) -> None:
    """Raises RuntimeError when a client is rejected or disconnected."""
    connections = [await asyncio.open_connection(HOST, port, limit=_PIECE) for _ in range(count)]
    for reader, writer in connections:
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
    print(f"{count} watch", flush=True)
    async with asyncio.TaskGroup() as group:
        for reader, _ in connections:
            group.create_task(_watch(reader))


async def _watch(reader: asyncio.StreamReader) -> None:
    while await reader.read(_PIECE):
        pass
    raise RuntimeError("the stream has ended")


if __name__ == "__main__":
    port, count = map(int, sys.argv[1:])
    uvloop.run(viewers(port, count))
