"""Reconciliation: SCM's state of its orders, for comparison with the Order service."""

from collections import defaultdict
from uuid import UUID

from fastapi import APIRouter
from snsqs import WireModel

from services.scm import delivery, demand, fulfilment, inventory
from services.scm.delivery import Invoice
from services.scm.fulfilment import Fulfilment, Quantity, Status
from services.scm.inventory import OrderStock
from shared.operations.checksum import digest
from shared.operations.reconciliation import AfterOrder, AfterSku, OrderLimit
from shared.web import DatabaseDependency, Limit

router = APIRouter(prefix="/reconciliation", tags=["reconciliation"])


class ReconciledOrder(WireModel):
    """State of an order that the Order service has too. The address is a digest (see
    `shared.operations.checksum.digest`), null without an invoice."""

    id: str
    status: Status
    version: int
    """Version of the fulfilment, not of the order."""
    lines: list[Quantity]
    reserved: list[Quantity]
    waiting: bool
    live_invoices: list[UUID]
    address_digest: str | None


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
    return ReconciledOrders(orders=[_reconciled(each, stock[each.id], live[each.id]) for each in page])


class Stock(WireModel):
    stock: list[inventory.StockAccount]


@router.get("/stock", summary="List stock per article with the sums of its movements and reservations")
async def stock(
    db: DatabaseDependency,
    after: AfterSku = "",
    limit: Limit = 100,
) -> Stock:
    async with db.connection() as connection:
        return Stock(stock=await inventory.stock_accounts(connection, after, limit))


@router.get("/demand", summary="List units per article counted by demand, for comparison with the orders")
async def total_demand(
    db: DatabaseDependency,
    after: AfterSku = "",
    limit: Limit = 100,
) -> Demand:
    async with db.connection() as connection:
        return Demand(demand=await demand.totals(connection, after, limit))


def _reconciled(order: Fulfilment, stock: OrderStock, live: list[Invoice]) -> ReconciledOrder:
    open_reservations = [each for each in stock.reservations if each.status == "OPEN"]
    return ReconciledOrder(
        id=order.id,
        status=order.status,
        version=order.version,
        lines=order.lines,
        reserved=[Quantity(sku=each.sku, quantity=each.quantity) for each in open_reservations],
        waiting=stock.waiting_since is not None,
        live_invoices=[each.id for each in live],
        address_digest=digest(live[0].delivery_address) if live else None,
    )
