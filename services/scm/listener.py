"""The only door in: what SCM takes from the queue, and what its modules are told of it."""

from pydantic import Field
from snsqs import Aggregate, DomainEvent, WireModel, sqs_listener
from snsqs.postgres import Transaction

from services.scm import fulfilment
from services.scm.events import AddressChanged, GoodsOrdered, Line, OrderWithdrawn
from services.scm.names import Name, OrderId, Pieces
from services.scm.turn import take_turn

ORDER_EVENTS = "scm-adapter-order-event-queue"

WITHDRAWN = {"CANCELLING", "CANCELLED"}
"""The statuses of an order whose goods are not wanted any more."""


class OrderLine(WireModel):
    sku: Name
    quantity: Pieces


class Order(Aggregate):
    """What SCM reads of an order."""

    id: OrderId
    status: str
    order_lines: list[OrderLine] = Field(min_length=1)


class OrderEvent(DomainEvent):
    """What all of them carry."""

    source: Order


class OrderCompleted(OrderEvent):
    """The order is paid."""


class DeliveryAddressChanged(OrderEvent):
    """Its goods are to go somewhere else."""


class OrderCancelled(OrderEvent):
    """The buyer does not want it any more."""


@sqs_listener(ORDER_EVENTS, topic="order-events")
async def on_order_event(
    event: OrderCompleted | DeliveryAddressChanged | OrderCancelled, tx: Transaction
) -> None:
    """The order's state decides, not the kind of event: a newer event may arrive first, and then the older
    ones are superseded (see Inbox). So any of them opens an order that SCM does not know."""
    order = event.source
    await take_turn(tx, order.id)
    if order.status in WITHDRAWN:
        await tx.publish(OrderWithdrawn(order.id, _articles(order)))
    elif not await fulfilment.is_known(tx.connection, order.id):
        await tx.publish(GoodsOrdered(order.id, _articles(order)))
    elif isinstance(event, DeliveryAddressChanged):
        await tx.publish(AddressChanged(order.id))


def _articles(order: Order) -> tuple[Line, ...]:
    """An order may name an article on several lines; SCM counts articles."""
    quantities: dict[str, int] = {}
    for line in order.order_lines:
        quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
    return tuple(Line(sku, quantity) for sku, quantity in sorted(quantities.items()))
