"""A relay with a long backlog, against a real adapter: the last event must not cost more than the first."""

import asyncio
import tempfile
from pathlib import Path

import asyncpg
import httpx
from snsqs.events import ApplicationEventPublisher
from snsqs.outbox import EventLog, Relay
from snsqs.outbox.http import HttpSink
from snsqs.postgres import connect

from benchmarks.child import in_child
from benchmarks.figure import Figure
from benchmarks.meter import cpu_seconds
from local.ports import Ports
from local.postgres import postgres
from local.system import LocalSystem
from shared.runtime.tokens import bearer, development_token

BACKLOG = 100_000

FILL = """
    INSERT INTO event_log (id, type, subject, sequence, occurred_at, data)
    SELECT gen_random_uuid(), 'OrderCompleted', number::text, 1, now(), json_build_object(
        'source', json_build_object(
            'id', number::text, 'version', 2, 'status', 'COMPLETED', 'completedAt', now(),
            'orderLines', json_build_array(json_build_object('sku', 'MUG-01', 'quantity', 1))
        ),
        'occurenceOn', 1520393282506
    )
    FROM generate_series(1, $1::integer) AS number
"""
WAITING = "SELECT count(*) FROM event_log WHERE decision IS NULL"
SECONDS = """
    WITH ranked AS (SELECT decided_at, row_number() OVER (ORDER BY decided_at) AS rank FROM event_log)
    SELECT extract(epoch FROM max(decided_at) - min(decided_at))::float8
    FROM ranked
    WHERE rank BETWEEN $1 AND $2
"""


async def ours(database_url: str, adapter_url: str) -> dict[str, float]:
    """Events per second of the first and of the last tenth; and of all, per event, the relay's CPU and its
    calls of the adapter."""
    calls = 0

    async def count(request: httpx.Request) -> None:
        nonlocal calls
        calls += request.method == "POST"

    async with (
        connect(database_url, ApplicationEventPublisher()) as database,
        httpx.AsyncClient(event_hooks={"request": [count]}) as http,
        database.connection() as connection,
    ):
        sink = HttpSink(http, adapter_url, source="order", headers=bearer(development_token("order")))
        relay = Relay(database, EventLog(), sink)
        cpu = cpu_seconds()
        running = asyncio.create_task(relay.run())
        while await connection.fetchval(WAITING):
            await asyncio.sleep(1)
        cpu = cpu_seconds() - cpu
        relay.stop()
        await running
        tenth = BACKLOG // 10
        return {
            "first": tenth / await connection.fetchval(SECONDS, 1, tenth),
            "last": tenth / await connection.fetchval(SECONDS, BACKLOG - tenth + 1, BACKLOG),
            "cpu": cpu / BACKLOG,
            "calls": calls / BACKLOG,
        }


async def relay() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with postgres(folder / "postgres") as server:
            system = LocalSystem(folder, Ports.free(), server, lambda _, __: None)
            try:
                measured = await _drain(system)
            finally:
                await system.stop()
    return [
        Figure(
            f"relay: last tenth of {BACKLOG:,}, against the first",
            "event/s",
            measured["last"],
            measured["first"],
            at_least=0.9,
        ),
        Figure("relay: CPU", "µs/event", measured["cpu"] * 1e6),
        Figure("relay: calls of the adapter", "per event", measured["calls"], at_most=0.0101),
    ]


async def _drain(system: LocalSystem) -> dict[str, float]:
    await asyncio.gather(system.start_aws(), system.migrate("order"))
    await system.start_service("adapter")
    connection = await asyncpg.connect(system.database_url("order"))
    await connection.execute(FILL, BACKLOG)
    await connection.close()
    return await in_child(
        ours, database_url=system.database_url("order"), adapter_url=system.ports.url("adapter")
    )
