"""HttpServer: a server under load, and its cost per request."""

import asyncio
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from benchmarks.figure import Measured
from local.ports import HOST

CONNECTIONS = 16
ROUNDS = 21


@dataclass(frozen=True)
class HttpServer:
    port: int
    pid: int

    async def measure(self, requests: Sequence[str], expected: int = 200) -> Measured:
        """Per request: seconds, and CPU seconds of the server."""
        server = psutil.Process(self.pid)
        before = server.cpu_times()
        loading = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "benchmarks.load", str(self.port), str(CONNECTIONS), str(expected)],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await loading.communicate("\n".join(map(json.dumps, requests)).encode())
        after = server.cpu_times()
        if loading.returncode:
            raise SystemExit(f"the load on port {self.port} ended with code {loading.returncode}")
        cpu = after.user + after.system - before.user - before.system
        return {"seconds": float(output) / len(requests), "cpu": cpu / len(requests)}


async def in_rounds(
    servers: Sequence[HttpServer], requests: Mapping[HttpServer, Sequence[str]], expected: int = 200
) -> list[Measured]:
    """Return the medians of each server, measured in many short alternating rounds because the machine's
    speed varies."""
    for server in servers:
        await server.measure(requests[server], expected)
    rounds = [[await server.measure(requests[server], expected) for server in servers] for _ in range(ROUNDS)]
    return [
        {name: statistics.median(each[name] for each in measured) for name in measured[0]}
        for measured in zip(*rounds, strict=True)
    ]


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n"


def post(path: str, body: object) -> str:
    text = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(text)}\r\n\r\n{text}"
