"""Cost of the live stream: the flow's throughput with clients of the stream, compared with none."""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import psutil

from benchmarks.figure import Figure
from benchmarks.flow import Flow, flowing
from benchmarks.server import CREDENTIALS

VIEWERS = 20
ORDERS = 150
PAIRS = 10
_PAUSE = 0.05

WAITING = "SELECT count(*) FROM orders WHERE invoice_id IS NULL"


@asynccontextmanager
async def watched(port: int) -> AsyncIterator[None]:
    """Connect clients in a process of their own that discards what it reads."""
    command = [sys.executable, "-m", "benchmarks.viewers", str(port), str(VIEWERS)]
    viewers = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert viewers.stdout is not None
    try:
        if not await viewers.stdout.readline():
            raise SystemExit("the clients were rejected")
        yield
        if viewers.returncode is not None:
            raise SystemExit("the clients were disconnected")
    finally:
        if viewers.returncode is None:
            viewers.terminate()
        await viewers.wait()


async def live() -> list[Figure]:
    """Measure both alternately, each first in every other pair, because the machine's speed varies and the
    tables grow. Throughput still varies by a few percent; CPU is exact."""
    os.environ |= CREDENTIALS
    async with flowing() as flow:
        programs = psutil.Process().children()
        connection = await asyncpg.connect(flow.system.database_url("order"))

        async def alone() -> dict[str, float]:
            return await _burst(flow, connection, programs)

        async def with_viewers() -> dict[str, float]:
            async with watched(flow.system.ports["adapter"]):
                return await alone()

        await alone()
        rounds: dict[Callable[[], Awaitable[dict[str, float]]], list[dict[str, float]]]
        rounds = {alone: [], with_viewers: []}
        for pair in range(PAIRS):
            for work in list(rounds)[:: 1 if pair % 2 else -1]:
                rounds[work].append(await work())
        await connection.close()
        await flow.settle()
    return _figures(rounds[with_viewers], rounds[alone])


async def _burst(
    flow: Flow, connection: asyncpg.Connection, programs: list[psutil.Process]
) -> dict[str, float]:
    """Return orders per second until the Order service knows the last invoice, and the CPU per order of the
    services and the SNS/SQS server. PostgreSQL is not included: the live stream hardly uses it."""
    began, used = time.perf_counter(), _cpu_seconds(programs)
    await flow.take(ORDERS)
    while await connection.fetchval(WAITING):
        await asyncio.sleep(_PAUSE)
    return {
        "order/s": ORDERS / (time.perf_counter() - began),
        "ms/order": 1e3 * (_cpu_seconds(programs) - used) / ORDERS,
    }


def _cpu_seconds(programs: list[psutil.Process]) -> float:
    times = [program.cpu_times() for program in programs]
    return sum(each.user + each.system for each in times)


def _figures(ours: list[dict[str, float]], against: list[dict[str, float]]) -> list[Figure]:
    def compared(what: str, unit: str, **target: float) -> Figure:
        watched, alone = (statistics.median(each[unit] for each in rounds) for rounds in (ours, against))
        return Figure(f"flow with {VIEWERS} viewers, against none: {what}", unit, watched, alone, **target)

    return [
        compared("throughput", "order/s", at_least=0.97),
        compared("CPU of services and SNS/SQS", "ms/order"),
    ]
