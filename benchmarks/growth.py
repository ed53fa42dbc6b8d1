"""The Order service with many orders, against itself with few: reads and claims must not notice."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
from snsqs.outbox._relay import CLAIM

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
    """What the relay reads for a batch, with the services stopped, and given back."""
    connections = [await asyncpg.connect(database.url(name)) for name in DATABASES]
    for connection in connections:
        await connection.execute(WAITING, 10 * _CLAIMED)
        await connection.execute("VACUUM (ANALYZE) event_log", timeout=60)
    rounds = [[await _claim(connection) for connection in connections] for _ in range(ROUNDS)]
    for connection in connections:
        await connection.close()
    few, many = (statistics.median(measured) for measured in zip(*rounds, strict=True))
    return _figure(f"claim of {_CLAIMED} events", many, few)


async def _claim(connection: asyncpg.Connection) -> float:
    began = time.perf_counter()
    for _ in range(_CLAIMS):
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch(CLAIM, _CLAIMED)
        await transaction.rollback()
    return (time.perf_counter() - began) / _CLAIMS


def _figure(name: str, many: float, few: float) -> Figure:
    title = f"{name}: {MANY:,} orders, against {FEW:,}"
    return Figure(title, "µs", many * 1e6, few * 1e6, at_most=1.1)
