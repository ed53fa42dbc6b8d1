"""Replies of SCM: each applies the state of SCM's fulfilment to the order."""

from typing import Literal

import structlog
from pydantic import Field
from snsqs import MAX_VERSION, Aggregate, DomainEvent, TerminalError, sqs_listener
from snsqs.postgres import Transaction

from services.order import store
from services.order.order import DeliveryAddress, Order, OrderError, Status

log = structlog.get_logger(__name__)


ORDER_STATUS = {
    "SHORT": Status.BACKORDERED,
    "RESERVED": Status.PREPARING,
    "INVOICED": Status.PREPARING,
    "DISPATCHED": Status.SHIPPED,
    "DELIVERED": Status.DELIVERED,
    "CANCELLED": Status.CANCELLED,
}
"""The order's status by the status of SCM's fulfilment."""

SHIPPED = ("DISPATCHED", "DELIVERED")
"""Statuses of a fulfilment whose goods have left: their address is final."""


class Fulfilment(Aggregate):
    """The fields of SCM's fulfilment that the Order service reads. Its id is the order's."""

    status: Literal["SHORT", "RESERVED", "INVOICED", "DISPATCHED", "DELIVERED", "CANCELLED"]
    invoice_id: str | None = None
    order_version: int | None = Field(None, ge=0, le=MAX_VERSION)
    """Version of the order whose delivery address is on the invoice."""


class FulfilmentEvent(DomainEvent):
    """Base class of SCM's events."""

    source: Fulfilment


class StockReserved(FulfilmentEvent):
    """All goods of the order are reserved."""


class StockShort(FulfilmentEvent):
    """Goods are missing; nothing is reserved."""


class DeliveryInvoiceIssued(FulfilmentEvent):
    """The delivery invoice was issued, or replaced by one with another address."""


class ParcelDispatched(FulfilmentEvent):
    """The carrier has the goods."""


class ParcelDelivered(FulfilmentEvent):
    """The buyer has the goods."""


class FulfilmentCancelled(FulfilmentEvent):
    """The cancellation is accepted: nothing is delivered."""


class CancellationRejected(FulfilmentEvent):
    """The cancellation is rejected: the goods had already left."""


Progress = StockReserved | StockShort | DeliveryInvoiceIssued | ParcelDispatched | ParcelDelivered
CancellationReply = FulfilmentCancelled | CancellationRejected


@sqs_listener("order-adapter-scm-event-queue", topic="scm-events")
async def on_fulfilment(event: Progress | CancellationReply, tx: Transaction) -> None:
    """Apply the fulfilment in `source`. Its state decides, not the event's type: when a newer event arrives
    first, the older one is superseded (see Inbox)."""
    fulfilment = event.source
    try:
        order = await store.find_for_update(tx.connection, fulfilment.id)
        shipped_to = await _shipped_to(order, fulfilment, tx)
        changed = order.apply_fulfilment(ORDER_STATUS[fulfilment.status], fulfilment.invoice_id, shipped_to)
    except OrderError as error:
        raise TerminalError(str(error)) from error
    if changed is not order:
        await store.update(tx.connection, changed)
        log.info("fulfilment applied", status=changed.status, invoice=changed.invoice_id)
        if changed.delivery_address != order.delivery_address:
            log.warning("late address change reverted", invoice=changed.invoice_id)


async def _shipped_to(order: Order, fulfilment: Fulfilment, tx: Transaction) -> DeliveryAddress | None:
    """Return the address on the invoice of goods that have left, None before. SCM names the version of the
    order that had it, so that no address travels in its events."""
    if fulfilment.status not in SHIPPED:
        return None
    if fulfilment.order_version is None:
        log.warning("fulfilment without orderVersion; address kept", invoice=fulfilment.invoice_id)
        return None
    return await store.find_address(tx.connection, order, fulfilment.order_version)
