"""Transactions of processes that are alive, frozen, or blocked by another transaction."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import Connection, Database, DatabaseUnavailable, connect

LOCK_AND_WAIT = """
import asyncio, sys
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import connect

async def main():
    async with connect(sys.argv[1], ApplicationEventPublisher()) as database:
        async with database.transaction() as tx:
            await tx.connection.execute("SELECT pg_advisory_xact_lock(1)")
            print("locked", flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def locking_process(url: str) -> AsyncIterator[int]:
    """Process id of a process that holds advisory lock 1 in an idle transaction."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOCK_AND_WAIT, url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"locked\n"
        yield process.pid
    finally:
        process.kill()
        await process.wait()


async def test_only_the_transaction_of_a_frozen_process_is_ended(
    processes: None, order_database: str
) -> None:
    """Its lock is free within 30 s. A transaction that is idle for longer, in a process that is alive, can
    still commit."""
    waiting = await asyncpg.connect(order_database)
    async with (
        connect(order_database, ApplicationEventPublisher()) as database,
        database.transaction() as tx,
        locking_process(order_database) as pid,
    ):
        await tx.connection.execute("CREATE TABLE survives (value text)")
        os.kill(pid, signal.SIGSTOP)
        frozen = time.monotonic()
        await waiting.execute("SELECT pg_advisory_lock(1)", timeout=60)
        assert time.monotonic() - frozen < 30
        await asyncio.sleep(5)  # the lock was taken after this transaction's last statement
        await tx.connection.execute("INSERT INTO survives VALUES ('yes')")
    assert await waiting.fetchval("SELECT value FROM survives") == "yes"
    await waiting.close()


async def test_a_lock_that_is_held_for_too_long_is_unavailability(database: Database) -> None:
    """It names the lock, not the statement."""
    async with database.transaction() as holding:
        await holding.connection.execute("SELECT pg_advisory_xact_lock(1)")
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            async with database.transaction() as tx:
                await tx.connection.execute("SELECT pg_advisory_xact_lock(1)")


async def test_a_vanished_host_is_found(database: Database) -> None:
    """By keepalives, and by the user timeout of TCP while PostgreSQL writes to it. The test's server has no
    TCP; it accepts the settings and ignores them."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT name FROM pg_settings WHERE source = 'client'")
    keepalives = {f"tcp_keepalives_{each}" for each in ("idle", "interval", "count")}
    assert keepalives | {"tcp_user_timeout"} <= {row["name"] for row in rows}


@pytest.mark.parametrize(
    "statement",
    [
        lambda connection: connection.execute("SELECT 1"),
        lambda connection: connection.execute("SELECT $1::int", 1),
        lambda connection: connection.fetch("SELECT generate_series(1, 100)"),
        lambda connection: connection.fetchval("SELECT 1"),
        lambda connection: connection.fetchrow("SELECT 1"),
        lambda connection: connection.executemany("SELECT $1::int", [[1], [2]]),
        lambda connection: connection.copy_records_to_table("copied", records=[(1,)]),
        lambda connection: _prepared(connection),
        lambda connection: _cursor(connection),
        lambda connection: _opened_cursor(connection),
    ],
)
async def test_keeping_a_transaction_alive_does_not_disturb_its_statements(
    order_database: str, statement: Callable[[Connection], Awaitable[object]]
) -> None:
    """Without pause, on the same connection: never "another operation is in progress"."""
    async with connect(order_database, ApplicationEventPublisher(), connections=1) as database:
        for _ in range(50):
            async with database.transaction() as tx:
                await tx.connection.execute("CREATE TEMPORARY TABLE copied (value int) ON COMMIT DROP")
                done = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    group.create_task(_keep_touching(tx.connection, done))
                    for _ in range(5):
                        await asyncio.sleep(0)
                        await statement(tx.connection)
                    done.set()


async def test_a_failed_transaction_is_kept_alive(database: Database) -> None:
    """The statement that keeps it alive fails in it, unnoticed."""
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.execute("SELECT FROM missing")
        await _touch(connection)
        assert connection.is_in_transaction()
        await transaction.rollback()


async def _touch(connection: Any) -> None:
    await connection.touch()


async def _keep_touching(connection: Connection, done: asyncio.Event) -> None:
    while not done.is_set():
        await _touch(connection)
        await asyncio.sleep(0)


async def _prepared(connection: Connection) -> None:
    statement = await connection.prepare("SELECT 1")
    await asyncio.sleep(0)
    assert await statement.fetchval() == 1


async def _opened_cursor(connection: Connection) -> None:
    cursor = await connection.cursor("SELECT generate_series(1, 100)")
    await asyncio.sleep(0)
    assert len(await cursor.fetch(3)) == 3


async def _cursor(connection: Connection) -> None:
    async for _ in connection.cursor("SELECT generate_series(1, 100)", prefetch=10):
        await asyncio.sleep(0)
