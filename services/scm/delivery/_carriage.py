"""Carriage: what the carrier says about the goods that it was given."""

from collections.abc import Callable
from uuid import UUID

from snsqs.postgres import Transaction

from services.scm.delivery import _store as store
from services.scm.delivery._invoice import Invoice
from services.scm.events import ParcelArrived, ParcelHandedOver
from services.scm.turn import take_turn


async def dispatch(invoice_id: UUID, tx: Transaction) -> Invoice:
    """The carrier has the goods. Raises UnknownInvoice, NotAllowed."""
    return await _report(invoice_id, Invoice.dispatched, ParcelHandedOver, tx)


async def deliver(invoice_id: UUID, tx: Transaction) -> Invoice:
    """The buyer has the goods. Raises UnknownInvoice, NotAllowed."""
    return await _report(invoice_id, Invoice.delivered, ParcelArrived, tx)


async def _report(
    invoice_id: UUID,
    step: Callable[[Invoice], Invoice],
    happened: type[ParcelHandedOver | ParcelArrived],
    tx: Transaction,
) -> Invoice:
    invoice = await store.find(tx.connection, invoice_id)
    await take_turn(tx, invoice.order_id)
    invoice = await store.find(tx.connection, invoice_id)  # it may have been voided while this waited
    changed = step(invoice)
    if changed != invoice:
        await store.update(tx.connection, changed)
        await tx.publish(happened(invoice.order_id, str(invoice.id)))
    return changed
