"""What watching costs: the flow's throughput with viewers of the live stream, against none."""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from benchmarks.figure import Figure
from benchmarks.flow import flowing
from benchmarks.server import CREDENTIALS

VIEWERS = 20
ORDERS = 150
PAIRS = 12
_PAUSE = 0.05

WAITING = "SELECT count(*) FROM orders WHERE invoice_id IS NULL"


@asynccontextmanager
async def watched(port: int) -> AsyncIterator[None]:
    """Viewers in a process of their own, which does nothing with what it reads."""
    command = [sys.executable, "-m", "benchmarks.viewers", str(port), str(VIEWERS)]
    viewers = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert viewers.stdout is not None
    try:
        if not await viewers.stdout.readline():
            raise SystemExit("the viewers were not let in")
        yield
        if viewers.returncode is not None:
            raise SystemExit("the viewers were dropped")
    finally:
        if viewers.returncode is None:
            viewers.terminate()
        await viewers.wait()


async def live() -> list[Figure]:
    """Both take turns, each of them first in every other pair, because the machine is not the same all the
    time, and the tables grow."""
    os.environ |= CREDENTIALS
    async with flowing() as flow:
        connection = await asyncpg.connect(flow.system.database_url("order"))

        async def alone() -> float:
            """Orders a second, until the Order service knows the last invoice."""
            began = time.perf_counter()
            await flow.take(ORDERS)
            while await connection.fetchval(WAITING):
                await asyncio.sleep(_PAUSE)
            return ORDERS / (time.perf_counter() - began)

        async def with_viewers() -> float:
            async with watched(flow.system.ports.adapter):
                return await alone()

        await alone()
        rounds: dict[Callable[[], Awaitable[float]], list[float]] = {alone: [], with_viewers: []}
        for pair in range(PAIRS):
            for work in list(rounds)[:: 1 if pair % 2 else -1]:
                rounds[work].append(await work())
        await connection.close()
        await flow.settle()
    ours, against = statistics.median(rounds[with_viewers]), statistics.median(rounds[alone])
    return [Figure(f"flow with {VIEWERS} viewers, against none", "order/s", ours, against, at_least=0.97)]
