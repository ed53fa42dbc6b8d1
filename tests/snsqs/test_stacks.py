"""Outbox, inbox and retention on every supported database stack (`tests.snsqs.stacks`)."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from snsqs import (
    Aggregate,
    BatchFailures,
    Delivery,
    DomainEvent,
    ListenerOptions,
    Message,
    MessageHandler,
    MessagingError,
    TerminalError,
    Unavailable,
)
from snsqs.inbox import Inbox, ReceivedMessage, received, received_messages
from snsqs.outbox import (
    ChannelSink,
    EventLog,
    LoggedEvent,
    Relay,
    RelayOptions,
    history,
    parked_events,
    read_backlog,
    resubmit,
)
from snsqs.retention import Retention
from snsqs.sql import DatabaseUnavailable
from snsqs.sqlalchemy import SqlAlchemyDatabase, SqlAlchemySession, UnsupportedDialect
from snsqs.testing import MemoryBroker
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from local.ports import HOST, free_ports
from local.postgres import Postgres
from tests.conftest import fresh_database
from tests.serving import eventually
from tests.snsqs.queues import TOPIC, Painted, listener, message
from tests.snsqs.relays import running
from tests.snsqs.stacks import STACKS, SqlAlchemySessions, Stack


class Placed(DomainEvent):
    source: Aggregate


def placed(version: int = 1) -> Placed:
    return Placed(source=Aggregate(id="1", version=version))


class FakeChannel:
    """Channel that keeps the messages, and rejects those of some versions."""

    def __init__(self, *rejected: int) -> None:
        self.messages: list[Message[str]] = []
        self.rejected = set(rejected)

    async def send(self, messages: Sequence[Message[str]]) -> list[str]:
        raise NotImplementedError

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        self.messages.extend(messages)
        return [
            TerminalError("over the limit") if each.sequence in self.rejected else f"sns-{each.id}"
            for each in messages
        ]


def relay_to(channel: FakeChannel, stack: Stack, event_log: EventLog, **options: Any) -> Relay:
    options = {"max_backoff": 0.2} | options
    sink = ChannelSink(channel, source="test")
    return Relay(stack.database, event_log, sink, options=RelayOptions(**options))


@pytest.fixture(params=STACKS)
def stack_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
async def lone_database(postgres_server: Postgres) -> AsyncIterator[str]:
    """One database for all tests of the module, emptied before each."""
    async with fresh_database(postgres_server, "template_scm") as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE effect (message_id text, number integer, key text UNIQUE)")
        await connection.close()
        yield url


@pytest.fixture
async def observer(lone_database: str) -> AsyncIterator["asyncpg.Connection"]:
    """A connection of its own."""
    connection = await asyncpg.connect(lone_database)
    yield connection
    await connection.close()


@pytest.fixture
async def stack(stack_name: str, lone_database: str, observer: "asyncpg.Connection") -> AsyncIterator[Stack]:
    await observer.execute("TRUNCATE effect, event_log, inbox, inbox_version")
    async with STACKS[stack_name](lone_database) as opened:
        yield opened


def random_text(characters: int) -> str:
    """Incompressible text; PostgreSQL compresses a key before it checks its length."""
    return random.Random(0).randbytes(characters // 2).hex()


def delivered(*messages: Message[str]) -> Delivery:
    return Delivery(messages, "queue", 1, datetime.now(UTC))


def handler(stack: Stack, *then: Callable[[Any], Awaitable[None]]) -> MessageHandler:
    """A handler with an effect through the stack's own API."""

    async def handle(delivery: Delivery) -> None:
        resource = delivery.resources[stack.resource]
        assert isinstance(resource, stack.resource)
        await stack.write(resource, "INSERT INTO effect VALUES (:value)", delivery.message.id)
        for each in then:
            await each(resource)

    return handle


async def effects(observer: "asyncpg.Connection") -> list[str]:
    return [row["message_id"] for row in await observer.fetch("SELECT message_id FROM effect")]


async def log_of(stack: Stack) -> list[LoggedEvent]:
    async with stack.database.transaction() as tx:
        return await history(tx.connection, "1")


async def received_by(stack: Stack) -> list[ReceivedMessage]:
    async with stack.database.transaction() as tx:
        return await received(tx.connection, "1")


async def test_an_event_is_appended_in_the_transaction_of_the_caller(stack: Stack) -> None:
    """G2: a rollback leaves neither change nor event."""
    event_log = EventLog()
    with suppress(RuntimeError):
        async with stack.begin() as resource:
            await event_log.append(placed(1), stack.connection(resource))
            raise RuntimeError("after the event")
    async with stack.begin() as resource:
        await stack.write(resource, "INSERT INTO effect VALUES (:value)", "100 %")
        await event_log.append(placed(2), stack.connection(resource), cause_id="command-1")
    [event] = await log_of(stack)
    assert (event.type, event.version, event.cause, event.decision) == ("Placed", 2, "command-1", None)


async def test_the_relay_publishes_what_was_appended(stack: Stack) -> None:
    """Payload, headers and decision are the same on every stack."""
    event_log, channel = EventLog(), FakeChannel()
    event = placed()
    async with running(relay_to(channel, stack, event_log, poll_interval=60)):
        async with stack.begin() as resource:
            await event_log.append(event, stack.connection(resource))
        event_log.wake.set()
        [logged] = await eventually(lambda: decided(stack))
    [sent] = channel.messages
    assert sent.payload == event.model_dump_json()
    assert (sent.type, sent.subject, sent.sequence) == ("Placed", "1", 1)
    assert (logged.decision, logged.message_id) == ("forwarded", f"sns-{sent.id}")


async def decided(stack: Stack) -> list[LoggedEvent]:
    logged = await log_of(stack)
    return logged if logged and all(each.decision for each in logged) else []


async def test_a_rejected_event_is_parked_and_resubmitted(stack: Stack) -> None:
    """Failures, backlog and the criteria of parked events."""
    event_log, channel = EventLog(), FakeChannel(2)
    async with stack.begin() as resource:
        for version in (1, 2):
            await event_log.append(placed(version), stack.connection(resource))

    async def backlog() -> tuple[int, int]:
        async with stack.database.transaction() as tx:
            found = await read_backlog(tx.connection)
        return found.waiting, found.parked

    async def is_parked() -> bool:
        return await backlog() == (0, 1)

    assert await backlog() == (2, 0)
    async with running(relay_to(channel, stack, event_log, max_attempts=2, poll_interval=0.2)):
        await eventually(is_parked)
        async with stack.database.transaction() as tx:
            [event] = await parked_events(tx.connection, type="Placed", subject="1", error="LIMIT")
            assert await parked_events(tx.connection, ids=[]) == []
            assert await parked_events(tx.connection, ids=[str(event.id)]) == [event]
            channel.rejected.clear()
            assert await resubmit(tx.connection, [event.id]) == [event.id]
        await eventually(lambda: decided(stack))


async def test_a_message_has_its_effect_once(stack: Stack, observer: "asyncpg.Connection") -> None:
    """G3: effect and record are committed together; duplicates are counted."""
    inbox, sent = Inbox(stack.database), message()
    await inbox(delivered(sent), handler(stack))
    await asyncio.gather(*(inbox(delivered(sent), handler(stack)) for _ in range(4)))
    assert await effects(observer) == [sent.id]
    [record] = await received_by(stack)
    assert (record.duplicates, record.outcome) == (4, "handled")


async def test_an_older_version_has_no_effect(stack: Stack, observer: "asyncpg.Connection") -> None:
    """G4; a message without a version is checked by its id."""
    inbox = Inbox(stack.database)
    newer, older = message(version=3), message(version=2)
    unversioned = Message("{}", {"ce-id": "unversioned", "ce-type": "Placed"})
    for each in (newer, older, unversioned, unversioned):
        await inbox(delivered(each), handler(stack))
    assert await effects(observer) == [newer.id, "unversioned"]
    assert [each.outcome for each in await received_by(stack)] == ["handled", "superseded"]


async def test_a_failed_handler_leaves_no_trace(stack: Stack, observer: "asyncpg.Connection") -> None:
    """Its effect and the record are rolled back, and it may run again."""
    inbox, sent = Inbox(stack.database), message()

    async def fail(_: object) -> None:
        raise RuntimeError("after the effect")

    with pytest.raises(RuntimeError):
        await inbox(delivered(sent), handler(stack, fail))
    assert await received_by(stack) == []
    await inbox(delivered(sent), handler(stack))
    assert await effects(observer) == [sent.id]


async def test_a_cancelled_handler_leaves_no_trace(stack: Stack, observer: "asyncpg.Connection") -> None:
    """G6: as when its lease is lost. The connection is usable afterwards."""
    inbox, sent, began = Inbox(stack.database), message(), asyncio.Event()

    async def hang(_: object) -> None:
        began.set()
        await asyncio.Event().wait()

    for _ in range(3):
        task = asyncio.ensure_future(inbox(delivered(sent), handler(stack, hang)))
        await began.wait()
        began.clear()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await inbox(delivered(sent), handler(stack))
    assert await effects(observer) == [sent.id]


async def test_events_of_a_handler_have_their_cause_and_wake_the_relay(stack: Stack) -> None:
    """After the commit, not before: the relay would find nothing."""
    inbox, event_log, sent = Inbox(stack.database), EventLog(), message()
    early: list[bool] = []

    async def publish(resource: object) -> None:
        await event_log.append(placed(), stack.connection(resource))
        early.append(event_log.wake.is_set())

    await inbox(delivered(sent), handler(stack, publish))
    [event] = await log_of(stack)
    assert event.cause == sent.id
    assert (early, event_log.wake.is_set()) == ([False], True)


async def test_events_of_a_batch_have_no_single_cause(stack: Stack) -> None:
    """One transaction for two messages."""
    inbox, event_log = Inbox(stack.database), EventLog()

    async def publish(resource: object) -> None:
        await event_log.append(placed(), stack.connection(resource))

    await inbox(delivered(message(version=1), message(version=2)), handler(stack, publish))
    [event] = await log_of(stack)
    assert event.cause is None


async def test_only_reported_events_of_a_batch_are_handled_again(
    stack: Stack, observer: "asyncpg.Connection"
) -> None:
    """The transaction commits for the others; the failed ones are neither duplicates nor superseded."""
    sizes: list[int] = []

    async def handle(events: list[Painted], resource: object, failures: BatchFailures) -> None:
        sizes.append(len(events))
        for event in events:
            try:
                async with stack.savepoint(resource):
                    key = f"{event.source.id}:{event.source.version}"
                    await stack.write(resource, "INSERT INTO effect (key) VALUES (:value)", key)
                    if len(sizes) == 1 and key in ("a:2", "b:1"):
                        raise RuntimeError("not yet")
            except RuntimeError as error:
                failures.add(event, error)

    handle.__annotations__["resource"] = stack.resource
    options = ListenerOptions(max_concurrency=1, backoff=lambda _: 0)
    async with MemoryBroker() as broker:
        broker.listen(listener(handle), middleware=[Inbox(stack.database)], options=options)
        pairs = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1)]
        await broker.topic(TOPIC).send([message(subject=subject, version=v) for subject, v in pairs])
        await broker.join()
    assert sizes[0] == 5
    assert sorted(row["key"] for row in await observer.fetch("SELECT key FROM effect")) == [
        *("a:1", "a:2"),
        *("b:2", "c:1"),
    ]
    records = await observer.fetch("SELECT subject, sequence, outcome FROM inbox ORDER BY 1, 2")
    assert [tuple(record) for record in records] == [
        ("a", 1, "handled"),
        ("a", 2, "handled"),
        ("b", 1, "superseded"),
        ("b", 2, "handled"),
        ("c", 1, "handled"),
    ]


async def test_a_lost_connection_is_waited_for(stack: Stack, observer: "asyncpg.Connection") -> None:
    """PostgreSQL ends the connection while the handler runs: Unavailable, and no effect."""
    inbox, sent = Inbox(stack.database), message()

    async def lose_connection(resource: object) -> None:
        row = await stack.connection(resource).fetchrow("SELECT pg_backend_pid() AS pid")
        assert row is not None
        await observer.execute("SELECT pg_terminate_backend($1)", row["pid"])
        await stack.write(resource, "INSERT INTO effect VALUES (:value)", "lost")

    with pytest.raises(Unavailable, match="database: "):
        await inbox(delivered(sent), handler(stack, lose_connection))
    assert await effects(observer) == []
    await inbox(delivered(sent), handler(stack))
    assert await effects(observer) == [sent.id]


async def test_a_pool_without_a_free_connection_is_waited_for(
    stack: Stack, observer: "asyncpg.Connection"
) -> None:
    """Both connections are in use."""
    async with stack.begin() as first, stack.begin() as second:
        for each in (first, second):
            await stack.write(each, "INSERT INTO effect VALUES (:value)", "in use")
        with pytest.raises(Unavailable, match=r"database: .*(connection|QueuePool)"):
            await Inbox(stack.database)(delivered(message()), handler(stack))


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("INSERT INTO effect VALUES (:value)", "U+0000 is no text: \x00"),
        ("INSERT INTO effect (number) VALUES (:value)", 2**31),
        ("INSERT INTO effect (key) VALUES (:value)", random_text(10_000)),
    ],
    ids=["character", "number", "size"],
)
async def test_a_value_that_cannot_be_stored_is_final(
    stack: Stack, observer: "asyncpg.Connection", statement: str, value: object
) -> None:
    """A retry cannot succeed: the transaction is rolled back, and the message becomes a dead letter."""

    async def store(resource: object) -> None:
        await stack.write(resource, statement, value)

    with pytest.raises(TerminalError, match="database: "):
        await Inbox(stack.database)(delivered(message()), handler(stack, store))
    assert await effects(observer) == []
    assert await received_by(stack) == []


async def test_other_errors_of_the_database_are_those_of_the_handler(stack: Stack) -> None:
    """A wrong statement is neither unavailable nor a bad message: it is retried as any other error."""

    async def fail(resource: object) -> None:
        await stack.write(resource, "INSERT INTO missing VALUES (:value)", "x")

    with pytest.raises(Exception, match="missing") as raised:
        await Inbox(stack.database)(delivered(message()), handler(stack, fail))
    assert not isinstance(raised.value, MessagingError | DatabaseUnavailable)


async def test_expired_records_are_deleted(stack: Stack, observer: "asyncpg.Connection") -> None:
    """Retention runs on every stack."""
    await Inbox(stack.database)(delivered(message()), handler(stack))
    await observer.execute("UPDATE inbox SET received_at = received_at - interval '31 days'")

    async def has_expired() -> bool:
        return await received_by(stack) == []

    async with running(Retention(stack.database, received_messages(30))):
        await eventually(has_expired)


@pytest.mark.parametrize("stack_name", [name for name in STACKS if name != "asyncpg"], indirect=True)
async def test_no_server_is_unavailable(stack_name: str) -> None:
    """G8: nothing listens at the address. Not asyncpg, whose pool connects at start: DatabaseUnreachable."""
    [port] = free_ports(1)
    async with STACKS[stack_name](f"postgresql://app@{HOST}:{port}/app") as stack:
        with pytest.raises(Unavailable, match="database: "):
            await Inbox(stack.database)(delivered(message()), handler(stack))


@pytest.mark.parametrize("stack_name", ["sqlalchemy-session-asyncpg"], indirect=True)
async def test_a_commit_of_a_session_wakes_the_relay(stack: Stack) -> None:
    """Once for each transaction: the end of a savepoint and other transactions do not."""
    assert isinstance(stack, SqlAlchemySessions)
    event_log = EventLog()
    async with stack.session() as session:
        async with session.begin():
            async with session.begin_nested():
                await event_log.append(placed(1), SqlAlchemySession(session))
                await event_log.append(placed(2), SqlAlchemySession(session))
            assert not event_log.wake.is_set()
        assert event_log.wake.is_set()
        event_log.wake.clear()
        async with session.begin():
            await session.connection()
        assert not event_log.wake.is_set()


def test_only_postgresql_is_accepted() -> None:
    """The error names the dialect and the remedy, at start."""

    class Engine:
        dialect = sqlite.dialect()

    engine: Any = Engine()
    sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(engine)
    with pytest.raises(UnsupportedDialect, match="'sqlite' is not supported; use postgresql"):
        SqlAlchemyDatabase(sessions)


def test_a_session_class_of_the_user_is_a_parameter_type() -> None:
    """Next to AsyncSession."""

    class Session(AsyncSession):
        pass

    assert SqlAlchemyDatabase(async_sessionmaker(class_=Session)).provides == (AsyncSession, Session)
