"""SCM's answers: each brings the order to what SCM says about it."""

from typing import Literal

import structlog
from pydantic import Field
from snsqs import MAX_VERSION, Aggregate, DomainEvent, TerminalError, sqs_listener
from snsqs.postgres import Transaction

from services.order import former_address, store
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
"""What each status of SCM's fulfilment is for the order."""

HAVE_LEFT = ("DISPATCHED", "DELIVERED")
"""A carrier has the goods, or the buyer: where they go is decided."""


class Fulfilment(Aggregate):
    """What the Order service reads of SCM's fulfilment; its id is the order's."""

    status: Literal["SHORT", "RESERVED", "INVOICED", "DISPATCHED", "DELIVERED", "CANCELLED"]
    invoice_id: str | None = None
    order_version: int | None = Field(None, ge=0, le=MAX_VERSION)
    """Of the order when SCM asked it where the goods of this invoice are to go."""


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
        went_to = await _went_to(order, fulfilment, tx)
        moved = order.moved_by_scm(ORDER_STATUS[fulfilment.status], fulfilment.invoice_id, went_to)
    except OrderError as error:
        raise TerminalError(str(error)) from error
    if moved is not order:
        await store.update(tx.connection, moved)
        log.info("order moved by SCM", status=moved.status, invoice=moved.invoice_id)
        if moved.delivery_address != order.delivery_address:
            log.warning("address changed too late", invoice=moved.invoice_id)


async def _went_to(order: Order, fulfilment: Fulfilment, tx: Transaction) -> DeliveryAddress | None:
    """Where the goods went, or None while they have not left: then the order's address is still to be
    followed. SCM says only which version of the order it had asked, so that no address travels."""
    if fulfilment.status not in HAVE_LEFT:
        return None
    if fulfilment.order_version is None:
        log.warning("SCM does not say which address its parcel has", invoice=fulfilment.invoice_id)
        return None
    return await former_address.address_at(tx.connection, order, fulfilment.order_version)
