"""Figures about a service's events and state, to compare services with each other."""

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
    str, Query(pattern=r"^([0-9]{20})?$", description="Last order id of the previous page.")
]

OrderLimit = Annotated[int, Query(ge=1, le=100)]
"""Maximum number of orders on a page; one may have a hundred lines."""

AfterSku = Annotated[
    str, Query(pattern=r"^[A-Za-z0-9._-]{0,64}$", description="Last SKU of the previous page.")
]


class Consumed(WireModel):
    """Messages of one queue by outcome, and the number of duplicate deliveries."""

    consumer: str
    handled: int
    superseded: int
    duplicates: int


class EventCounts(WireModel):
    """Events that a service has published and consumed, without those already deleted."""

    waiting: int
    parked: int
    forwarded: int
    held_back: int
    consumed: list[Consumed]


@router.get("/reconciliation/events", summary="Count events by state and messages by outcome")
async def events(db: DatabaseDependency) -> EventCounts:
    """Reads event log and inbox from end to end."""
    async with db.connection() as connection:
        published = await connection.fetchrow(EVENTS)
        assert published is not None
        consumed = [Consumed(**dict(row)) for row in await connection.fetch(MESSAGES)]
    return EventCounts(**dict(published), consumed=consumed)


@router.get(
    "/reconciliation/checksum",
    dependencies=[AnyAccess],
    summary="Checksums of the service's state",
)
async def checksum(db: DatabaseDependency) -> StateChecksum:
    """Over all tables and for each one, from one snapshot. Restricted to operators and services, because it
    reads every table from end to end."""
    async with db.snapshot() as connection:
        return await state_checksum(connection)
