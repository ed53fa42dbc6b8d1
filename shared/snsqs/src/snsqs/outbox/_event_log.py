"""EventLog: the listener that appends every domain event, in the transaction that published it."""

import asyncio
import uuid
from datetime import UTC, datetime

from snsqs._domain_event import DomainEvent
from snsqs._model import WireModel
from snsqs.postgres import Connection, Transaction
from snsqs.retention import Expiry
from snsqs.tracing import current_traceparent

APPEND = """
    INSERT INTO event_log (id, type, subject, sequence, occurred_at, traceparent, data, cause)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

HISTORY = """
    SELECT id, type, sequence, occurred_at, cause, attempts, last_error, parked_at, relayed_at, decided_at,
           decision, rule, message_id
    FROM event_log
    WHERE subject = $1
    ORDER BY position
    LIMIT 1000
"""


class EventLog:
    """An ApplicationListener: what is published in process as a DomainEvent is logged to be relayed."""

    def __init__(self) -> None:
        self.due = asyncio.Event()
        """Set when a transaction of this process is committed that gives the relay something to do."""

    async def on_application_event(self, event: DomainEvent, tx: Transaction) -> None:
        await tx.connection.execute(
            APPEND,
            uuid.uuid4(),
            event.event_type,
            event.source.id,
            event.source.version,
            datetime.fromtimestamp(event.occurence_on / 1000, UTC),
            current_traceparent(),
            event.model_dump_json(),
            tx.cause,
        )
        self.wake_relay_after(tx)

    def wake_relay_after(self, tx: Transaction) -> None:
        """Has the relay look into the log once the transaction is committed."""
        tx.after_commit(self._wake)

    async def _wake(self) -> None:
        self.due.set()


class LoggedEvent(WireModel):
    """An event of the log and what became of it. `decision` is null while it waits to be relayed, and
    while it is parked: it failed too often, and is not tried again before it is resubmitted."""

    id: uuid.UUID
    type: str
    version: int
    occurred_at: datetime
    cause: str | None
    """The id of the message that was handled when it was published; null when it was a command."""
    attempts: int
    last_error: str | None
    parked_at: datetime | None
    relayed_at: datetime | None
    decided_at: datetime | None
    decision: str | None
    rule: str | None
    message_id: str | None


async def history(connection: Connection, subject: str) -> list[LoggedEvent]:
    """The events of one aggregate, oldest first, a thousand at most."""
    return [
        LoggedEvent(**dict(row), version=row["sequence"]) for row in await connection.fetch(HISTORY, subject)
    ]


def decided_events(days: int | None) -> Expiry:
    """Deletes events so many days after the adapter's decision; None keeps them. Events that wait or are
    parked are never deleted."""
    return Expiry("event_log", "decided_at", days)
