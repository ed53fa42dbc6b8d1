"""Inbox: once only, never backwards. The middleware that gives a handler its transaction."""

from datetime import datetime

import structlog

from snsqs._errors import TerminalError, Unavailable
from snsqs._handler import Delivery, MessageHandler
from snsqs._message import Message
from snsqs._model import WireModel
from snsqs._queue import QueueSettings
from snsqs.postgres import Connection, Database, DatabaseUnavailable, Transaction, Unstorable
from snsqs.retention import Expiry

log = structlog.get_logger(__name__)

# A concurrent delivery of the same message waits on the first insert until that transaction ends; one of
# the same aggregate waits on the second. Both are undone when the handler's transaction is rolled back.
RECORD = """
    WITH recorded AS (
        INSERT INTO inbox (
            consumer, message_id, type, subject, sequence, receive_count, received_at, handler
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT DO NOTHING
        RETURNING consumer, subject, sequence
    ), newest AS (
        INSERT INTO inbox_version (consumer, subject, sequence)
        SELECT consumer, subject, sequence FROM recorded WHERE sequence IS NOT NULL
        ON CONFLICT (consumer, subject) DO UPDATE SET sequence = excluded.sequence
            WHERE inbox_version.sequence < excluded.sequence
        RETURNING sequence
    )
    SELECT EXISTS (SELECT FROM recorded) AS is_first,
           $5::bigint IS NULL OR EXISTS (SELECT FROM newest) AS is_newest
"""

ABSORBED = "UPDATE inbox SET duplicates = duplicates + 1 WHERE consumer = $1 AND message_id = $2"

SUPERSEDED = "UPDATE inbox SET outcome = 'superseded' WHERE consumer = $1 AND message_id = $2"

HANDLED = "UPDATE inbox SET handled_at = clock_timestamp() WHERE consumer = $1 AND message_id = ANY ($2)"

RECEIVED = """
    SELECT consumer, message_id, type, sequence, handler, receive_count, duplicates, outcome, received_at,
           handled_at
    FROM inbox
    WHERE subject = $1
    ORDER BY received_at
    LIMIT 1000
"""

_QUEUE = QueueSettings()

MIN_RETENTION_DAYS = (2 * _QUEUE.retention + _QUEUE.dead_letter_retention) // (24 * 60 * 60)
"""How long a copy of a message may live: 4 days in its queue, 14 among the dead letters, and once it is
redriven 4 more in the queue (`QueueSettings`)."""


class RetentionTooShort(ValueError):
    """The inbox would forget messages that can still be delivered again. Keep its records longer."""


class Inbox:
    """Middleware: runs the handler in a transaction together with the record that it has run.

    A message id that the queue's consumer has recorded before has no effect; neither has a message about
    an older version of its aggregate (`ce-sequence`) than one already handled, which is recorded as
    superseded. So the handlers on one queue have to bring their side to the state that the event carries,
    instead of adding one step; events that carry only a part of it get a queue of their own.

    The records are deleted after a while (`received_messages`), the newest version of each aggregate never
    is: a message that comes later than anybody expected is then still recognised as old.

    After "Idempotent Receiver" (Enterprise Integration Patterns).
    """

    provides = (Transaction,)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        try:
            async with self._database.transaction() as tx:
                # Sorted, so that two batches never wait for each other's aggregates.
                messages = sorted(delivery.messages, key=lambda each: (each.subject, each.sequence or 0))
                new = [message for message in messages if await self._is_new(message, delivery, tx)]
                if new:
                    tx.cause = new[0].id if len(new) == 1 else None
                    await proceed(delivery.only(new).providing(Transaction, tx))
                    ids = [message.id for message in new]
                    await tx.connection.execute(HANDLED, delivery.queue, ids)
        except DatabaseUnavailable as error:
            raise Unavailable(f"database: {error}") from error
        except Unstorable as error:
            raise TerminalError(f"database: {error}") from error

    async def _is_new(self, message: Message[str], delivery: Delivery, tx: Transaction) -> bool:
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
        )
        assert row is not None
        if not row["is_first"]:
            await tx.connection.execute(ABSORBED, delivery.queue, message.id)
            delivery.outcomes[message.id] = "duplicate"
            log.info("duplicate absorbed", queue=delivery.queue, receive_count=delivery.receive_count)
            return False
        if not row["is_newest"]:
            await tx.connection.execute(SUPERSEDED, delivery.queue, message.id)
            delivery.outcomes[message.id] = "superseded"
            log.info("superseded by a newer version", queue=delivery.queue, version=message.sequence)
            return False
        return True


class ReceivedMessage(WireModel):
    """A message that was handled, or superseded: nothing was to be done about it any more."""

    consumer: str
    message_id: str
    type: str
    version: int | None
    handler: str
    """The function that handled it, or would have."""
    receive_count: int
    """At the delivery that was handled."""
    duplicates: int
    """How many more deliveries of it were absorbed since."""
    outcome: str
    received_at: datetime
    handled_at: datetime


async def received(connection: Connection, subject: str) -> list[ReceivedMessage]:
    """The messages about one aggregate, oldest first, a thousand at most."""
    return [
        ReceivedMessage(**dict(row), version=row["sequence"])
        for row in await connection.fetch(RECEIVED, subject)
    ]


def validate_retention(days: int) -> int:
    """The days, when records may be deleted after them. Raises RetentionTooShort."""
    if days < MIN_RETENTION_DAYS:
        raise RetentionTooShort(
            f"must be at least {MIN_RETENTION_DAYS} days: a message may wait 4 days in its queue, 14 days "
            "in the dead-letter queue, and wait 4 more once it is redriven"
        )
    return days


def received_messages(days: int) -> Expiry:
    """Deletes the records of messages that were received so many days ago. Raises RetentionTooShort when a
    message could outlive its record.

    The versions of the aggregates are kept: they hold a late message off even when its record is gone.
    Only messages without a version depend on their records alone.
    """
    return Expiry("inbox", "received_at", validate_retention(days))
