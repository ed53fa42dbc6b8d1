"""Inbox on a real PostgreSQL: each message once, never an older version."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import snsqs.inbox
from pydantic import ValidationError
from snsqs import (
    Acknowledgement,
    AwsClients,
    BatchFailures,
    Delivery,
    DomainEvent,
    ListenerContainer,
    ListenerOptions,
    Message,
    MessageHandler,
    QueueSettings,
    TerminalError,
    Topology,
    Unavailable,
    bindings,
    sqs_listener,
)
from snsqs.events import ApplicationEventPublisher
from snsqs.headers import SEQUENCE, SOURCE, SUBJECT
from snsqs.inbox import (
    Inbox,
    RetentionTooShort,
    VersionJump,
    handled_versions,
    received,
    received_messages,
    set_handled_version,
)
from snsqs.postgres import Database, Transaction, connect
from snsqs.testing import Faults, MemoryBroker

from services.scm.settings import Settings
from tests.serving import eventually
from tests.snsqs.queues import TOPIC, Painted, listener, message
from tests.snsqs.relays import run, sweeping
from tests.snsqs.test_channel_sink import docstring_blocks


@pytest.fixture
async def database(scm_database: str) -> AsyncIterator[Database]:
    async with connect(scm_database, ApplicationEventPublisher()) as opened:
        async with opened.connection() as connection:
            await connection.execute("CREATE TABLE effect (message_id text)")
        yield opened


async def effect(delivery: Delivery) -> None:
    """Handler with an effect in the transaction of the inbox."""
    await transaction_of(delivery).connection.execute("INSERT INTO effect VALUES ($1)", delivery.message.id)


def transaction_of(delivery: Delivery) -> Transaction:
    tx = delivery.resources[Transaction]
    assert isinstance(tx, Transaction)
    return tx


def random_text(characters: int) -> str:
    """Incompressible text; PostgreSQL compresses a key before it checks its length."""
    return random.Random(0).randbytes(characters // 2).hex()


def delivered(sent: Message[str], queue: str = "queue") -> Delivery:
    return Delivery((sent,), queue, 1, datetime.now(UTC))


async def effects(database: Database) -> list[str]:
    async with database.connection() as connection:
        return [row["message_id"] for row in await connection.fetch("SELECT message_id FROM effect")]


async def outcomes(database: Database, subject: str) -> list[tuple[int | None, str]]:
    async with database.connection() as connection:
        return [(each.version, each.outcome) for each in await received(connection, subject)]


async def test_a_message_has_its_effect_once_however_often_it_is_delivered(database: Database) -> None:
    """G3: sequential and concurrent deliveries. Duplicates are counted."""
    inbox, sent = Inbox(database), message()
    await inbox(delivered(sent), effect)
    await inbox(delivered(sent), effect)
    await asyncio.gather(*(inbox(delivered(sent), effect) for _ in range(10)))
    assert await effects(database) == [sent.id]
    async with database.connection() as connection:
        [record] = await received(connection, sent.subject)
    assert record.duplicates == 11


async def test_every_consumer_has_its_own_effect(database: Database) -> None:
    """One message on several queues is new to each of them."""
    inbox, sent = Inbox(database), message()
    await inbox(delivered(sent, "fulfilment"), effect)
    await inbox(delivered(sent, "demand"), effect)
    assert await effects(database) == [sent.id, sent.id]


async def test_an_older_version_has_no_effect(database: Database) -> None:
    """G4: it is recorded as superseded, and has no effect when it is delivered again either."""
    inbox = Inbox(database)
    older, newer = message(version=2), message(version=3)
    await inbox(delivered(newer), effect)
    await inbox(delivered(older), effect)
    await inbox(delivered(older), effect)
    assert await effects(database) == [newer.id]
    assert await outcomes(database, "1") == [(3, "handled"), (2, "superseded")]


async def test_versions_are_counted_for_each_aggregate(database: Database) -> None:
    """Another order's newer version supersedes nothing of this one."""
    inbox = Inbox(database)
    await inbox(delivered(message(subject="1", version=9)), effect)
    await inbox(delivered(message(subject="2", version=1)), effect)
    assert len(await effects(database)) == 2


async def test_versions_are_counted_for_each_source(database: Database) -> None:
    """One queue may carry events of two services about the same id."""
    inbox = Inbox(database)
    order = [message(version=version, **{SOURCE: "order"}) for version in (7, 6, 8)]
    billing = [message(version=version, **{SOURCE: "billing"}) for version in (2, 1, 3)]
    for each in (order[0], billing[0], order[1], billing[1], order[2], billing[2]):
        await inbox(delivered(each), effect)
    assert await effects(database) == [each.id for each in (order[0], billing[0], order[2], billing[2])]


@pytest.mark.parametrize(("known", "late"), [("", "order"), ("order", "")])
async def test_an_unknown_source_may_be_any(database: Database, known: str, late: str) -> None:
    """No older version passes where only one of the messages names its source."""
    inbox = Inbox(database)
    newer, older, newest, stale = (
        message(version=3, **{SOURCE: known}),
        message(version=2, **{SOURCE: late}),
        message(version=4, **{SOURCE: late}),
        message(version=4, **{SOURCE: known}),
    )
    for each in (newer, older, newest, stale):
        await inbox(delivered(each), effect)
    assert await effects(database) == [newer.id, newest.id]


JUMP = 1_000_000


async def test_a_version_far_beyond_the_newest_one_is_rejected(database: Database) -> None:
    """It would supersede every true version after it. Gaps within the limit are normal."""
    inbox = Inbox(database, max_version_jump=JUMP)
    first, gap, jump, after = (message(version=version) for version in (7, 7 + JUMP, 8 + 2 * JUMP, 8 + JUMP))
    await inbox(delivered(first), effect)
    await inbox(delivered(gap), effect)
    with pytest.raises(VersionJump, match=f"version {8 + 2 * JUMP} of 1 is {JUMP + 1} beyond {7 + JUMP}"):
        await inbox(delivered(jump), effect)
    await inbox(delivered(after), effect)
    assert await effects(database) == [first.id, gap.id, after.id]


@pytest.mark.parametrize(("known", "late"), [("order", ""), ("", "order"), ("order", "order")])
async def test_a_jump_is_measured_from_every_source_that_it_may_have(
    database: Database, known: str, late: str
) -> None:
    """As versions are compared."""
    inbox = Inbox(database, max_version_jump=JUMP)
    await inbox(delivered(message(version=JUMP, **{SOURCE: known})), effect)
    await inbox(delivered(message(version=2 * JUMP, **{SOURCE: late})), effect)
    with pytest.raises(VersionJump):
        await inbox(delivered(message(version=3 * JUMP + 1, **{SOURCE: late})), effect)


async def test_the_first_version_of_an_aggregate_is_measured_from_0(database: Database) -> None:
    """A forged message may arrive before every true one."""
    inbox, forged, genuine = Inbox(database, max_version_jump=JUMP), message(version=10**18 - 1), message()
    with pytest.raises(VersionJump):
        await inbox(delivered(forged), effect)
    await inbox(delivered(genuine), effect)
    assert await effects(database) == [genuine.id]


async def test_a_version_jump_is_a_dead_letter_and_an_error_in_the_log(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """It delays no other message."""

    @listener
    async def on_painted(event: Painted) -> None: ...

    async with MemoryBroker() as broker:
        broker.listen(on_painted, middleware=[Inbox(database, max_version_jump=JUMP)])
        await broker.topic(TOPIC).send([message(version=JUMP + 1), message(version=1)])
        await broker.join(raise_errors=False)
        [letter] = broker.dead_letters()
    assert letter.reason.startswith("VersionJump: version 1000001 of 1")
    [error] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "VersionJump" in vars(error)["reason"]
    assert await outcomes(database, "1") == [(1, "handled")]


async def test_a_repaired_version_lets_true_messages_pass_again(database: Database) -> None:
    """Also those that were superseded in the meantime, when they are sent again."""
    inbox, old, forged, true = Inbox(database), message(version=1), message(version=900), message(version=2)
    for each in (old, forged, true):
        await inbox(delivered(each), effect)
    assert await effects(database) == [old.id, forged.id]
    async with database.connection() as connection:
        [known] = await handled_versions(connection, "1")
        assert (known.consumer, known.source, known.version) == ("queue", "", 900)
        assert await set_handled_version(connection, "queue", "1", 1) == 900
    for each in (old, true, true):
        await inbox(delivered(each), effect)
    assert await effects(database) == [old.id, forged.id, true.id]


async def test_a_repaired_version_admits_a_genuine_jump(database: Database) -> None:
    """Also of an aggregate that the queue does not know yet."""
    inbox, genuine = Inbox(database, max_version_jump=JUMP), message(version=3 * JUMP)
    async with database.connection() as connection:
        assert await set_handled_version(connection, "queue", "1", 3 * JUMP - 1) is None
    await inbox(delivered(genuine), effect)
    assert await effects(database) == [genuine.id]


@pytest.mark.parametrize("version", [-1, 10**18])
async def test_a_version_is_repaired_within_its_range_only(database: Database, version: int) -> None:
    """The error names subject, value and range."""
    async with database.connection() as connection:
        with pytest.raises(ValueError, match=f"version of 1 must be 0 to 9+, not {version}"):
            await set_handled_version(connection, "queue", "1", version)


UNREADABLE = [{SUBJECT: None}, {SEQUENCE: None}, {SUBJECT: None, SEQUENCE: None}, {SUBJECT: ""}]


@pytest.mark.parametrize("missing", UNREADABLE, ids=lambda missing: " ".join(map(str, missing.items())))
@pytest.mark.parametrize("is_claimed", [False, True])
async def test_a_message_without_version_in_its_headers_has_that_of_its_payload(
    database: Database, missing: dict[str, str | None], is_claimed: bool
) -> None:
    """No older version passes; also when a middleware outside of the inbox fetches the payload."""
    painted: list[int] = []
    payloads: dict[str, str] = {}

    class Fetch:
        provides = ()

        async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
            fetched = [each.copy(payload=payloads.get(each.id, each.payload)) for each in delivery.messages]
            await proceed(delivery.only(fetched))

    @listener
    async def on_painted(event: Painted) -> None:
        painted.append(event.source.version)

    async with MemoryBroker() as broker:
        broker.listen(on_painted, middleware=[Fetch(), Inbox(database)])
        for version in (3, 2):
            sent = message(version=version)
            headers = {name: value for name, value in sent.headers.items() if name not in missing}
            headers |= {name: value for name, value in missing.items() if value is not None}
            if is_claimed:
                payloads[sent.id] = sent.payload
            payload = '{"claim": 1}' if is_claimed else sent.payload
            await broker.topic(TOPIC).send([Message(payload, headers)])
            await broker.join()
    assert painted == [3]
    assert await outcomes(database, "1") == [(3, "handled"), (2, "superseded")]


async def test_versions_at_the_same_time_end_at_the_newest(database: Database) -> None:
    """Whatever the interleaving, the last effect is that of the newest version."""
    inbox = Inbox(database)
    versions = [message(version=version) for version in range(1, 16)]
    await asyncio.gather(*(inbox(delivered(each), effect) for each in versions))
    assert (await effects(database))[-1] == versions[-1].id


async def test_a_failed_handler_leaves_no_trace_and_may_run_again(database: Database) -> None:
    """The record is rolled back with the handler's transaction."""
    inbox, sent = Inbox(database), message()

    async def fails(delivery: Delivery) -> None:
        await effect(delivery)
        raise RuntimeError("after the effect")

    with pytest.raises(RuntimeError):
        await inbox(delivered(sent), fails)
    assert await outcomes(database, "1") == []
    await inbox(delivered(sent), effect)
    assert await effects(database) == [sent.id]


async def test_a_database_that_goes_away_is_waited_for(database: Database) -> None:
    """PostgreSQL closes the connection while the handler runs: Unavailable, and no effect."""
    inbox, sent = Inbox(database), message()

    async def loses_its_connection(delivery: Delivery) -> None:
        await effect(delivery)
        tx = delivery.resources[Transaction]
        assert isinstance(tx, Transaction)
        async with database.connection() as other:
            await other.execute("SELECT pg_terminate_backend($1)", tx.connection.get_server_pid())
        await tx.connection.execute("SELECT 1")

    with pytest.raises(Unavailable, match="database"):
        await inbox(delivered(sent), loses_its_connection)
    assert await effects(database) == []
    await inbox(delivered(sent), effect)
    assert await effects(database) == [sent.id]


async def aged(database: Database, days: int) -> None:
    """Move the time of receipt of every record back by `days`."""
    await run(database, "UPDATE inbox SET received_at = received_at - make_interval(days => $1)", days)


async def has_expired(database: Database, subject: str) -> bool:
    """The inbox has no record of messages about the aggregate."""
    return await outcomes(database, subject) == []


async def test_old_records_are_deleted_and_newer_ones_kept(database: Database) -> None:
    """Handled and superseded records, in small batches."""
    inbox = Inbox(database)
    for version in (9, *range(8)):
        await inbox(delivered(message(subject="1", version=version)), effect)
    await aged(database, 31)
    await inbox(delivered(message(subject="2", version=1)), effect)
    await aged(database, 29)
    async with sweeping(database, received_messages(30), batch_size=2, pause=0.01):
        await eventually(lambda: has_expired(database, "1"))
    assert await outcomes(database, "2") == [(1, "handled")]


async def test_a_message_whose_record_has_expired_has_no_effect(database: Database) -> None:
    """G3 and G4 beyond the retention: the newest version of each aggregate does not expire."""
    inbox, newest, older = Inbox(database), message(version=3), message(version=2)
    await inbox(delivered(newest), effect)
    await aged(database, 31)
    async with sweeping(database, received_messages(30)):
        await eventually(lambda: has_expired(database, "1"))
    await inbox(delivered(newest), effect)
    await inbox(delivered(older), effect)
    assert await effects(database) == [newest.id]
    assert await outcomes(database, "1") == [(3, "superseded"), (2, "superseded")]


def test_records_cannot_be_deleted_while_their_messages_may_come_again() -> None:
    """4 days in the queue, 14 in the dead-letter queue, 4 after a redrive: the library and the settings
    reject less, with the reason."""
    assert received_messages(22).days == 22
    with pytest.raises(RetentionTooShort, match="at least 22 days: a message may wait 4 days in its queue"):
        received_messages(21)
    with pytest.raises(ValidationError, match="at least 22 days: a message may wait 4 days in its queue"):
        Settings(database_url="postgresql://", inbox_retention_days=21)


TWO_WEEKS = QueueSettings(retention=14 * 24 * 60 * 60)
"""Of the queue; with those of the dead-letter queue, and of the queue again, 42 days."""

TOO_SHORT = (
    "the inbox keeps records for 41 days, but messages of work may be delivered for 42 (14 in the queue, 14 "
    "in work-dlq, and after a redrive again in the queue); keep records longer, or reduce the queues' "
    "retention"
)


@pytest.mark.parametrize("exists", [False, True])
async def test_records_are_kept_as_long_as_the_queues_deliver(
    database: Database, aws: AwsClients, exists: bool
) -> None:
    """A shorter time is an error at the start of the listener: of a queue that its settings create, or of an
    existing one."""
    topology = Topology(aws, create=True, settings=TWO_WEEKS)
    [binding] = bindings([on_work])
    if exists:
        await topology.listener_queues(binding)
        topology = Topology(aws, create=False)
    await ListenerContainer(topology, binding, middleware=[Inbox(database, retention_days=42)]).prepare()
    short = ListenerContainer(topology, binding, middleware=[Inbox(database, retention_days=41)])
    for start in (short.prepare, short.run):
        with pytest.raises(RetentionTooShort) as raised:
            await start()
        assert str(raised.value) == TOO_SHORT
    assert short.health.state == "stopped"


async def test_records_are_kept_as_long_as_queues_in_memory_deliver(database: Database) -> None:
    """The same error."""

    async def listen(days: int) -> None:
        async with MemoryBroker(settings=TWO_WEEKS) as broker:
            broker.listen(on_work, middleware=[Inbox(database, retention_days=days)])
            await broker.queue_channel("work").send([message()])
            await broker.join()

    await listen(42)
    with pytest.raises(RetentionTooShort, match="but messages of work may be delivered for 42"):
        await listen(41)


@sqs_listener("work")
async def on_work(event: Painted) -> None: ...


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("INSERT INTO effect VALUES ($1)", "U+0000 is no text: \x00"),
        ("SELECT $1::integer", 2**31),
        ("INSERT INTO inbox_version (consumer, subject, sequence) VALUES ('', $1, 1)", random_text(10_000)),
    ],
)
async def test_a_value_that_cannot_be_stored_is_final(
    database: Database, statement: str, value: object
) -> None:
    """A retry cannot succeed: the transaction is rolled back, and the message becomes a dead letter."""

    async def handler(delivery: Delivery) -> None:
        await effect(delivery)
        await transaction_of(delivery).connection.execute(statement, value)

    with pytest.raises(TerminalError, match="database: "):
        await Inbox(database)(delivered(message()), handler)
    assert await effects(database) == []
    assert await outcomes(database, "1") == []


async def test_only_new_messages_of_a_batch_reach_the_handler(database: Database) -> None:
    """Each message of a batch is recorded; duplicates and older versions are left out."""
    inbox = Inbox(database)
    seen, newer, older = (
        message(subject="1"),
        message(subject="2", version=2),
        message(subject="2", version=1),
    )
    await inbox(delivered(seen), effect)
    batches: list[list[str]] = []

    async def handler(delivery: Delivery) -> None:
        batches.append([each.id for each in delivery.messages])

    await inbox(delivered(newer), effect)
    fresh = message(subject="3")
    batch = Delivery((seen, older, fresh), "queue", 1, datetime.now(UTC))
    await inbox(batch, handler)
    await inbox(batch, handler)
    assert batches == [[fresh.id]]
    assert await outcomes(database, "2") == [(2, "handled"), (1, "superseded")]


async def test_the_example_of_the_module_runs(database: Database) -> None:
    """The program in the docstring of snsqs.inbox makes one listener."""

    class OrderCompleted(DomainEvent):
        pass

    [program] = docstring_blocks(snsqs.inbox)
    names: dict[str, Any] = {"OrderCompleted": OrderCompleted}
    exec(program, names)
    [container] = names["listeners"](topology=None, database=database)
    assert container.binding.event_types == ["OrderCompleted"]


async def test_only_reported_events_of_a_batch_are_handled_again(database: Database) -> None:
    """The transaction commits for the others, and the failed ones are neither duplicates nor superseded."""
    handled: list[tuple[str, int]] = []
    sizes: list[int] = []

    @listener
    async def handler(events: list[Painted], tx: Transaction, failures: BatchFailures) -> None:
        sizes.append(len(events))
        for event in events:
            subject, version = event.source.id, event.source.version
            try:
                async with tx.connection.transaction():
                    await tx.connection.execute("INSERT INTO effect VALUES ($1)", f"{subject}:{version}")
                    if len(sizes) == 1 and (subject, version) in failing:
                        raise RuntimeError("not yet")
            except RuntimeError as error:
                failures.add(event, error)
            else:
                handled.append((subject, version))

    failing = {("a", 2), ("b", 1), ("c", 1)}
    async with (
        MemoryBroker() as broker,
        asyncio.timeout(30),
    ):
        broker.listen(handler, middleware=[Inbox(database)], options=ListenerOptions(max_concurrency=1))
        pairs = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("d", 1)]
        await broker.topic(TOPIC).send([message(subject=subject, version=v) for subject, v in pairs])
        await broker.join()
    assert sizes[0] == 6
    assert sorted(handled) == [("a", 1), ("a", 2), ("b", 2), ("c", 1), ("d", 1)]
    assert sorted(await effects(database)) == ["a:1", "a:2", "b:2", "c:1", "d:1"]
    assert await outcomes(database, "a") == [(1, "handled"), (2, "handled")]
    assert sorted(await outcomes(database, "b")) == [(1, "superseded"), (2, "handled")]


async def test_the_inbox_absorbs_duplicates_of_a_def_handler(database: Database) -> None:
    """It runs in a thread, inside the inbox's transaction, of which it cannot be a part."""
    handled: list[str] = []

    @listener
    def handler(event: Painted) -> None:
        handled.append(event.source.id)

    sent = message()
    async with MemoryBroker() as broker:
        broker.listen(handler, middleware=[Inbox(database)])
        for _ in range(2):
            await broker.topic(TOPIC).send([sent])
            await broker.join()
    assert handled == ["1"]
    assert await outcomes(database, "1") == [(1, "handled")]


async def test_a_duplicate_is_deleted_with_manual_acknowledgement(database: Database) -> None:
    """The inbox absorbs it before the handler, the only one that could acknowledge it."""

    @listener
    async def handler(event: Painted, acknowledgement: Acknowledgement) -> None:
        await acknowledgement.acknowledge()

    async with MemoryBroker(faults=Faults(duplicate=1)) as broker, asyncio.timeout(60):
        broker.listen(handler, middleware=[Inbox(database)], options=ListenerOptions(manual_ack=True))
        await broker.topic(TOPIC).send([message()])
        await broker.join()
        assert sorted(each.outcome for each in broker.outcomes) == ["duplicate", "handled"]
        assert not broker.dead_letters()


class PanicException(BaseException):
    """Derived as pyo3_runtime.PanicException."""


@dataclass(frozen=True)
class FrozenTerminal(TerminalError):
    """An error to which nothing can be assigned."""

    code: int = 7


@pytest.mark.parametrize("error", [PanicException("index"), SystemExit(0), GeneratorExit(), FrozenTerminal()])
async def test_the_transaction_is_rolled_back_whatever_the_handler_raises(
    database: Database, error: BaseException
) -> None:
    """The message is a dead letter, and the connection returns to the pool."""

    @listener
    async def handler(event: Painted, tx: Transaction) -> None:
        await tx.connection.execute("INSERT INTO effect VALUES ($1)", event.source.id)
        if event.source.id == "bad":
            raise error

    settings = QueueSettings(max_receive_count=1)
    async with MemoryBroker(settings=settings) as broker, asyncio.timeout(60):
        broker.listen(handler, middleware=[Inbox(database)])
        await broker.topic(TOPIC).send([message(subject="bad"), message(subject="good")])
        await broker.join(raise_errors=False)
        [letter] = broker.dead_letters()
    assert type(error).__name__ in letter.reason
    assert await effects(database) == ["good"]
    assert await outcomes(database, "bad") == []
