"""The whole flow, from a command to the invoice, on the running local system, compared with one bare hop."""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
from snsqs import aws_clients

from benchmarks.child import in_child
from benchmarks.event import REGION
from benchmarks.figure import Figure
from benchmarks.latency import bare
from benchmarks.server import CREDENTIALS, make_queue
from local.fault_proxy import FaultProxy
from local.order import order_of
from local.ports import HOST, Ports
from local.reconcile import compare_settled
from local.system import OPERATOR, LocalSystem, running_system

PER_SECOND = 20
WARM_UP = 60
STEADY = 400
BURST = 500
_AT_ONCE = 20
"""Customers of the burst."""
_SETTLE_TIMEOUT = 120.0

_LIMITS = httpx.Limits(keepalive_expiry=2)
"""Seconds; the server closes what was idle for five, perhaps while we send."""

INVOICED = "SELECT order_id, extract(epoch FROM issued_at)::float8 FROM invoice WHERE order_id = ANY($1)"
LAST_ANSWER = "SELECT extract(epoch FROM max(handled_at))::float8 FROM inbox"

_ORDER = order_of({"MUG-01": 1})


@dataclass
class Flow:
    """The running system, whose calls of SNS/SQS go through a proxy that counts them."""

    system: LocalSystem
    aws: FaultProxy
    order: httpx.AsyncClient
    scm: httpx.AsyncClient

    async def accepted(self) -> tuple[str, float]:
        """Place and pay an order. Return its id and the time of the answer."""
        order_id = (await self.order.post("/orders", json=_ORDER)).raise_for_status().json()["id"]
        (await self.order.post(f"/orders/{order_id}/complete")).raise_for_status()
        return order_id, time.time()

    async def steady(self, count: int) -> dict[str, float]:
        """Place orders at a steady rate. An invoice is timed where its transaction writes it, which
        commits a few milliseconds later."""
        calls, pace = self.aws.post_count, asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            coming = []
            for number in range(count):
                coming.append(group.create_task(self.accepted()))
                await asyncio.sleep(pace + (number + 1) / PER_SECOND - asyncio.get_running_loop().time())
        await self.settle()
        accepted = dict(each.result() for each in coming)
        invoiced = await self._read("scm", INVOICED, list(accepted))
        milliseconds = [(issued_at - accepted[order_id]) * 1e3 for order_id, issued_at in invoiced]
        percentiles = statistics.quantiles(milliseconds, n=100)
        return {
            "p50": percentiles[49],
            "p99": percentiles[98],
            "calls": (self.aws.post_count - calls) / count,
        }

    async def burst(self) -> dict[str, float]:
        """Place orders as fast as the Order service accepts them, until it knows the last invoice."""
        calls, began = self.aws.post_count, time.time()
        await self.take(BURST)
        taken = time.time() - began
        await self.settle()
        [(ended,)] = await self._read("order", LAST_ANSWER)
        return {
            "taken": BURST / taken,
            "settled": BURST / (ended - began),
            "calls": (self.aws.post_count - calls) / BURST,
        }

    async def take(self, count: int) -> None:
        """Place orders as fast as the Order service accepts them."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def customer() -> None:
            async with places:
                await self.accepted()

        await asyncio.gather(*(customer() for _ in range(count)))

    async def settle(self) -> None:
        """Wait until every order has its invoice and both services agree."""
        differences = (await compare_settled(self.order, self.scm, timeout=_SETTLE_TIMEOUT)).differences
        if differences:
            raise SystemExit(f"not settled after {_SETTLE_TIMEOUT:g} s: {differences[0]}")

    async def _read(self, service: str, query: str, *arguments: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.system.database_url(service))
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()


@asynccontextmanager
async def flowing() -> AsyncIterator[Flow]:
    """Start the local system."""
    ports = Ports.free()
    with tempfile.TemporaryDirectory() as folder:
        async with FaultProxy(ports["aws"]) as aws:
            through = {"AWS_ENDPOINT_URL": f"http://{HOST}:{aws.port}"}
            overrides = dict.fromkeys(("order", "adapter", "scm"), through)
            async with (
                running_system(Path(folder), ports, overrides=overrides) as system,
                httpx.AsyncClient(
                    base_url=ports.url("order"), timeout=30, limits=_LIMITS, trust_env=False
                ) as order,
                httpx.AsyncClient(base_url=ports.url("scm"), headers=OPERATOR, trust_env=False) as scm,
            ):
                stocked = await scm.put("/back-office/stock/MUG-01", json={"onHand": 1_000_000})
                stocked.raise_for_status()
                yield Flow(system, aws, order, scm)


async def flow() -> list[Figure]:
    os.environ |= CREDENTIALS
    async with flowing() as running:
        await running.steady(WARM_UP)
        steady = await running.steady(STEADY)
        url = running.system.ports.url("aws")
        async with aws_clients(region=REGION, endpoint_url=url) as clients:
            await make_queue(clients)
        hop = await in_child(bare, url=url)
        burst = await running.burst()
    name = f"flow at {PER_SECOND} orders/s"
    return [
        Figure(f"{name}: paid to invoice, against a bare hop, p50", "ms", steady["p50"], hop["p50"]),
        Figure(f"{name}: paid to invoice, against a bare hop, p99", "ms", steady["p99"], hop["p99"]),
        Figure(f"{name}: AWS calls", "per order", steady["calls"]),
        Figure(f"flow, burst of {BURST}: accepted", "order/s", burst["taken"]),
        Figure(f"flow, burst of {BURST}: until all is settled", "order/s", burst["settled"]),
        Figure(f"flow, burst of {BURST}: AWS calls", "per order", burst["calls"]),
    ]
