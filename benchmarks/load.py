"""Load: HTTP requests over a few connections, each sent after the previous one is answered.

`python -m benchmarks.load PORT CONNECTIONS STATUS < requests` reads a request from each line, as JSON,
and prints the seconds that all of them took. It does little per request: the server shares the machine.
"""

import asyncio
import json
import re
import sys
import time
from collections import deque

import uvloop

from local.ports import HOST

_LENGTH = re.compile(rb"content-length: ([0-9]+)")


async def load(port: int, connections: int, status: str, requests: deque[bytes]) -> float:
    """Raises RuntimeError for an answer with another status."""
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_connection(port, status.encode(), requests))
    return time.perf_counter() - began


async def _connection(port: int, status: bytes, requests: deque[bytes]) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    while requests:
        writer.write(requests.popleft())
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith(status, len("HTTP/1.1 ")):
            raise RuntimeError(f"{head!r} {body!r}")
    writer.close()


if __name__ == "__main__":
    port, connections, status = sys.argv[1:]
    requests = deque(json.loads(line).encode() for line in sys.stdin)
    print(uvloop.run(load(int(port), int(connections), status, requests)))
