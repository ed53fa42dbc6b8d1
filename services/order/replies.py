"""SCM's answers: each brings the order to what SCM says about it."""

from typing import Literal

import structlog

from services.order import store
from services.order.order import OrderError, Status
from shared.domain_event import Aggregate, DomainEvent
from shared.messaging import TerminalError, sqs_listener
from shared.postgres import Transaction

log = structlog.get_logger(__name__)


ORDER_STATUS = {
    "SHORT": Status.BACKORDERED,
    "RESERVED": Status.PREPARING,
    "INVOICED": Status.PREPARING,
    "DISPATCHED": Status.SHIPPED,
    "DELIVERED": Status.DELIVERED,
    "CANCELLED": Status.CANCELLED,
}
"""What each status of SCM's fulfilment is for the order."""


class Fulfilment(Aggregate):
    """What the Order service reads of SCM's fulfilment; its id is the order's."""

    status: Literal["SHORT", "RESERVED", "INVOICED", "DISPATCHED", "DELIVERED", "CANCELLED"]
    invoice_id: str | None = None


class FulfilmentEvent(DomainEvent):
    """What all of SCM's answers carry."""

    source: Fulfilment


class StockReserved(FulfilmentEvent):
    """SCM set all goods of the order aside."""


class StockShort(FulfilmentEvent):
    """SCM does not have enough of something."""


class DeliveryInvoiceIssued(FulfilmentEvent):
    """SCM hands the goods to a carrier under this invoice."""


class ParcelDispatched(FulfilmentEvent):
    """The carrier has taken the goods."""


class ParcelDelivered(FulfilmentEvent):
    """The goods have arrived."""


class FulfilmentCancelled(FulfilmentEvent):
    """The cancellation came in time: SCM delivers nothing."""


class CancellationRejected(FulfilmentEvent):
    """The cancellation came too late: the goods had already left."""


Progress = StockReserved | StockShort | DeliveryInvoiceIssued | ParcelDispatched | ParcelDelivered
Answer = FulfilmentCancelled | CancellationRejected


@sqs_listener("order-adapter-scm-event-queue", topic="scm-events")
async def on_fulfilment(event: Progress | Answer, tx: Transaction) -> None:
    """The fulfilment's state decides, not the kind of event: a newer event may arrive first, and then
    the older one is superseded (see Inbox)."""
    fulfilment = event.source
    try:
        order = await store.find_for_update(tx.connection, fulfilment.id)
        moved = order.moved_by_scm(ORDER_STATUS[fulfilment.status], fulfilment.invoice_id)
    except OrderError as error:
        raise TerminalError(str(error)) from error
    if moved is not order:
        await store.update(tx.connection, moved)
        log.info("order moved by SCM", status=moved.status, invoice=moved.invoice_id)
