"""Inbox: middleware that handles each message once, and gives the handler its transaction.

    from snsqs import ListenerContainer, Topology, bindings, sqs_listener
    from snsqs.inbox import Inbox
    from snsqs.postgres import Database, Transaction

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def on_order_completed(event: OrderCompleted, tx: Transaction) -> None:
        await tx.connection.execute("INSERT INTO bill (order_id) VALUES ($1)", event.source.id)

    def listeners(topology: Topology, database: Database) -> list[ListenerContainer]:
        bound = bindings([on_order_completed])
        return [ListenerContainer(topology, each, middleware=[Inbox(database)]) for each in bound]

The bill, the inbox's record of the message and all events that the handler publishes with `tx.publish` are
committed together, before the message is deleted from the queue. The tables come from `snsqs.migrations`.
With SQLAlchemy or psycopg the handler takes an AsyncSession or AsyncConnection: see `snsqs.sql`.

After "Idempotent Receiver" (Enterprise Integration Patterns).
"""

import logging
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from snsqs._batch_failures import BatchFailures
from snsqs._errors import TerminalError, Unavailable
from snsqs._handled_versions import HandledVersion, handled_versions, set_handled_version
from snsqs._handler import Delivery, MessageHandler
from snsqs._message import Message
from snsqs._model import WireModel
from snsqs._queue import ListenerQueues
from snsqs._settings import DEFAULT_DEAD_LETTER_RETENTION, DEFAULT_RETENTION
from snsqs._transaction import InboxContext, Transaction, inbox_context
from snsqs.headers import SOURCE
from snsqs.retention import Expiry
from snsqs.sql import (
    DatabaseUnavailable,
    SqlConnection,
    SqlTransaction,
    StatementTimeout,
    TransactionManager,
    Unstorable,
)

if TYPE_CHECKING:
    from snsqs.postgres import Connection, Database

__all__ = [
    "MIN_RETENTION_DAYS",
    "HandledVersion",
    "Inbox",
    "ReceivedMessage",
    "RetentionTooShort",
    "VersionJump",
    "handled_versions",
    "received",
    "received_messages",
    "set_handled_version",
    "validate_retention",
]

log = logging.getLogger(__name__)

# A concurrent delivery of the same message waits on the first insert until that transaction ends; one of
# the same aggregate and source waits on the second. A rollback of the handler's transaction undoes both.
# An unknown source ('', also in rows from before there was the column) may be any: its versions are compared
# with those of all sources, and those of all sources with it.
RECORD = """
    WITH recorded AS (
        INSERT INTO inbox (
            consumer, message_id, type, subject, sequence, receive_count, received_at, handler
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT DO NOTHING
        RETURNING consumer, subject, sequence
    ), newest AS (
        INSERT INTO inbox_version (consumer, subject, sequence, source)
        SELECT consumer, subject, sequence, $9
        FROM recorded
        WHERE sequence IS NOT NULL AND NOT EXISTS (
            SELECT FROM inbox_version AS other
            WHERE other.consumer = $1 AND other.subject = $4 AND other.sequence >= $5
              AND (other.source = '' OR $9 = '')
        )
        ON CONFLICT (consumer, subject, source) DO UPDATE SET sequence = excluded.sequence
            WHERE inbox_version.sequence < excluded.sequence
        RETURNING sequence
    )
    SELECT EXISTS (SELECT FROM recorded) AS is_first,
           $5::bigint IS NULL OR EXISTS (SELECT FROM newest) AS is_newest,
           (SELECT max(sequence) FROM inbox_version
            WHERE consumer = $1 AND subject = $4 AND (source IN ('', $9) OR $9 = '')) AS known
"""

DUPLICATE = "UPDATE inbox SET duplicates = duplicates + 1 WHERE consumer = $1 AND message_id = $2"

SUPERSEDED = "UPDATE inbox SET outcome = 'superseded' WHERE consumer = $1 AND message_id = $2"

HANDLED = "UPDATE inbox SET handled_at = clock_timestamp() WHERE consumer = $1 AND message_id = ANY ($2)"

# Version -1 is older than any. The row has to exist to be locked until the end of the transaction.
LOCK_VERSION = """
    INSERT INTO inbox_version (consumer, subject, source, sequence)
    VALUES ($1, $2, $3, -1)
    ON CONFLICT (consumer, subject, source) DO UPDATE SET sequence = inbox_version.sequence
    RETURNING sequence
"""

RESTORE_VERSION = """
    UPDATE inbox_version SET sequence = $4 WHERE consumer = $1 AND subject = $2 AND source = $3
"""

FORGET = "DELETE FROM inbox WHERE consumer = $1 AND message_id = ANY ($2)"

RECEIVED = """
    SELECT consumer, message_id, type, sequence AS version, handler, receive_count, duplicates, outcome,
           received_at, handled_at
    FROM inbox
    WHERE subject = $1
    ORDER BY received_at
    LIMIT 1000
"""

_DAY = 24 * 60 * 60

MIN_RETENTION_DAYS = (2 * DEFAULT_RETENTION + DEFAULT_DEAD_LETTER_RETENTION) // _DAY
"""Longest life of a message: 4 days in its queue, 14 in the dead-letter queue, and 4 more in the queue once
it is redriven (`QueueSettings`)."""


class RetentionTooShort(ValueError):
    """Records of the inbox would expire while their messages can still be delivered. Keep them longer."""


class VersionJump(TerminalError):
    """The version of a message is far beyond the newest one handled: every true one after it would be
    superseded. If it is genuine, set the version of the aggregate (`set_handled_version`) and redrive."""


class Inbox:
    """Middleware: runs the handler in one transaction with the record of the message.

    A message id that was recorded for the queue before has no effect. Neither has a message about an older
    version of its aggregate (`ce-sequence`) than one already handled; it is recorded as superseded. So the
    handlers of a queue must bring their side to the state that the event carries, instead of applying a
    change to it. Events that carry only a part of the state need a queue of their own.

    Versions are compared for each source (`ce-source`), so a queue may carry events of several services about
    the same id. A message without a source is compared with those of all sources.

    A batch is handled in one transaction. It commits although the handler reports some events as failed
    (`BatchFailures`); only the records of these messages are undone. Their effects are undone by the handler.

    Records expire (`received_messages`); the newest version of each aggregate is kept, so that a very late
    message is still recognised as old.

    Handlers take the resource of the transaction: `Transaction` with asyncpg, `AsyncSession` or
    `AsyncConnection` with SQLAlchemy and psycopg. They must not commit.

    Events that the handler publishes have the message's id as their cause, unless it handles a batch of
    several messages. Raises Unavailable while the database is unavailable, StatementTimeout for a statement
    that is too slow, which is a failure of its message, and TerminalError for values that cannot be stored.
    """

    def __init__(
        self,
        database: "TransactionManager | Database",
        *,
        max_version_jump: int | None = None,
        retention_days: int | None = None,
    ) -> None:
        """
        Args:
            database: pool with one connection per running handler; see `snsqs.postgres.connect`,
                `snsqs.sqlalchemy.SqlAlchemyDatabase`, `snsqs.psycopg.PsycopgDatabase`.
            max_version_jump: greatest difference between a version and the newest one handled, or 0 for an
                unknown aggregate. A message beyond it raises VersionJump: it becomes a dead letter. None,
                the default, is for versions that do not count, such as timestamps.
            retention_days: days after which records expire, as of `received_messages`. A listener whose
                queues keep messages longer then raises RetentionTooShort at its start. None: they do not.
        """
        self._database: TransactionManager = database
        self._max_version_jump = max_version_jump
        self._retention_days = None if retention_days is None else validate_retention(retention_days)
        self.provides = database.provides

    def validate_queues(self, queues: ListenerQueues) -> None:
        """Raise RetentionTooShort when a message of the queues could outlive its record."""
        days, lifetime = self._retention_days, math.ceil(queues.message_lifetime / _DAY)
        if days is not None and days < lifetime:
            raise RetentionTooShort(
                f"the inbox keeps records for {days} days, but messages of {queues.queue.name} "
                f"may be delivered for {lifetime} ({queues.retention / _DAY:g} in the queue, "
                f"{queues.dead_letter_retention / _DAY:g} in {queues.dead_letters.name}, and after a redrive "
                "again in the queue); keep records longer, or reduce the queues' retention"
            )

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        after_commit: list[Callable[[], None]] = []
        try:
            async with self._database.transaction() as tx:
                # Sorted, so that two batches cannot deadlock on the aggregates that they share.
                messages = sorted(delivery.messages, key=_by_version)
                failures = delivery.resources.get(BatchFailures)
                versions = await _lock_versions(messages, delivery, tx) if failures else {}
                new = [message for message in messages if await self._is_new(message, delivery, tx)]
                if new:
                    context = InboxContext(new[0].id if len(new) == 1 else None, after_commit)
                    await self._handle(delivery.only(new), tx, context, proceed)
                    ids = [message.id for message in new]
                    await tx.connection.execute(HANDLED, delivery.queue, ids)
                    if isinstance(failures, BatchFailures) and failures.errors:
                        await _forget(new, failures, versions, delivery, tx)
        except StatementTimeout:
            raise  # a failure of this message: a retry in place would run the slow statement again and again
        except DatabaseUnavailable as error:
            raise Unavailable(f"database: {error}") from error
        except Unstorable as error:
            raise TerminalError(f"database: {error}") from error
        for callback in after_commit:
            callback()

    async def _handle(
        self, delivery: Delivery, tx: SqlTransaction, context: InboxContext, proceed: MessageHandler
    ) -> None:
        if isinstance(tx, Transaction):
            tx.cause_id = context.cause_id
        for kind in self.provides:
            delivery = delivery.providing(kind, tx.resource)
        token = inbox_context.set(context)
        try:
            await proceed(delivery)
        finally:
            inbox_context.reset(token)

    async def _is_new(self, message: Message[str], delivery: Delivery, tx: SqlTransaction) -> bool:
        row = await tx.connection.fetchrow(
            RECORD,
            delivery.queue,
            message.id,
            message.type,
            message.subject,
            message.sequence if message.subject else None,
            delivery.receive_count,
            delivery.received_at,
            delivery.handler,
            message.headers.get(SOURCE, ""),
        )
        assert row is not None
        if not row["is_first"]:
            await tx.connection.execute(DUPLICATE, delivery.queue, message.id)
            delivery.outcomes[message.id] = "duplicate"
            fields = {"queue": delivery.queue, "receive_count": delivery.receive_count}
            log.info("duplicate absorbed", extra=fields)
            return False
        if not row["is_newest"]:
            await tx.connection.execute(SUPERSEDED, delivery.queue, message.id)
            delivery.outcomes[message.id] = "superseded"
            fields = {"queue": delivery.queue, "version": message.sequence}
            log.info("superseded by a newer version", extra=fields)
            return False
        self._limit_jump(message, row["known"])
        return True

    def _limit_jump(self, message: Message[str], known: int | None) -> None:
        """Raise VersionJump. `known` is the newest version that was handled."""
        if self._max_version_jump is None or not message.subject or message.sequence is None:
            return
        newest = max(0, known or 0)
        if message.sequence - newest > self._max_version_jump:
            raise VersionJump(
                f"version {message.sequence} of {message.subject} is {message.sequence - newest} beyond "
                f"{newest}, the newest handled; at most {self._max_version_jump} are accepted"
            )


async def _lock_versions(
    messages: Sequence[Message[str]], delivery: Delivery, tx: SqlTransaction
) -> dict[tuple[str, str], int]:
    """Return the newest versions that were handled, by subject and source, and lock them."""
    versions: dict[tuple[str, str], int] = {}
    for message in messages:
        subject, source, _ = _by_version(message)
        if subject and message.sequence is not None and (subject, source) not in versions:
            row = await tx.connection.fetchrow(LOCK_VERSION, delivery.queue, subject, source)
            assert row is not None
            versions[subject, source] = row["sequence"]
    return versions


async def _forget(
    new: Sequence[Message[str]],
    failures: BatchFailures,
    versions: dict[tuple[str, str], int],
    delivery: Delivery,
    tx: SqlTransaction,
) -> None:
    """Delete the records of messages that the handler reported as failed, which will be delivered again."""
    failed = {message.id for message in new if message.id in failures.errors}
    await tx.connection.execute(FORGET, delivery.queue, list(failed))
    for message in new:
        subject, source, version = _by_version(message)
        if message.id not in failed and (subject, source) in versions:
            versions[subject, source] = max(versions[subject, source], version)
    for (subject, source), version in versions.items():
        await tx.connection.execute(RESTORE_VERSION, delivery.queue, subject, source, version)


def _by_version(message: Message[str]) -> tuple[str, str, int]:
    return message.subject, message.headers.get(SOURCE, ""), message.sequence or 0


class ReceivedMessage(WireModel):
    """A message that was handled, or superseded by a newer version of its aggregate."""

    consumer: str
    message_id: str
    type: str
    version: int | None
    handler: str
    """Name of the function that handles this type."""
    receive_count: int
    """SQS's receive count of the delivery that was recorded."""
    duplicates: int
    """Further deliveries, which had no effect."""
    outcome: str
    """`handled` or `superseded`."""
    received_at: datetime
    handled_at: datetime


async def received(connection: "SqlConnection | Connection", subject: str) -> list[ReceivedMessage]:
    """Return the messages about one aggregate, oldest first, at most 1,000."""
    return [ReceivedMessage(**dict(row)) for row in await connection.fetch(RECEIVED, subject)]


def validate_retention(days: int) -> int:
    """Return `days` if the inbox's records may expire after them. Raises RetentionTooShort."""
    if days < MIN_RETENTION_DAYS:
        raise RetentionTooShort(
            f"must be at least {MIN_RETENTION_DAYS} days: a message may wait 4 days in its queue, 14 days "
            "in the dead-letter queue, and wait 4 more once it is redriven"
        )
    return days


def received_messages(days: int) -> Expiry:
    """Expire records `days` after their messages were received. Raises RetentionTooShort when a message could
    outlive its record.

    The newest version of each aggregate does not expire, and still rejects a message whose record has. Only
    messages without a version depend on their records alone.
    """
    return Expiry("inbox", "received_at", validate_retention(days))
