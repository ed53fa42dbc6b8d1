"""The command that places an order, and the handler that issues its bill."""

from snsqs import Aggregate, DomainEvent, sqs_listener
from snsqs.outbox import EventLog
from snsqs.sqlalchemy import SqlAlchemySession
from sqlalchemy.ext.asyncio import AsyncSession

from ordering.models import Bill, Order


class PlacedOrder(Aggregate):
    total: int


class OrderPlaced(DomainEvent):
    source: PlacedOrder


async def place_order(order_id: str, total: int, session: AsyncSession, event_log: EventLog) -> None:
    """Store the order and its event in the session's transaction."""
    order = Order(id=order_id, version=1, total=total)
    session.add(order)
    event = OrderPlaced(source=PlacedOrder(id=order.id, version=order.version, total=order.total))
    await event_log.append(event, SqlAlchemySession(session))


@sqs_listener("billing-order-event-queue", topic="order-events")
async def issue_bill(event: OrderPlaced, session: AsyncSession) -> None:
    """Issue the bill in the transaction of the inbox."""
    session.add(Bill(order_id=event.source.id, total=event.source.total))
