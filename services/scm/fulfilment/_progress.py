"""Progress: what SCM's modules did about an order becomes SCM's own published events."""

from snsqs.events import event_listener
from snsqs.postgres import Transaction

from services.scm.events import (
    GoodsOrdered,
    GoodsReserved,
    GoodsShort,
    InvoiceIssued,
    ParcelArrived,
    ParcelHandedOver,
)
from services.scm.fulfilment import _store as store
from services.scm.fulfilment._fulfilment import (
    DeliveryInvoiceIssued,
    Fulfilment,
    FulfilmentEvent,
    ParcelDelivered,
    ParcelDispatched,
    Status,
    StockReserved,
    StockShort,
    quantities,
)

Progress = GoodsReserved | GoodsShort | InvoiceIssued | ParcelHandedOver | ParcelArrived


@event_listener
async def record_goods_ordered(event: GoodsOrdered, tx: Transaction) -> None:
    """Opens SCM's side of the order. It is registered before the listeners that work on it."""
    await store.insert(tx.connection, Fulfilment.received(event.order_id, event.lines))


@event_listener
async def record_progress(event: Progress, tx: Transaction) -> None:
    """Writes the progress down and publishes the fulfilment as it is then."""
    fulfilment = await store.find(tx.connection, event.order_id, lock=True)
    assert fulfilment is not None, f"progress of {event.order_id}, which was never ordered"
    published = _published(fulfilment, event)
    await store.update(tx.connection, published.source)
    await tx.publish(published)


def _published(fulfilment: Fulfilment, event: Progress) -> FulfilmentEvent:
    match event:
        case GoodsReserved():
            return StockReserved(source=fulfilment.changed(status=Status.RESERVED, shortages=[]))
        case GoodsShort(missing=missing):
            short = fulfilment.changed(status=Status.SHORT, shortages=quantities(missing))
            return StockShort(source=short)
        case InvoiceIssued(invoice_id=invoice_id, order_version=order_version):
            invoiced = fulfilment.changed(
                status=Status.INVOICED, invoice_id=invoice_id, order_version=order_version
            )
            return DeliveryInvoiceIssued(source=invoiced)
        case ParcelHandedOver():
            return ParcelDispatched(source=fulfilment.changed(status=Status.DISPATCHED))
        case ParcelArrived():
            return ParcelDelivered(source=fulfilment.changed(status=Status.DELIVERED))
