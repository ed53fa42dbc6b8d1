"""The Order service with many orders, against itself with few: reads and claims must not become slower."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
from snsqs.cloudevents import EventResult
from snsqs.events import ApplicationEventPublisher
from snsqs.outbox import EventLog, OutboxEvent, Relay, SinkUnavailable
from snsqs.postgres import connect

from benchmarks.figure import Figure
from benchmarks.http_server import ROUNDS, HttpServer, get, in_rounds
from benchmarks.orders import seed, some_ids
from benchmarks.rest import alone, order_service
from local.postgres import Postgres, postgres

FEW, MANY = 1_000, 1_000_000
FEW_ORDERS, MANY_ORDERS = "orders", "many_orders"
DATABASES = {FEW_ORDERS: FEW, MANY_ORDERS: MANY}

_CLAIMED = 100
_CLAIMS = 40

WAITING = """
    INSERT INTO event_log (id, type, subject, sequence, occurred_at, data)
    SELECT gen_random_uuid(), 'OrderCompleted', number::text, 1, now(), '{}'
    FROM generate_series(1, $1::integer) AS number
"""


async def growth() -> list[Figure]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with postgres(folder / "postgres") as database:
            async with alone(folder, database) as system:
                system.overrides["order"] = {"DATABASE_URL": database.url(MANY_ORDERS)}
                await system.migrate("order")
                for each, orders in DATABASES.items():
                    await seed(database, each, orders)
                async with (
                    order_service(system, DATABASE_URL=database.url(FEW_ORDERS)) as few,
                    order_service(system, DATABASE_URL=database.url(MANY_ORDERS)) as many,
                ):
                    reads = await _reads(database, [few, many])
            return [*reads, await _claims(database)]


async def _reads(database: Postgres, servers: Sequence[HttpServer]) -> list[Figure]:
    # Of the first minutes both have the same orders, so the answers are the same.
    before = "placedTo=2000-01-01T00:16:00Z"
    paths = {
        "GET /orders": "/orders?limit=20",
        "GET /orders?status": "/orders?limit=20&status=PLACED",
        "GET /orders?placedTo": f"/orders?limit=20&{before}",
        "GET /orders?buyerName&placedTo": f"/orders?limit=20&buyerName=Buyer%207&{before}",
        "GET /orders?status&placedTo": f"/orders?limit=20&status=PLACED&{before}",
    }
    ids = {
        server: [get(f"/orders/{each}") for each in await some_ids(database, name, 800)]
        for server, name in zip(servers, DATABASES, strict=True)
    }
    figures = [await _compared("GET /orders/{id}", servers, ids)]
    for name, path in paths.items():
        figures.append(await _compared(name, servers, dict.fromkeys(servers, [get(path)] * 200)))
    return figures


async def _compared(
    name: str, servers: Sequence[HttpServer], requests: dict[HttpServer, list[str]]
) -> Figure:
    few, many = await in_rounds(servers, requests)
    return _figure(name, many["seconds"], few["seconds"])


async def _claims(database: Postgres) -> Figure:
    """Time of a claim by a relay that releases it, with the services stopped."""
    for name in DATABASES:
        connection = await asyncpg.connect(database.url(name))
        await connection.execute(WAITING, 10 * _CLAIMED)
        await connection.execute("VACUUM (ANALYZE) event_log", timeout=60)
        await connection.close()
    async with AsyncExitStack() as opened:
        databases = [
            await opened.enter_async_context(connect(database.url(name), ApplicationEventPublisher()))
            for name in DATABASES
        ]
        relays = [Relay(each, EventLog(), _UnavailableSink()) for each in databases]
        rounds = [[await _claim(relay) for relay in relays] for _ in range(ROUNDS)]
    few, many = (statistics.median(measured) for measured in zip(*rounds, strict=True))
    return _figure(f"claim of {_CLAIMED} events", many, few)


class _UnavailableSink:
    """Publishes nothing, so that the relay rolls the claim back."""

    async def publish(self, events: Sequence[OutboxEvent]) -> list[EventResult]:
        assert len(events) == _CLAIMED
        raise SinkUnavailable

    async def is_ready(self) -> bool:
        return False


async def _claim(relay: Relay) -> float:
    began = time.perf_counter()
    for _ in range(_CLAIMS):
        with suppress(SinkUnavailable):
            await relay.relay_batch()
    return (time.perf_counter() - began) / _CLAIMS


def _figure(name: str, many: float, few: float) -> Figure:
    title = f"{name}: {MANY:,} orders, against {FEW:,}"
    return Figure(title, "µs", many * 1e6, few * 1e6, at_most=1.1)
