"""Figures about a service's events and state, to compare services with each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from snsqs import WireModel
from snsqs.postgres import Connection

from shared.operations.checksum import StateChecksum, state_checksum
from shared.web import AnyAccess, DatabaseDependency, ReaderAccess

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

FORWARDED_VERSIONS = """
    SELECT subject, max(sequence) AS version
    FROM event_log
    WHERE subject = ANY ($1) AND decision = 'forwarded'
    GROUP BY subject
"""

# The key begins with the consumer, so the few consumers are found first, each with one index scan.
HANDLED_VERSIONS = """
    WITH RECURSIVE known AS (
        (SELECT consumer FROM inbox_version ORDER BY consumer LIMIT 1)
        UNION ALL
        SELECT (
            SELECT inbox_version.consumer
            FROM inbox_version
            WHERE inbox_version.consumer > known.consumer
            ORDER BY inbox_version.consumer
            LIMIT 1
        )
        FROM known
        WHERE known.consumer IS NOT NULL
    )
    SELECT subject, max(sequence) AS version
    FROM known JOIN inbox_version USING (consumer)
    WHERE subject = ANY ($1) AND sequence >= 0
    GROUP BY subject
"""

AfterOrder = Annotated[
    str, Query(pattern=r"^([0-9]{20})?$", description="Last order id of the previous page.")
]

OrderLimit = Annotated[int, Query(ge=1, le=100)]
"""Maximum number of orders on a page; one may have a hundred lines."""

AfterSku = Annotated[
    str, Query(pattern=r"^[A-Za-z0-9._-]{0,64}$", description="Last SKU of the previous page.")
]


@dataclass(frozen=True)
class Versions:
    """Versions of the same orders on both sides of the event path, by order id."""

    forwarded: dict[str, int]
    """Newest version that this service published and the adapter forwarded."""
    handled: dict[str, int]
    """Newest version of another service that this one has handled."""


async def versions_of(connection: Connection, order_ids: Sequence[str]) -> Versions:
    """Return the versions of these orders that are known."""
    forwarded = await connection.fetch(FORWARDED_VERSIONS, order_ids)
    handled = await connection.fetch(HANDLED_VERSIONS, order_ids)
    return Versions(
        {row["subject"]: row["version"] for row in forwarded},
        {row["subject"]: row["version"] for row in handled},
    )


class MissingOrders(WireModel):
    """Ids of orders that other records name, but that have no record of their own."""

    ids: list[str]


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


@router.get(
    "/reconciliation/events",
    dependencies=[ReaderAccess],
    summary="Count events by state and messages by outcome",
)
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
