"""Inbox: once only, never backwards. The middleware that gives a handler its transaction."""

from datetime import datetime

import structlog

from shared.domain_event import WireModel
from shared.messaging import Delivery, MessageHandler, Unavailable
from shared.postgres import Connection, Database, DatabaseUnavailable, Transaction

log = structlog.get_logger(__name__)

# A concurrent delivery of the same message waits on the first insert until that transaction ends; one of
# the same aggregate waits on the second. Both are undone when the handler's transaction is rolled back.
RECORD = """
    WITH recorded AS (
        INSERT INTO inbox (consumer, message_id, type, subject, sequence, receive_count, received_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
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

SUPERSEDED = "UPDATE inbox SET outcome = 'superseded' WHERE consumer = $1 AND message_id = $2"

HANDLED = "UPDATE inbox SET handled_at = clock_timestamp() WHERE consumer = $1 AND message_id = $2"

RECEIVED = """
    SELECT consumer, message_id, type, sequence, receive_count, outcome, received_at, handled_at
    FROM inbox
    WHERE subject = $1
    ORDER BY received_at
    LIMIT 1000
"""


class Inbox:
    """Middleware: runs the handler in a transaction together with the record that it has run.

    A message id that the queue's consumer has recorded before has no effect; neither has a message about
    an older version of its aggregate (`ce-sequence`) than one already handled, which is recorded as
    superseded. So the handlers on one queue have to bring their side to the state that the event carries,
    instead of adding one step; events that carry only a part of it get a queue of their own.

    After "Idempotent Receiver" (Enterprise Integration Patterns).
    """

    provides = (Transaction,)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        try:
            async with self._database.transaction() as tx:
                if await self._is_new(delivery, tx):
                    await proceed(delivery.providing(Transaction, tx))
                    await tx.connection.execute(HANDLED, delivery.queue, delivery.message.id)
        except DatabaseUnavailable as error:
            raise Unavailable(f"database: {error}") from error

    async def _is_new(self, delivery: Delivery, tx: Transaction) -> bool:
        message = delivery.message
        row = await tx.connection.fetchrow(
            RECORD,
            delivery.queue,
            message.id,
            message.type,
            message.subject,
            message.sequence if message.subject else None,
            delivery.receive_count,
            delivery.received_at,
        )
        assert row is not None
        if not row["is_first"]:
            log.info("duplicate absorbed", queue=delivery.queue, receive_count=delivery.receive_count)
            return False
        if not row["is_newest"]:
            await tx.connection.execute(SUPERSEDED, delivery.queue, message.id)
            log.info("superseded by a newer version", queue=delivery.queue, version=message.sequence)
            return False
        return True


class ReceivedMessage(WireModel):
    """A message that was handled, or superseded: nothing was to be done about it any more."""

    consumer: str
    message_id: str
    type: str
    version: int | None
    receive_count: int
    outcome: str
    received_at: datetime
    handled_at: datetime


async def received(connection: Connection, subject: str) -> list[ReceivedMessage]:
    """The messages about one aggregate, oldest first, a thousand at most."""
    return [
        ReceivedMessage(**dict(row), version=row["sequence"])
        for row in await connection.fetch(RECEIVED, subject)
    ]
