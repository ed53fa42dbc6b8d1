"""Withdrawal: accepts or rejects the cancellation of an order."""

import structlog
from snsqs.events import event_listener
from snsqs.postgres import Transaction

from services.scm.events import FulfilmentWithdrawn, OrderWithdrawn
from services.scm.fulfilment import _store as store
from services.scm.fulfilment._fulfilment import (
    CancellationRejected,
    Fulfilment,
    FulfilmentCancelled,
    FulfilmentStatus,
)

log = structlog.get_logger(__name__)


@event_listener
async def withdraw(event: OrderWithdrawn, tx: Transaction) -> None:
    """Cancel the fulfilment, or reject the cancellation if the goods have left. An unknown order gets a
    cancelled fulfilment, so that its completion has no effect when it arrives later."""
    fulfilment = await store.find(tx.connection, event.order_id, lock=True)
    if fulfilment is None:
        fulfilment = Fulfilment.received(event.order_id, event.lines)
        await store.insert(tx.connection, fulfilment)
    if fulfilment.status is FulfilmentStatus.CANCELLED:
        return
    await (_reject(fulfilment, tx) if fulfilment.has_left else _cancel(fulfilment, tx))


async def _reject(fulfilment: Fulfilment, tx: Transaction) -> None:
    """Publish the rejection in a new version, because the Order service ignores versions it has seen."""
    rejected = fulfilment.changed()
    await store.update(tx.connection, rejected)
    log.info("cancellation rejected", status=rejected.status)
    await tx.publish(CancellationRejected(source=rejected))


async def _cancel(fulfilment: Fulfilment, tx: Transaction) -> None:
    cancelled = fulfilment.changed(
        status=FulfilmentStatus.CANCELLED, shortages=[], invoice_id=None, order_version=None
    )
    await store.update(tx.connection, cancelled)
    await tx.publish(FulfilmentWithdrawn(fulfilment.id))
    log.info("fulfilment cancelled", was=fulfilment.status)
    await tx.publish(FulfilmentCancelled(source=cancelled))
