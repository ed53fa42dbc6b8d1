"""What SCM knows about an order."""

from typing import Annotated

from fastapi import APIRouter, Path

from services.scm.fulfilment import _store as store
from services.scm.fulfilment._fulfilment import Fulfilment
from shared.domain_event import WireModel
from shared.inbox import ReceivedMessage, received
from shared.outbox import LoggedEvent, history
from shared.web import DatabaseDependency, Problem, problems

router = APIRouter(prefix="/orders", tags=["orders"])

OrderId = Annotated[str, Path(pattern=r"^[0-9]{20}$")]


class OrderEvents(WireModel):
    """The way of one order through SCM: what it heard about it, and what it published."""

    received: list[ReceivedMessage]
    published: list[LoggedEvent]


@router.get("/{order_id}", responses=problems(404), summary="How far SCM is with an order")
async def read(order_id: OrderId, db: DatabaseDependency) -> Fulfilment:
    async with db.connection() as connection:
        fulfilment = await store.find(connection, order_id)
    if fulfilment is None:
        raise Problem(404, f"SCM has not heard of an order {order_id}")
    return fulfilment


@router.get("/{order_id}/events", summary="What SCM heard about an order, and what it published")
async def events(order_id: OrderId, db: DatabaseDependency) -> OrderEvents:
    """Empty lists for an order that SCM has not heard of."""
    async with db.connection() as connection:
        return OrderEvents(
            received=await received(connection, order_id), published=await history(connection, order_id)
        )
