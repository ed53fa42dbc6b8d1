"""Search: the event log read page by page, from either end, with everything that is known of each event."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from snsqs import WireModel
from snsqs.postgres import Connection

# Positions follow the time, but for transactions that took long and hosts whose clocks differ. So a time
# is a position, five minutes either way, and an old period is found without reading what came after it.
_ASKED_FOR = """
    FROM event_log
    WHERE ($1::text IS NULL OR type = $1)
      AND ($2::text IS NULL OR subject = $2)
      AND ($3::text IS NULL OR decision = $3
           OR ($3 = 'waiting' AND decision IS NULL AND parked_at IS NULL)
           OR ($3 = 'parked' AND parked_at IS NOT NULL))
      AND ($4::timestamptz IS NULL OR occurred_at >= $4 AND position >= coalesce((
          SELECT position FROM event_log WHERE occurred_at < $4 - interval '5 minutes'
          ORDER BY occurred_at DESC LIMIT 1
      ), 0))
      AND ($5::timestamptz IS NULL OR occurred_at < $5 AND position <= coalesce((
          SELECT position FROM event_log WHERE occurred_at > $5 + interval '5 minutes'
          ORDER BY occurred_at LIMIT 1
      ), 9223372036854775807))
      AND ($6::uuid[] IS NULL OR id = ANY ($6))
"""

COUNT = f"SELECT count(*) {_ASKED_FOR}"

_SEARCH = f"""
    SELECT position, id, type, subject, sequence, occurred_at, relayed_at, decided_at, decision, rule,
           message_id, attempts, last_error, parked_at, traceparent, cause, data
    {_ASKED_FOR}
"""

NEWEST_FIRST = f"""{_SEARCH}
      AND ($7::bigint IS NULL OR position < $7)
    ORDER BY position DESC
    LIMIT $8
"""

OLDEST_FIRST = f"""{_SEARCH}
      AND ($7::bigint IS NULL OR position > $7)
    ORDER BY position
    LIMIT $8
"""

# A plan for these parameters: one for all of them could use no index, because each may be NULL.
PLAN_EACH_TIME = "SET LOCAL plan_cache_mode = force_custom_plan"


class State(StrEnum):
    """What an event has come to: the adapter's decision, or that there is none yet."""

    FORWARDED = "forwarded"
    HELD_BACK = "held_back"
    WAITING = "waiting"
    PARKED = "parked"


@dataclass(frozen=True)
class Search:
    """Which events are asked for; None asks for all."""

    type: str | None = None
    subject: str | None = None
    decision: State | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""
    ids: Sequence[uuid.UUID] | None = None


class FoundEvent(WireModel):
    """An event of the log, as CloudEvents names its parts, and what became of it."""

    position: int
    """Its place in the log, and the cursor of the page that begins after it."""
    id: uuid.UUID
    type: str
    subject: str
    """The aggregate's id."""
    sequence: int
    """The aggregate's version."""
    occurred_at: datetime
    relayed_at: datetime | None
    decided_at: datetime | None
    decision: str | None
    """Null while it waits or is parked."""
    rule: str | None
    message_id: str | None
    attempts: int
    last_error: str | None
    parked_at: datetime | None
    traceparent: str | None
    cause: str | None
    """The id of the message that was handled when it was published; null when it was a command."""
    data: dict[str, Any]
    """The domain event as it was published in process, with everything that routes keep here."""


class EventPage(WireModel):
    """Events, in the order that was asked for."""

    events: list[FoundEvent]
    next: int | None
    """What to ask for as `after` to get the next page; null on the last one."""


async def search(
    connection: Connection, asked: Search, *, after: int | None, limit: int, oldest_first: bool = False
) -> EventPage:
    """Up to `limit` events that come after the position `after`: the older ones, or the newer ones."""
    statement = OLDEST_FIRST if oldest_first else NEWEST_FIRST
    async with connection.transaction(readonly=True):
        await connection.execute(PLAN_EACH_TIME)
        rows = await connection.fetch(statement, *astuple(asked), after, limit + 1)
    found = [FoundEvent(**{**row, "data": json.loads(row["data"])}) for row in rows[:limit]]
    return EventPage(events=found, next=found[-1].position if len(rows) > limit else None)


async def count(connection: Connection, asked: Search) -> int:
    """How many events `search` would find on all pages together."""
    async with connection.transaction(readonly=True):
        await connection.execute(PLAN_EACH_TIME)
        events: int = await connection.fetchval(COUNT, *astuple(asked))
    return events
