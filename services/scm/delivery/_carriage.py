"""Carriage: what the carrier says about the goods that it was given."""

from uuid import UUID

from services.scm.delivery import _store as store
from services.scm.delivery._invoice import Invoice
from services.scm.events import ParcelArrived, ParcelHandedOver
from services.scm.turn import take_turn
from shared.postgres import Transaction


async def dispatch(invoice_id: UUID, tx: Transaction) -> Invoice:
    """The carrier has the goods. Raises UnknownInvoice, NotAllowed."""
    invoice = await _in_turn(invoice_id, tx)
    dispatched = invoice.dispatched()
    if dispatched != invoice:
        await store.update(tx.connection, dispatched)
        await tx.publish(ParcelHandedOver(invoice.order_id, str(invoice.id)))
    return dispatched


async def deliver(invoice_id: UUID, tx: Transaction) -> Invoice:
    """The buyer has the goods. Raises UnknownInvoice, NotAllowed."""
    invoice = await _in_turn(invoice_id, tx)
    delivered = invoice.delivered()
    if delivered != invoice:
        await store.update(tx.connection, delivered)
        await tx.publish(ParcelArrived(invoice.order_id, str(invoice.id)))
    return delivered


async def _in_turn(invoice_id: UUID, tx: Transaction) -> Invoice:
    """The invoice as it is once it is its order's turn: it may have been voided while that was waited for."""
    invoice = await store.find(tx.connection, invoice_id)
    await take_turn(tx, invoice.order_id)
    return await store.find(tx.connection, invoice_id)
