"""EventLog: the in-process listener that appends domain events to the outbox."""

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
    SELECT id, type, sequence AS version, occurred_at, cause, attempts, last_error, parked_at, relayed_at,
           decided_at, decision, rule, message_id
    FROM event_log
    WHERE subject = $1
    ORDER BY position
    LIMIT 1000
"""


class EventLog:
    """ApplicationListener that appends every published DomainEvent to the table `event_log`, in the
    transaction that publishes it.

    Register it after the listeners that may still reject the command. After the commit it wakes the relay of
    this process.
    """

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        """Set after a commit with events to relay; the relay clears it."""

    async def on_application_event(self, event: DomainEvent, tx: Transaction) -> None:
        """Append the event. Its `cause` is `tx.cause_id`, its trace the current one."""
        await tx.connection.execute(
            APPEND,
            uuid.uuid4(),
            event.event_type,
            event.source.id,
            event.source.version,
            datetime.fromtimestamp(event.occurence_on / 1000, UTC),
            current_traceparent(),
            event.model_dump_json(),
            tx.cause_id,
        )
        self.wake_relay_after_commit(tx)

    def wake_relay_after_commit(self, tx: Transaction) -> None:
        """Wake the relay once the transaction is committed."""
        tx.after_commit(self._wake_relay)

    async def _wake_relay(self) -> None:
        self.wake.set()


class LoggedEvent(WireModel):
    """An event of the log and its outcome.

    `decision` is null while the event waits to be relayed, and while it is parked: it failed too often, and
    is not retried until it is resubmitted.
    """

    id: uuid.UUID
    type: str
    version: int
    occurred_at: datetime
    cause: str | None
    """Id of the message whose handler published the event; null if a command published it."""
    attempts: int
    last_error: str | None
    parked_at: datetime | None
    relayed_at: datetime | None
    decided_at: datetime | None
    decision: str | None
    rule: str | None
    message_id: str | None


async def history(connection: Connection, subject: str) -> list[LoggedEvent]:
    """Return the events of one aggregate, oldest first, at most 1,000."""
    return [LoggedEvent(**dict(row)) for row in await connection.fetch(HISTORY, subject)]


def decided_events(days: int | None) -> Expiry:
    """Expire events `days` after their decision; None keeps them. Waiting and parked events never expire."""
    return Expiry("event_log", "decided_at", days)
