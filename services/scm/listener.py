"""The only door in: what SCM takes from the queue, and what its modules are told of it."""

from pydantic import Field

from services.scm.events import GoodsOrdered, Line
from shared.domain_event import Aggregate, DomainEvent, WireModel
from shared.messaging import sqs_listener
from shared.postgres import Transaction

ORDER_EVENTS = "scm-adapter-order-event-queue"


class OrderLine(WireModel):
    sku: str
    quantity: int = Field(ge=1)


class Order(Aggregate):
    """What SCM reads of an order."""

    order_lines: list[OrderLine] = Field(min_length=1)


class OrderCompleted(DomainEvent):
    """The order is paid."""

    source: Order


@sqs_listener(ORDER_EVENTS, topic="order-events")
async def on_order_completed(event: OrderCompleted, tx: Transaction) -> None:
    """An order may name an article on several lines; SCM counts articles."""
    order, quantities = event.source, dict[str, int]()
    for line in order.order_lines:
        quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
    lines = tuple(Line(sku, quantity) for sku, quantity in sorted(quantities.items()))
    await tx.publish(GoodsOrdered(order.id, lines))
