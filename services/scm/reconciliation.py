"""Reconciliation: SCM's state of its orders, for comparison with the Order service."""

from collections import defaultdict
from uuid import UUID

from fastapi import APIRouter
from snsqs import WireModel

from services.scm import delivery, demand, fulfilment, inventory, purchase
from services.scm.delivery import Invoice
from services.scm.fulfilment import Fulfilment, FulfilmentStatus, Quantity, quantities
from services.scm.inventory import OrderStock
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


class ReconciledOrder(WireModel):
    """State of an order that the Order service has too. The address is a digest (see
    `shared.operations.checksum.digest`), null without an invoice."""

    id: str
    status: FulfilmentStatus
    version: int
    """Version of the fulfilment, not of the order."""
    lines: list[Quantity]
    reserved: list[Quantity]
    waiting: bool
    parked: bool
    """Whether it waits, but is not retried."""
    claimed: list[Quantity]
    """Pieces that it claims while it waits."""
    is_bought: bool
    """Whether purchase orders were raised for it."""
    invoice_id: str | None
    """Invoice that the fulfilment names."""
    live_invoices: list[UUID]
    invoice_status: str | None
    """Status of the first live invoice."""
    address_digest: str | None
    forwarded_version: int | None
    """Newest version of the fulfilment that was forwarded to other services."""
    handled_version: int | None
    """Newest version of the order that was handled."""


class ReconciledOrders(WireModel):
    orders: list[ReconciledOrder]


class Demand(WireModel):
    demand: list[demand.TotalDemand]


@router.get("", summary="List all fulfilments, oldest order first, for comparison with the Order service")
async def orders(
    db: DatabaseDependency,
    after: AfterOrder = "",
    limit: OrderLimit = 100,
) -> ReconciledOrders:
    """The last page has fewer items than `limit`."""
    async with db.snapshot() as connection:
        page = await fulfilment.page(connection, after, limit)
        ids = [each.id for each in page]
        stock = await inventory.stock_of_orders(connection, ids)
        live = defaultdict[str, list[Invoice]](list)
        for invoice in await delivery.live_invoices_of_orders(connection, ids):
            live[invoice.order_id].append(invoice)
        claims = await inventory.claims_of_orders(connection, ids)
        bought = await purchase.bought_for(connection, ids)
        versions = await versions_of(connection, ids)
    return ReconciledOrders(
        orders=[
            _reconciled(
                each,
                stock[each.id],
                live[each.id],
                versions,
                claimed=quantities(tuple(claims.get(each.id, ()))),
                is_bought=each.id in bought,
            )
            for each in page
        ]
    )


# The only statement over tables of several modules: each order in one of them needs a fulfilment.
MISSING = """
    SELECT order_id
    FROM (
        SELECT order_id FROM reservation
        UNION SELECT order_id FROM waiting_order
        UNION SELECT order_id FROM invoice
        UNION SELECT order_id FROM purchase_order
        UNION SELECT subject FROM event_log
    ) AS named
    WHERE order_id > $1 AND NOT EXISTS (SELECT FROM fulfilment WHERE fulfilment.order_id = named.order_id)
    ORDER BY order_id
    LIMIT $2
"""


@router.get("/missing", summary="List orders that other records name, but that have no fulfilment")
async def missing(db: DatabaseDependency, after: AfterOrder = "", limit: Limit = 100) -> MissingOrders:
    """Every page scans these records."""
    async with db.connection() as connection:
        rows = await connection.fetch(MISSING, after, limit)
    return MissingOrders(ids=[row["order_id"] for row in rows])


class ReceivedGoods(WireModel):
    """Pieces of an article received on all purchase orders."""

    sku: str
    received: int


class Received(WireModel):
    received: list[ReceivedGoods]


@router.get("/received", summary="List the pieces per article received on purchase orders")
async def received(db: DatabaseDependency, after: AfterSku = "", limit: Limit = 100) -> Received:
    """Every page scans all purchase orders."""
    async with db.connection() as connection:
        page = await purchase.received_quantities(connection, after, limit)
    return Received(received=[ReceivedGoods(sku=sku, received=quantity) for sku, quantity in page])


class StockAccounts(WireModel):
    stock: list[inventory.StockAccount]


@router.get("/stock", summary="List stock per article with the sums of its movements and reservations")
async def stock(
    db: DatabaseDependency,
    after: AfterSku = "",
    limit: Limit = 100,
) -> StockAccounts:
    async with db.connection() as connection:
        return StockAccounts(stock=await inventory.stock_accounts(connection, after, limit))


@router.get("/demand", summary="List units per article counted by demand, for comparison with the orders")
async def total_demand(
    db: DatabaseDependency,
    after: AfterSku = "",
    limit: Limit = 100,
) -> Demand:
    async with db.connection() as connection:
        return Demand(demand=await demand.totals(connection, after, limit))


def _reconciled(
    order: Fulfilment,
    stock: OrderStock,
    live: list[Invoice],
    versions: Versions,
    *,
    claimed: list[Quantity],
    is_bought: bool,
) -> ReconciledOrder:
    open_reservations = [each for each in stock.reservations if each.status == "OPEN"]
    return ReconciledOrder(
        id=order.id,
        status=order.status,
        version=order.version,
        lines=order.lines,
        reserved=[Quantity(sku=each.sku, quantity=each.quantity) for each in open_reservations],
        waiting=stock.waiting_since is not None,
        parked=stock.waiting_parked_at is not None,
        claimed=claimed,
        is_bought=is_bought,
        invoice_id=order.invoice_id,
        live_invoices=[each.id for each in live],
        invoice_status=live[0].status if live else None,
        forwarded_version=versions.forwarded.get(order.id),
        handled_version=versions.handled.get(order.id),
        address_digest=digest(live[0].delivery_address) if live else None,
    )
