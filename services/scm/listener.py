"""Message listener: SCM's entry point for order events, which it publishes to the modules in process."""

from pydantic import Field
from snsqs import Aggregate, DomainEvent, WireModel, sqs_listener
from snsqs.postgres import Transaction

from services.scm import fulfilment
from services.scm.events import AddressChanged, GoodsOrdered, Line, OrderWithdrawn
from services.scm.fields import Name, OrderId, Pieces
from services.scm.order_lock import lock_order

ORDER_EVENTS = "scm-adapter-order-event-queue"

WITHDRAWN = {"CANCELLING", "CANCELLED"}
"""Statuses of a cancelled order."""


class OrderLine(WireModel):
    sku: Name
    quantity: Pieces


class Order(Aggregate):
    """The fields of an order that SCM reads."""

    id: OrderId
    status: str
    order_lines: list[OrderLine] = Field(min_length=1)


class OrderEvent(DomainEvent):
    """Base class of order events."""

    source: Order


class OrderCompleted(OrderEvent):
    """The order is paid."""


class DeliveryAddressChanged(OrderEvent):
    """The order has another delivery address."""


class OrderCancelled(OrderEvent):
    """The buyer cancelled the order."""


@sqs_listener(ORDER_EVENTS, topic="order-events")
async def on_order_event(
    event: OrderCompleted | DeliveryAddressChanged | OrderCancelled, tx: Transaction
) -> None:
    """Publish the order's change to SCM's modules. The order's state decides, not the event's type: when a
    newer event arrives first, the older ones are superseded (see Inbox), so any of them can be the first
    that SCM receives of an order."""
    order = event.source
    await lock_order(tx, order.id)
    if order.status in WITHDRAWN:
        await tx.publish(OrderWithdrawn(order.id, _articles(order)))
    elif not await fulfilment.is_known(tx.connection, order.id):
        await tx.publish(GoodsOrdered(order.id, _articles(order)))
    elif isinstance(event, DeliveryAddressChanged):
        await tx.publish(AddressChanged(order.id))


def _articles(order: Order) -> tuple[Line, ...]:
    """Return one line per article; an order may have several."""
    quantities: dict[str, int] = {}
    for line in order.order_lines:
        quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
    return tuple(Line(sku, quantity) for sku, quantity in sorted(quantities.items()))
