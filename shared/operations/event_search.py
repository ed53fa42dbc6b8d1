"""Search in the event log, page by page, newest or oldest first."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from snsqs import WireModel
from snsqs.cloudevents import CloudEvent
from snsqs.postgres import Connection

# Positions are those of the log, times those of the clocks of the hosts that published: the two may disagree
# by any amount. So the first and last position of a period are read from its own events, and the rest of the
# log is skipped. `position + 0` keeps PostgreSQL from searching them along the position instead of the time.
_CRITERIA = """
    FROM event_log
    WHERE ($1::text IS NULL OR type = $1)
      AND ($2::text IS NULL OR subject = $2)
      AND ($3::text IS NULL OR decision = $3
           OR ($3 = 'waiting' AND decision IS NULL AND parked_at IS NULL)
           OR ($3 = 'parked' AND parked_at IS NOT NULL))
      AND ($4::timestamptz IS NULL OR occurred_at >= $4 AND position >= (
          SELECT min(position + 0) FROM event_log
          WHERE occurred_at >= $4 AND ($5::timestamptz IS NULL OR occurred_at < $5)
      ))
      AND ($5::timestamptz IS NULL OR occurred_at < $5 AND position <= (
          SELECT max(position + 0) FROM event_log
          WHERE occurred_at < $5 AND ($4::timestamptz IS NULL OR occurred_at >= $4)
      ))
      AND ($6::uuid[] IS NULL OR id = ANY ($6))
      AND ($7::bigint IS NULL OR position <= $7)
      AND ($8::text IS NULL OR rule = $8)
"""

COUNT = f"SELECT count(*) {_CRITERIA}"

_SEARCH = f"""
    SELECT position, id, type, subject, sequence, occurred_at, relayed_at, decided_at, decision, rule,
           message_id, attempts, last_error, parked_at, traceparent, tracestate, cause, data
    {_CRITERIA}
"""

NEWEST_FIRST = f"""{_SEARCH}
      AND ($9::bigint IS NULL OR position < $9)
    ORDER BY position DESC
    LIMIT $10
"""

OLDEST_FIRST = f"""{_SEARCH}
      AND ($9::bigint IS NULL OR position > $9)
    ORDER BY position
    LIMIT $10
"""

RELEASABLE = f"""SELECT position {_CRITERIA}
    ORDER BY position
    LIMIT $9
    FOR UPDATE
"""

# Due from now on, and so after those that were never tried: many released events delay no new one.
RELEASE = """
    UPDATE event_log
    SET decision = NULL, decided_at = NULL, rule = NULL, message_id = NULL, relayed_at = NULL, attempts = 0,
        next_attempt_at = now()
    WHERE position = ANY ($1) AND decision = 'held_back'
    RETURNING id
"""

# Plan for the given parameters: a generic plan could not use an index, because each parameter may be NULL.
CUSTOM_PLAN = "SET LOCAL plan_cache_mode = force_custom_plan"


class State(StrEnum):
    """State of an event: the adapter's decision, or waiting or parked without one."""

    FORWARDED = "forwarded"
    HELD_BACK = "held_back"
    WAITING = "waiting"
    PARKED = "parked"


@dataclass(frozen=True)
class Search:
    """Criteria for events; None does not restrict them."""

    type: str | None = None
    subject: str | None = None
    decision: State | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""
    ids: Sequence[uuid.UUID] | None = None
    up_to: int | None = None
    """Last position."""
    rule: str | None = None
    """Rule that decided."""


class FoundEvent(WireModel):
    """Event of the log, with attributes named after CloudEvents, and its state."""

    position: int
    """Position in the log, and cursor of the page that begins after it."""
    id: uuid.UUID
    type: str
    subject: str
    """Id of the aggregate."""
    sequence: int
    """Version of the aggregate."""
    occurred_at: datetime
    relayed_at: datetime | None
    decided_at: datetime | None
    decision: str | None
    """Null while the event waits or is parked."""
    rule: str | None
    message_id: str | None
    attempts: int
    last_error: str | None
    parked_at: datetime | None
    traceparent: str | None
    tracestate: str | None
    cause: str | None
    """Id of the message whose handler published the event; null if a command did."""
    data: dict[str, Any]
    """Domain event as published in process, including fields that routes remove."""

    def cloud_event(self, source: str) -> CloudEvent:
        """Return the event as the relay of the service `source` sends it."""
        return CloudEvent(
            id=str(self.id),
            source=source,
            type=self.type,
            subject=self.subject,
            time=self.occurred_at,
            sequence=str(self.sequence),
            traceparent=self.traceparent,
            tracestate=self.tracestate,
            data=self.data,
        )


class EventPage(WireModel):
    """Events of one page, in the requested order."""

    events: list[FoundEvent]
    next: int | None
    """Value of `after` for the next page; null on the last one."""


async def search(
    connection: Connection, query: Search, *, after: int | None, limit: int, oldest_first: bool = False
) -> EventPage:
    """Return up to `limit` events older than the position `after`, or newer ones with `oldest_first`."""
    statement = OLDEST_FIRST if oldest_first else NEWEST_FIRST
    async with connection.transaction(readonly=True):
        await connection.execute(CUSTOM_PLAN)
        rows = await connection.fetch(statement, *astuple(query), after, limit + 1)
    found = [FoundEvent(**{**row, "data": json.loads(row["data"])}) for row in rows[:limit]]
    return EventPage(events=found, next=found[-1].position if len(rows) > limit else None)


async def release(connection: Connection, query: Search, limit: int) -> list[uuid.UUID]:
    """Let up to `limit` of the events that were held back wait again, those published first. Return their
    ids. Wake the relay with `EventLog.wake_relay_after_commit`."""
    await connection.execute(CUSTOM_PLAN)
    held_back = replace(query, decision=State.HELD_BACK)
    rows = await connection.fetch(RELEASABLE, *astuple(held_back), limit)
    return [row["id"] for row in await connection.fetch(RELEASE, [row["position"] for row in rows])]


async def count(connection: Connection, query: Search) -> int:
    """Return the number of events that `search` finds on all pages."""
    async with connection.transaction(readonly=True):
        await connection.execute(CUSTOM_PLAN)
        events: int = await connection.fetchval(COUNT, *astuple(query))
    return events
