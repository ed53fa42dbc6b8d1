"""Reconciliation: what SCM says of its orders, so that the Order service's side can be compared with it."""

from collections import defaultdict
from uuid import UUID

from fastapi import APIRouter
from snsqs import WireModel

from services.scm import delivery, demand, fulfilment, inventory
from services.scm.delivery import Invoice
from services.scm.fulfilment import Fulfilment, Quantity, Status
from services.scm.inventory import StockOfOrder
from shared.operations.checksum import digest
from shared.operations.reconciliation import AfterOrder, AfterSku
from shared.web import DatabaseDependency, Limit

router = APIRouter(prefix="/reconciliation", tags=["reconciliation"])


class ReconciledOrder(WireModel):
    """What both sides know of an order. Where the goods go is told as a digest, as the Order service tells it
    (see `shared.checksum.digest`); without an invoice it is null."""

    id: str
    status: Status
    version: int
    """Of SCM's side, not of the order."""
    lines: list[Quantity]
    reserved: list[Quantity]
    waiting: bool
    live_invoices: list[UUID]
    address_digest: str | None


class ReconciledOrders(WireModel):
    orders: list[ReconciledOrder]


class Demand(WireModel):
    demand: list[demand.Total]


@router.get("", summary="SCM's side of all orders, the oldest first, to be compared with the Order service")
async def orders(
    db: DatabaseDependency,
    after: AfterOrder = "",
    limit: Limit = 100,
) -> ReconciledOrders:
    """The page that is shorter than `limit` is the last one."""
    async with db.snapshot() as connection:
        page = await fulfilment.page(connection, after, limit)
        ids = [each.id for each in page]
        stock = await inventory.of_orders(connection, ids)
        live = defaultdict[str, list[Invoice]](list)
        for invoice in await delivery.live_of_orders(connection, ids):
            live[invoice.order_id].append(invoice)
    return ReconciledOrders(orders=[_reconciled(each, stock[each.id], live[each.id]) for each in page])


class Stock(WireModel):
    stock: list[inventory.StockAccount]


@router.get("/stock", summary="Stock, told twice: as it is, and as what happened makes it")
async def stock(
    db: DatabaseDependency,
    after: AfterSku = "",
    limit: Limit = 100,
) -> Stock:
    async with db.connection() as connection:
        return Stock(stock=await inventory.accounts(connection, after, limit))


@router.get("/demand", summary="Units of each article that demand counted, to be compared with the orders")
async def total_demand(
    db: DatabaseDependency,
    after: AfterSku = "",
    limit: Limit = 100,
) -> Demand:
    async with db.connection() as connection:
        return Demand(demand=await demand.totals(connection, after, limit))


def _reconciled(order: Fulfilment, stock: StockOfOrder, live: list[Invoice]) -> ReconciledOrder:
    open_ones = [each for each in stock.reservations if each.status == "OPEN"]
    return ReconciledOrder(
        id=order.id,
        status=order.status,
        version=order.version,
        lines=order.lines,
        reserved=[Quantity(sku=each.sku, quantity=each.quantity) for each in open_ones],
        waiting=stock.waiting_since is not None,
        live_invoices=[each.id for each in live],
        address_digest=digest(live[0].delivery_address) if live else None,
    )
