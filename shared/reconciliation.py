"""Reconciliation: what a service says of its events, so that two services can be compared."""

import hashlib
import json

from fastapi import APIRouter

from shared.domain_event import WireModel
from shared.web import DatabaseDependency

router = APIRouter(tags=["reconciliation"])

EVENTS = """
    SELECT count(*) FILTER (WHERE decision IS NULL AND parked_at IS NULL) AS waiting,
           count(*) FILTER (WHERE parked_at IS NOT NULL) AS parked,
           count(*) FILTER (WHERE decision = 'forwarded') AS forwarded,
           count(*) FILTER (WHERE decision = 'held_back') AS held_back
    FROM event_log
"""

MESSAGES = """
    SELECT consumer,
           count(*) FILTER (WHERE outcome = 'handled') AS handled,
           count(*) FILTER (WHERE outcome = 'superseded') AS superseded,
           sum(duplicates) AS duplicates
    FROM inbox
    GROUP BY consumer
    ORDER BY consumer
"""


class Consumed(WireModel):
    """What one queue brought: messages, and deliveries of them that were absorbed."""

    consumer: str
    handled: int
    superseded: int
    duplicates: int


class EventCounts(WireModel):
    """What a service published and what it consumed, as far as it is still kept."""

    waiting: int
    parked: int
    forwarded: int
    held_back: int
    consumed: list[Consumed]


@router.get("/reconciliation/events", summary="How many events there are, and what became of them")
async def events(db: DatabaseDependency) -> EventCounts:
    """Reads both tables from end to end."""
    async with db.connection() as connection:
        published = await connection.fetchrow(EVENTS)
        assert published is not None
        consumed = [Consumed(**dict(row)) for row in await connection.fetch(MESSAGES)]
    return EventCounts(**dict(published), consumed=consumed)


def digest(value: object) -> str:
    """The same for the same JSON, whoever has it. What is compared need not leave its service."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
