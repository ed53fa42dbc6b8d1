"""Reconciliation: what a service says of its events, so that two services can be compared."""

from typing import Annotated

from fastapi import APIRouter, Query
from snsqs import WireModel

from shared.operations.checksum import StateChecksum, state_checksum
from shared.web import AnyAccess, DatabaseDependency

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

AfterOrder = Annotated[
    str, Query(pattern=r"^([0-9]{20})?$", description="the last order id of the page before")
]

AfterSku = Annotated[
    str, Query(pattern=r"^[A-Za-z0-9._-]{0,64}$", description="the last sku of the page before")
]


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


@router.get(
    "/reconciliation/checksum",
    dependencies=[AnyAccess],
    summary="One number for all that the service has stored, and one for each table",
)
async def checksum(db: DatabaseDependency) -> StateChecksum:
    """Of one moment. Reads every table from end to end, so it is for operators and services only."""
    async with db.snapshot() as connection:
        return await state_checksum(connection)
