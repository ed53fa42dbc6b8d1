"""Backlog: events that are not relayed yet. They wait to be relayed, or are parked."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from snsqs._model import WireModel
from snsqs.sql import SqlConnection

if TYPE_CHECKING:
    from snsqs.postgres import Connection

BACKLOG = """
    SELECT count(*) AS waiting,
           coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float8 AS oldest_seconds,
           (SELECT count(*) FROM event_log WHERE parked_at IS NOT NULL) AS parked
    FROM event_log
    WHERE decision IS NULL AND parked_at IS NULL
"""

# Parked events are few and have an index of their own, so the criteria need none.
PARKED = """
    SELECT id, type, subject, sequence AS version, occurred_at, attempts, last_error, parked_at
    FROM event_log
    WHERE parked_at IS NOT NULL
      AND ($2::text[] IS NULL OR id::text = ANY ($2))
      AND ($3::text IS NULL OR type = $3)
      AND ($4::text IS NULL OR subject = $4)
      AND ($5::text IS NULL OR strpos(lower(last_error), lower($5)) > 0)
    ORDER BY parked_at, position
    LIMIT $1
"""

# Due from now on, and so after those that were never tried: many resubmitted events delay no new one.
RESUBMIT = """
    UPDATE event_log
    SET parked_at = NULL, attempts = 0, next_attempt_at = now()
    WHERE id = ANY ($1) AND parked_at IS NOT NULL
    RETURNING id
"""


@dataclass(frozen=True)
class Backlog:
    """Size and age of the backlog."""

    waiting: int
    """Events that wait to be relayed, without the parked ones."""
    oldest_seconds: float
    """Seconds since the oldest waiting event occurred; 0 when none waits."""
    parked: int


class ParkedEvent(WireModel):
    """An event that failed too often and is not retried until it is resubmitted."""

    id: uuid.UUID
    type: str
    subject: str
    version: int
    occurred_at: datetime
    attempts: int
    last_error: str
    parked_at: datetime


async def read_backlog(connection: "SqlConnection | Connection") -> Backlog:
    """Return the size and age of the backlog."""
    row = await connection.fetchrow(BACKLOG)
    assert row is not None
    return Backlog(**dict(row))


async def parked_events(
    connection: "SqlConnection | Connection",
    limit: int = 100,
    *,
    ids: Collection[str] | None = None,
    type: str | None = None,
    subject: str | None = None,
    error: str | None = None,
) -> list[ParkedEvent]:
    """Return up to `limit` parked events that match every criterion, those parked longest first.

    `error` is a part of the last error, case-insensitive.
    """
    rows = await connection.fetch(PARKED, limit, None if ids is None else list(ids), type, subject, error)
    return [ParkedEvent(**dict(row)) for row in rows]


async def resubmit(connection: "SqlConnection | Connection", ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Retry parked events from the first attempt on. Return the ids of those that were parked; the others
    are unchanged. Wake the relay with `EventLog.wake_relay_after_commit`."""
    return [row["id"] for row in await connection.fetch(RESUBMIT, list(ids))]
