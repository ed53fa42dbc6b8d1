"""What demand takes from its queue."""

from datetime import UTC, date, datetime

from pydantic import Field
from snsqs import Aggregate, DomainEvent, WireModel, sqs_listener
from snsqs.postgres import Transaction

from services.scm.demand import _store as store
from services.scm.names import Name, OrderId, Pieces


class OrderLine(WireModel):
    sku: Name
    quantity: Pieces


class Order(Aggregate):
    """What demand reads of an order."""

    id: OrderId
    order_lines: list[OrderLine] = Field(min_length=1)


class OrderCompleted(DomainEvent):
    """The order is paid: its articles are sold, whether they are in stock or not."""

    source: Order


@sqs_listener("scm-demand-order-event-queue", topic="order-events")
async def on_order_completed(event: OrderCompleted, tx: Transaction) -> None:
    """Counts what was ordered, on the day when it was paid."""
    lines = event.source.order_lines
    await store.add(
        tx.connection,
        _day(event),
        [line.sku for line in lines],
        [line.quantity for line in lines],
    )


def _day(event: DomainEvent) -> date:
    """The day in UTC, wherever this service runs."""
    return datetime.fromtimestamp(event.occurence_on / 1000, UTC).date()
