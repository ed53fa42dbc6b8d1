"""Reconciliation: the Order service's state of its orders, for comparison with SCM."""

from datetime import datetime

from asyncpg import Record
from fastapi import APIRouter
from snsqs import WireModel

from services.order.order import Status
from shared.operations.checksum import digest
from shared.operations.reconciliation import (
    AfterOrder,
    AfterSku,
    MissingOrders,
    OrderLimit,
    Versions,
    versions_of,
)
from shared.web import DatabaseDependency, Limit, ReaderAccess

router = APIRouter(prefix="/reconciliation", tags=["reconciliation"], dependencies=[ReaderAccess])

ORDERS = """
    SELECT id, status, version, invoice_id, completed_at, delivery_address, total_price, price_of_lines,
           lines, events_waiting, events_parked
    FROM orders,
         LATERAL (
             SELECT sum(quantity * "unitPrice")::bigint AS price_of_lines
             FROM jsonb_to_recordset(order_lines) AS line (quantity bigint, "unitPrice" bigint)
         ) AS price,
         LATERAL (
             SELECT jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity) ORDER BY sku) AS lines
             FROM (
                 SELECT sku, sum(quantity) AS quantity
                 FROM jsonb_to_recordset(order_lines) AS line (sku text, quantity bigint)
                 GROUP BY sku
             ) AS article
         ) AS articles,
         LATERAL (
             SELECT count(*) FILTER (WHERE decision IS NULL AND parked_at IS NULL) AS events_waiting,
                    count(*) FILTER (WHERE parked_at IS NOT NULL) AS events_parked
             FROM event_log
             WHERE subject = orders.id
         ) AS events
    WHERE id > $1
    ORDER BY id
    LIMIT $2
"""

MISSING = """
    SELECT DISTINCT subject
    FROM event_log
    WHERE subject > $1 AND NOT EXISTS (SELECT FROM orders WHERE orders.id = subject)
    ORDER BY subject
    LIMIT $2
"""

DEMAND = """
    SELECT sku, sum(quantity)::bigint AS units
    FROM orders, jsonb_to_recordset(order_lines) AS line (sku text, quantity bigint)
    WHERE completed_at IS NOT NULL AND sku > $1
    GROUP BY sku
    ORDER BY sku
    LIMIT $2
"""


class Quantity(WireModel):
    """Pieces of one article on all lines of an order."""

    sku: str
    quantity: int


class ReconciledOrder(WireModel):
    """State of an order that SCM has too. Without personal data: the address is a digest (see
    `shared.operations.checksum.digest`)."""

    id: str
    status: Status
    version: int
    invoice_id: str | None
    completed_at: datetime | None
    address_digest: str
    total_price: int
    price_of_lines: int
    lines: list[Quantity]
    forwarded_version: int | None
    """Newest version of the order that was forwarded to other services."""
    handled_version: int | None
    """Newest version of SCM's fulfilment that was handled."""
    events_waiting: int
    events_parked: int


class ReconciledOrders(WireModel):
    orders: list[ReconciledOrder]


class Units(WireModel):
    """Units of an article on all orders that were ever completed, including cancelled ones."""

    sku: str
    units: int


class Demand(WireModel):
    demand: list[Units]


@router.get("", summary="List all orders, oldest first, for comparison with SCM")
async def orders(
    db: DatabaseDependency,
    after: AfterOrder = "",
    limit: OrderLimit = 100,
) -> ReconciledOrders:
    """The last page has fewer items than `limit`."""
    async with db.snapshot() as connection:
        rows = await connection.fetch(ORDERS, after, limit)
        versions = await versions_of(connection, [row["id"] for row in rows])
    return ReconciledOrders(orders=[_reconciled(row, versions) for row in rows])


@router.get("/missing", summary="List orders that events name, but that do not exist")
async def missing(db: DatabaseDependency, after: AfterOrder = "", limit: Limit = 100) -> MissingOrders:
    async with db.connection() as connection:
        rows = await connection.fetch(MISSING, after, limit)
    return MissingOrders(ids=[row["subject"] for row in rows])


@router.get("/demand", summary="List units per article on all completed orders, for comparison with SCM")
async def demand(
    db: DatabaseDependency,
    after: AfterSku = "",
    limit: Limit = 100,
) -> Demand:
    """Every page scans all orders."""
    async with db.connection() as connection:
        rows = await connection.fetch(DEMAND, after, limit)
    return Demand(demand=[Units(**dict(row)) for row in rows])


def _reconciled(row: Record, versions: Versions) -> ReconciledOrder:
    return ReconciledOrder(
        **dict(row),
        address_digest=digest(row["delivery_address"]),
        forwarded_version=versions.forwarded.get(row["id"]),
        handled_version=versions.handled.get(row["id"]),
    )
