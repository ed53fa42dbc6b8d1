"""EventLog: appends domain events to the outbox, as an in-process listener or in any transaction."""

import asyncio
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from snsqs._converter import JSON_CONVERTER
from snsqs._errors import InvalidEvent
from snsqs._event import declaration_of, declared
from snsqs._model import WireModel
from snsqs._transaction import ReportsEnd, Transaction, inbox_context
from snsqs.retention import Expiry
from snsqs.sql import SqlConnection
from snsqs.tracing import current_traceparent, current_tracestate

if TYPE_CHECKING:
    from snsqs.postgres import Connection

APPEND = """
    INSERT INTO event_log (id, type, subject, sequence, occurred_at, traceparent, tracestate, data, cause)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
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
    """ApplicationListener that appends every published event to the table `event_log`, in the transaction
    that publishes it. An event is a DomainEvent, or an object of a class declared with `@event`, which must
    have an id and a version; other objects that are published in process are ignored.

    Register it after the listeners that may still reject the command. After the commit it wakes the relay of
    this process. Without in-process events, or with SQLAlchemy or psycopg, `append` does the same.
    """

    def __init__(self, *event_types: Any) -> None:
        """
        Args:
            event_types: types that the service publishes, to find those without a declared id or version when
                it starts; otherwise the first publishing of such an event fails. Raises InvalidEvent.
        """
        for event_type in event_types:
            declaration = declared(event_type)
            if not declaration.has_id or not declaration.has_version:
                raise _incomplete(declaration.name)
        self.wake = asyncio.Event()
        """Set after a commit with events to relay; the relay clears it."""

    async def on_application_event(self, event: object, tx: Transaction) -> None:
        """Append the event, if it is one. Its `cause` is `tx.cause_id`, its trace the current one. Raises
        InvalidEvent if it has no id or version."""
        if declaration_of(type(event)) is None:
            return
        await self._insert(event, type(event), tx.connection, tx.cause_id)
        self.wake_relay_after_commit(tx)

    async def append(
        self,
        event: object,
        connection: "SqlConnection | Connection",
        *,
        event_type: Any = None,
        cause_id: str | None = None,
    ) -> None:
        """Append the event in the caller's transaction, without in-process listeners.

        The relay is woken after the commit where the library sees it: in a handler behind `Inbox`, and on a
        `snsqs.sqlalchemy.SqlAlchemySession`. Elsewhere call `event_log.wake.set()` after the commit;
        otherwise the relay finds the event with its next poll (`RelayOptions.poll_interval`).

        Args:
            event: stored with the current trace.
            connection: an asyncpg connection, or an adapter of `snsqs.sqlalchemy` or `snsqs.psycopg`.
            event_type: type of an event whose class is not declared, such as a TypedDict.
            cause_id: id of the message that caused the event. By default that of the message which `Inbox`
                handles in this task, or None.
        """
        context = inbox_context.get()
        if cause_id is None and context is not None:
            cause_id = context.cause_id
        kind = type(event) if event_type is None else event_type
        await self._insert(event, kind, connection, cause_id)
        if isinstance(connection, ReportsEnd):
            connection.on_transaction_end(self.wake.set)
        elif context is not None:
            context.after_commit.append(self.wake.set)

    async def _insert(
        self, event: object, kind: Any, connection: "SqlConnection | Connection", cause_id: str | None
    ) -> None:
        declaration = declared(kind)
        subject, version = declaration.id_of(event), declaration.version_of(event)
        if not subject or version is None:
            raise _incomplete(declaration.name)
        await connection.execute(
            APPEND,
            uuid.uuid4(),
            declaration.name,
            subject,
            version,
            declaration.time_of(event),
            current_traceparent(),
            current_tracestate(),
            JSON_CONVERTER.to_payload(event, kind),
            cause_id,
        )

    def wake_relay_after_commit(self, tx: Transaction) -> None:
        """Wake the relay once the transaction is committed."""
        tx.after_commit(self._wake_relay)

    async def _wake_relay(self) -> None:
        self.wake.set()


def _incomplete(name: str) -> InvalidEvent:
    return InvalidEvent(
        f"{name} has no id or no version, which the event log needs; declare them: "
        f"@event({name!r}, id=…, version=…)"
    )


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


async def history(connection: "SqlConnection | Connection", subject: str) -> list[LoggedEvent]:
    """Return the events of one aggregate, oldest first, at most 1,000."""
    return [LoggedEvent(**dict(row)) for row in await connection.fetch(HISTORY, subject)]


def decided_events(days: int | None) -> Expiry:
    """Expire events `days` after their decision; None keeps them. Waiting and parked events never expire."""
    return Expiry("event_log", "decided_at", days)
