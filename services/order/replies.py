"""SCM's answers: each brings the order to what SCM says about it."""

from typing import Literal

import structlog

from services.order import store
from services.order.order import Order, UnknownOrder
from shared.domain_event import Aggregate, DomainEvent
from shared.messaging import TerminalError, sqs_listener
from shared.postgres import Transaction

log = structlog.get_logger(__name__)


class Fulfilment(Aggregate):
    """What the Order service reads of SCM's fulfilment; its id is the order's."""

    status: Literal["SHORT", "RESERVED", "INVOICED"]
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


@sqs_listener("order-adapter-scm-event-queue", topic="scm-events")
async def on_fulfilment_progress(
    event: StockReserved | StockShort | DeliveryInvoiceIssued, tx: Transaction
) -> None:
    """The fulfilment's state decides, not the kind of event: a newer event may arrive first, and then
    the older one is superseded (see Inbox)."""
    try:
        order = await store.find_for_update(tx.connection, event.source.id)
    except UnknownOrder as error:
        raise TerminalError(str(error)) from error
    order = _brought_to(order, event.source)
    await store.update(tx.connection, order)
    log.info("order moved by SCM", status=order.status, invoice=order.invoice_id)


def _brought_to(order: Order, fulfilment: Fulfilment) -> Order:
    if fulfilment.status == "SHORT":
        return order.backordered()
    return order.preparing(fulfilment.invoice_id)
