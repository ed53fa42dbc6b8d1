"""Overview: the state of one order in all of SCM's modules."""

from fastapi import APIRouter
from snsqs import WireModel
from snsqs.inbox import ReceivedMessage, received
from snsqs.outbox import LoggedEvent, history

from services.scm import delivery, fulfilment, inventory, purchase
from services.scm.delivery import Invoice
from services.scm.fields import OrderId
from services.scm.fulfilment import Fulfilment
from services.scm.inventory import OrderStock
from services.scm.purchase import PurchaseOrder
from shared.web import DatabaseDependency, Problem, ReaderAccess, problems

router = APIRouter(prefix="/orders", tags=["orders"])


class Overview(Fulfilment, OrderStock):
    """Fulfilment of an order with its reservations, purchase orders and delivery invoices."""

    purchase_orders: list[PurchaseOrder]
    """Purchase orders raised because the order was short."""
    invoices: list[Invoice]
    """All invoices, including void ones, oldest first."""


class OrderEvents(WireModel):
    """Messages that SCM received about one order, and events that it published."""

    received: list[ReceivedMessage]
    published: list[LoggedEvent]


@router.get(
    "/{order_id}",
    dependencies=[ReaderAccess],
    responses=problems(404),
    summary="Read the state of an order at SCM",
)
async def read(order_id: OrderId, db: DatabaseDependency) -> Overview:
    async with db.snapshot() as connection:
        found = await fulfilment.find(connection, order_id)
        if found is None:
            raise Problem(404, f"SCM has no order {order_id}")
        stock = await inventory.stock_of_order(connection, order_id)
        purchase_orders = await purchase.purchase_orders_of_order(connection, order_id)
        invoices = await delivery.invoices_of_order(connection, order_id)
    return Overview(**dict(found), **dict(stock), purchase_orders=purchase_orders, invoices=invoices)


@router.get("/{order_id}/events", summary="List the messages and events of an order at SCM")
async def events(order_id: OrderId, db: DatabaseDependency) -> OrderEvents:
    """Received messages and published events; empty lists for an unknown order."""
    async with db.snapshot() as connection:
        return OrderEvents(
            received=await received(connection, order_id), published=await history(connection, order_id)
        )
