"""A statement that is too slow, and a database that is unavailable: on every stack."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from snsqs import Delivery, ListenerOptions, Message, Unavailable
from snsqs.events import ApplicationEventPublisher
from snsqs.inbox import Inbox
from snsqs.postgres import Database, DatabaseUnavailable, StatementTimeout, Transaction
from snsqs.sqlalchemy import SqlAlchemyDatabase
from snsqs.testing import MemoryBroker
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.snsqs.queues import TOPIC, Painted, listener, message
from tests.snsqs.stacks import STACKS, Stack


@pytest.fixture(params=STACKS)
async def stack(request: pytest.FixtureRequest, order_database: str) -> AsyncIterator[Stack]:
    async with STACKS[request.param](order_database) as opened:
        yield opened


def delivered(sent: Message[str]) -> Delivery:
    return Delivery((sent,), "queue", 1, datetime.now(UTC))


async def handle(stack: Stack, body: Callable[[Any], Awaitable[None]]) -> None:
    """Handle a message behind the inbox with the stack's resource."""

    async def handler(delivery: Delivery) -> None:
        await body(delivery.resources[stack.resource])

    await Inbox(stack.database)(delivered(message()), handler)


async def test_a_statement_timeout_is_a_failure_of_the_message(stack: Stack) -> None:
    """It is not retried in place, as during an outage."""

    async def slow(resource: object) -> None:
        await stack.write(resource, "SELECT set_config('statement_timeout', :value, true)", "200ms")
        await stack.write(resource, "SELECT pg_sleep(:value)", 30)

    with pytest.raises(StatementTimeout, match="canceling statement due to statement timeout") as raised:
        await handle(stack, slow)
    assert not isinstance(raised.value, Unavailable)


async def test_a_time_limit_of_the_handler_itself_is_its_own_error(stack: Stack) -> None:
    """Such as that of a call of another service, or around a statement."""

    async def impatient(resource: object) -> None:
        async with asyncio.timeout(0.2):
            await stack.write(resource, "SELECT pg_sleep(:value)", 30)

    with pytest.raises(TimeoutError):
        await handle(stack, impatient)


async def test_a_lost_connection_is_unavailability(stack: Stack) -> None:
    """The message is retried in place."""

    async def lost(resource: object) -> None:
        statement = "SELECT pg_terminate_backend(pg_backend_pid()) WHERE :value = 'now'"
        await stack.write(resource, statement, "now")

    with pytest.raises(Unavailable, match="database: "):
        await handle(stack, lost)


async def test_a_slow_statement_makes_a_dead_letter_after_the_permitted_receives(database: Database) -> None:
    """Each receive runs it once; the reason names the statement timeout."""
    began: list[int] = []

    @listener
    async def on_painted(event: Painted, tx: Transaction, delivery: Delivery) -> None:
        began.append(delivery.receive_count)
        await tx.connection.execute("SET LOCAL statement_timeout = '200ms'")
        await tx.connection.execute("SELECT pg_sleep(60)")

    async with MemoryBroker() as broker:
        options = ListenerOptions(backoff=lambda receive_count: 0)
        broker.listen(on_painted, middleware=[Inbox(database)], options=options)
        await broker.topic(TOPIC).send([message()])
        await broker.join(raise_errors=False)
        [letter] = broker.dead_letters()
    assert began == [1, 2, 3, 4, 5]
    assert "canceling statement due to statement timeout" in letter.reason


@asynccontextmanager
async def asyncpg_with_limit(url: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(url, command_timeout=0.5) as pool:
        yield Database(pool, ApplicationEventPublisher())


@asynccontextmanager
async def sqlalchemy_with_limit(url: str) -> AsyncIterator[Any]:
    address = url.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(address, connect_args={"command_timeout": 0.5})
    yield SqlAlchemyDatabase(engine)
    await engine.dispose()


async def run(resource: Any, statement: str) -> Any:
    if isinstance(resource, Transaction):
        return await resource.connection.fetchval(statement)
    return (await resource.execute(text(statement))).scalar()


BACKEND = "SELECT pg_backend_pid()"
POSTMASTER = "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)::int"

LIMITED = pytest.mark.parametrize("opened", [asyncpg_with_limit, sqlalchemy_with_limit])


@LIMITED
async def test_a_statement_that_exceeds_the_limit_of_the_driver_is_slow(
    order_database: str, opened: Callable[[str], Any]
) -> None:
    """The server still responds."""
    async with opened(order_database) as database:
        with pytest.raises(StatementTimeout):
            async with database.transaction() as tx:
                await run(tx.resource, "SELECT pg_sleep(30)")


@LIMITED
async def test_a_server_that_does_not_respond_is_unavailable(
    order_database: str, opened: Callable[[str], Any]
) -> None:
    """Its processes are stopped in the middle of a transaction."""
    pids: list[int] = []

    async def freeze_in_transaction(database: Any) -> None:
        async with database.transaction() as tx:
            for statement in BACKEND, POSTMASTER:
                pids.append(await run(tx.resource, statement))
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            await run(tx.resource, "SELECT 1")

    async with opened(order_database) as database:
        try:
            with pytest.raises(DatabaseUnavailable) as raised:
                await freeze_in_transaction(database)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert not isinstance(raised.value, StatementTimeout)
