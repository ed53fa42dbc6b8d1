"""Overview: all that SCM knows about an order, put together from what its modules say."""

from fastapi import APIRouter
from snsqs import WireModel
from snsqs.inbox import ReceivedMessage, received
from snsqs.outbox import LoggedEvent, history

from services.scm import delivery, fulfilment, inventory, purchase
from services.scm.delivery import Invoice
from services.scm.fulfilment import Fulfilment
from services.scm.inventory import StockOfOrder
from services.scm.names import OrderId
from services.scm.purchase import PurchaseOrder
from shared.web import DatabaseDependency, Problem, problems

router = APIRouter(prefix="/orders", tags=["orders"])


class Overview(Fulfilment, StockOfOrder):
    """How far SCM is with an order, what is set aside or bought for it, and where the goods go."""

    purchase_orders: list[PurchaseOrder]
    """What was bought because the order was short of it."""
    invoices: list[Invoice]
    """All that were issued, the void ones too; the oldest first."""


class OrderEvents(WireModel):
    """The way of one order through SCM: what it heard about it, and what it published."""

    received: list[ReceivedMessage]
    published: list[LoggedEvent]


@router.get("/{order_id}", responses=problems(404), summary="All that SCM knows about an order")
async def read(order_id: OrderId, db: DatabaseDependency) -> Overview:
    async with db.snapshot() as connection:
        known = await fulfilment.find(connection, order_id)
        if known is None:
            raise Problem(404, f"SCM has not heard of an order {order_id}")
        stock = await inventory.of_order(connection, order_id)
        purchase_orders = await purchase.of_order(connection, order_id)
        invoices = await delivery.of_order(connection, order_id)
    return Overview(**dict(known), **dict(stock), purchase_orders=purchase_orders, invoices=invoices)


@router.get("/{order_id}/events", summary="What SCM heard about an order, and what it published")
async def events(order_id: OrderId, db: DatabaseDependency) -> OrderEvents:
    """Empty lists for an order that SCM has not heard of."""
    async with db.snapshot() as connection:
        return OrderEvents(
            received=await received(connection, order_id), published=await history(connection, order_id)
        )
