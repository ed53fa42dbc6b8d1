"""Message listener of demand."""

from datetime import UTC, date, datetime

from pydantic import Field
from snsqs import Aggregate, DomainEvent, WireModel, sqs_listener
from snsqs.postgres import Transaction

from services.scm.demand import _store as store
from services.scm.fields import Name, OrderId, Pieces


class OrderLine(WireModel):
    sku: Name
    quantity: Pieces


class Order(Aggregate):
    """The fields of an order that demand reads."""

    id: OrderId
    order_lines: list[OrderLine] = Field(min_length=1)


class OrderCompleted(DomainEvent):
    """The order is paid."""

    source: Order


@sqs_listener("scm-demand-order-event-queue", topic="order-events")
async def on_order_completed(event: OrderCompleted, tx: Transaction) -> None:
    """Count the order's units on the day of its payment."""
    lines = event.source.order_lines
    await store.add(
        tx.connection,
        _day(event),
        [line.sku for line in lines],
        [line.quantity for line in lines],
    )


def _day(event: DomainEvent) -> date:
    """Return the event's day in UTC."""
    return datetime.fromtimestamp(event.occurence_on / 1000, UTC).date()
