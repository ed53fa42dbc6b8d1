"""Backlog: the events that have not left yet. They wait to be relayed, or are parked."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from snsqs._model import WireModel
from snsqs.postgres import Connection

WAITING = """
    SELECT count(*) AS events,
           coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float8 AS oldest_seconds,
           (SELECT count(*) FROM event_log WHERE parked_at IS NOT NULL) AS parked
    FROM event_log
    WHERE decision IS NULL AND parked_at IS NULL
"""

# The few that are parked are found by their own index, so the criteria need none.
PARKED = """
    SELECT id, type, subject, sequence, occurred_at, attempts, last_error, parked_at
    FROM event_log
    WHERE parked_at IS NOT NULL
      AND ($2::text[] IS NULL OR id::text = ANY ($2))
      AND ($3::text IS NULL OR type = $3)
      AND ($4::text IS NULL OR subject = $4)
      AND ($5::text IS NULL OR strpos(lower(last_error), lower($5)) > 0)
    ORDER BY parked_at, position
    LIMIT $1
"""

# Due from now on, so behind those that were never tried: resubmitting many holds up nobody.
RESUBMIT = """
    UPDATE event_log
    SET parked_at = NULL, attempts = 0, next_attempt_at = now()
    WHERE id = ANY ($1) AND parked_at IS NOT NULL
    RETURNING id
"""


@dataclass(frozen=True)
class Waiting:
    """What is still to be relayed, and what is parked. An event that is parked does not wait."""

    events: int
    oldest_seconds: float
    parked: int


class ParkedEvent(WireModel):
    """An event that failed too often to be tried again by itself; `last_error` says how."""

    id: uuid.UUID
    type: str
    subject: str
    version: int
    occurred_at: datetime
    attempts: int
    last_error: str
    parked_at: datetime


async def waiting(connection: Connection) -> Waiting:
    """How many events wait, for how many seconds the oldest has waited, and how many are parked."""
    row = await connection.fetchrow(WAITING)
    assert row is not None
    return Waiting(**dict(row))


async def parked(
    connection: Connection,
    limit: int = 100,
    *,
    ids: Collection[str] | None = None,
    type: str | None = None,
    subject: str | None = None,
    error: str | None = None,
) -> list[ParkedEvent]:
    """Return up to `limit` parked events that match every criterion, those parked for the longest first.

    `error` is a part of the last error, case-insensitive.
    """
    rows = await connection.fetch(PARKED, limit, None if ids is None else list(ids), type, subject, error)
    return [ParkedEvent(**dict(row), version=row["sequence"]) for row in rows]


async def resubmit(connection: Connection, ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Lets parked events wait again, with all their attempts before them. Returns the ids of those that were
    parked; the others stay as they are."""
    return [row["id"] for row in await connection.fetch(RESUBMIT, ids)]
