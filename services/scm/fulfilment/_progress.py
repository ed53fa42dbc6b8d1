"""Progress: stores the effects of SCM's modules in the fulfilment and publishes it."""

from snsqs.events import event_listener
from snsqs.postgres import Transaction

from services.scm.events import (
    FulfilmentOpened,
    FulfilmentReserved,
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
    FulfilmentStatus,
    ParcelDelivered,
    ParcelDispatched,
    StockReserved,
    StockShort,
    quantities,
)

Progress = GoodsReserved | GoodsShort | InvoiceIssued | ParcelHandedOver | ParcelArrived


@event_listener
async def open_fulfilment(event: GoodsOrdered, tx: Transaction) -> None:
    """Store the fulfilment of a new order."""
    await store.insert(tx.connection, Fulfilment.received(event.order_id, event.lines))
    await tx.publish(FulfilmentOpened(event.order_id, event.lines))


@event_listener
async def record_progress(event: Progress, tx: Transaction) -> None:
    """Store the progress and publish the changed fulfilment."""
    fulfilment = await store.find(tx.connection, event.order_id, lock=True)
    assert fulfilment is not None, f"order {event.order_id} has no fulfilment"
    published = _to_published(fulfilment, event)
    await store.update(tx.connection, published.source)
    await tx.publish(published)
    if isinstance(event, GoodsReserved):
        await tx.publish(FulfilmentReserved(event.order_id))


def _to_published(fulfilment: Fulfilment, event: Progress) -> FulfilmentEvent:
    match event:
        case GoodsReserved():
            return StockReserved(source=fulfilment.changed(status=FulfilmentStatus.RESERVED, shortages=[]))
        case GoodsShort(missing=missing):
            short = fulfilment.changed(status=FulfilmentStatus.SHORT, shortages=quantities(missing))
            return StockShort(source=short)
        case InvoiceIssued(invoice_id=invoice_id, order_version=order_version):
            invoiced = fulfilment.changed(
                status=FulfilmentStatus.INVOICED, invoice_id=invoice_id, order_version=order_version
            )
            return DeliveryInvoiceIssued(source=invoiced)
        case ParcelHandedOver():
            return ParcelDispatched(source=fulfilment.changed(status=FulfilmentStatus.DISPATCHED))
        case ParcelArrived():
            return ParcelDelivered(source=fulfilment.changed(status=FulfilmentStatus.DELIVERED))
